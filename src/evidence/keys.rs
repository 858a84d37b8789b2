//! `ura evidence rotate-log-key`, `rotate-epoch-key` and `destroy-epoch-key`. No output holds a private key.

use std::path::{Path, PathBuf};

use ura_evidence::{
    keys::{EpochKey, EpochKeys, KeysError, LogKeys},
    store::{LogRow, Reader},
};
use ura_log::note::Key;
use ura_proto::v1::{KeyChange, entry::Kind};

use super::{
    announce::{announced, append},
    failure::{Ended, Failure, Verdict, say},
    place::Place,
};

/// Replace the key that signs a log
///
/// Makes a new key and announces it in the log. The gateway takes it up by itself: it signs the announcement with the
/// old key, and everything after it with the new one. Whoever trusts the old key can go on from there.
#[derive(Debug, clap::Args)]
pub(super) struct RotateLogKey {
    #[command(flatten)]
    place: Place,
}

impl RotateLogKey {
    /// Rotates and announces.
    pub(super) async fn run(self) -> Ended {
        let place = self.place.find()?;
        let config = place.config("the key lies in its log_keys folder")?;
        let reader = place.reader().await?;
        let log = place.log(&reader, None).await?;
        demand_open(&log)?;
        let keys = LogKeys::read(&config.evidence.log_keys, &log.origin)?;
        let known = announced(&reader, &log.origin).await?;
        if let Some(waiting) = keys.pending().into_iter().find(|key| known.contains(key)) {
            return Err(Failure::usage(format!(
                "key {waiting} is announced already and waits for its gateway to take it up; rotate again after that"
            )));
        }
        let epochs = place.marking_keys(None)?;
        let mut store = place.writer().await?;
        let (before, new) = keys.rotate()?;
        let change = KeyChange { log_key: new.to_string(), epoch: String::new(), before: before.to_string() };
        let index = append(&reader, &mut store, &log, &epochs, Kind::KeyChange(change)).await?;
        say_log_key(&log, index, &new)?;
        Ok(Verdict::Holds)
    }
}

fn say_log_key(log: &LogRow, index: u64, new: &Key) -> Result<(), Failure> {
    say(&new)?;
    super::failure::tell(&format!(
        "announced in entry {index} of {}; the gateway signs with it from then on, or when it starts. Give the line above to \
         those who verify the log",
        log.origin
    ));
    Ok(())
}

/// Begin a new epoch of salts and pseudonyms
///
/// Makes a new epoch key and announces it in all logs of the store: gateways that run take it up by themselves. Keys of
/// former epochs stay, so that what was recorded with them is still found.
#[derive(Debug, clap::Args)]
pub(super) struct RotateEpochKey {
    #[command(flatten)]
    place: Place,
    /// Folder of the epoch keys; the configuration's where it is not given
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
}

impl RotateEpochKey {
    /// Rotates and announces.
    pub(super) async fn run(self) -> Ended {
        let place = self.place.find()?;
        let keys = place.epoch_keys(self.keys.as_deref())?.ok_or_else(no_folder)?;
        let reader = place.reader().await?;
        let mut store = place.writer().await?;
        let before = keys.newest().id().to_owned();
        let new = keys.rotate()?.id().to_owned();
        say(&new)?;
        for log in reader.logs().await?.into_iter().filter(|log| !log.sealed) {
            let change = KeyChange { log_key: String::new(), epoch: new.clone(), before: before.clone() };
            let announced = append(&reader, &mut store, &log, &keys, Kind::KeyChange(change)).await;
            let index = announced.map_err(|error| {
                Failure::Content(format!(
                    "epoch key {new} was made, but not announced in {}: its gateway takes it up when it starts. {error}",
                    log.origin
                ))
            })?;
            super::failure::tell(&format!("epoch key {new} is announced in entry {index} of {}", log.origin));
        }
        Ok(Verdict::Holds)
    }
}

/// Destroy the key of a former epoch, for good
///
/// After that nobody can find its subjects, link its pseudonyms to persons, or check bytes against its digests without a
/// salt that was kept. Copies in backups and snapshots are out of reach of this command: they must go too. A key by which
/// a log of the store is marked as it stands is not destroyed: start that log's gateway first.
#[derive(Debug, clap::Args)]
pub(super) struct DestroyEpochKey {
    /// Id of the key, as openings name it (`epoch`)
    id: String,
    #[command(flatten)]
    place: Place,
    /// Folder of the epoch keys; the configuration's where it is not given
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// Yes, destroy it
    #[arg(long)]
    yes: bool,
}

impl DestroyEpochKey {
    /// Destroys, if it was said twice and no log needs the key.
    pub(super) async fn run(self) -> Ended {
        let place = self.place.is_named().then(|| self.place.find()).transpose()?;
        let folder = match (&self.keys, &place) {
            (Some(folder), _) => folder.clone(),
            (None, Some(place)) => place.config("its folder of epoch keys is needed")?.evidence.keys.clone(),
            (None, None) => return Err(no_folder()),
        };
        let keys = EpochKeys::read(&folder)?;
        let shown = folder.display();
        let Some(key) = keys.by_id(&self.id) else {
            let path = folder.clone();
            return Err(KeysError::Unknown { path, id: self.id }.into());
        };
        if !self.yes {
            let id = &self.id;
            return Err(Failure::usage(format!(
                "this destroys epoch key {id} in {shown}, and nothing brings it back: subjects of its epoch are never found \
                 again. If that is meant, add --yes"
            )));
        }
        match &place {
            // The newest is refused for what it is.
            Some(place) if keys.newest().id() != self.id => {
                let reader = place.reader().await?;
                let needing = needing(&reader, &key).await;
                reader.close().await;
                demand_none(&self.id, &needing?)?;
            }
            Some(_) => {}
            None => super::failure::tell(
                &"no store was named, so no log was asked whether it still needs this key; with --config, --dir or --store \
                 it is",
            ),
        }
        destroy(&keys, &self.id, &folder)?;
        Ok(Verdict::Holds)
    }
}

/// A log whose mark is made by a key, and how many of its entries no checkpoint covers.
type Needing = (String, u64);

/// The logs that need a key: the mark that stands is made by it. Without it nobody can tell whether this bus wrote what
/// is not signed, and nobody but the log's own gateway may append to it or end it. A log that was ended needs none.
async fn needing(reader: &Reader, key: &EpochKey) -> Result<Vec<Needing>, Failure> {
    let mut needing = Vec::new();
    for log in reader.logs().await?.into_iter().filter(|log| !log.sealed && log.size > 0) {
        let root = reader.frontier(log.log, log.size).await?.root();
        if key.mark(&log.origin, log.size, &root)[..] == log.mark[..] {
            let signed = reader.newest_checkpoint(log.log).await?.map_or(0, |newest| newest.size);
            needing.push((log.origin, log.size.saturating_sub(signed)));
        }
    }
    Ok(needing)
}

fn demand_none(id: &str, needing: &[Needing]) -> Result<(), Failure> {
    if needing.is_empty() {
        return Ok(());
    }
    let logs = needing.iter().map(|(origin, unsigned)| match unsigned {
        0 => origin.clone(),
        _ => format!("{origin} ({unsigned} of its entries are not signed)"),
    });
    Err(Failure::usage(format!(
        "epoch key {id} is still needed: the mark of {} is made by it. Without it those entries would count as written by \
         a stranger, and the log would not go on. Start the gateway of that log: it signs a checkpoint and marks the log \
         with the newest key (one that runs does so within a second). Then try again",
        logs.collect::<Vec<_>>().join(", ")
    )))
}

fn destroy(keys: &EpochKeys, id: &str, folder: &Path) -> Result<(), Failure> {
    keys.destroy(id)?;
    let left: Vec<String> = keys.all().iter().map(|key| key.id().to_owned()).collect();
    say(&format!("epoch key {id} is destroyed; left in {}: {}", folder.display(), left.join(", ")))
}

fn no_folder() -> Failure {
    Failure::usage("say where the epoch keys are: --config FILE, --dir DIR or --keys DIR")
}

/// Nothing can be said in a log that was ended.
fn demand_open(log: &LogRow) -> Result<(), Failure> {
    if log.sealed {
        return Err(Failure::usage(format!(
            "log {} is sealed: nothing is written to it any more",
            log.origin
        )));
    }
    Ok(())
}
