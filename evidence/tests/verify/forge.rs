//! Forgeries that agree with themselves: the whole log recomputed, set back, or signed anew.

use std::path::Path;

use sqlx::{AssertSqlSafe, SqliteConnection};
use ura_evidence::entry::{Columns, leaf};
use ura_log::{
    Hash,
    checkpoint::Checkpoint,
    note::{Kind as KeyKind, Signer},
    tree::Frontier,
};
use ura_proto::v1::{Entry, KeyChange, entry::Kind};

use super::tamper::tree;
use crate::world::{ORIGIN, Random, World, connect};

async fn sql(connection: &mut SqliteConnection, text: String) {
    let shown = text.clone();
    sqlx::query(AssertSqlSafe(text)).execute(connection).await.expect(&shown);
}

fn at(index: u64) -> usize {
    usize::try_from(index).expect("few")
}

/// The tree with another leaf in the place of one.
pub(super) fn subtrees(world: &World, index: u64, other: Hash) -> (Frontier, Vec<(u8, u64, Hash)>) {
    tree(leaves(world, index, other))
}

fn leaves(world: &World, index: u64, other: Hash) -> impl Iterator<Item = Hash> {
    let rows = world.rows.iter().enumerate();
    rows.map(move |(place, row)| if place == at(index) { other } else { row.leaf })
}

/// Cuts the log off behind a checkpoint, with everything that told of more. `false`: a removal behind it has
/// left traces before it.
pub(super) async fn set_back(database: &Path, world: &World, size: u64) -> bool {
    let mut connection = connect(database).await;
    for table in ["entry", "body", "subject"] {
        sql(&mut connection, format!("delete from {table} where log_index >= {size}")).await;
    }
    for table in ["checkpoint", "cosignature"] {
        sql(&mut connection, format!("delete from {table} where size > {size}")).await;
    }
    sql(&mut connection, format!("delete from subtree where (idx + 1) << (8 * level) > {size}")).await;
    sql(&mut connection, format!("update log set size = {size}")).await;
    let left: i64 =
        sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from entry where removed_by > {size}")))
            .fetch_one(&mut connection)
            .await
            .expect("counts");
    sqlx::Connection::close(connection).await.expect("closes");
    // Where only the first key's era is left, the newest key vouches for nothing.
    let newest = world.signers.last().expect("one").key();
    let signed = world.checkpoints.iter().filter(|(there, _)| *there <= size);
    let by_newest = signed
        .into_iter()
        .any(|(_, note)| ura_log::checkpoint::open(note, std::slice::from_ref(newest)).is_ok());
    left == 0 && by_newest
}

/// Rewrites one entry and everything that follows from it, and signs all checkpoints anew with the log's own
/// keys. Gives the new leaf; `None` where the entry has no body, or says what others depend on.
pub(super) async fn rewrite(database: &Path, world: &World, index: u64, random: &mut Random) -> Option<Hash> {
    let row = &world.rows[at(index)];
    if world.removed.contains(&index) || row.columns.kind == 17 {
        return None;
    }
    let mut entry: Entry = ura_evidence::entry::decode(&row.body).expect("an entry");
    entry.recorded_unix_us -= 1 + i64::try_from(random.below(1_000_000)).expect("small");
    let body = prost::Message::encode_to_vec(&entry);
    let new = leaf(&body);
    let mut connection = connect(database).await;
    put(&mut connection, index, &body, new, &Columns::of(&entry)).await;
    for (level, place, hash) in subtrees(world, index, new).1 {
        sqlx::query("update subtree set hash = $1 where level = $2 and idx = $3")
            .bind(hash.to_vec())
            .bind(i64::from(level))
            .bind(i64::try_from(place).expect("small"))
            .execute(&mut connection)
            .await
            .expect("updates");
    }
    for (size, note) in &world.checkpoints {
        let keys = world.keys();
        let (_, by) = ura_log::checkpoint::open(note, &keys).expect("as signed");
        let signer = world.signers.iter().find(|signer| by.contains(signer.key())).expect("one of them");
        let leaves: Vec<Hash> = leaves(world, index, new).take(at(*size)).collect();
        sign(&mut connection, *size, tree(leaves.into_iter()).0.root(), signer).await;
    }
    sql(&mut connection, "delete from cosignature".to_owned()).await;
    sqlx::Connection::close(connection).await.expect("closes");
    Some(new)
}

async fn put(connection: &mut SqliteConnection, index: u64, body: &[u8], leaf: Hash, columns: &Columns) {
    let index = i64::try_from(index).expect("small");
    sqlx::query("update body set bytes = $1 where log_index = $2")
        .bind(body.to_vec())
        .bind(index)
        .execute(&mut *connection)
        .await
        .expect("updates");
    sqlx::query("update entry set leaf = $1, recorded_us = $2, kind = $3 where log_index = $4")
        .bind(leaf.to_vec())
        .bind(columns.recorded_us)
        .bind(columns.kind)
        .bind(index)
        .execute(connection)
        .await
        .expect("updates");
}

async fn sign(connection: &mut SqliteConnection, size: u64, root: Hash, signer: &Signer) {
    let checkpoint = Checkpoint { origin: ORIGIN.into(), size, root, extensions: Vec::new() };
    sqlx::query("update checkpoint set note = $1 where size = $2")
        .bind(checkpoint.sign(signer).expect("signs").to_string())
        .bind(i64::try_from(size).expect("small"))
        .execute(connection)
        .await
        .expect("updates");
}

/// Puts a change of key where the newest entry under a checkpoint is, and signs the newest checkpoint with a
/// key of the forger; gives the index from which nothing may be believed.
pub(super) async fn foreign_key(database: &Path, world: &World, announced: bool) -> u64 {
    let forger = Signer::generate(ORIGIN, KeyKind::Ed25519).expect("a key");
    let size = world.signed();
    let index = (0..size)
        .rev()
        .find(|index| !world.removed.contains(index) && world.rows[at(*index)].columns.kind != 17);
    let index = index.expect("the first entry tells of the start");
    let mut connection = connect(database).await;
    let mut new = world.rows[at(index)].leaf;
    if announced {
        let change = KeyChange { log_key: forger.key().to_string(), ..KeyChange::default() };
        let row = ura_evidence::entry::Row::new(None, 5, Kind::KeyChange(change));
        new = row.leaf;
        put(&mut connection, index, &row.body, row.leaf, &row.columns).await;
        sql(&mut connection, format!("delete from subject where log_index = {index}")).await;
        let blank =
            "exchange_id = x'', consumer = '', provider = '', method = '', reason = '', trace_id = x''";
        sql(&mut connection, format!("update entry set {blank} where log_index = {index}")).await;
        for (level, place, hash) in subtrees(world, index, new).1 {
            let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            sql(
                &mut connection,
                format!("update subtree set hash = x'{digits}' where level = {level} and idx = {place}"),
            )
            .await;
        }
    }
    // Checkpoints of the log's own that would contradict are taken away.
    for table in ["checkpoint", "cosignature"] {
        sql(&mut connection, format!("delete from {table} where size > {index} and size < {size}")).await;
    }
    sql(&mut connection, "delete from cosignature".to_owned()).await;
    let leaves: Vec<Hash> = leaves(world, index, new).take(at(size)).collect();
    sign(&mut connection, size, tree(leaves.into_iter()).0.root(), &forger).await;
    sqlx::Connection::close(connection).await.expect("closes");
    index
}
