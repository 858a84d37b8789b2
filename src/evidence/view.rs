//! `ura evidence view`: a member's own entries, read from a gateway and verified before they are shown.

use std::path::PathBuf;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value as Json, json};
use tonic::Status;
use ura_evidence::entry::{Columns, decode, leaf};
use ura_log::{
    Hash,
    checkpoint::{self, Checkpoint},
    note::{Key, Note},
    proof::{verify_consistency, verify_inclusion},
    tree,
};
use ura_proto::v1::{Entry, ProvedEntry, ReadEntriesResponse};

use super::{
    failure::{Ended, Failure, Verdict, say, tell},
    keeping::{Keeping, State},
    print::{self, Shown},
    remote::{Gateway, Remote},
    trust::{Keys, tell_same_hand},
};

/// Show the entries of a log that name the asking system
///
/// Each entry is shown only after its proof was checked against a checkpoint of the log, and each checkpoint only taken
/// when it goes on from the one before. With --out they are kept as JSON, one object a line, with bodies and proofs, and
/// the next run goes on where this one ended.
#[derive(Debug, clap::Args)]
pub(super) struct View {
    #[command(flatten)]
    gateway: Gateway,
    /// Which log; the one of the gateway that answers where it is not given
    #[arg(long, value_name = "ORIGIN")]
    log: Option<String>,
    /// First index to look at; with --out where the last run ended
    #[arg(long, value_name = "N", conflicts_with = "out")]
    from: Option<u64>,
    /// Go on as the log grows, until it is interrupted
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    keys: Keys,
    /// Add the entries to this file, and remember in FILE.next where to go on
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// JSON, one object a line
    #[arg(long)]
    json: bool,
}

/// An entry whose proof holds.
#[derive(Debug)]
struct Proved {
    index: u64,
    leaf_hash: Hash,
    entry: Entry,
    body: Vec<u8>,
    proof: Vec<Hash>,
}

impl View {
    /// Reads, verifies, shows.
    pub(super) async fn run(self) -> Ended {
        let mut keeping = self.out.as_deref().map(Keeping::open).transpose()?;
        let state = keeping.as_ref().map(|keeping| keeping.state().clone()).unwrap_or_default();
        if let (Some(log), false) = (&self.log, state.log.is_empty())
            && *log != state.log
        {
            let text = format!("the file holds entries of log {}: give {log} one of its own", state.log);
            return Err(Failure::usage(text));
        }
        let mut remote = self.gateway.connect().await?;
        let mut state = State { next_index: self.from.unwrap_or(state.next_index), ..state };
        let ended = tokio::select! {
            ended = Box::pin(self.read(&mut remote, &mut state, keeping.as_mut())) => ended,
            // What was shown is noted: between two pages nothing is lost.
            _ = tokio::signal::ctrl_c() => Ok(Ok(Verdict::Holds)),
        };
        tell(&format!("next index {}", state.next_index));
        match ended {
            Ok(ended) => ended,
            Err(status) => Err(remote.failed(status).await),
        }
    }

    async fn read(
        &self,
        remote: &mut Remote,
        state: &mut State,
        mut keeping: Option<&mut Keeping>,
    ) -> Result<Ended, Status> {
        let wanted = self.log.clone().unwrap_or_else(|| state.log.clone());
        let keys = match self.keys(remote, &wanted).await? {
            Ok(keys) => keys,
            Err(error) => return Ok(Err(error)),
        };
        let mut pages = remote.entries(&wanted, state.next_index, self.follow).await?;
        let mut under = None;
        while let Some(page) = pages.message().await? {
            let note = if page.checkpoint.is_empty() { None } else { Some(page.checkpoint.as_str()) };
            if let Some(note) = note {
                let checkpoint = match open(note, &keys, &wanted) {
                    Ok(checkpoint) => checkpoint,
                    Err(error) => return Ok(Err(error)),
                };
                if let Some(why) = goes_on(remote, &state.checkpoint, &checkpoint).await? {
                    return Ok(does_not(&why));
                }
                under = Some(checkpoint);
                note.clone_into(&mut state.checkpoint);
            }
            let Some(under) = &under else {
                return Ok(Err(Failure::content("the gateway's answer", "it begins without a checkpoint")));
            };
            let proved = match prove(&page, state.next_index, under) {
                Ok(proved) => proved,
                Err(why) => return Ok(does_not(&why)),
            };
            under.origin.clone_into(&mut state.log);
            state.next_index = page.next_index;
            if let Err(error) = self.show(&proved, note, state, keeping.as_deref_mut()) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(Verdict::Holds))
    }

    /// The keys of the log: those that were given, or the gateway's own word.
    async fn keys(&self, remote: &mut Remote, wanted: &str) -> Result<Result<Vec<Key>, Failure>, Status> {
        if !self.keys.is_empty() {
            return Ok(self.keys.read());
        }
        let logs = remote.logs().await?;
        let named = logs.iter().filter(|log| wanted.is_empty() || log.origin == wanted);
        let keys: Vec<Key> = named.filter_map(|log| Key::parse(&log.key).ok()).collect();
        if keys.is_empty() {
            return Ok(Err(Failure::usage(
                "the gateway names no key of this log yet: give its public key, --key",
            )));
        }
        tell_same_hand(&keys, "the gateway's own");
        Ok(Ok(keys))
    }

    fn show(
        &self,
        proved: &[Proved],
        note: Option<&str>,
        state: &State,
        keeping: Option<&mut Keeping>,
    ) -> Result<(), Failure> {
        let shown: Vec<Shown<'_>> = proved.iter().map(|proved| shown(&state.log, proved)).collect();
        let Some(keeping) = keeping else { return Ok(print::entries(shown, self.json)?) };
        let mut lines = note.map(|note| json!({"checkpoint": note}).to_string() + "\n").unwrap_or_default();
        for (proved, shown) in proved.iter().zip(shown) {
            lines.push_str(&Json::Object(line(proved, &shown)).to_string());
            lines.push('\n');
        }
        keeping.add(&lines, state)
    }
}

fn shown<'p>(log: &'p str, proved: &'p Proved) -> Shown<'p> {
    let columns = Columns::of(&proved.entry);
    Shown {
        log,
        index: proved.index,
        leaf_hash: proved.leaf_hash,
        kind: columns.kind,
        recorded_us: columns.recorded_us,
        entry: Some(&proved.entry),
        subjects: &[],
        removed_by: None,
    }
}

/// An entry with all by which it can be verified again.
fn line(proved: &Proved, shown: &Shown<'_>) -> Map<String, Json> {
    let mut line = shown.json();
    let proof: Vec<String> = proved.proof.iter().map(|hash| STANDARD.encode(hash)).collect();
    line.insert("body".to_owned(), json!(STANDARD.encode(&proved.body)));
    line.insert("proof".to_owned(), json!(proof));
    line
}

/// A checkpoint of the log that is read, which one of its keys signed.
fn open(note: &str, keys: &[Key], wanted: &str) -> Result<Checkpoint, Failure> {
    let what = "the gateway's checkpoint";
    let note = Note::parse(note).map_err(|error| Failure::content(what, error))?;
    let opened = checkpoint::open_note(&note, keys);
    let (checkpoint, signed) = opened.map_err(|error| {
        Failure::content(
            what,
            format!(
                "{error}. If the log has a new key, let its operator give it to you, and name it with --key"
            ),
        )
    })?;
    let of_log = signed.iter().any(|key| key.name() == checkpoint.origin);
    if !of_log || (!wanted.is_empty() && wanted != checkpoint.origin) {
        return Err(Failure::content(what, format!("it is of the log {}", checkpoint.origin)));
    }
    Ok(checkpoint)
}

/// Why a checkpoint does not go on from the one that was taken before; `None` where it does.
async fn goes_on(remote: &mut Remote, before: &str, now: &Checkpoint) -> Result<Option<String>, Status> {
    // It was verified when it was taken.
    let before = Note::parse(before).ok().and_then(|note| Checkpoint::parse(&note.text).ok());
    let Some(before) = before else { return Ok(None) };
    let (first, size) = (before.size, now.size);
    if before.origin != now.origin {
        return Ok(Some(format!("the checkpoint taken before is of the log {}", before.origin)));
    }
    if size < first {
        return Ok(Some(format!("the log has {size} entries, and had {first}: it was rolled back")));
    }
    let proof = if size == first { Vec::new() } else { remote.consistency(&now.origin, first, size).await? };
    let proved = verify_consistency(first, &before.root, size, &now.root, &proof);
    Ok(proved
        .err()
        .map(|error| format!("the log of {size} entries does not go on from that of {first}: {error}")))
}

fn does_not(why: &str) -> Ended {
    say(&format!("does not hold: {why}"))?;
    Ok(Verdict::DoesNot)
}

/// The entries of a page, each proved; they ascend from `from`.
fn prove(page: &ReadEntriesResponse, from: u64, under: &Checkpoint) -> Result<Vec<Proved>, String> {
    if page.next_index < from || page.next_index > under.size {
        return Err(format!(
            "the page ends at {}, outside of the log's {} entries",
            page.next_index, under.size
        ));
    }
    let mut next = from;
    let mut proved = Vec::with_capacity(page.entries.len());
    for told in &page.entries {
        let one = prove_one(told, under)?;
        if one.index < next || one.index >= page.next_index {
            return Err(format!("entry {} stands where {next} or a later one was expected", one.index));
        }
        next = one.index + 1;
        proved.push(one);
    }
    Ok(proved)
}

fn prove_one(told: &ProvedEntry, under: &Checkpoint) -> Result<Proved, String> {
    let stored = told.entry.clone().unwrap_or_default();
    let (index, body) = (stored.log_index, stored.body);
    let wrong = |error: &dyn std::fmt::Display| format!("entry {index}: {error}");
    let entry = decode(&body).map_err(|error| wrong(&error))?;
    let proof = told.proof.iter().map(|hash| hash.as_slice().try_into());
    let proof: Vec<Hash> = proof.collect::<Result<_, _>>().map_err(|_| wrong(&"a hash has 32 bytes"))?;
    let leaf_hash = tree::leaf_hash(&leaf(&body));
    verify_inclusion(&leaf_hash, index, under.size, &proof, &under.root).map_err(|error| wrong(&error))?;
    Ok(Proved { index, leaf_hash, entry, body, proof })
}

#[cfg(test)]
mod tests {
    use ura_evidence::entry::Row;
    use ura_proto::{
        ExchangeId,
        v1::{Opening, StoredEntry, entry::Kind},
    };

    use super::*;

    /// A log of two entries, and both as a gateway tells them.
    fn page() -> (Checkpoint, ReadEntriesResponse) {
        let row = |us| Row::new(Some(ExchangeId::at(us)), us, Kind::Opening(Opening::default()));
        let rows = [row(1), row(2)];
        let [first, second] = [rows[0].leaf_hash(), rows[1].leaf_hash()];
        let root = tree::node_hash(&first, &second);
        let told = |log_index, row: &Row, sibling: Hash| ProvedEntry {
            entry: Some(StoredEntry { log_index, body: row.body.clone(), ..StoredEntry::default() }),
            proof: vec![sibling.to_vec()],
        };
        let entries = vec![told(0, &rows[0], second), told(1, &rows[1], first)];
        let checkpoint = Checkpoint { origin: "l".into(), size: 2, root, extensions: Vec::new() };
        (checkpoint, ReadEntriesResponse { entries, checkpoint: String::new(), next_index: 2 })
    }

    #[test]
    fn what_is_proved_is_taken() {
        let (under, page) = page();
        let proved = prove(&page, 0, &under).expect("whole");
        assert_eq!(proved.iter().map(|one| one.index).collect::<Vec<_>>(), [0, 1]);
        let line = line(&proved[0], &shown("l", &proved[0]));
        assert_eq!(line["body"], json!(STANDARD.encode(&proved[0].body)));
        assert_eq!(line["proof"].as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn what_is_not_proved_is_not() {
        type Change = fn(&mut ReadEntriesResponse);
        let table: [(&str, Change); 8] = [
            ("entry 0", |page| page.entries[0].proof[0][0] ^= 1),
            ("32 bytes", |page| page.entries[0].proof[0].push(0)),
            ("entry 1", |page| page.entries[0].entry.as_mut().expect("an entry").log_index = 1),
            ("entry 0", |page| page.entries[0].entry.as_mut().expect("an entry").body[1] ^= 1),
            ("entry 0", |page| page.entries[0].entry = None),
            ("or a later one", |page| page.entries.swap(0, 1)),
            ("outside", |page| page.next_index = 3),
            ("entry 1 stands", |page| page.next_index = 1),
        ];
        for (says, change) in table {
            let (under, mut page) = page();
            change(&mut page);
            let error = prove(&page, 0, &under).expect_err(says);
            assert!(error.contains(says), "{says}: {error}");
        }
        let (under, page) = page();
        assert!(prove(&page, 1, &under).is_err(), "an entry that was not asked for");
    }
}
