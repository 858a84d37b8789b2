//! `ura evidence verify`: a store, an export, a receipt or a proof, told apart by what they are.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use ura_evidence::{
    keys::LogKeys,
    registry::verify_registry,
    source::{Source, SourceError},
    store::{LogRow, Reader},
    verify::{Held as HeldOf, Trust, verify},
};
use ura_gateway::Outline;
use ura_log::{
    checkpoint::Checkpoint,
    note::{Key, Kind as KeyKind, Note},
};
use ura_runtime::clock::Clock;

use super::{
    failure::{Ended, Failure, Verdict, output, tell},
    held::Kind,
    place::{Found, Place},
    print::json_line,
    progress::Progress,
    report::{self, Asked},
    single::Single,
    trust::{self, Keys, tell_same_hand},
};

/// Check that a log, an export, a receipt or a proof is what the log's key signed
///
/// Without WHAT the store of a place is verified: all its logs and their registry, from the beginning. Exit code 0: all
/// holds; 1: something does not, and each problem has a line that says where; 2: it could not be read.
#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// Folder of an export, or file of a receipt or a tlog-proof
    what: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
    /// Only this log of the store
    #[arg(long, value_name = "ORIGIN")]
    log: Option<String>,
    #[command(flatten)]
    keys: Keys,
    /// Public key of a witness: the key itself, or a file of keys. May stand several times
    #[arg(long = "witness", value_name = "KEY|FILE")]
    witnesses: Vec<String>,
    /// Checkpoint, receipt, tlog-proof or ura-receipt trailer that was kept elsewhere: the log must agree with it. May stand
    /// several times
    #[arg(long, value_name = "FILE")]
    against: Vec<PathBuf>,
    #[command(flatten)]
    single: Single,
    /// JSON, one object a line
    #[arg(long)]
    json: bool,
}

/// What is held of a log, with the log's name.
type Held = Vec<(String, HeldOf)>;

impl Verify {
    /// Verifies and prints.
    pub(super) async fn run(self) -> Ended {
        let (keys, witnesses) = (self.keys.read()?, self.witnesses()?);
        let whole = match &self.what {
            Some(what) if !what.is_dir() => {
                if !self.against.is_empty() || self.place.is_named() {
                    return Err(Failure::usage(format!(
                        "{} is verified by itself; to hold a log against it: ura evidence verify --dir … --against {0}",
                        what.display()
                    )));
                }
                if self.log.is_some() {
                    return Err(Failure::usage(
                        "--log chooses a log of a store; a receipt or a proof names its own",
                    ));
                }
                return self.single.run(Kind::read(what)?, keys, witnesses, self.json);
            }
            whole => whole,
        };
        if self.single.is_named() {
            return Err(Failure::usage(
                "kept bytes and leaf hashes belong to one receipt or proof: name its file",
            ));
        }
        let mut held = Vec::new();
        for path in &self.against {
            held.extend(Kind::read(path)?.held());
        }
        match whole {
            Some(folder) if self.place.is_named() => {
                let text = format!("name one to verify: {}, or the store of a place", folder.display());
                Err(Failure::usage(text))
            }
            Some(_) if self.log.is_some() => {
                Err(Failure::usage("--log chooses a log of a store; an export is of one log only"))
            }
            Some(folder) => self.export(folder, keys, witnesses, held).await,
            None => self.store(keys, witnesses, held).await,
        }
    }

    fn witnesses(&self) -> Result<Vec<Key>, Failure> {
        let mut witnesses = Vec::new();
        for text in &self.witnesses {
            witnesses.extend(trust::read(text, KeyKind::CosignatureV1)?);
        }
        Ok(witnesses)
    }

    /// An export.
    async fn export(&self, folder: &Path, mut keys: Vec<Key>, witnesses: Vec<Key>, held: Held) -> Ended {
        let source = Source::folder(folder).map_err(failed)?;
        let mut asked = Asked { witnesses: witnesses.clone(), ..Asked::default() };
        if keys.is_empty() {
            keys = source.own_keys().iter().filter(|key| key.kind() == KeyKind::Ed25519).cloned().collect();
            tell_same_hand(&keys, "the export's own");
            asked.same_hand = Some("as the export itself names it");
        }
        let origin = source.origin().to_owned();
        let is_missing = self.tell_missing(&held, std::slice::from_ref(&origin));
        let holds = self.log(source, keys, witnesses, &held, &asked).await?;
        Ok(verdict(holds && !is_missing))
    }

    /// The logs of a store, and the registry.
    async fn store(&self, mut keys: Vec<Key>, mut witnesses: Vec<Key>, mut held: Held) -> Ended {
        let place = self.place.find()?;
        if let Some(named) = &self.log
            && let Some((other, _)) = held.iter().find(|(origin, _)| origin != named)
        {
            let text = format!(
                "--log {named}: something of the log {other} is held against it; leave out one of the two"
            );
            return Err(Failure::usage(text));
        }
        let reader = place.reader().await?;
        let mut asked = Asked { witnesses: witnesses.clone(), ..Asked::default() };
        // The gateway holds a checkpoint when it is in the store: so this is read first, and the logs' sizes after it.
        let kept = self.kept(&place, &reader).await?;
        if keys.is_empty() {
            keys = place.own_keys();
            if keys.is_empty() {
                return Err(Failure::usage("no key of the log is known here: give its public key, --key"));
            }
            tell_same_hand(&keys, "the one beside the log");
            asked.same_hand = Some("as it lies beside the log");
        }
        if witnesses.is_empty() {
            witnesses = cosigners(&place);
        }
        let registry = verify_registry(&reader, &keys).await?;
        let logs = self.chosen(&place, &reader).await?;
        let mut holds = true;
        if self.log.is_none() {
            let origins: Vec<String> = logs.iter().map(|log| log.origin.clone()).collect();
            holds &= !self.tell_missing(&held, &origins);
        }
        held.extend(kept.iter().map(|(origin, _, note)| (origin.clone(), HeldOf::Checkpoint(note.clone()))));
        for log in logs {
            let (known, listed) = known(&log.origin, &keys, &registry.keys);
            let held_size = kept.iter().find(|(origin, ..)| *origin == log.origin).map(|(_, size, _)| *size);
            let asked = Asked { listed, held_size, ..asked.clone() };
            let source = Source::store(reader.clone(), log);
            holds &= self.log(source, known, witnesses.clone(), &held, &asked).await?;
        }
        let mut out = output();
        if self.json {
            writeln!(out, "{}", json_line(&report::registry_json(&registry)))?;
        } else if registry.newest > 0 || !registry.problems.is_empty() {
            report::registry_text(&registry, &mut out)?;
        }
        Ok(verdict(holds && registry.problems.is_empty()))
    }

    /// The newest checkpoint of each log that its gateway keeps beside its key, with the log's name and its size.
    async fn kept(&self, place: &Found, reader: &Reader) -> Result<Vec<(String, u64, String)>, Failure> {
        let Some(config) = &place.config else { return Ok(Vec::new()) };
        let logs = reader.logs().await?;
        let mut kept = Vec::new();
        for origin in logs.into_iter().map(|log| log.origin) {
            if self.log.as_ref().is_some_and(|named| *named != origin) {
                continue;
            }
            // Of a log of another gateway nothing lies there.
            let Ok(keys) = LogKeys::read(&config.evidence.log_keys, &origin) else { continue };
            match keys.read_held() {
                Ok(Some(note)) => {
                    let read = Note::parse(&note).ok().and_then(|note| Checkpoint::parse(&note.text).ok());
                    kept.push((origin, read.map_or(0, |read| read.size), note));
                }
                Ok(None) => {}
                Err(error) => tell(&format!("the checkpoint that the gateway holds of {origin}: {error}")),
            }
        }
        Ok(kept)
    }

    async fn chosen(&self, place: &Found, reader: &Reader) -> Result<Vec<LogRow>, Failure> {
        match &self.log {
            Some(origin) => Ok(vec![place.log(reader, Some(origin)).await?]),
            None => match reader.logs().await? {
                logs if logs.is_empty() => {
                    Err(Failure::usage("the store has no log yet: its gateway makes one when it starts"))
                }
                logs => Ok(logs),
            },
        }
    }

    /// One log.
    async fn log(
        &self,
        source: Source,
        keys: Vec<Key>,
        witnesses: Vec<Key>,
        held: &Held,
        asked: &Asked,
    ) -> Result<bool, Failure> {
        let of_log = held.iter().filter(|(origin, _)| origin == source.origin());
        let held = of_log.map(|(_, held)| held.clone()).collect();
        let mut progress = Progress::new(source.origin().to_owned());
        let trust = Trust { keys, witnesses, held, now_us: Some(Clock::system().unix_us()) };
        let verified = Box::pin(verify(source, &trust, |done, all| progress.tell(done, all))).await;
        drop(progress);
        let report = verified.map_err(failed)?;
        let mut out = output();
        if self.json {
            writeln!(out, "{}", json_line(&report::json(&report, asked)))?;
        } else {
            report::text(&report, asked, &mut out)?;
        }
        Ok(asked.holds(&report))
    }

    /// Says which logs are gone of which something is held.
    fn tell_missing(&self, held: &Held, there: &[String]) -> bool {
        let mut missing: Vec<&String> =
            held.iter().map(|(origin, _)| origin).filter(|origin| !there.contains(origin)).collect();
        missing.dedup();
        for origin in &missing {
            tell(&format!("something of log {origin} is held, and there is no such log here"));
        }
        !missing.is_empty()
    }
}

/// The keys by which a log is verified: those that were given, those by which other gateways may have ended it, and,
/// where none of its own was given, those that the registry names; and which of them only the registry names. Where its
/// own key is known the registry adds none: whoever writes the registry could put one in.
fn known(origin: &str, given: &[Key], registry: &[Key]) -> (Vec<Key>, Vec<Key>) {
    let is_known = given.iter().any(|key| key.name() == origin);
    let new = registry.iter().filter(|key| !given.contains(key));
    let listed: Vec<Key> = new.filter(|key| !is_known || key.name() != origin).cloned().collect();
    (given.iter().chain(&listed).cloned().collect(), listed)
}

/// The witnesses that the directory knows, where there is one.
pub(super) fn cosigners(place: &Found) -> Vec<Key> {
    let outline = place.config.as_ref().map(|config| Outline::read(&config.directory));
    match outline {
        Some(Ok(outline)) => outline.cosigners,
        Some(Err(error)) => {
            tell(&format!("witnesses are not known here: {error}"));
            Vec::new()
        }
        None => Vec::new(),
    }
}

const fn verdict(holds: bool) -> Verdict {
    if holds { Verdict::Holds } else { Verdict::DoesNot }
}

fn failed(error: SourceError) -> Failure {
    match error {
        SourceError::Store(error) => error.into(),
        error => Failure::Content(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use ura_log::note::Signer;

    use super::*;

    #[test]
    fn the_registry_adds_no_key_to_a_log_whose_own_was_given() {
        let key = |name| Signer::generate(name, KeyKind::Ed25519).expect("randomness").key().clone();
        let (a, forged, b) = (key("a"), key("a"), key("b"));
        let registry = [forged.clone(), b.clone()];
        assert_eq!(
            known("a", std::slice::from_ref(&a), &registry),
            (vec![a.clone(), b.clone()], vec![b.clone()])
        );
        let (all, listed) = known("a", std::slice::from_ref(&b), &registry);
        assert_eq!((all, listed), (vec![b.clone(), forged.clone()], vec![forged]));
    }
}
