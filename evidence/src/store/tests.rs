//! The store, held to its promises: the same cases on SQLite and on PostgreSQL.

#![allow(clippy::panic, clippy::print_stdout)] // A failing case is named by what was printed last.

mod appending;
mod finding;
mod leases;
mod opening;
mod reading;
mod removing;
mod tree;

use std::{future::Future, pin::Pin};

use ura_log::Hash;
use ura_proto::{
    ExchangeId,
    v1::{Closing, Gap, Opening, Progress, SubjectOpening, entry::Kind},
};

use super::{Address, Appender, LogRow, NewLease, Reader, Store, StoreError, link::execute};
use crate::{entry::Row, sample::postgres::Postgres};

const ORIGIN: &str = "ura.test/gateway";
const GATEWAY: &str = "ais/gateway";

type Case = fn(Address) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Every case, by its name.
macro_rules! cases {
    ($($room:ident :: $case:ident),* $(,)?) => {
        vec![$((concat!(stringify!($room), "::", stringify!($case)), (|address| Box::pin($room::$case(address))) as Case)),*]
    };
}

fn cases() -> Vec<(&'static str, Case)> {
    cases![
        appending::entries_are_numbered_without_gaps,
        appending::a_guest_writes_between_two_batches_of_the_holder,
        appending::what_is_dropped_leaves_nothing,
        appending::an_append_keeps_to_what_it_announced,
        appending::an_append_of_no_entries_may_leave_a_checkpoint,
        leases::a_lease_is_taken_once,
        leases::a_token_that_is_no_longer_valid_is_fenced,
        leases::the_one_before_may_write_to_its_end,
        leases::a_sealed_log_is_fenced_for_all,
        leases::a_token_is_never_given_twice,
        leases::what_was_swept_is_noted_by_the_holder_only,
        reading::entries_come_in_pages,
        reading::checkpoints_come_with_their_cosignatures,
        reading::checkpoints_are_thinned_out,
        reading::versions_of_the_registry_stay,
        reading::values_that_cannot_be_are_named,
        reading::rows_beyond_the_end_are_found,
        finding::filters_fit_together,
        finding::pages_go_on_where_the_last_one_ended,
        finding::all_methods_of_a_contract_are_found,
        finding::an_exchange_is_found_with_its_subjects,
        finding::several_exchanges_are_found_at_once,
        finding::accesses_to_a_subject_are_found,
        finding::a_system_finds_what_names_it,
        finding::openings_without_an_end_are_found,
        removing::a_removal_leaves_the_leaves,
        removing::thousands_go_at_once,
        tree::the_tree_is_that_of_the_leaves,
        tree::what_is_missing_of_the_tree_is_named,
    ]
}

#[tokio::test]
async fn on_sqlite() {
    let dir = tempfile::tempdir().expect("temporary folder");
    for (number, (name, case)) in cases().into_iter().enumerate() {
        println!("{name}");
        let path = dir.path().join(format!("{number}.db"));
        case(sqlite_at(&path)).await;
    }
}

#[tokio::test]
async fn on_postgres() {
    let server = Postgres::start(&[]);
    for (number, (name, case)) in cases().into_iter().enumerate() {
        println!("{name}");
        case(database(&server, &format!("case_{number}")).await).await;
    }
}

fn sqlite_at(path: &std::path::Path) -> Address {
    Address::parse(&format!("sqlite:{}", path.display())).expect("a path")
}

/// A new database on a server.
async fn database(server: &Postgres, name: &str) -> Address {
    let options: sqlx::postgres::PgConnectOptions = server.url().parse().expect("an address");
    let mut connection = sqlx::ConnectOptions::connect(&options).await.expect("PostgreSQL");
    let sql = format!("create database {name}");
    sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.expect("a database");
    sqlx::Connection::close(connection).await.expect("closes");
    Address::parse(&server.url_of(name)).expect("an address")
}

/// Runs a statement past the store, as somebody who may write the database.
async fn tamper(address: &Address, sql: &'static str) -> u64 {
    let mut store = Store::open(address).await.expect("opens");
    execute!(store.link(), sql).expect(sql)
}

/// A store with a log, and its lease taken with token 1.
async fn held(address: &Address) -> (Store, LogRow) {
    let mut store = Store::open(address).await.expect("opens");
    let seen = store.log(ORIGIN, GATEWAY).await.expect("registers");
    assert!(store.take(seen.log, &seen, &lease(1, 0)).await.expect("takes"));
    let log = store.log(ORIGIN, GATEWAY).await.expect("finds");
    (store, log)
}

fn lease(token: i64, previous_token: i64) -> NewLease {
    NewLease {
        token,
        holder: format!("process {token}"),
        previous_token,
        previous_holder: if previous_token == 0 {
            String::new()
        } else {
            format!("process {previous_token}")
        },
    }
}

/// Appends entries in one transaction; the index of the first.
async fn append(store: &mut Store, log: i64, by: Appender, rows: &[Row]) -> Result<u64, StoreError> {
    let mut append = store.begin(log, by, rows.len(), 7).await?;
    let first = append.first();
    append.insert(rows).await?;
    append.mark(&[7; 32]).await?;
    append.commit().await?;
    Ok(first)
}

/// An opening about these subjects.
fn opening(exchange: ExchangeId, at_us: i64, opening: Opening, subjects: &[Hash]) -> Row {
    Row::with_subjects(Some(exchange), at_us, Kind::Opening(opening), subjects.iter().map(subject).collect())
}

fn progress(exchange: ExchangeId, at_us: i64, subjects: &[Hash]) -> Row {
    let subjects = subjects.iter().map(subject).collect();
    Row::with_subjects(Some(exchange), at_us, Kind::Progress(Progress::default()), subjects)
}

fn closing(exchange: ExchangeId, at_us: i64) -> Row {
    Row::new(
        Some(exchange),
        at_us,
        Kind::Closing(Closing { status: 0, duration_us: 3, ..Closing::default() }),
    )
}

fn gap(at_us: i64) -> Row {
    let refused = u64::try_from(at_us).expect("after 1970");
    Row::new(None, at_us, Kind::Gap(Gap { refused, ..Gap::default() }))
}

fn subject(pseudonym: &Hash) -> SubjectOpening {
    let kind = format!("kind {}", pseudonym[0]);
    SubjectOpening { kind, pseudonym: pseudonym.to_vec(), blind: vec![pseudonym[0] ^ 0xff; 32] }
}

/// An opening that consumer, provider and method tell apart.
fn asked(consumer: &str, provider: &str, method: &str) -> Opening {
    Opening {
        consumer: consumer.into(),
        provider: provider.into(),
        method: method.into(),
        ..Opening::default()
    }
}

/// Everything of a log, as rows that could be stored again.
async fn all(reader: &Reader, log: i64) -> Vec<Row> {
    let rows = reader.entries(log, 0, super::ROWS_MAX).await.expect("reads");
    let stored = rows.into_iter().zip(0u64..).map(|(row, index)| {
        assert_eq!(row.index, index, "numbered without gaps");
        assert_eq!(row.removed_by, 0);
        let body = row.body.expect("not removed");
        Row { body, leaf: row.leaf, columns: row.columns, subjects: row.subjects }
    });
    stored.collect()
}
