//! One checkpoint where no gateway writes the log: an operator's command signs what it left in it, as the gateway would
//! at its next start. Takes the lease for that moment, so that nobody signs beside it; knows no entry.

use std::time::Duration;

use super::{
    AppendError, EvidenceError, LeaseError,
    log_state::Signing,
    setup::{acquire, begun},
};
use crate::{
    config::EvidenceConfig,
    keys::{EpochKeys, KeysError, LogKeys},
    lease::{Candidate, Holder, Watch},
    store::{Address, LogRow, Reader, Store},
};

/// Who signs what of a log was not signed.
#[derive(Debug)]
pub enum Signed {
    /// This command did.
    Here {
        /// Entries under the checkpoint.
        size: u64,
        /// Why the checkpoint is not held beside the log key, where it is not: it stands in the store all the same.
        unheld: Option<KeysError>,
    },
    /// Nothing was left to be signed.
    Already,
    /// A process that writes the log, or has just taken or sealed it: it signs by itself. On PostgreSQL also one that
    /// ended without giving the lease back: by that other gateways see that the log is to be sealed.
    ItsWriter,
}

/// Signs what of a log is not signed yet, with the newest key of the folder `log_keys`, unless somebody writes the log.
/// The log is checked as at a start. `log` is that of the configuration's origin, or of a later generation of it, as
/// it stands now. A holder of a log in SQLite that cannot be seen from here is watched for five seconds.
///
/// # Errors
/// [`EvidenceError::Keys`] where the key cannot be read, else as at a start: the log was rolled back or altered, or the
/// store says no. Nothing is signed then, and the lease is given back.
pub async fn sign(
    store: &mut Store,
    reader: &Reader,
    log: &LogRow,
    config: &EvidenceConfig,
    epochs: &EpochKeys,
    now_us: i64,
) -> Result<Signed, EvidenceError> {
    let is_free = log.token == 0 && log.previous_token == 0;
    if Address::parse(&config.store)?.is_shared() && !is_free {
        return Ok(Signed::ItsWriter);
    }
    // A command makes no key where the log has none here.
    LogKeys::read(&config.log_keys, &log.origin)?;
    let mut candidate = Candidate {
        holder: Holder::own(),
        origin: config.origin.clone(),
        gateway: log.gateway.clone(),
        take_over: false,
        watch: Watch::default(),
        asked: None,
    };
    let acquired = acquire(store, &mut candidate, reader, &config.log_keys, epochs).await;
    let (row, checked, lease) = match acquired {
        Err(EvidenceError::Lease(
            LeaseError::InUse { .. } | LeaseError::HandingOver { .. } | LeaseError::Contended { .. },
        )) => return Ok(Signed::ItsWriter),
        acquired => acquired?,
    };
    let (keys, mut state) = begun(&row, checked, epochs, &lease);
    let signing = Signing { signer: keys.newest(), interval: Duration::ZERO, now: true, keep: false };
    let appended = state.append(store, &mut [], &signing, now_us, |_| ()).await;
    let signed = match appended {
        Ok(appended) => Ok(appended.note.map_or(Signed::Already, |note| Signed::Here {
            size: state.size(),
            unheld: keys.write_held(&note).err(),
        })),
        Err(error) if AppendError::is_fenced(&error) => Ok(Signed::ItsWriter),
        Err(error) => Err(error.into()),
    };
    if let Err(error) = store.release(row.log, lease.token).await {
        tracing::warn!(%error, "the lease of the log could not be given back");
    }
    signed
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ura_log::checkpoint;

    use super::*;
    use crate::{
        sample::{ORIGIN, Sample, postgres::Postgres},
        store::{Appender, NewLease, StoreError},
    };

    fn config(store: &str, sample: &Sample, log_keys: &Path) -> EvidenceConfig {
        EvidenceConfig {
            store: store.to_owned(),
            keys: sample.keys_folder(),
            log_keys: log_keys.to_path_buf(),
            origin: ORIGIN.to_owned(),
            queue_entries_max: 1,
            batch_entries_max: 1,
            checkpoint_interval_ms: 1000,
            seal_after_ms: 5000,
        }
    }

    async fn row(sample: &mut Sample) -> LogRow {
        sample.store.log(ORIGIN, "ais/gateway").await.expect("registered")
    }

    /// Signs the log as it stands.
    async fn signed(sample: &mut Sample, config: &EvidenceConfig) -> Result<Signed, EvidenceError> {
        let (log, reader, epochs) = (row(sample).await, sample.reader().await, sample.keys.clone());
        let signed = Box::pin(sign(&mut sample.store, &reader, &log, config, &epochs, 7)).await;
        reader.close().await;
        signed
    }

    async fn what_is_right_is_signed_once(sample: &mut Sample, config: &EvidenceConfig) {
        sample.append(&Sample::gaps(300)).await;
        let missing = signed(sample, config).await;
        assert!(matches!(missing, Err(EvidenceError::Keys(_))), "{missing:?}");
        assert!(!config.log_keys.exists(), "no key is made");
        let keys = LogKeys::open(&config.log_keys, ORIGIN).expect("keys");
        let here = signed(sample, config).await.expect("signed");
        assert!(matches!(here, Signed::Here { size: 300, unheld: None }), "{here:?}");
        let reader = sample.reader().await;
        let newest = reader.newest_checkpoint(sample.log).await.expect("read").expect("there");
        reader.close().await;
        let (root, _) = checkpoint::open(&newest.note, &keys.keys()).expect("signed");
        assert_eq!((root.size, root.root), (300, sample.frontier.root()));
        assert_eq!(keys.read_held().expect("readable"), Some(newest.note));
        let again = signed(sample, config).await.expect("looked");
        assert!(matches!(again, Signed::Already), "{again:?}");
        assert_eq!(row(sample).await.token, 0, "the lease is given back");
    }

    async fn what_others_inserted_is_not_signed(sample: &mut Sample, config: &EvidenceConfig) {
        let mut append = sample.store.begin(sample.log, Appender::Guest, 1, 1).await.expect("begins");
        append.insert(&Sample::gaps(1)).await.expect("inserts");
        append.mark(&[8; 32]).await.expect("marks");
        append.commit().await.expect("commits");
        let foreign = signed(sample, config).await;
        assert!(matches!(foreign, Err(EvidenceError::Store(StoreError::Foreign { .. }))), "{foreign:?}");
        assert_eq!(row(sample).await.token, 0);
    }

    #[tokio::test]
    async fn on_sqlite() {
        let mut sample = Sample::sqlite().await;
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = format!("sqlite:{}", sample.keys_folder().with_file_name("evidence.db").display());
        let config = config(&store, &sample, &dir.path().join("log-keys"));
        what_is_right_is_signed_once(&mut sample, &config).await;
        what_others_inserted_is_not_signed(&mut sample, &config).await;
    }

    #[tokio::test]
    async fn on_postgres() {
        let server = Postgres::start(&[]);
        let (dir, keys) = (tempfile::tempdir(), tempfile::tempdir().expect("temporary folder"));
        let mut sample = Sample::at(dir.expect("temporary folder"), &server.url(), ORIGIN).await;
        let config = config(&server.url(), &sample, &keys.path().join("log-keys"));
        what_is_right_is_signed_once(&mut sample, &config).await;
        // One that ended without a word: others seal its log, so its lease stays.
        let seen = row(&mut sample).await;
        let (holder, token) = ("boot/pid:[1]/7/8".to_owned(), seen.last_token + 1);
        let lease = NewLease { token, holder, previous_token: 0, previous_holder: String::new() };
        assert!(sample.store.take(sample.log, &seen, &lease).await.expect("takes"));
        sample.append(&Sample::gaps(1)).await;
        let left = signed(&mut sample, &config).await.expect("looked");
        assert!(matches!(left, Signed::ItsWriter), "{left:?}");
        assert_eq!(row(&mut sample).await.token, token);
        sample.store.release(sample.log, token).await.expect("released");
        let here = signed(&mut sample, &config).await.expect("signed");
        assert!(matches!(here, Signed::Here { size: 301, .. }), "{here:?}");
        what_others_inserted_is_not_signed(&mut sample, &config).await;
    }
}
