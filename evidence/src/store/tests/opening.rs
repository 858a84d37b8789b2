//! Opening: settings that do not sync, tables of other versions, databases that are gone.

use super::*;
use crate::store::{
    link::{Link, fetch},
    migrations,
};

/// Tables and columns of a store, in order.
async fn columns(address: &Address) -> Vec<(String, String)> {
    let mut store = Store::open(address).await.expect("opens");
    let sql = if address.is_shared() {
        "select table_name::text, column_name::text from information_schema.columns where table_schema = 'public' \
         and table_name <> '_sqlx_migrations' order by table_name collate \"C\", ordinal_position"
    } else {
        "select m.name, c.name from sqlite_master m join pragma_table_info(m.name) c where m.type = 'table' \
         and m.name <> '_sqlx_migrations' order by m.name, c.cid"
    };
    fetch!(store.link(), sql).expect("reads")
}

#[tokio::test]
async fn tables_go_and_come_back_on_sqlite() {
    let dir = tempfile::tempdir().expect("temporary folder");
    tables_go_and_come_back(sqlite_at(&dir.path().join("e.db"))).await;
}

#[tokio::test]
async fn tables_go_and_come_back_on_postgres() {
    let server = Postgres::start(&[]);
    tables_go_and_come_back(database(&server, "tables").await).await;
}

async fn tables_go_and_come_back(address: Address) {
    let before = columns(&address).await;
    assert!(before.len() > 40, "{before:?}");
    let mut store = Store::open(&address).await.expect("opens");
    match store.link() {
        Link::Sqlite(connection) => migrations::sqlite().undo(connection, 0).await.expect("down"),
        Link::Postgres(connection) => migrations::postgres().undo(connection, 0).await.expect("down"),
    }
    let tables: Vec<(String,)> = if address.is_shared() {
        fetch!(
            store.link(),
            "select relname::text from pg_class where relnamespace = 'public'::regnamespace order by 1"
        )
    } else {
        fetch!(store.link(), "select name from sqlite_master where name not like 'sqlite_%' order by 1")
    }
    .expect("reads");
    assert!(tables.iter().all(|(name,)| name.starts_with("_sqlx_migrations")), "{tables:?}");
    let read = Reader::open(&address).await.expect_err("nothing to read");
    assert!(read.to_string().contains("holds no evidence"), "{read}");
    assert_eq!(columns(&address).await, before, "up again");
    // A version to come, and one that was never released.
    tamper(&address, "update _sqlx_migrations set version = 2").await;
    refused(&address, "newer version").await;
    execute!(store.link(), "update _sqlx_migrations set version = 1, checksum = $1", [7u8; 48].as_slice())
        .expect("alters");
    refused(&address, "earlier, unreleased version").await;
}

/// Neither opens, and both say why.
async fn refused(address: &Address, says: &str) {
    for error in [Store::open(address).await.err(), Reader::open(address).await.err()] {
        let error = error.expect(says);
        assert!(matches!(&error, StoreError::Format { problem, .. } if problem.contains(says)), "{error}");
    }
}

#[tokio::test]
async fn both_dialects_have_the_same_tables_and_columns() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let server = Postgres::start(&[]);
    let postgres = database(&server, "tables").await;
    assert_eq!(columns(&sqlite_at(&dir.path().join("e.db"))).await, columns(&postgres).await);
}

#[tokio::test]
async fn sqlite_that_does_not_sync_is_refused() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let path = dir.path().join("e.db");
    let path = path.display();
    for bad in ["synchronous=off", "synchronous=normal"] {
        let address = Address::parse(&format!("sqlite:{path}?{bad}")).expect("an address");
        let error = Store::open(&address).await.err().expect(bad);
        assert!(matches!(error, StoreError::NotSynced { .. }), "{bad}: {error}");
    }
    let address = Address::parse(&format!("sqlite:{path}?synchronous=extra")).expect("an address");
    Store::open(&address).await.expect("syncs more than enough");
}

#[tokio::test]
async fn a_store_in_sqlite_holds_one_log() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let address = sqlite_at(&dir.path().join("e.db"));
    assert!(matches!(Reader::open(&address).await.err(), Some(StoreError::Address { .. })), "no file yet");
    let (mut store, log) = held(&address).await;
    let error = store.log("ura.test/other", GATEWAY).await.expect_err("another log");
    assert!(matches!(error, StoreError::WrongLog { .. }));
    assert!(
        error.to_string().contains(ORIGIN) && error.to_string().contains("a store of its own"),
        "{error}"
    );
    assert_eq!(store.logs().await.expect("reads"), std::slice::from_ref(&log));
    // A reader with nobody else there, and what it leaves.
    append(&mut store, log.log, Appender::Holder(1), &[gap(1)]).await.expect("appends");
    store.close().await.expect("closes");
    let reader = Reader::open(&address).await.expect("opens");
    assert_eq!(all(&reader, log.log).await, [gap(1)]);
    reader.close().await;
    let left: Vec<_> =
        std::fs::read_dir(dir.path()).expect("lists").map(|file| file.expect("one").file_name()).collect();
    assert_eq!(left, ["e.db"]);
}

#[tokio::test]
async fn a_writer_that_is_locked_out_is_told_so() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let address = sqlite_at(&dir.path().join("e.db"));
    let (mut store, log) = held(&address).await;
    let mut other = Store::open(&address).await.expect("opens");
    execute!(other.link(), "pragma busy_timeout = 1").expect("impatient");
    let batch = store.begin(log.log, Appender::Holder(1), 0, 9).await.expect("begins");
    let error = other.begin(log.log, Appender::Guest, 0, 9).await.err().expect("locked");
    assert!(matches!(error, StoreError::Busy(_)), "{error:?}");
    drop(batch);
    append(&mut other, log.log, Appender::Guest, &[gap(1)]).await.expect("appends");
}

#[tokio::test]
async fn postgres_that_does_not_sync_is_refused() {
    let mut server = Postgres::start(&["fsync=off"]);
    let address = Address::parse(&server.url()).expect("an address");
    let table = [
        (vec!["fsync=off"], "fsync = off"),
        (vec!["full_page_writes=off"], "full_page_writes = off"),
        (vec!["synchronous_commit=off"], "synchronous_commit = off"),
    ];
    for (settings, says) in table {
        server.stop_immediately();
        server.start_again_with(&settings);
        let error = Store::open(&address).await.err().expect(says);
        assert!(matches!(error, StoreError::NotSynced { .. }), "{error}");
        let name = says.split(' ').next().unwrap_or_default();
        assert!(
            error.to_string().contains(says) && error.to_string().contains(&format!("set {name} = on")),
            "{error}"
        );
        assert!(!format!("{error} {error:?}").contains(server.password()));
    }
    // By the address too; and what does sync is taken.
    server.stop_immediately();
    server.start_again_with(&["synchronous_commit=local"]);
    let off = format!("{}?options=-c%20synchronous_commit%3Doff", server.url());
    let error = Store::open(&Address::parse(&off).expect("an address")).await.err().expect("off");
    assert!(matches!(error, StoreError::NotSynced { .. }), "{error}");
    Store::open(&address).await.expect("syncs");
}

#[tokio::test]
async fn a_database_that_is_gone_is_told_from_one_that_says_no() {
    let mut server = Postgres::start(&[]);
    let address = database(&server, "gone").await;
    let (mut store, log) = held(&address).await;
    let rows = [gap(1), opening(ExchangeId::at(1), 2, asked("a/b", "c/d", "e.F/G"), &[[1; 32]])];
    append(&mut store, log.log, Appender::Holder(1), &rows).await.expect("appends");
    let reader = Reader::open(&address).await.expect("opens");
    assert!(!format!("{reader:?}").contains(server.password()));
    let batch = store.begin(log.log, Appender::Holder(1), 1, 9).await.expect("begins");
    server.stop_immediately();
    drop(batch);
    for error in [
        store.begin(log.log, Appender::Holder(1), 1, 9).await.err(),
        store.beat(log.log, 1, 9).await.err(),
        Store::open(&address).await.err(),
    ] {
        let error = error.expect("gone");
        assert!(error.is_gone(), "{error:?}");
        assert!(!format!("{error} {error:?}").contains(server.password()));
    }
    server.start_again();
    // What was committed is there; what was not is not. The reader comes back by itself, the store is opened anew.
    assert_eq!(all(&reader, log.log).await, rows);
    let mut store = Store::open(&address).await.expect("opens");
    assert_eq!(append(&mut store, log.log, Appender::Holder(1), &[gap(3)]).await.expect("appends"), 2);
    let wrong = server.url_of("gone").replace(server.password(), "another");
    let error =
        Store::open(&Address::parse(&wrong).expect("an address")).await.err().expect("wrong password");
    assert!(matches!(error, StoreError::Database(_)), "{error:?}");
}

#[tokio::test]
async fn two_logs_of_one_database_do_not_wait_for_each_other() {
    let server = Postgres::start(&[]);
    let address = database(&server, "two").await;
    let (mut store, log) = held(&address).await;
    let mut other = Store::open(&address).await.expect("opens");
    let second = other.log("ura.test/other", "arc/gateway").await.expect("registers");
    assert_ne!(second.log, log.log);
    // A batch of the first stands still; the second goes on.
    let mut batch = store.begin(log.log, Appender::Holder(1), 1, 9).await.expect("begins");
    batch.insert(&[gap(1)]).await.expect("inserts");
    batch.mark(&[8; 32]).await.expect("marks");
    assert_eq!(append(&mut other, second.log, Appender::Guest, &[gap(2), gap(3)]).await.expect("appends"), 0);
    batch.commit().await.expect("commits");
    let reader = Reader::open(&address).await.expect("opens");
    assert_eq!(all(&reader, log.log).await, [gap(1)]);
    assert_eq!(all(&reader, second.log).await, [gap(2), gap(3)]);
    let origins: Vec<_> = reader.logs().await.expect("reads").into_iter().map(|log| log.origin).collect();
    assert_eq!(origins, [ORIGIN, "ura.test/other"]);
    // A reader cannot write, whoever it is.
    let mut snapshot = reader.snapshot().await.expect("begins");
    let written = execute!(snapshot.link(), "delete from entry");
    assert!(matches!(written, Err(StoreError::Database(_))), "{written:?}");
}
