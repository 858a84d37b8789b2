//! The future of a gateway that looks after the registry and, on a shared store, after the logs of the others. Nothing
//! waits for it; what it cannot do it tries again.

use std::{
    collections::{BTreeSet, HashMap},
    convert::Infallible,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};
use ura_proto::SystemId;
use ura_runtime::clock::Clock;

use super::{SealError, ending, list, stillness::Stillness};
use crate::{
    config::EvidenceConfig,
    keys::{EpochKeys, KeysError, LogKeys},
    lease::{Holder, Watch},
    registry::{Own, RegistryError, announce},
    store::{Address, LogRow, Reader, Store, StoreError},
};

/// Time between two looks.
const POLL: Duration = Duration::from_secs(1);

/// How long the lease of another's log is waited for: a process that stands still in the middle of a transaction locks
/// its row. The next log is looked at then.
const LOCK_WAIT: Duration = Duration::from_millis(500);

/// After how long such a log is tried again. Above the store's own limit for locks, so that attempts do not pile up.
const PUT_OFF: Duration = Duration::from_secs(6);

/// What is looked after, and by whom.
#[derive(Clone, Debug)]
pub struct WatchOthers {
    /// The store.
    pub address: Address,
    /// Folder of this gateway's log keys.
    pub log_keys: PathBuf,
    /// Folder of the epoch keys.
    pub keys: PathBuf,
    /// This gateway.
    pub gateway: SystemId,
    /// After how long without a sign of life a log is sealed.
    pub seal_after: Duration,
    /// Time between two looks.
    pub(super) poll: Duration,
}

impl WatchOthers {
    /// As the configuration says.
    ///
    /// # Errors
    /// The address is none of a store.
    pub fn new(config: &EvidenceConfig, gateway: SystemId) -> Result<Self, StoreError> {
        Ok(Self {
            address: Address::parse(&config.store)?,
            log_keys: config.log_keys.clone(),
            keys: config.keys.clone(),
            gateway,
            seal_after: Duration::from_millis(config.seal_after_ms),
            poll: POLL,
        })
    }
}

/// Looks each second: has the registry list this gateway's log and key, and each sealed log as such; and on a store that
/// is shared seals logs that nobody writes any more. `origin` gives the name of the log that this gateway writes at
/// present, which changes when it is sealed by another. Never ends; may be dropped at any time.
pub async fn watch_others(watch: WatchOthers, origin: impl Fn() -> Arc<str>, clock: Clock) -> Infallible {
    let still = Watch { still: watch.seal_after, poll: watch.poll };
    let mut watching = Watching {
        stillness: Stillness::new(still),
        connected: None,
        keys: None,
        epochs: None,
        listed: None,
        asked: HashMap::new(),
        told: HashMap::new(),
        clock,
        watch,
    };
    loop {
        let looked = Box::pin(watching.look(&origin())).await;
        watching.tell("the logs of the store cannot be looked after", "", looked.err());
        sleep(watching.watch.poll).await;
    }
}

/// Why a look came to nothing.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error("log keys could not be read: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

/// What the registry was last seen to tell all of: our log, its key, and which logs are sealed; and its version, behind
/// which somebody may have listed a key.
type Said = (String, String, BTreeSet<i64>, u64);

struct Watching {
    watch: WatchOthers,
    clock: Clock,
    stillness: Stillness,
    /// `None` where a connection may have been left in the middle of something.
    connected: Option<(Store, Reader)>,
    keys: Option<LogKeys>,
    epochs: Option<EpochKeys>,
    listed: Option<Said>,
    /// Tokens that were asked for, by log: the answer may have been lost, or the rest of the sealing failed.
    asked: HashMap<i64, i64>,
    /// The trouble that was told last, by what it is about.
    told: HashMap<String, String>,
}

impl Watching {
    /// Looks once.
    async fn look(&mut self, origin: &str) -> Result<(), LookError> {
        let own = self.own(origin).await?;
        let (mut store, reader) = match self.connected.take() {
            Some(connected) => connected,
            None => (Store::open(&self.watch.address).await?, Reader::open(&self.watch.address).await?),
        };
        let rows = reader.logs().await?;
        self.list(&mut store, &reader, &own, &rows).await;
        for row in self.due(&rows, &own.origin) {
            let sealed = Box::pin(self.seal(&mut store, &reader, &own, row)).await;
            let is_broken = matches!(
                &sealed,
                Err(SealError::Locked(_)
                    | SealError::Store(_)
                    | SealError::Registry(RegistryError::Store(_)))
            );
            if sealed.is_err() {
                let by = PUT_OFF.min(self.watch.seal_after);
                self.stillness.put_off(row, by, Instant::now());
            }
            self.tell("a log that nobody writes is not sealed", &row.origin, sealed.err());
            if is_broken {
                return Ok(());
            }
        }
        self.connected = Some((store, reader));
        Ok(())
    }

    /// This gateway's log, the newest key in its folder, and the epoch keys.
    async fn own(&mut self, origin: &str) -> Result<Own, LookError> {
        let (folder, name) = (self.watch.log_keys.clone(), origin.to_owned());
        let kept = self.keys.take().filter(|keys| keys.origin() == origin);
        let (epoch_folder, epochs) = (self.watch.keys.clone(), self.epochs.take());
        let read = move || {
            let keys = match kept {
                Some(keys) => keys.reload().map(|_| keys),
                None => LogKeys::read(&folder, &name),
            };
            let epochs = match epochs {
                Some(epochs) => epochs.reload().map(|_| epochs),
                None => EpochKeys::read(&epoch_folder),
            };
            Ok::<_, KeysError>((keys?, epochs?))
        };
        let (keys, epochs) = tokio::task::spawn_blocking(read).await??;
        let (origin, gateway) = (origin.to_owned(), self.watch.gateway.clone());
        let own = Own { origin, gateway, signer: keys.newest(), epochs: epochs.clone() };
        (self.keys, self.epochs) = (Some(keys), Some(epochs));
        Ok(own)
    }

    /// Has the registry tell what it may not tell yet.
    async fn list(&mut self, store: &mut Store, reader: &Reader, own: &Own, rows: &[LogRow]) {
        let listed = self.try_list(store, reader, own, rows).await;
        self.tell("the registry of logs cannot be written", "", listed.err());
    }

    async fn try_list(
        &mut self,
        store: &mut Store,
        reader: &Reader,
        own: &Own,
        rows: &[LogRow],
    ) -> Result<(), RegistryError> {
        let sealed = rows.iter().filter(|row| row.sealed).map(|row| row.log).collect();
        let version = reader.newest_registry().await?.map_or(0, |(version, _)| version);
        let said = (own.origin.clone(), own.signer.key().to_string(), sealed, version);
        if self.listed.as_ref() == Some(&said) {
            return Ok(());
        }
        let written = announce(store, reader, own, self.clock.unix_us()).await?;
        self.listed = Some((said.0, said.1, said.2, written.unwrap_or(version)));
        Ok(())
    }

    /// Logs to be sealed: those that stood still, and those that were taken for it already.
    fn due<'r>(&mut self, rows: &'r [LogRow], own: &str) -> Vec<&'r LogRow> {
        let mut due = self.stillness.look(rows, own, Instant::now());
        for row in rows.iter().filter(|row| self.is_taken(row) && !row.sealed && row.origin != own) {
            if !due.iter().any(|other| other.log == row.log) {
                due.push(row);
            }
        }
        due
    }

    /// Whether the lease is ours, taken to seal the log.
    fn is_taken(&self, row: &LogRow) -> bool {
        self.asked.get(&row.log) == Some(&row.token) && row.holder == Holder::own().to_string()
    }

    async fn seal(
        &mut self,
        store: &mut Store,
        reader: &Reader,
        own: &Own,
        row: &LogRow,
    ) -> Result<(), SealError> {
        let sound = ending::check(reader, &own.epochs, row).await?;
        let token = if self.is_taken(row) { row.token } else { self.take(store, row).await? };
        let reason = format!("no sign of life for {} s", self.watch.seal_after.as_secs());
        ending::end(store, reader, &sound, token, own, &reason, &self.clock).await?;
        self.asked.remove(&row.log);
        list(store, reader, own, &row.origin, &self.clock).await
    }

    /// Takes the lease, but does not wait long for whoever locks it.
    async fn take(&mut self, store: &mut Store, row: &LogRow) -> Result<i64, SealError> {
        self.asked.insert(row.log, ending::next_token(row));
        let taken = timeout(LOCK_WAIT, ending::take(store, row)).await;
        let taken = taken.map_err(|_| SealError::Locked(row.origin.clone()))??;
        if taken.is_none() {
            self.asked.remove(&row.log);
        }
        taken.ok_or_else(|| SealError::Taken(row.origin.clone()))
    }

    /// Logs an error where it is another one than before.
    fn tell(&mut self, what: &'static str, about: &str, error: Option<impl std::fmt::Display>) {
        let key = format!("{what}{about}");
        let Some(error) = error.map(|error| error.to_string()) else {
            self.told.remove(&key);
            return;
        };
        if self.told.get(&key) != Some(&error) {
            tracing::error!(log = about, %error, "{what}");
            self.told.insert(key, error);
        }
    }
}
