//! What is found at a start: nothing is written to a log in which something is missing.

use std::{fs, path::PathBuf, time::Duration};

use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use ura_proto::ExchangeId;

use super::rig::{Rig, Running, refused as turned_away, some, until};
use crate::writer::{EvidenceError, Place};

fn file(rig: &Rig) -> PathBuf {
    rig.dir.path().join("e.db")
}

/// Somebody who may write the database.
pub(super) async fn tamper(rig: &Rig, statements: &[&'static str]) {
    let options = SqliteConnectOptions::new().filename(file(rig));
    let mut connection = SqliteConnection::connect_with(&options).await.expect("the file opens");
    for statement in statements {
        sqlx::query(*statement).execute(&mut connection).await.expect(statement);
    }
    connection.close().await.expect("closes");
}

async fn records(rig: &Rig, from: i64, count: i64) {
    let running: Running = rig.start().await;
    for at in from..from + count {
        // Refused ones, so that nothing is left to be closed.
        running.record(turned_away(ExchangeId::at(at))).await.expect("on disk");
    }
    running.end().await;
}

async fn refused(rig: &Rig) -> EvidenceError {
    let before = rig.row().await;
    let error = rig.try_start(false).await.err().expect("refused");
    let after = rig.row().await;
    assert_eq!((before.token, before.last_token), (after.token, after.last_token), "nothing was taken");
    error
}

#[tokio::test]
async fn a_store_that_was_put_back_is_found_by_the_checkpoint_that_is_held() {
    let rig = Rig::sqlite();
    records(&rig, 0, 20).await;
    let copy = rig.dir.path().join("copy");
    fs::copy(file(&rig), &copy).expect("copied");
    records(&rig, 100, 30).await;
    assert!(!rig.dir.path().join("e.db-wal").exists(), "everything is in the one file");
    fs::copy(&copy, file(&rig)).expect("put back");
    let error = refused(&rig).await;
    let is_held = matches!(
        error,
        EvidenceError::RolledBack { place: Place::HeldCheckpoint, signed: 52, found: 21, .. }
    );
    assert!(is_held, "{error}");
    assert!(error.to_string().contains("31 are missing"), "{error}");
    // And where the store is begun anew.
    fs::remove_file(file(&rig)).expect("removed");
    let error = refused(&rig).await;
    assert!(matches!(error, EvidenceError::RolledBack { signed: 52, found: 0, .. }), "{error}");
}

#[tokio::test]
async fn rows_that_are_fewer_than_were_signed_are_found() {
    let rig = Rig::sqlite();
    records(&rig, 0, 20).await;
    let cut = ["delete from entry where log_index >= 15", "delete from body where log_index >= 15"];
    tamper(&rig, &cut).await;
    let error = refused(&rig).await;
    assert!(matches!(error, EvidenceError::Store(_)) && error.to_string().contains("missing"), "{error}");
    tamper(&rig, &["update log set size = 15"]).await;
    let error = refused(&rig).await;
    let expected = matches!(
        error,
        EvidenceError::RolledBack { place: Place::NewestCheckpoint, signed: 21, found: 15, .. }
    );
    assert!(expected, "{error}");
    tamper(&rig, &["delete from checkpoint where size > 15"]).await;
    let error = refused(&rig).await;
    let expected = matches!(
        error,
        EvidenceError::RolledBack { place: Place::HeldCheckpoint, signed: 21, found: 15, .. }
    );
    assert!(expected, "{error}");
}

#[tokio::test]
async fn rows_that_are_others_than_were_signed_are_found() {
    let rig = Rig::sqlite();
    records(&rig, 0, 20).await;
    tamper(
        &rig,
        &["update entry set leaf = (select leaf from entry where log_index = 3) where log_index = 4"],
    )
    .await;
    let error = refused(&rig).await;
    assert!(
        matches!(error, EvidenceError::OtherRoot { place: Place::NewestCheckpoint, size: 21, .. }),
        "{error}"
    );
    tamper(&rig, &["delete from checkpoint"]).await;
    let error = refused(&rig).await;
    assert!(
        matches!(error, EvidenceError::OtherRoot { place: Place::HeldCheckpoint, size: 21, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn rows_behind_the_end_are_found() {
    let rig = Rig::sqlite();
    records(&rig, 0, 20).await;
    tamper(&rig, &["delete from checkpoint", "update log set size = 15"]).await;
    for held in fs::read_dir(&rig.config.log_keys).expect("a folder") {
        let path = held.expect("a file").path();
        if path.extension().is_some_and(|extension| extension == "checkpoint") {
            fs::remove_file(path).expect("removed");
        }
    }
    let error = refused(&rig).await;
    assert!(matches!(error, EvidenceError::Stray { size: 15, table: "entry", index: 15, .. }), "{error}");
}

#[tokio::test]
async fn a_checkpoint_by_other_keys_is_not_this_gateway_s() {
    let mut rig = Rig::sqlite();
    records(&rig, 0, 3).await;
    let keys = rig.config.log_keys.clone();
    rig.config.log_keys = rig.dir.path().join("other-keys");
    let error = refused(&rig).await;
    assert!(matches!(error, EvidenceError::NotSigned { place: Place::NewestCheckpoint, .. }), "{error}");
    rig.config.log_keys = keys;
    records(&rig, 10, 3).await;
}

#[tokio::test]
async fn rows_behind_the_newest_checkpoint_are_what_a_crash_leaves() {
    let mut rig = Rig::sqlite();
    rig.config.checkpoint_interval_ms = 60_000;
    let running = rig.start().await;
    for at in 0..300 {
        running.record(some(at)).await.expect("on disk");
    }
    assert_eq!(running.evidence.status().signed_size, 1);
    running.die().await;
    super::leases::steal(&rig, &super::leases::dead()).await;
    // Where nothing is signed, the stored root of a subtree is nobody's word.
    tamper(&rig, &["create table good as select * from subtree", "update subtree set hash = zeroblob(32)"])
        .await;
    let running = rig.start().await;
    assert_eq!(running.evidence.status().signed_size, 302, "the start signs them");
    running.end().await;
    let mend = "update subtree set hash = (select hash from good where good.idx = subtree.idx)";
    tamper(&rig, &[mend, "drop table good"]).await;
    assert!(rig.whole().await.is_signed());
}

#[tokio::test]
async fn a_log_that_is_rolled_back_while_it_is_written_is_written_no_more() {
    for (case, statements) in [
        ("shorter", &["update log set size = 5", "delete from entry where log_index >= 5"][..]),
        (
            "another",
            &[
                "update entry set leaf = x'0000000000000000000000000000000000000000000000000000000000000000' where log_index = 4",
            ],
        ),
    ] {
        let mut rig = Rig::sqlite();
        rig.pace.retry = Duration::ZERO;
        let running = rig.start().await;
        for at in 0..9 {
            running.record(some(at)).await.expect("on disk");
        }
        tamper(&rig, statements).await;
        if case == "another" {
            // Looked at when the connection is made anew.
            tamper(
                &rig,
                &["create trigger hindrance before insert on entry begin select raise(fail, 'full'); end"],
            )
            .await;
            assert_eq!(running.record(some(50)).await, None);
            tamper(&rig, &["drop trigger hindrance"]).await;
        }
        assert_eq!(running.record(some(51)).await, None, "{case}");
        let size = rig.row().await.size;
        // It is tried again and again, and nothing is written.
        until(async || !running.evidence.status().available).await;
        super::marks::stays_unavailable(&running).await;
        assert_eq!(rig.row().await.size, size, "{case}");
        running.die().await;
    }
}
