//! What verification finds of the registry: whether its versions form one chain, who vouches for them, and whether the
//! logs are what they list. Memory grows with versions and logs, not with entries.

use std::{collections::HashMap, fmt};

use ura_log::{Hash, note::Key};
use ura_proto::v1::entry::Kind;

use super::{Listed, Registry, signers};
use crate::{
    entry::kind,
    store::{Cursor, Filter, LogRow, Reader, StoreError},
    verify::{Place, Problem},
};

/// Most versions that are read.
const VERSIONS_MAX: u64 = 100_000;

/// Most problems that are listed; what follows is only counted.
const PROBLEMS_MAX: usize = 100;

/// Entries that are read at once.
const ENTRIES_AT_ONCE: u32 = 512;

/// Something about the registry that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryProblem {
    /// The version in question; `None` where it is the registry as a whole.
    pub version: Option<u64>,
    /// The log in question.
    pub origin: Option<String>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for RegistryProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("registry")?;
        self.version.map_or(Ok(()), |version| write!(f, " version {version}"))?;
        self.origin.as_ref().map_or(Ok(()), |origin| write!(f, ", log {origin:?}"))?;
        write!(f, ": {}", self.what)
    }
}

impl From<RegistryProblem> for Problem {
    fn from(problem: RegistryProblem) -> Self {
        Self { place: Place::Log, file: None, what: problem.to_string() }
    }
}

/// What was found of a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistryReport {
    /// The newest version; 0 where there is none.
    pub newest: u64,
    /// The newest version that a trusted key vouches for: it, and all before it, are what a gateway wrote whose key was
    /// given or is listed in a version so vouched for.
    pub vouched: u64,
    /// The logs as the newest version lists them.
    pub logs: Vec<Listed>,
    /// Keys that may be believed: those given, those listed in versions that are vouched for, and those that follow.
    pub keys: Vec<Key>,
    /// What is wrong, at most 100.
    pub problems: Vec<RegistryProblem>,
    /// How many further problems there are.
    pub more_problems: u64,
}

/// What stays in memory of a version.
struct Step {
    signer: Key,
    /// Keys that it lists and the version before does not.
    added: Vec<Key>,
}

struct Checking<'a> {
    reader: &'a Reader,
    rows: HashMap<String, LogRow>,
    /// SHA-256 of each version's text, from version 1.
    digests: Vec<Option<Hash>>,
    steps: Vec<Option<Step>>,
    /// A key of a log and the one that it replaced, where the log announces it under that one.
    follows: Vec<(Key, Key)>,
    report: RegistryReport,
}

/// Verifies the registry of a store against its logs, believing the keys in `given` (log keys; others are ignored).
///
/// # Errors
/// [`StoreError`] where it cannot be read; what is wrong with it stands in the report.
pub async fn verify_registry(reader: &Reader, given: &[Key]) -> Result<RegistryReport, StoreError> {
    let newest = reader.newest_registry().await?.map_or(0, |(version, _)| version);
    verify_until(reader, newest, given).await
}

/// [`verify_registry`], as far as the version that was the newest one a moment ago.
pub(super) async fn verify_until(
    reader: &Reader,
    newest: u64,
    given: &[Key],
) -> Result<RegistryReport, StoreError> {
    let rows = reader.logs().await?.into_iter().map(|row| (row.origin.clone(), row)).collect();
    let report = RegistryReport { newest, ..RegistryReport::default() };
    let (digests, steps, follows) = (Vec::new(), Vec::new(), Vec::new());
    let mut checking = Checking { reader, rows, digests, steps, follows, report };
    if newest > VERSIONS_MAX {
        checking.problem(None, None, format!("it has {newest} versions, and {VERSIONS_MAX} are read"));
        return Ok(checking.report);
    }
    let mut before: Option<Registry> = None;
    for version in 1..=newest {
        before = checking.version(version, before).await?;
    }
    checking.entries().await?;
    if let Some(last) = before {
        checking.report.logs = last.logs;
    }
    checking.settle(given);
    Ok(checking.report)
}

impl Checking<'_> {
    fn problem(&mut self, version: Option<u64>, origin: Option<&str>, what: String) {
        if self.report.problems.len() < PROBLEMS_MAX {
            let origin = origin.map(str::to_owned);
            self.report.problems.push(RegistryProblem { version, origin, what });
        } else {
            self.report.more_problems += 1;
        }
    }

    /// Reads a version and compares it with the one before; gives it back for the next one.
    async fn version(
        &mut self,
        version: u64,
        before: Option<Registry>,
    ) -> Result<Option<Registry>, StoreError> {
        self.digests.push(None);
        self.steps.push(None);
        let Some(note) = self.reader.registry(version).await? else {
            self.problem(Some(version), None, "missing".to_owned());
            return Ok(before);
        };
        let (registry, signer) = match Registry::open(&note) {
            Ok(opened) => opened,
            Err(error) => {
                self.problem(Some(version), None, error.to_string());
                return Ok(before);
            }
        };
        if registry.version != version {
            let what = format!("its text says that it is version {}", registry.version);
            self.problem(Some(version), None, what);
            return Ok(before);
        }
        // Where the one before could not be read, that was told, and its hash is not known.
        let linked = version.checked_sub(2).and_then(|at| usize::try_from(at).ok());
        if let Some(digest) = linked.and_then(|at| self.digests.get(at).copied().flatten())
            && registry.before != Some(digest)
        {
            self.problem(
                Some(version),
                None,
                "it does not name the version before it by its hash".to_owned(),
            );
        }
        self.compare_lists(&registry, before.as_ref(), &signer).await?;
        let is_new = |key: &Key| before.as_ref().is_none_or(|before| !before.keys().contains(key));
        let added = registry.keys().into_iter().filter(is_new).collect();
        if let (Some(digest), Some(step)) = (self.digests.last_mut(), self.steps.last_mut()) {
            (*digest, *step) = (Some(registry.digest()), Some(Step { signer, added }));
        }
        Ok(Some(registry))
    }

    /// Compares what a version lists with the one before and, where that changed, with the logs.
    async fn compare_lists(
        &mut self,
        registry: &Registry,
        before: Option<&Registry>,
        signer: &Key,
    ) -> Result<(), StoreError> {
        let version = Some(registry.version);
        for old in before.map_or(&[][..], |before| &before.logs) {
            match registry.log(&old.origin) {
                None => self.problem(
                    version,
                    Some(&old.origin),
                    "it was listed before and is not any more".to_owned(),
                ),
                Some(new) => {
                    for what in shrunk(old, new) {
                        self.problem(version, Some(&old.origin), what.to_owned());
                    }
                }
            }
        }
        for new in &registry.logs {
            let old = before.and_then(|before| before.log(&new.origin));
            if old == Some(new) {
                continue;
            }
            let Some(row) = self.rows.get(&new.origin).cloned() else {
                self.problem(
                    version,
                    Some(&new.origin),
                    "the store has no such log: it was removed".to_owned(),
                );
                continue;
            };
            self.compare_log(registry.version, new, &row).await?;
            if let Some(old) = old.filter(|old| old.key != new.key) {
                self.changed_key(registry.version, old, new, &row).await?;
            } else if old.is_none() && before.is_some() && new.key != *signer && !new.sealed {
                let what = "it is listed for the first time by another gateway than its own".to_owned();
                self.problem(version, Some(&new.origin), what);
            }
        }
        Ok(())
    }

    /// Compares a line with the log.
    async fn compare_log(&mut self, version: u64, listed: &Listed, row: &LogRow) -> Result<(), StoreError> {
        if listed.sealed && !row.sealed {
            self.problem(Some(version), Some(&listed.origin), "it is listed as sealed and is not".to_owned());
        }
        if row.size < listed.size {
            let what =
                format!("it is listed with {} entries and has {}: it was cut off", listed.size, row.size);
            self.problem(Some(version), Some(&listed.origin), what);
            return Ok(());
        }
        if listed.sealed && row.size > listed.size {
            let what = format!("it was sealed with {} entries and has {}", listed.size, row.size);
            self.problem(Some(version), Some(&listed.origin), what);
        }
        let root = match self.reader.frontier(row.log, listed.size).await {
            Ok(edge) => edge.root(),
            Err(StoreError::Altered { what }) => {
                self.problem(Some(version), Some(&listed.origin), what);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if root != listed.root {
            let what = format!("its first {} entries do not have the root that is listed", listed.size);
            self.problem(Some(version), Some(&listed.origin), what);
        }
        Ok(())
    }

    /// A log has another key than before: the log itself must announce it under the old one.
    async fn changed_key(
        &mut self,
        version: u64,
        old: &Listed,
        new: &Listed,
        row: &LogRow,
    ) -> Result<(), StoreError> {
        if signers::keys_from(self.reader, row, &old.key).await?.contains(&new.key) {
            self.follows.push((old.key.clone(), new.key.clone()));
        } else {
            let what =
                "it has another key than before, which it does not announce under the old one".to_owned();
            self.problem(Some(version), Some(&new.origin), what);
        }
        Ok(())
    }

    /// Compares versions with the entries of all logs that tell of them.
    async fn entries(&mut self) -> Result<(), StoreError> {
        let mut told = vec![false; self.digests.len()];
        let filter = Filter { kind: Some(kind::REGISTRY_CHANGE), ..Filter::default() };
        let mut after = None;
        loop {
            let page = self.reader.find(&filter, after, ENTRIES_AT_ONCE).await?;
            let Some((log, last)) = page.last() else { break };
            after = Some(Cursor::of(*log, last));
            for (log, row) in &page {
                // An entry that cannot be read is found where its log is verified.
                let Some(Kind::RegistryChange(change)) = signers::said(row) else { continue };
                let at = usize::try_from(change.version.saturating_sub(1)).unwrap_or(usize::MAX);
                let place = || format!("entry {} of log {log} tells of it", row.index);
                match self.digests.get(at) {
                    _ if change.version == 0 => {}
                    // Written since: gateways go on while it is read.
                    None if self.reader.registry(change.version).await?.is_some() => {}
                    None => self.problem(Some(change.version), None, format!("missing, but {}", place())),
                    // That it cannot be read was told.
                    Some(None) => told[at] = true,
                    Some(Some(digest)) if digest[..] == change.digest[..] => told[at] = true,
                    Some(Some(_)) => {
                        self.problem(Some(change.version), None, format!("{} with another hash", place()));
                    }
                }
            }
        }
        for (version, _) in (1..).zip(&told).filter(|(_, told)| !**told) {
            // One that is missing or unreadable was told of already.
            let at = usize::try_from(version - 1).unwrap_or(usize::MAX);
            if self.digests.get(at).is_some_and(Option::is_some) {
                self.problem(Some(version), None, "no entry of any log tells of it".to_owned());
            }
        }
        Ok(())
    }

    /// Believes what follows from what is believed, until nothing more follows.
    fn settle(&mut self, given: &[Key]) {
        let mut keys: Vec<Key> = given.to_vec();
        loop {
            let known = keys.len();
            let signed = |step: &Option<Step>| step.as_ref().is_some_and(|step| keys.contains(&step.signer));
            let vouched = self.steps.iter().rposition(signed).map_or(0, |at| at + 1);
            for key in self.steps[..vouched].iter().flatten().flat_map(|step| &step.added) {
                if !keys.contains(key) {
                    keys.push(key.clone());
                }
            }
            for (old, new) in &self.follows {
                if keys.contains(old) && !keys.contains(new) {
                    keys.push(new.clone());
                }
            }
            if keys.len() == known {
                self.report.vouched = u64::try_from(vouched).unwrap_or(u64::MAX);
                self.report.keys = keys;
                return;
            }
        }
    }
}

/// What a log may not do between two versions.
fn shrunk(old: &Listed, new: &Listed) -> Vec<&'static str> {
    let table = [
        (new.size < old.size, "it is listed with fewer entries than before"),
        (
            new.size == old.size && new.root != old.root,
            "it is listed with another root of the same size than before",
        ),
        (old.sealed && !new.sealed, "it was listed as sealed and is not any more"),
        (old.sealed && new.size != old.size, "it was listed as sealed, and with another size since"),
    ];
    table.into_iter().filter_map(|(wrong, what)| wrong.then_some(what)).collect()
}
