//! Single changes of a store, by somebody who may write the database and has no key.

mod signed;

use sqlx::{AssertSqlSafe, SqliteConnection};
use ura_evidence::entry::{Columns, leaf};
use ura_log::tree::Frontier;
use ura_proto::v1::Entry;

use crate::world::{Random, World};

/// Where a change must be found.
#[derive(Debug)]
pub(super) enum Expected {
    Entry(u64),
    Subtree(u8, u64),
    Checkpoint(u64),
    Log,
}

/// Kinds of change.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tamper {
    Body,
    BodyReplaced,
    Leaf,
    Column,
    RemovedColumn,
    DeleteEntry,
    DeleteBody,
    ClaimRemoved,
    DenyRemoved,
    MoveRemoval,
    Swap,
    Redate,
    Recompute,
    RecomputeSubtrees,
    Subtree,
    DeleteSubtree,
    StraySubtree,
    NoteText,
    NoteSignature,
    NoteSwapped,
    NoteUnsigned,
    Cosignature,
    Pseudonym,
    DeleteSubject,
    AddSubject,
    Size,
    Origin,
    StrayEntry,
    StrayBody,
    CutTail,
    Type,
}

pub(super) const TAMPERINGS: &[(&str, Tamper)] = &[
    ("a byte of a body", Tamper::Body),
    ("a body of another entry", Tamper::BodyReplaced),
    ("a leaf", Tamper::Leaf),
    ("a column", Tamper::Column),
    ("a column of a removed entry", Tamper::RemovedColumn),
    ("an entry deleted", Tamper::DeleteEntry),
    ("a body deleted", Tamper::DeleteBody),
    ("a body deleted under a removal", Tamper::ClaimRemoved),
    ("a removal denied", Tamper::DenyRemoved),
    ("a removal by another entry", Tamper::MoveRemoval),
    ("two entries swapped", Tamper::Swap),
    ("an entry re-dated", Tamper::Redate),
    ("an entry with its leaf", Tamper::Recompute),
    ("an entry with all hashes", Tamper::RecomputeSubtrees),
    ("a hash", Tamper::Subtree),
    ("a hash deleted", Tamper::DeleteSubtree),
    ("a hash too many", Tamper::StraySubtree),
    ("the text of a checkpoint", Tamper::NoteText),
    ("the signature of a checkpoint", Tamper::NoteSignature),
    ("a checkpoint for another", Tamper::NoteSwapped),
    ("a checkpoint without signature", Tamper::NoteUnsigned),
    ("a cosignature", Tamper::Cosignature),
    ("a pseudonym", Tamper::Pseudonym),
    ("a subject deleted", Tamper::DeleteSubject),
    ("a subject added", Tamper::AddSubject),
    ("the size", Tamper::Size),
    ("the name of the log", Tamper::Origin),
    ("an entry too many", Tamper::StrayEntry),
    ("a body too many", Tamper::StrayBody),
    ("the end deleted", Tamper::CutTail),
    ("a value that cannot be", Tamper::Type),
];

async fn sql(connection: &mut SqliteConnection, text: String) {
    let shown = text.clone();
    sqlx::query(AssertSqlSafe(text)).execute(connection).await.expect(&shown);
}

fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("x'{digits}'")
}

fn flipped(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = usize::try_from(random.below(u64::try_from(bytes.len()).expect("few"))).expect("few");
    bytes[at] ^= 1 << random.below(8);
    bytes
}

/// An entry of this kind of state; any index below `end` that fits.
fn entry(world: &World, removed: bool, end: u64, random: &mut Random) -> Option<u64> {
    let fitting: Vec<u64> = (0..end).filter(|index| world.removed.contains(index) == removed).collect();
    (!fitting.is_empty()).then(|| *random.pick(&fitting))
}

fn at(index: u64) -> usize {
    usize::try_from(index).expect("few")
}

/// Changes one thing; `None` where the log has nothing of that kind.
pub(super) async fn run(
    tamper: Tamper,
    connection: &mut SqliteConnection,
    world: &World,
    random: &mut Random,
) -> Option<Expected> {
    use Tamper as T;
    match tamper {
        T::Body | T::BodyReplaced | T::Leaf | T::Column | T::RemovedColumn | T::Type => {
            values(tamper, connection, world, random).await
        }
        T::DeleteEntry | T::DeleteBody | T::ClaimRemoved | T::DenyRemoved | T::MoveRemoval | T::Swap => {
            rows(tamper, connection, world, random).await
        }
        T::Redate | T::Recompute | T::RecomputeSubtrees => recompute(tamper, connection, world, random).await,
        T::Subtree | T::DeleteSubtree | T::StraySubtree => {
            signed::hashes(tamper, connection, world, random).await
        }
        T::NoteText | T::NoteSignature | T::NoteSwapped | T::NoteUnsigned | T::Cosignature => {
            signed::notes(tamper, connection, world, random).await
        }
        T::Pseudonym | T::DeleteSubject | T::AddSubject => subjects(tamper, connection, world, random).await,
        T::Size | T::Origin | T::StrayEntry | T::StrayBody | T::CutTail => {
            signed::log(tamper, connection, world, random).await
        }
    }
}

async fn values(
    tamper: Tamper,
    connection: &mut SqliteConnection,
    world: &World,
    random: &mut Random,
) -> Option<Expected> {
    let removed = matches!(tamper, Tamper::RemovedColumn);
    // A leaf behind the newest checkpoint whose body was removed is nobody's word.
    let end = if matches!(tamper, Tamper::Leaf) { world.signed() } else { world.size() };
    let any = matches!(tamper, Tamper::Leaf) && random.below(2) == 0;
    let index = entry(world, removed || any, end, random)?;
    let row = &world.rows[at(index)];
    let text = match tamper {
        Tamper::Body => {
            format!("update body set bytes = {} where log_index = {index}", hex(&flipped(&row.body, random)))
        }
        Tamper::BodyReplaced => {
            let other = entry(world, false, end, random).filter(|other| *other != index)?;
            let body = &world.rows[at(other)].body;
            if *body == row.body {
                return None;
            }
            format!("update body set bytes = {} where log_index = {index}", hex(body))
        }
        Tamper::Leaf => {
            format!("update entry set leaf = {} where log_index = {index}", hex(&flipped(&row.leaf, random)))
        }
        Tamper::Type => format!("update entry set removed_by = -5 where log_index = {index}"),
        Tamper::RemovedColumn => {
            let (column, value) = *random.pick(&[
                ("exchange_id", "x'01'"),
                ("consumer", "'x'"),
                ("provider", "'x'"),
                ("method", "'x'"),
                ("reason", "'x'"),
                ("trace_id", "x'01'"),
                ("kind", "14"),
            ]);
            format!("update entry set {column} = {value} where log_index = {index}")
        }
        _ => {
            let (column, value) = *random.pick(&[
                ("exchange_id", "x'01'"),
                ("consumer", "consumer || 'x'"),
                ("provider", "provider || 'x'"),
                ("method", "'x'"),
                ("reason", "reason || 'x'"),
                ("trace_id", "x'01'"),
                ("kind", "kind + 1"),
                ("recorded_us", "recorded_us - 3600000000"),
            ]);
            format!("update entry set {column} = {value} where log_index = {index}")
        }
    };
    sql(connection, text).await;
    Some(Expected::Entry(index))
}

async fn rows(
    tamper: Tamper,
    connection: &mut SqliteConnection,
    world: &World,
    random: &mut Random,
) -> Option<Expected> {
    let size = world.size();
    match tamper {
        Tamper::DeleteEntry => {
            let index = random.below(size);
            for table in ["entry", "body", "subject"] {
                sql(connection, format!("delete from {table} where log_index = {index}")).await;
            }
            Some(Expected::Entry(index))
        }
        Tamper::DeleteBody => {
            let index = entry(world, false, size, random)?;
            sql(connection, format!("delete from body where log_index = {index}")).await;
            Some(Expected::Entry(index))
        }
        Tamper::ClaimRemoved => {
            let index = entry(world, false, size, random)?;
            let by = 1 + random.below(size + 5);
            sql(connection, format!("delete from body where log_index = {index}")).await;
            sql(connection, format!("delete from subject where log_index = {index}")).await;
            let blank =
                "exchange_id = x'', consumer = '', provider = '', method = '', reason = '', trace_id = x''";
            sql(connection, format!("update entry set removed_by = {by}, {blank} where log_index = {index}"))
                .await;
            Some(Expected::Entry(index))
        }
        Tamper::DenyRemoved | Tamper::MoveRemoval => {
            let index = entry(world, true, size, random)?;
            let by = if matches!(tamper, Tamper::DenyRemoved) {
                "0".to_owned()
            } else {
                format!("removed_by + {}", 1 + random.below(9))
            };
            sql(connection, format!("update entry set removed_by = {by} where log_index = {index}")).await;
            Some(Expected::Entry(index))
        }
        _ => {
            let (one, two) = (random.below(world.signed()), random.below(world.signed()));
            if world.rows[at(one)].leaf == world.rows[at(two)].leaf {
                return None;
            }
            for table in ["entry", "body", "subject"] {
                for (from, to) in [(one, 1_000_000), (two, one), (1_000_000, two)] {
                    sql(connection, format!("update {table} set log_index = {to} where log_index = {from}"))
                        .await;
                }
            }
            // Behind the first of them nothing agrees any more, so that the second can only be guessed.
            Some(Expected::Entry(one.min(two)))
        }
    }
}

/// Another entry in the place of this one, with its leaf and its columns; and every hash above.
async fn recompute(
    tamper: Tamper,
    connection: &mut SqliteConnection,
    world: &World,
    random: &mut Random,
) -> Option<Expected> {
    let index = entry(world, false, world.signed(), random)?;
    let mut changed: Entry = ura_evidence::entry::decode(&world.rows[at(index)].body).expect("an entry");
    changed.recorded_unix_us -= 3_600_000_000;
    let body = prost::Message::encode_to_vec(&changed);
    let columns = Columns::of(&changed);
    sql(connection, format!("update body set bytes = {} where log_index = {index}", hex(&body))).await;
    let recorded = columns.recorded_us;
    sql(connection, format!("update entry set recorded_us = {recorded} where log_index = {index}")).await;
    if matches!(tamper, Tamper::Redate) {
        return Some(Expected::Entry(index));
    }
    let leaf = leaf(&body);
    sql(connection, format!("update entry set leaf = {} where log_index = {index}", hex(&leaf))).await;
    if matches!(tamper, Tamper::RecomputeSubtrees) {
        for (level, place, hash) in super::forge::subtrees(world, index, leaf).1 {
            let hash = hex(&hash);
            sql(
                connection,
                format!("update subtree set hash = {hash} where level = {level} and idx = {place}"),
            )
            .await;
        }
    }
    Some(Expected::Entry(index))
}

async fn subjects(
    tamper: Tamper,
    connection: &mut SqliteConnection,
    world: &World,
    random: &mut Random,
) -> Option<Expected> {
    let with = |index: &u64| !world.rows[at(*index)].subjects.is_empty() && !world.removed.contains(index);
    let fitting: Vec<u64> = (0..world.size()).filter(with).collect();
    if fitting.is_empty() {
        return None;
    }
    let index = *random.pick(&fitting);
    let bytes = hex(&random.bytes());
    let text = match tamper {
        Tamper::Pseudonym => {
            let column = *random.pick(&["pseudonym", "blind"]);
            format!("update subject set {column} = {bytes} where log_index = {index} and ordinal = 0")
        }
        Tamper::DeleteSubject => format!("delete from subject where log_index = {index} and ordinal = 0"),
        _ => format!(
            "insert into subject (log, log_index, ordinal, kind, pseudonym, blind) values (1, {index}, 77, 'person', {bytes}, {bytes})"
        ),
    };
    sql(connection, text).await;
    Some(Expected::Entry(index))
}

/// The right edge of a tree, grown leaf by leaf.
pub(super) fn tree(leaves: impl Iterator<Item = ura_log::Hash>) -> (Frontier, Vec<(u8, u64, ura_log::Hash)>) {
    let (mut tree, mut subtrees) = (Frontier::new(), Vec::new());
    for leaf in leaves {
        tree.append_telling(ura_log::tree::leaf_hash(&leaf), |height, index, hash| {
            if height > 0 && height % 8 == 0 {
                subtrees.push((height / 8, index, *hash));
            }
        });
    }
    (tree, subtrees)
}
