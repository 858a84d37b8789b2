//! Checkpoints and keys of an export: older checkpoints that others cosigned, one for each hour, and those at
//! which the log's key changed; with signatures that the export's own list of keys verifies.

use std::collections::BTreeSet;

use ura_log::note::{Key, Kind, Note};

use super::{ExportError, Options, folder::Target};
use crate::{
    source::layout::checkpoint_path,
    store::{CheckpointRow, LogRow, Reader},
};

/// Checkpoints that are read at once.
const PAGE: u32 = 256;
/// Of the checkpoints of this time one is enough: the newest cosigned one, or else the newest.
const SPAN_US: i64 = 3_600_000_000;

/// What decides which older checkpoints are exported.
pub(super) struct Older<'o> {
    /// Only those below this size.
    pub(super) size: u64,
    /// Entries by which the log's key changed.
    pub(super) key_changes: &'o [u64],
    /// The log was ended by another gateway: its own last checkpoint is the last that its own key vouches for.
    pub(super) is_ended: bool,
}

/// The log's own keys.
pub(super) fn own_keys(origin: &str, options: &Options, announced: Vec<Key>) -> Vec<Key> {
    let of_log = options.keys.iter().cloned().chain(announced);
    once(of_log.filter(|key| key.kind() == Kind::Ed25519 && key.name() == origin))
}

/// Keys of logs, and the witnesses' behind them.
pub(super) fn with_witnesses(of_logs: Vec<Key>, options: &Options) -> Vec<Key> {
    let witnesses = options.witnesses.iter().filter(|key| key.kind() == Kind::CosignatureV1).cloned();
    once(of_logs.into_iter().chain(witnesses))
}

/// Each key once.
fn once(all: impl Iterator<Item = Key>) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    for key in all {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

/// A note with those of its signatures that these keys verify; `None` where none is the log's.
pub(super) fn known(note: &str, keys: &[Key]) -> Option<String> {
    let mut note = Note::parse(note).ok()?;
    let alone = |signature| Note { text: note.text.clone(), signatures: vec![signature] };
    let verified = note.signatures.iter().filter_map(|signature| {
        let by = alone(signature.clone()).verify(keys).ok()?;
        Some((signature.clone(), by.first()?.kind()))
    });
    let verified: Vec<_> = verified.collect();
    let signed = verified.iter().any(|(_, kind)| *kind == Kind::Ed25519);
    note.signatures = verified.into_iter().map(|(signature, _)| signature).collect();
    signed.then(|| note.to_string())
}

/// Writes the older checkpoints, and removes those that do not belong to them any more.
pub(super) async fn write(
    reader: &Reader,
    log: &LogRow,
    target: &mut Target,
    keys: &[Key],
    older: &Older<'_>,
) -> Result<(), ExportError> {
    let size = older.size;
    let (mut kept, mut last_own) = (BTreeSet::new(), None);
    let changes = at_changes(reader, log, older.key_changes).await?;
    let mut span = Span::default();
    let mut from = 0;
    loop {
        let page = reader.checkpoints(log.log, from, PAGE).await?;
        let Some(last) = page.last() else { break };
        from = last.size.saturating_add(1);
        for row in page.into_iter().filter(|row| row.size < size) {
            let note = known(&reader.checkpoint_note(&row).await?, keys);
            let Some(note) = note else { continue };
            if older.is_ended {
                last_own = Some((row.size, note.clone()));
            }
            let chosen =
                if changes.contains(&row.size) { Some((row.size, note)) } else { span.take(&row, note) };
            if let Some((size, note)) = chosen {
                kept.insert(put(target, size, &note)?);
            }
        }
        if from >= size {
            break;
        }
    }
    for (size, note) in span.best.into_iter().chain(last_own) {
        kept.insert(put(target, size, &note)?);
    }
    for path in target.checkpoint_paths() {
        if !kept.contains(&path) {
            target.remove(&path)?;
        }
    }
    Ok(())
}

fn put(target: &mut Target, size: u64, note: &str) -> Result<String, ExportError> {
    let path = checkpoint_path(size);
    target.put(&path, note.as_bytes())?;
    Ok(path)
}

/// Sizes of the checkpoints right before and behind each change of key: the first vouches for the old
/// key's last entries, the second for the new key.
async fn at_changes(reader: &Reader, log: &LogRow, changes: &[u64]) -> Result<BTreeSet<u64>, ExportError> {
    let mut sizes = BTreeSet::new();
    for index in changes {
        // The first that covers the announcement, and the one behind it, which the new key may have signed.
        let rows = reader.checkpoints(log.log, index.saturating_add(1), 2).await?;
        sizes.extend(rows.iter().map(|row| row.size));
    }
    Ok(sizes)
}

/// The checkpoints of one span of time, of which the best is kept.
#[derive(Default)]
struct Span {
    number: i64,
    cosigned: bool,
    best: Option<(u64, String)>,
}

impl Span {
    /// Takes the next checkpoint; gives the best of the span before, when that is over.
    fn take(&mut self, row: &CheckpointRow, note: String) -> Option<(u64, String)> {
        let number = row.signed_us.div_euclid(SPAN_US);
        let cosigned = Note::parse(&note).is_ok_and(|note| note.signatures.len() > 1);
        if number != self.number {
            let before = self.best.replace((row.size, note));
            (self.number, self.cosigned) = (number, cosigned);
            return before;
        }
        if cosigned || !self.cosigned {
            self.cosigned |= cosigned;
            self.best = Some((row.size, note));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_hour_the_newest_cosigned_checkpoint_is_kept() {
        let row = |size, hour| CheckpointRow {
            log: 1,
            size,
            note: String::new(),
            signed_us: hour * SPAN_US + i64::try_from(size).expect("small"),
            kept: false,
        };
        let plain = "x\n\n\u{2014} a AAAAAAA=\n".to_owned();
        let cosigned = format!("{plain}\u{2014} b AAAAAAA=\n");
        let mut span = Span::default();
        let mut kept = Vec::new();
        for (size, hour, note) in [
            (1, 0, &plain),
            (2, 0, &plain),
            (3, 5, &plain),
            (4, 5, &cosigned),
            (5, 5, &plain),
            (6, 7, &plain),
        ] {
            kept.extend(span.take(&row(size, hour), note.clone()));
        }
        kept.extend(span.best);
        assert_eq!(kept.iter().map(|(size, _)| *size).collect::<Vec<_>>(), [2, 4, 6]);
    }
}
