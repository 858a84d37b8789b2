//! `ura evidence prune`: bodies of entries whose time is over are removed, as the directory says, or as the
//! operator does.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use tokio::time::Instant;
use ura_evidence::{
    keys::EpochKeys,
    prune::{PruneError, PrunedContract, Retention, prune},
    store::{LogRow, Reader, Store},
    writer::{self, EvidenceError, Signed},
};
use ura_gateway::Outline;
use ura_runtime::clock::Clock;

use super::{
    facts::time,
    failure::{Ended, Failure, Verdict, say, tell},
    find::unix_us,
    place::{Found, Place, generation},
};

const DAY_US: i64 = 86_400_000_000;

/// How long is waited for the checkpoint of a gateway that runs: as a rule it comes within a second.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often is looked meanwhile.
const POLL: Duration = Duration::from_millis(100);

/// Remove entries whose time is over
///
/// Without --contract: of each contract for which the directory says `retention_days`, exchanges that are older. Only the
/// bodies go, with all that entries are searched by; their hashes stay, so that the log still verifies, and each removal
/// is an entry of its own. Exchanges that have not ended stay. Where no gateway writes the log this command signs the
/// removals, with the newest key of the folder of log keys.
#[derive(Debug, clap::Args)]
pub(super) struct Prune {
    #[command(flatten)]
    place: Place,
    /// Only this log; all of the store where it is not given
    #[arg(long, value_name = "ORIGIN")]
    log: Option<String>,
    /// Only exchanges of this contract, whatever the directory says
    #[arg(long, value_name = "CONTRACT", requires = "before")]
    contract: Option<String>,
    /// Exchanges opened before this time, such as 2016-01-01T00:00:00Z
    #[arg(long, value_name = "RFC3339", value_parser = unix_us, requires = "contract")]
    before: Option<i64>,
    /// Folder of the epoch keys; the configuration's where it is not given
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// Remove nothing, say what would be removed
    #[arg(long)]
    dry_run: bool,
}

impl Prune {
    /// Removes, and says what.
    pub(super) async fn run(self) -> Ended {
        let place = self.place.find()?;
        let now_us = Clock::system().unix_us();
        let contracts = match (&self.contract, self.before) {
            (Some(contract), Some(before_us)) => vec![(contract.clone(), before_us)],
            _ => due(&directory(&place)?, now_us),
        };
        if contracts.is_empty() {
            tell(&"the directory has no contract with retention_days: entries are kept for good");
            return Ok(Verdict::Holds);
        }
        let epochs = place.marking_keys(self.keys.as_deref())?;
        let reader = place.reader().await?;
        for log in self.logs(&place, &reader).await? {
            let mut store = place.writer().await?;
            say(&format!("log {}", log.origin))?;
            let done = |_: &PrunedContract| {};
            let retention = Retention { contracts: &contracts, now_us, dry_run: self.dry_run };
            let pruning = prune(&mut store, &reader, &log, &epochs, retention, done);
            let pruned = Box::pin(pruning).await;
            for (pruned, (_, before_us)) in pruned.map_err(failed)?.contracts.iter().zip(&contracts) {
                say(&line(pruned, *before_us, self.dry_run))?;
            }
            if !self.dry_run
                && let Some(left) = Box::pin(sign(&place, &reader, &mut store, &log.origin, &epochs)).await?
            {
                tell(&left);
            }
        }
        Ok(Verdict::Holds)
    }

    /// The logs in which something can be removed.
    async fn logs(&self, place: &Found, reader: &Reader) -> Result<Vec<LogRow>, Failure> {
        if let Some(origin) = &self.log {
            return Ok(vec![place.log(reader, Some(origin)).await?]);
        }
        let (sealed, open): (Vec<_>, Vec<_>) = reader.logs().await?.into_iter().partition(|log| log.sealed);
        for log in sealed {
            tell(&format!(
                "log {} is sealed: a removal could not be recorded in it, so nothing is removed",
                log.origin
            ));
        }
        Ok(open)
    }
}

/// Has the removals signed, without which nobody vouches for them: by this command where no gateway writes the log, else
/// by its gateway. Returns what is left to be done.
pub(super) async fn sign(
    place: &Found,
    reader: &Reader,
    store: &mut Store,
    origin: &str,
    epochs: &EpochKeys,
) -> Result<Option<String>, Failure> {
    let Some(log) = reader.log_by_origin(origin).await?.filter(|log| !log.sealed) else { return Ok(None) };
    if is_signed(reader, &log).await? {
        return Ok(None);
    }
    let own = place.config.as_ref().map(|config| &config.evidence);
    let mut is_written = log.token != 0 || log.previous_token != 0;
    let why = match own.filter(|own| generation(origin, &own.origin).is_some()) {
        Some(own) => match writer::sign(store, reader, &log, own, epochs, Clock::system().unix_us()).await {
            Ok(Signed::Here { unheld, .. }) => {
                return Ok(
                    unheld.map(|error| format!("the checkpoint is not held beside the log key: {error}"))
                );
            }
            Ok(Signed::Already) => return Ok(None),
            Ok(Signed::ItsWriter) => {
                is_written = true;
                "the process that holds the log has not signed them yet".to_owned()
            }
            Err(EvidenceError::Keys(error)) => error.to_string(),
            Err(EvidenceError::Store(error)) => return Err(error.into()),
            Err(error) => return Err(Failure::Content(error.to_string())),
        },
        None if own.is_some() => format!("it is the log of another gateway, {}", log.gateway),
        None => "its log key is found by the configuration of its gateway, --config FILE".to_owned(),
    };
    if is_written && soon_signed(reader, &log).await? {
        return Ok(None);
    }
    Ok(Some(format!(
        "log {origin}: its last entries are not signed, and while removals are among them `ura evidence verify` does not \
         hold: {why}. Start the gateway of this log, which signs them, or run `ura evidence prune` again with its configuration \
         and as its user"
    )))
}

/// Whether a checkpoint covers all that was in a log.
async fn is_signed(reader: &Reader, log: &LogRow) -> Result<bool, Failure> {
    Ok(reader.newest_checkpoint(log.log).await?.is_some_and(|newest| newest.size >= log.size))
}

/// Waits for the checkpoint of a gateway that writes the log.
async fn soon_signed(reader: &Reader, log: &LogRow) -> Result<bool, Failure> {
    let until = Instant::now() + PATIENCE;
    while !is_signed(reader, log).await? {
        if Instant::now() >= until {
            return Ok(false);
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(true)
}

fn directory(place: &Found) -> Result<BTreeMap<String, Option<u32>>, Failure> {
    let config = place.config("which entries go stands in the directory; or give --contract and --before")?;
    Ok(Outline::read(&config.directory)?.retention_days)
}

/// The contracts whose records end, each with the time before which they do.
fn due(retention_days: &BTreeMap<String, Option<u32>>, now_us: i64) -> Vec<(String, i64)> {
    let limited = retention_days.iter().filter_map(|(contract, days)| Some((contract, (*days)?)));
    limited
        .map(|(contract, days)| (contract.clone(), now_us.saturating_sub(i64::from(days) * DAY_US)))
        .collect()
}

/// What became of a contract.
fn line(pruned: &PrunedContract, before_us: i64, dry_run: bool) -> String {
    let would = if dry_run { "would be removed" } else { "removed" };
    let PrunedContract { contract, exchanges, entries, open, too_long } = pruned;
    let mut line = format!(
        "  {contract}, opened before {}: {exchanges} exchanges with {entries} entries {would}",
        time(before_us)
    );
    if *open > 0 {
        line.push_str(&format!(", {open} stay because they have not ended"));
    }
    if *too_long > 0 {
        line.push_str(&format!(", {too_long} stay because they have too many entries to be removed at once"));
    }
    line
}

fn failed(error: PruneError) -> Failure {
    match error {
        PruneError::Store(error) => error.into(),
        PruneError::Future { contract, before_us, .. } => {
            Failure::usage(format!("{contract}: --before must be in the past, not {}", time(before_us)))
        }
        error => Failure::Usage(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_contracts_with_a_time_are_due() {
        let table = BTreeMap::from([
            ("a.A".to_owned(), Some(1)),
            ("b.B".to_owned(), None),
            ("c.C".to_owned(), Some(36_500)),
        ]);
        assert_eq!(
            due(&table, 2 * DAY_US),
            [("a.A".to_owned(), DAY_US), ("c.C".to_owned(), -36_498 * DAY_US)]
        );
        assert_eq!(due(&BTreeMap::new(), 0), []);
    }

    #[test]
    fn lines() {
        let pruned =
            PrunedContract { contract: "a.A".into(), exchanges: 2, entries: 5, open: 1, too_long: 0 };
        let expected = "  a.A, opened before 1970-01-01T00:00:00Z: 2 exchanges with 5 entries would be removed, 1 stay \
                        because they have not ended";
        assert_eq!(line(&pruned, 0, true), expected);
        assert!(line(&pruned, 0, false).contains("entries removed"));
    }
}
