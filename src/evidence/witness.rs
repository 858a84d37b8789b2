//! `ura evidence witness`: one step of a witness (<https://c2sp.org/tlog-witness>): a checkpoint is cosigned only
//! where it goes on from the one that is held, and it is held before anybody gets the cosignature.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use tonic::Status;
use ura_log::{
    Hash,
    checkpoint::{self, Checkpoint},
    note::{Key, Kind, Note, Signer},
    proof::verify_consistency,
};
use ura_runtime::clock::Clock;

use super::{
    failure::{Ended, Failure, Verdict, say, tell},
    remote::{Gateway, Remote},
    trust, witness_key,
};

/// The checkpoint that is held.
const HELD: &str = "held-checkpoint";
/// The two that cannot both be of one log.
const FORK: [&str; 2] = ["fork-held", "fork-offered"];

/// Cosign the newest checkpoint of a log, once
///
/// Fetches it, checks the log's signature, and has the gateway prove that it goes on from the one that was cosigned last.
/// Where that cannot be proved nothing is signed, both checkpoints are kept as proof of it, and the exit code is 1. To be
/// run again and again, for example every minute.
#[derive(Debug, clap::Args)]
pub(super) struct Witness {
    #[command(flatten)]
    gateway: Gateway,
    /// The witness's own key, of `ura evidence witness-key`
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Public key of the log, got from its operator beforehand: the key itself, a file of keys, or a folder of log keys
    #[arg(long, value_name = "KEY|FILE")]
    log_key: String,
    /// Folder in which the last cosigned checkpoint is held; made where there is none
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// Which log; the one of the gateway that answers where it is not given
    #[arg(long, value_name = "ORIGIN")]
    log: Option<String>,
}

/// A checkpoint whose signature by the log was verified.
#[derive(Clone, Debug)]
struct Signed {
    note: Note,
    checkpoint: Checkpoint,
}

/// How an offered checkpoint stands to the one that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing was held.
    First,
    /// It is the same tree.
    Same,
    /// It must be proved to go on from this size.
    Prove(u64),
    /// Both cannot be of one log, whatever is proved.
    Fork(String),
}

impl Witness {
    /// One step.
    pub(super) async fn run(self) -> Ended {
        let signer = witness_key::read(&self.key)?;
        let keys = trust::read(&self.log_key, Kind::Ed25519)?;
        let state = State::open(&self.state)?;
        // It was verified before it was held; the key that signed it may have been replaced since.
        let held = state.held()?.map(|note| Signed::held(&note)).transpose();
        let held = held.map_err(|error| Failure::content(state.path(HELD).display(), error))?;
        let mut remote = self.gateway.connect().await?;
        let ended = Box::pin(self.step(&mut remote, &signer, &keys, &state, held)).await;
        match ended {
            Ok(ended) => ended,
            Err(status) => Err(remote.failed(status).await),
        }
    }

    async fn step(
        &self,
        remote: &mut Remote,
        signer: &Signer,
        keys: &[Key],
        state: &State,
        held: Option<Signed>,
    ) -> Result<Ended, Status> {
        let origin = held.as_ref().map(|held| held.checkpoint.origin.clone());
        if let (Some(origin), Some(log)) = (&origin, &self.log)
            && origin != log
        {
            return Ok(Err(Failure::usage(format!(
                "this state folder is of log {origin}: give {log} one of its own"
            ))));
        }
        let wanted = self.log.clone().or(origin).unwrap_or_default();
        let text = remote.checkpoint(&wanted, 0).await?;
        let offered = match Signed::read(&text, keys, &wanted) {
            Ok(offered) => offered,
            Err(error) => return Ok(Err(Failure::content("the checkpoint of the gateway", error))),
        };
        let step = compare(held.as_ref().map(|held| &held.checkpoint), &offered.checkpoint);
        let fork = match (step, &held) {
            (Step::Fork(why), _) => Some(why),
            (Step::Prove(first), Some(held)) => {
                let Checkpoint { origin, size, root, .. } = &offered.checkpoint;
                let proof = remote.consistency(origin, first, *size).await?;
                prove(&held.checkpoint.root, first, root, *size, &proof)
            }
            _ => None,
        };
        if let (Some(why), Some(held)) = (fork, &held) {
            return Ok(state.fork(&held.note, &offered.note, &why));
        }
        if held.is_none() {
            tell(
                &"nothing was held so far: this checkpoint is taken as it is, and every later one must go on from it",
            );
        }
        if checkpoint::cosigned_at(&offered.note, signer.key()).is_ok() {
            return Ok(state
                .hold(&offered.note)
                .and_then(|()| done(&offered.checkpoint, "was cosigned before")));
        }
        let now_s = u64::try_from(Clock::system().unix_us() / 1_000_000).unwrap_or(0);
        let cosigned = checkpoint::cosign(&offered.note, signer, now_s);
        let cosignature = match cosigned.map_err(|error| Failure::content("the cosignature", error)) {
            Ok(cosignature) => cosignature,
            Err(error) => return Ok(Err(error)),
        };
        // Held first: a witness that dies in between must not cosign another history afterwards.
        if let Err(error) = state.hold(&offered.note) {
            return Ok(Err(error));
        }
        let Checkpoint { origin, size, .. } = &offered.checkpoint;
        remote.cosign(origin, *size, cosignature.to_string()).await?;
        Ok(done(&offered.checkpoint, "is cosigned"))
    }
}

fn done(checkpoint: &Checkpoint, what: &str) -> Ended {
    say(&format!("checkpoint of {} entries of {} {what}", checkpoint.size, checkpoint.origin))?;
    Ok(Verdict::Holds)
}

impl Signed {
    /// Reads a checkpoint that is held.
    fn held(text: &str) -> Result<Self, String> {
        let note = Note::parse(text).map_err(|error| error.to_string())?;
        let checkpoint = Checkpoint::parse(&note.text).map_err(|error| error.to_string())?;
        Ok(Self { note, checkpoint })
    }

    /// Reads a checkpoint that one of the log's keys signed, of the log of this name unless it is empty.
    fn read(text: &str, keys: &[Key], origin: &str) -> Result<Self, String> {
        let note = Note::parse(text).map_err(|error| error.to_string())?;
        let (checkpoint, signed) = checkpoint::open_note(&note, keys).map_err(|error| {
            format!("{error}. If the log has a new key, let its operator give it to you, and name it with --log-key")
        })?;
        if signed.iter().all(|key| key.name() != checkpoint.origin) {
            return Err(format!("the key is not one of the log {}", checkpoint.origin));
        }
        if !origin.is_empty() && origin != checkpoint.origin {
            return Err(format!("it is of the log {}, not of {origin}", checkpoint.origin));
        }
        Ok(Self { note, checkpoint })
    }
}

/// What must be shown before an offered checkpoint may be cosigned.
fn compare(held: Option<&Checkpoint>, offered: &Checkpoint) -> Step {
    let Some(held) = held else { return Step::First };
    let (before, size) = (held.size, offered.size);
    if held.origin != offered.origin {
        return Step::Fork(format!("they are of two logs, {} and {}", held.origin, offered.origin));
    }
    if size < before {
        return Step::Fork(format!("the log has {size} entries now, and had {before}: it was rolled back"));
    }
    match (size == before, held.root == offered.root) {
        (true, true) => Step::Same,
        (true, false) => Step::Fork(format!("two histories of {size} entries")),
        (false, _) => Step::Prove(before),
    }
}

/// Why the later tree does not go on from the earlier one; `None` where it does.
fn prove(first_root: &Hash, first: u64, root: &Hash, size: u64, proof: &[Hash]) -> Option<String> {
    let proved = verify_consistency(first, first_root, size, root, proof);
    proved.err().map(|error| {
        format!("the log of {size} entries was not proved to go on from that of {first}: {error}")
    })
}

/// The witness's folder.
struct State(PathBuf);

impl State {
    fn open(path: &Path) -> Result<Self, Failure> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(Failure::file(path)(error)),
            _ => Ok(Self(path.to_owned())),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn held(&self) -> Result<Option<String>, Failure> {
        let path = self.path(HELD);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::file(&path)(error)),
        }
    }

    /// Holds a checkpoint in place of the one before; on return it is on disk.
    fn hold(&self, note: &Note) -> Result<(), Failure> {
        self.write(HELD, note)
    }

    /// Keeps what proves a fork, and tells it.
    fn fork(&self, held: &Note, offered: &Note, why: &str) -> Ended {
        for (name, note) in FORK.into_iter().zip([held, offered]) {
            self.write(name, note)?;
        }
        let [first, second] = FORK.map(|name| self.path(name).display().to_string());
        tell(&format!(
            "nothing was cosigned: {why}. Both checkpoints are signed by the log, and lie in {first} and {second}: they are the \
             proof, keep them"
        ));
        Ok(Verdict::DoesNot)
    }

    fn write(&self, name: &str, note: &Note) -> Result<(), Failure> {
        let (path, temporary) = (self.path(name), self.path(&format!("{name}.new")));
        let written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary);
        let written = written.and_then(|mut file| {
            file.write_all(note.to_string().as_bytes())?;
            file.sync_all()
        });
        written.map_err(Failure::file(&temporary))?;
        fs::rename(&temporary, &path).map_err(Failure::file(&path))?;
        File::open(&self.0).and_then(|dir| dir.sync_all()).map_err(Failure::file(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn checkpoint(origin: &str, size: u64, root: u8) -> Checkpoint {
        Checkpoint { origin: origin.to_owned(), size, root: [root; 32], extensions: Vec::new() }
    }

    #[test]
    fn what_must_be_shown() {
        let held = checkpoint("l", 5, 1);
        for (offered, expected) in [
            (checkpoint("l", 5, 1), Step::Same),
            (checkpoint("l", 6, 2), Step::Prove(5)),
            (checkpoint("l", 6, 1), Step::Prove(5)),
        ] {
            assert_eq!(compare(Some(&held), &offered), expected, "{offered:?}");
        }
        for (offered, says) in [
            (checkpoint("l", 5, 2), "two histories of 5"),
            (checkpoint("l", 4, 1), "4 entries now, and had 5"),
            (checkpoint("m", 6, 1), "two logs"),
        ] {
            let Step::Fork(why) = compare(Some(&held), &offered) else { unreachable!("a fork: {offered:?}") };
            assert!(why.contains(says), "{why}");
        }
        assert_eq!(compare(None, &held), Step::First);
        // No proof leads from one root to another by nothing.
        assert!(prove(&[1; 32], 5, &[2; 32], 6, &[]).is_some());
    }

    #[test]
    fn only_a_checkpoint_of_the_log_is_read() {
        let log = Signer::generate("l", Kind::Ed25519).expect("a key");
        let other = Signer::generate("l", Kind::Ed25519).expect("a key");
        let named = Signer::generate("m", Kind::Ed25519).expect("a key");
        let note = |signer: &Signer| checkpoint("l", 5, 1).sign(signer).expect("signed").to_string();
        let keys = [log.key().clone(), named.key().clone()];
        assert_eq!(Signed::read(&note(&log), &keys, "l").expect("signed").checkpoint.size, 5);
        for (text, origin, says) in [
            (note(&other), "", "--log-key"),
            (note(&named), "", "not one of the log l"),
            (note(&log), "m", "not of m"),
            ("x".to_owned(), "", ""),
        ] {
            let error = Signed::read(&text, &keys, origin).expect_err("not of the log");
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_fork_is_kept_and_what_is_held_stays() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let log = Signer::generate("l", Kind::Ed25519).expect("a key");
        let note = |root| checkpoint("l", 5, root).sign(&log).expect("signed");
        let state = State::open(&dir.path().join("state")).expect("a new folder");
        assert!(state.held().expect("readable").is_none());
        state.hold(&note(1)).expect("written");
        assert_eq!(state.fork(&note(1), &note(2), "two histories").expect("written"), Verdict::DoesNot);
        assert_eq!(state.held().expect("readable"), Some(note(1).to_string()));
        for (name, expected) in FORK.into_iter().zip([note(1), note(2)]) {
            let path = state.path(name);
            assert_eq!(fs::read_to_string(&path).expect(name), expected.to_string());
            assert_eq!(fs::metadata(&path).expect(name).permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(dir.path().join("state")).expect("a folder").count(), 3);
    }
}
