//! Changes of what stands above entries: hashes, checkpoints, and the row of the log.

use sqlx::SqliteConnection;

use super::{Expected, Tamper, at, hex, sql};
use crate::world::{Random, World};

pub(super) async fn hashes(
    tamper: Tamper,
    connection: &mut SqliteConnection,
    world: &World,
    random: &mut Random,
) -> Option<Expected> {
    let full = world.size() >> 8;
    if matches!(tamper, Tamper::StraySubtree) {
        let (level, index) = *random.pick(&[(1, full), (1, full + 7), (2, 0), (7, 0), (8, 0), (0, 1)]);
        let hash = hex(&random.bytes());
        sql(
            connection,
            format!("insert into subtree (log, level, idx, hash) values (1, {level}, {index}, {hash})"),
        )
        .await;
        return Some(Expected::Subtree(level, index));
    }
    if full == 0 {
        return None;
    }
    let index = random.below(full);
    let place = format!("where level = 1 and idx = {index}");
    let text = match tamper {
        Tamper::Subtree => format!("update subtree set hash = {} {place}", hex(&random.bytes())),
        _ => format!("delete from subtree {place}"),
    };
    sql(connection, text).await;
    Some(Expected::Subtree(1, index))
}

pub(super) async fn notes(
    tamper: Tamper,
    connection: &mut SqliteConnection,
    world: &World,
    random: &mut Random,
) -> Option<Expected> {
    let (size, note) = random.pick(&world.checkpoints).clone();
    let (text, signatures) = note.rsplit_once("\n\n").expect("a note");
    let changed = match tamper {
        Tamper::NoteText => {
            let root = ura_log::checkpoint::Checkpoint {
                origin: world.log.origin.clone(),
                size,
                root: random.bytes(),
                extensions: Vec::new(),
            };
            let text = random.pick(&[root.text(), format!("{text}\nextension\n")]).clone();
            format!("{text}\n{signatures}")
        }
        Tamper::NoteSignature => {
            let key = "\u{2014} ".len() + world.log.origin.len() + 1;
            // Behind the four bytes of the key's id.
            let at = key + 6 + at(random.below(80));
            let mut bytes = signatures.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            format!("{text}\n\n{}", String::from_utf8(bytes).expect("text"))
        }
        Tamper::NoteSwapped => {
            let (other, note) = random.pick(&world.checkpoints);
            if *other == size {
                return None;
            }
            note.clone()
        }
        Tamper::NoteUnsigned => {
            let forger = ura_log::note::Signer::generate(&world.log.origin, ura_log::note::Kind::Ed25519);
            let signature = forger.expect("a key").sign(&format!("{text}\n")).expect("signs");
            format!("{text}\n\n{signature}\n")
        }
        _ => return cosignature(connection, random).await,
    };
    sqlx::query("update checkpoint set note = $1 where size = $2")
        .bind(changed)
        .bind(i64::try_from(size).expect("small"))
        .execute(connection)
        .await
        .expect("updates");
    Some(Expected::Checkpoint(size))
}

/// Changes one character of each cosignature, behind the four bytes of its key's id: with another id it would be
/// one of another key, and who has that key is not known.
async fn cosignature(connection: &mut SqliteConnection, random: &mut Random) -> Option<Expected> {
    let at = 6 + at(random.below(90));
    let lines: Vec<String> =
        sqlx::query_scalar("select line from cosignature").fetch_all(&mut *connection).await.expect("reads");
    for line in &lines {
        let key = line.rfind(' ').expect("a name before") + 1;
        let mut changed = line.clone().into_bytes();
        changed[key + at] = if changed[key + at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).expect("text");
        let update = sqlx::query("update cosignature set line = $1 where line = $2").bind(changed).bind(line);
        update.execute(&mut *connection).await.expect("updates");
    }
    (!lines.is_empty()).then_some(Expected::Log)
}

pub(super) async fn log(
    tamper: Tamper,
    connection: &mut SqliteConnection,
    world: &World,
    random: &mut Random,
) -> Option<Expected> {
    let size = world.size();
    match tamper {
        Tamper::Size => {
            let (by, expected) = if random.below(2) == 0 { (1, size) } else { (-1, size - 1) };
            sql(connection, format!("update log set size = size + {by}")).await;
            Some(Expected::Entry(expected))
        }
        Tamper::Origin => {
            sql(connection, "update log set origin = 'ura.test/other'".to_owned()).await;
            Some(Expected::Log)
        }
        Tamper::StrayEntry | Tamper::StrayBody => {
            let index = size + random.below(9);
            sql(connection, format!("insert into body (log, log_index, bytes) values (1, {index}, x'00')"))
                .await;
            if matches!(tamper, Tamper::StrayBody) {
                return Some(Expected::Log);
            }
            let values = format!("1, {index}, {}, 13, x'', 0, '', '', '', '', x''", hex(&random.bytes()));
            sql(
                connection,
                format!("insert into entry (log, log_index, leaf, kind, exchange_id, recorded_us, consumer, provider, method, reason, trace_id) values ({values})"),
            )
            .await;
            Some(Expected::Entry(index))
        }
        _ => {
            let from = random.below(size);
            for table in ["entry", "body", "subject"] {
                sql(connection, format!("delete from {table} where log_index >= {from}")).await;
            }
            Some(Expected::Entry(size - 1))
        }
    }
}
