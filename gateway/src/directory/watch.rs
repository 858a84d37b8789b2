//! The directory as requests see it, and its renewal while the gateway runs: a changed file is
//! validated and published whole, or the old one is kept and the log says why.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use ura_runtime::{config::ConfigErrors, process::Shutdown};

use super::{Snapshot, file};

/// How often the files are looked at. A change takes effect within this time.
const POLL_MS: u64 = 200;

/// The current snapshot, and word of each change.
#[derive(Clone)]
pub(crate) struct Directory {
    path: Arc<Path>,
    current: Arc<ArcSwap<Snapshot>>,
    changed: watch::Sender<()>,
}

/// What a file looks like from outside.
type Stamp = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

impl Directory {
    /// Reads the file for the first time; also returns what [`Directory::follow`] has to watch.
    pub(crate) fn open(path: &Path) -> Result<(Self, Vec<PathBuf>), ConfigErrors> {
        let loaded = file::load(path)?;
        let current = Arc::new(ArcSwap::from_pointee(loaded.snapshot));
        let (changed, _) = watch::channel(());
        Ok((Self { path: path.into(), current, changed }, loaded.paths))
    }

    /// The snapshot to decide on.
    pub(crate) fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
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

    /// Follows the files until the drain.
    pub(crate) async fn follow(self, mut paths: Vec<PathBuf>, shutdown: Shutdown) {
        // Nothing was seen yet: what changed since the first reading, changed before it was watched.
        let mut seen = Stamp::new();
        let mut said = String::new();
        let mut ticks = tokio::time::interval(Duration::from_millis(POLL_MS));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.draining() => return,
                _ = ticks.tick() => {}
            }
            let now = stamp(&paths);
            // What was refused is tried again: a contract that it names may have come meanwhile.
            if now == seen && said.is_empty() {
                continue;
            }
            seen = now;
            let path = self.path.clone();
            // Compiling contracts takes milliseconds: off the runtime threads.
            let Ok(result) = tokio::task::spawn_blocking(move || file::load(&path)).await else { continue };
            match result {
                Ok(loaded) => {
                    said.clear();
                    if loaded.paths != paths {
                        paths = loaded.paths;
                        seen.clear();
                    }
                    self.publish(loaded.snapshot);
                }
                Err(errors) => {
                    let errors = errors.to_string();
                    // Said once, not at every look.
                    if errors != said {
                        let version = &self.current.load().version;
                        tracing::error!(kept = %version, "the changed directory is not published:\n{errors}");
                        said = errors;
                    }
                }
            }
        }
    }

    /// Publishes a snapshot, unless it says what the current one says.
    fn publish(&self, snapshot: Snapshot) {
        let before = self.current.load();
        if before.digest == snapshot.digest {
            return;
        }
        if before.version == snapshot.version {
            tracing::warn!(version = %snapshot.version, "the directory changed but kept its version; evidence tells them apart by digest only");
        }
        tracing::info!(version = %snapshot.version, before = %before.version, "directory published");
        self.current.store(Arc::new(snapshot));
        self.changed.send_replace(());
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
