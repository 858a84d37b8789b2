//! The directory as requests see it, and its renewal while the gateway runs: a changed file is
//! validated and published whole, or the old one is kept and the log says why.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use ura_runtime::{clock::Clock, config::ConfigErrors, process::Shutdown};

use super::{
    Snapshot,
    file::{self, Refused},
};

/// How often the files are looked at. A change takes effect within this time.
const POLL_MS: u64 = 200;

/// The current snapshot, and word of each change.
#[derive(Clone)]
pub(crate) struct Directory {
    path: Arc<Path>,
    current: Arc<ArcSwap<Snapshot>>,
    changed: watch::Sender<()>,
    published: Arc<Published>,
}

/// How the snapshot came to be in force.
#[derive(Debug)]
pub(crate) struct Published {
    /// When, microseconds since 1970.
    pub(crate) at_unix_us: AtomicI64,
    /// The files say something else by now, with errors.
    pub(crate) refused: AtomicBool,
}

impl Published {
    fn now() -> Self {
        Self { at_unix_us: AtomicI64::new(Clock::system().unix_us()), refused: AtomicBool::new(false) }
    }
}

/// What a file looks like from outside.
type Stamp = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

/// Longest reason of a refused change that is told, in bytes.
const REFUSED_BYTES_MAX: usize = 2048;

/// A change of the directory, published or refused, for whoever keeps evidence of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// Version that the changed file names; empty where that could not be read.
    pub(crate) version: Arc<str>,
    /// SHA-256 of the file and of every contract that it names; of a refused file, of the file alone, and
    /// `None` where it could not be read at all.
    pub(crate) digest: Option<[u8; 32]>,
    /// Version in force before; after a refusal it stays in force.
    pub(crate) version_before: Arc<str>,
    /// Digest of what was in force before.
    pub(crate) digest_before: [u8; 32],
    /// Why it is not published, the first 2048 bytes; `None` where it is.
    pub(crate) refused: Option<String>,
}

impl Change {
    /// A change that is to be published.
    fn published(before: &Snapshot, after: &Snapshot) -> Self {
        Self {
            version: after.version.clone(),
            digest: Some(after.digest),
            version_before: before.version.clone(),
            digest_before: before.digest,
            refused: None,
        }
    }

    /// A change that is not.
    fn refused(before: &Snapshot, refused: &Refused) -> Self {
        let mut reason = refused.errors.to_string();
        reason.truncate(reason.floor_char_boundary(REFUSED_BYTES_MAX));
        Self {
            version: (*refused.version).into(),
            digest: refused.digest,
            version_before: before.version.clone(),
            digest_before: before.digest,
            refused: Some(reason),
        }
    }
}

/// What was seen at the looks before.
pub(crate) struct Watched {
    paths: Vec<PathBuf>,
    stamp: Stamp,
    /// The errors that the log has.
    said: String,
    /// The content whose refusal was told; its digest is missing where the file could not be read.
    told: Option<Option<[u8; 32]>>,
}

impl Directory {
    /// Reads the file for the first time; also returns what [`Directory::follow`] has to watch.
    pub(crate) fn open(path: &Path) -> Result<(Self, Watched), ConfigErrors> {
        let loaded = file::load(path).map_err(|refused| refused.errors)?;
        let current = Arc::new(ArcSwap::from_pointee(loaded.snapshot));
        let (changed, _) = watch::channel(());
        // Nothing was seen yet: what changed since this reading, changed before it was watched.
        let watched = Watched { paths: loaded.paths, stamp: Stamp::new(), said: String::new(), told: None };
        let published = Arc::new(Published::now());
        Ok((Self { path: path.into(), current, changed, published }, watched))
    }

    /// The snapshot to decide on.
    pub(crate) fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// How it came to be in force.
    pub(crate) fn published(&self) -> &Published {
        &self.published
    }

    /// The snapshot itself, for tests that build on it.
    #[cfg(test)]
    pub(crate) fn load_owned(self) -> Arc<Snapshot> {
        Arc::into_inner(self.current).expect("nobody else follows it").into_inner()
    }

    /// Word of each published change.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Follows the files until the drain. `tell` is called with each change: with a published one just
    /// before requests are decided on it, with a refused one once for each content of the file. It must
    /// not block.
    pub(crate) async fn follow(
        self,
        mut watched: Watched,
        shutdown: Shutdown,
        tell: impl Fn(Change) + Send + Sync,
    ) {
        let mut ticks = tokio::time::interval(Duration::from_millis(POLL_MS));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.draining() => return,
                _ = ticks.tick() => {}
            }
            self.look(&mut watched, &tell).await;
        }
    }

    /// Looks at the files once.
    async fn look(&self, watched: &mut Watched, tell: &(impl Fn(Change) + Sync)) {
        let now = stamp(&watched.paths);
        // What was refused is tried again: a contract that it names may have come meanwhile.
        if now == watched.stamp && watched.said.is_empty() {
            return;
        }
        watched.stamp = now;
        let path = self.path.clone();
        // Compiling contracts takes milliseconds: off the runtime threads.
        let Ok(result) = tokio::task::spawn_blocking(move || file::load(&path)).await else { return };
        self.published.refused.store(result.is_err(), Ordering::Relaxed);
        match result {
            Ok(loaded) => {
                watched.said.clear();
                watched.told = None;
                if loaded.paths != watched.paths {
                    watched.paths = loaded.paths;
                    watched.stamp.clear();
                }
                self.publish(loaded.snapshot, tell);
            }
            Err(refused) => self.keep(&refused, watched, tell),
        }
    }

    /// Publishes a snapshot, unless it says what the current one says.
    fn publish(&self, snapshot: Snapshot, tell: &impl Fn(Change)) {
        let before = self.current.load();
        if before.digest == snapshot.digest {
            return;
        }
        if before.version == snapshot.version {
            tracing::warn!(version = %snapshot.version, "the directory changed but kept its version; evidence tells them apart by digest only");
        }
        tracing::info!(version = %snapshot.version, before = %before.version, "directory published");
        // Told first: no record of a decision on it comes before the record of the change itself.
        tell(Change::published(&before, &snapshot));
        self.current.store(Arc::new(snapshot));
        self.published.at_unix_us.store(Clock::system().unix_us(), Ordering::Relaxed);
        self.changed.send_replace(());
    }

    /// Keeps the current snapshot, and says why: each thing once, not at every look.
    fn keep(&self, refused: &Refused, watched: &mut Watched, tell: &impl Fn(Change)) {
        let current = self.current.load();
        let errors = refused.errors.to_string();
        if errors != watched.said {
            tracing::error!(kept = %current.version, "the changed directory is not published:\n{errors}");
            watched.said = errors;
        }
        if watched.told != Some(refused.digest) {
            watched.told = Some(refused.digest);
            tell(Change::refused(&current, refused));
        }
    }
}

/// Modification time and length of each file.
fn stamp(paths: &[PathBuf]) -> Stamp {
    paths
        .iter()
        .map(|path| {
            let seen = std::fs::metadata(path).and_then(|m| Ok((m.modified()?, m.len()))).ok();
            (path.clone(), seen)
        })
        .collect()
}

#[cfg(test)]
mod tests;
