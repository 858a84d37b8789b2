//! The evidence store, the log in it and its keys: whether they can be read and written, whether the log is signed to
//! its end, what is missing in it, when it was verified. Reads only.

use std::{
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use ura_evidence::{
    config::EvidenceConfig,
    entry::kind,
    find::{self, Found},
    keys::{EpochKeys, LogKeys},
    store::{Address, Filter, LogRow, Reader, StoreError},
};
use ura_proto::v1::entry::Kind;
use ura_runtime::{clock::Clock, process::chain};

use super::{
    disk,
    finding::{Finding, Report},
};
use crate::evidence::generation;

/// Records are signed at most so long after they were made, in milliseconds; the interval of the configuration is added.
const UNSIGNED_MS_MAX: u64 = 2_000;
/// How often that is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Gaps are told for so long, in microseconds: a week.
const GAPS_US: i64 = 7 * 86_400_000_000;
/// Gaps that are counted.
const GAPS_MAX: u32 = 100;
/// A verification older than this is a warning, in seconds: one each night, and some delay.
const VERIFIED_S_MAX: i64 = 36 * 3600;

/// What the newest entries say of the gateway that runs.
#[derive(Debug, Default)]
pub(super) struct Running {
    /// Version of its program.
    pub(super) program: Option<String>,
    /// Version of its directory.
    pub(super) directory: Option<String>,
    /// Why a changed directory was not taken, where that was the last change.
    pub(super) refused: Option<String>,
}

/// Looks at everything; returns what the log says of its gateway.
pub(super) async fn check(config: &EvidenceConfig, clock: &Clock, report: &mut Report) -> Option<Running> {
    if let Some(file) = config.store.strip_prefix("sqlite:") {
        let file = file.split('?').next().unwrap_or(file);
        report.add(disk::check("store", Path::new(file)));
    }
    report.add(disk::check("log keys", &config.log_keys));
    report.add(match EpochKeys::read(&config.keys) {
        Ok(keys) => Finding::ok("epoch keys", format!("{} in {}", keys.all().len(), config.keys.display())),
        Err(error) => Finding::problem("epoch keys", error, "the gateway does not start like this: see Keys"),
    });
    let read = async {
        let address = Address::parse(&config.store)?;
        let reader = Reader::open(&address).await?;
        report.add(Finding::ok("store", format!("{address} is there, its tables are this version's")));
        report.add(match reader.check_sync(&address).await {
            Ok(()) => Finding::ok("syncs", "each commit is on disk when it returns"),
            Err(error) => Finding::problem("syncs", &error, advice(&error)),
        });
        let running = log(&reader, config, clock, report).await;
        reader.close().await;
        running
    };
    match read.await {
        Ok(running) => Some(running),
        Err(error) => {
            report.add(Finding::problem("store", &error, advice(&error)));
            // The modes of the keys are looked at all the same.
            log_keys(config, &config.origin, report);
            None
        }
    }
}

/// What to do about a store.
const fn advice(error: &StoreError) -> &'static str {
    match error {
        StoreError::Address { .. } => {
            "the gateway makes it on its first start; if it ran before, `store` names the wrong place or a disk is not mounted"
        }
        StoreError::NotSynced { .. } => "take the setting out, then restart the gateway",
        StoreError::Format { .. } => "run the version of ura that made it, or name another store",
        StoreError::Gone(_) => "start the database, or mend `store`; the gateway goes on by itself then",
        StoreError::Busy(_) => "ask again; if it stays so, see who holds a lock on the database",
        StoreError::Altered { .. } | StoreError::Foreign { .. } => {
            "keep the store as it is, run `ura evidence verify`, and tell those who hold checkpoints"
        }
        _ => "see the gateway's log, and `When it cannot be written`",
    }
}

/// The newest log of the gateway.
async fn log(
    reader: &Reader,
    config: &EvidenceConfig,
    clock: &Clock,
    report: &mut Report,
) -> Result<Running, StoreError> {
    let logs = reader.logs().await?;
    let ours = logs.into_iter().filter_map(|log| Some((generation(&log.origin, &config.origin)?, log)));
    let Some((_, log)) = ours.max_by_key(|(generation, _)| *generation) else {
        let what = format!("the store has no log {}", config.origin);
        report.add(Finding::warning("log", what, "the gateway begins it when it starts: start it"));
        return Ok(Running::default());
    };
    report.add(if log.sealed {
        let what = format!("{} is sealed: another gateway gave this one up", log.origin);
        Finding::problem(
            "log",
            what,
            "start the gateway: it goes on in a log of its own, whose key members need",
        )
    } else if log.token == 0 {
        let what = format!("nobody writes {} ({} entries)", log.origin, log.size);
        Finding::warning("log", what, "start the gateway")
    } else {
        Finding::ok("log", format!("{} has {} entries", log.origin, log.size))
    });
    checkpoint(reader, &log, config, clock, report).await?;
    if let Some(held) = log_keys(config, &log.origin, report) {
        // Read after the note: the log may have grown since it was read, and the note with it.
        let now = reader.logs().await?.into_iter().find(|row| row.log == log.log);
        report.add(rollback(held, now.map_or(0, |row| row.size)));
    }
    entries(reader, &log, clock, report).await
}

/// Whether the log is signed to its end. A gateway that runs signs in a moment what has just come.
async fn checkpoint(
    reader: &Reader,
    log: &LogRow,
    config: &EvidenceConfig,
    clock: &Clock,
    report: &mut Report,
) -> Result<(), StoreError> {
    let patience = Duration::from_millis(UNSIGNED_MS_MAX + config.checkpoint_interval_ms);
    let until = tokio::time::Instant::now() + patience;
    let newest = loop {
        let newest = reader.newest_checkpoint(log.log).await?;
        let signed = newest.as_ref().map_or(0, |checkpoint| checkpoint.size);
        if signed >= log.size || log.token == 0 || tokio::time::Instant::now() >= until {
            break newest;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    };
    let todo = "start the gateway; if it runs, its log says why it does not sign";
    report.add(match newest {
        None => Finding::warning("checkpoint", "there is none yet", todo),
        Some(newest) => {
            let age = age(clock.unix_us().saturating_sub(newest.signed_us) / 1_000_000);
            match log.size.saturating_sub(newest.size) {
                0 => Finding::ok("checkpoint", format!("{age} old, covers all {} entries", newest.size)),
                left => {
                    let what = format!("{age} old, {left} entries after it are not signed");
                    Finding::problem("checkpoint", what, todo)
                }
            }
        }
    });
    Ok(())
}

/// The keys that sign and their modes; how many entries the checkpoint covers that is held beside them.
fn log_keys(config: &EvidenceConfig, origin: &str, report: &mut Report) -> Option<u64> {
    let keys = match LogKeys::read(&config.log_keys, origin) {
        Ok(keys) => keys,
        Err(error) => {
            let todo = "the gateway does not start like this: see Keys";
            report.add(Finding::problem("log keys", error, todo));
            return None;
        }
    };
    let what = format!("{} of {origin}, in {}", keys.keys().len(), config.log_keys.display());
    report.add(Finding::ok("log keys", what));
    match keys.read_held() {
        // The size of the tree stands in the second line (<https://c2sp.org/tlog-checkpoint>).
        Ok(held) => held.and_then(|note| note.lines().nth(1)?.parse().ok()),
        Err(error) => {
            let todo = "without it a log that was rolled back is not found out: mend its mode";
            report.add(Finding::problem("rollback", error, todo));
            None
        }
    }
}

/// Whether the store has what the checkpoint beside the keys covers; both in entries.
fn rollback(held: u64, size: u64) -> Finding {
    if held > size {
        let what = format!("the checkpoint held beside the keys covers {held} entries, the store has {size}");
        return Finding::problem("rollback", what, "somebody put back an old store: see Backup and restore");
    }
    Finding::ok("rollback", "the store has all that the checkpoint beside the keys covers")
}

/// What stands in the log: gaps, and how the gateway was started.
async fn entries(
    reader: &Reader,
    log: &LogRow,
    clock: &Clock,
    report: &mut Report,
) -> Result<Running, StoreError> {
    let newest = async |kind, from_us, limit| {
        let filter = Filter { log: Some(log.log), kind: Some(kind), from_us, ..Filter::default() };
        find::find(reader, &filter, None, limit).await.map(|page| page.entries)
    };
    let read = async {
        let week_ago = Some(clock.unix_us().saturating_sub(GAPS_US));
        Ok::<_, find::ReadError>((
            newest(kind::GAP, week_ago, GAPS_MAX).await?,
            newest(kind::STARTED, None, 1).await?,
            newest(kind::DIRECTORY_CHANGE, None, 1).await?,
        ))
    };
    let (gaps, started, changed) = match read.await {
        Ok(read) => read,
        Err(error) => {
            let todo = "keep the store as it is, and run `ura evidence verify`";
            report.add(Finding::problem("log", chain(&error), todo));
            return Ok(Running::default());
        }
    };
    report.add(gap(&gaps));
    Ok(running(started.first(), changed.first()))
}

fn gap(gaps: &[Found]) -> Finding {
    let refused: u64 = gaps
        .iter()
        .filter_map(|found| match &found.entry()?.kind {
            Some(Kind::Gap(gap)) => Some(gap.refused),
            _ => None,
        })
        .sum();
    if gaps.is_empty() {
        return Finding::ok("gaps", "none in the last seven days");
    }
    let what = format!("{} in the last seven days, {refused} calls were refused", gaps.len());
    Finding::warning(
        "gaps",
        what,
        "`ura evidence find --kind gap` tells when; the gateway's log of that time, why",
    )
}

fn running(started: Option<&Found>, changed: Option<&Found>) -> Running {
    let mut running = Running::default();
    if let Some(Kind::Started(entry)) = started.and_then(|found| found.entry()?.kind.as_ref()) {
        running.program = Some(entry.program.clone());
        running.directory = Some(entry.directory_version.clone());
    }
    let later = match (started, changed) {
        (Some(started), Some(changed)) => changed.index > started.index,
        _ => false,
    };
    if let Some(Kind::DirectoryChange(change)) = changed.and_then(|found| found.entry()?.kind.as_ref())
        && later
    {
        if change.refused.is_empty() {
            running.directory = Some(change.version.clone());
        } else {
            running.directory = Some(change.version_before.clone());
            running.refused = Some(change.refused.clone());
        }
    }
    running
}

/// What the file says into which the last verification wrote.
pub(super) fn verified(file: Option<&Path>, now_unix_s: i64) -> Finding {
    const CHECK: &str = "verified";
    const ADVICE: &str =
        "let `ura evidence verify` write into a file every night, and name it with --verified";
    let Some(file) = file else {
        return Finding::warning(CHECK, "it is not known when the log was verified last", ADVICE);
    };
    let shown = file.display();
    let read =
        std::fs::read_to_string(file).and_then(|text| Ok((text, std::fs::metadata(file)?.modified()?)));
    let (text, written) = match read {
        Ok(read) => read,
        Err(error) => return Finding::warning(CHECK, format!("{shown} cannot be read: {error}"), ADVICE),
    };
    let written_s = written.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let age_s = now_unix_s.saturating_sub(i64::try_from(written_s).unwrap_or(i64::MAX));
    let verdicts: Vec<_> = text.lines().filter_map(|line| line.trim().strip_prefix("verdict ")).collect();
    let holds = |verdict: &&str| {
        let verdict = verdict.trim();
        verdict.starts_with("holds") || verdict.starts_with("agrees")
    };
    match verdicts.iter().find(|verdict| !holds(verdict)) {
        Some(verdict) => {
            let what = format!("{} ago: {}", age(age_s), verdict.trim());
            Finding::problem(CHECK, what, format!("read {shown}, and keep the store as it is"))
        }
        None if verdicts.is_empty() => Finding::problem(
            CHECK,
            format!("{shown} holds no verdict: it broke off"),
            "verify again, by hand",
        ),
        None if age_s > VERIFIED_S_MAX => {
            let what = format!("{} ago, and it held", age(age_s));
            Finding::warning(CHECK, what, "see why the nightly verification did not run")
        }
        None => Finding::ok(CHECK, format!("{} ago, and it held", age(age_s))),
    }
}

/// A time in the largest unit that is not too coarse.
fn age(s: i64) -> String {
    match s {
        ..120 => format!("{s} s"),
        120..7200 => format!("{} min", s / 60),
        7200..172_800 => format!("{} h", s / 3600),
        _ => format!("{} days", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use ura_evidence::{entry::Row, store::StoredRow};
    use ura_proto::v1::Gap;

    use super::{super::finding::Level, *};

    #[test]
    fn the_last_verification_is_read() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let file = dir.path().join("verify.txt");
        let now_s = Clock::system().unix_us() / 1_000_000;
        assert_eq!(verified(None, now_s).level, Level::Warning);
        assert_eq!(verified(Some(&file), now_s).level, Level::Warning);
        for (text, later_s, level) in [
            ("log a\n  verdict           holds\n", 60, Level::Ok),
            ("  verdict   holds\n", 200_000, Level::Warning),
            ("  verdict   holds\n  verdict   does not hold\n", 60, Level::Problem),
            ("log a\n", 60, Level::Problem),
        ] {
            std::fs::write(&file, text).expect("written");
            let found = verified(Some(&file), now_s + later_s);
            assert_eq!(found.level, level, "{text}: {found:?}");
        }
    }

    #[test]
    fn gaps_are_counted() {
        assert_eq!(gap(&[]).level, Level::Ok);
        let row = Row::new(None, 1, Kind::Gap(Gap { refused: 7, ..Gap::default() }));
        let stored = StoredRow {
            index: 0,
            leaf: row.leaf,
            columns: row.columns,
            removed_by: 0,
            body: Some(row.body),
            subjects: Vec::new(),
        };
        let found = gap(&[Found::of(&"l.example".into(), stored).expect("an entry")]);
        assert_eq!(found.level, Level::Warning);
        assert!(found.what.contains("1 in the last seven days, 7 calls"), "{found:?}");
    }

    #[test]
    fn times() {
        for (s, text) in [(1, "1 s"), (119, "119 s"), (600, "10 min"), (7200, "2 h"), (864_000, "10 days")] {
            assert_eq!(age(s), text);
        }
    }
}
