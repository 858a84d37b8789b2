//! `ura evidence prune`: bodies of entries whose time is over are removed, as the directory says, or as the
//! operator does.

use std::{collections::BTreeMap, path::PathBuf};

use ura_evidence::{
    prune::{PruneError, PrunedContract, Retention, prune},
    store::{LogRow, Reader},
};
use ura_gateway::Outline;
use ura_runtime::clock::Clock;

use super::{
    facts::time,
    failure::{Ended, Failure, Verdict, say, tell},
    find::unix_us,
    place::{Found, Place},
};

const DAY_US: i64 = 86_400_000_000;

/// Remove entries whose time is over
///
/// Without --contract: of each contract for which the directory says `retention_days`, exchanges that are older. Only the
/// bodies go, with all that entries are searched by; their hashes stay, so that the log still verifies, and each removal
/// is an entry of its own. Exchanges that have not ended stay.
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
