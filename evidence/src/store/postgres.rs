//! What only PostgreSQL needs: its options, the check that it syncs, and inserts of arrays of columns.

use std::{net::IpAddr, path::Path, str::FromStr as _};

use sqlx::{
    ConnectOptions as _, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use ura_log::Hash;

use super::{StoreError, link::limited, sqlite::SubjectRow};
use crate::entry::Row;

/// What an address may set. Others would be told in sqlx's log with their values, a misspelt password too.
const KEYS: [&str; 10] =
    ["sslmode", "sslrootcert", "sslcert", "sslkey", "host", "port", "dbname", "user", "password", "options"];

/// What holds for each session: nobody waits for ever, and a process that stands still in the middle of a transaction
/// does not hold its log for ever.
const SESSION: &str = "set lock_timeout = '5s'; set idle_in_transaction_session_timeout = '10s'; set statement_timeout = '30s'; \
     set client_min_messages = warning";
/// What holds for a session that only reads. All its questions are few rows found by indexes; the planner may think
/// otherwise as long as it has no statistics of tables that grow fast.
const READING: &str = "set lock_timeout = '5s'; set idle_in_transaction_session_timeout = '60s'; \
     set statement_timeout = '30s'; set client_min_messages = warning; set default_transaction_read_only = on; \
     set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off; \
     set enable_bitmapscan = off; set max_parallel_workers_per_gather = 0; set jit = off";

/// PostgreSQL's options for an address, and what may be shown of it.
pub(super) fn options(address: &str) -> Result<(PgConnectOptions, String), StoreError> {
    let wrong = |store: &str, problem: &str| StoreError::Address {
        store: store.to_owned(),
        problem: problem.to_owned(),
    };
    let scheme = address.split(':').next().unwrap_or_default();
    let form = "it is not an address of PostgreSQL; write postgres://USER:PASSWORD@HOST:PORT/DATABASE";
    let Some(rest) = address.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://")) else {
        return Err(wrong(scheme, form));
    };
    if rest.contains('#') {
        return Err(wrong(scheme, "it contains a #; write it as %23"));
    }
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let key = pair.split('=').next().unwrap_or_default();
        if !KEYS.contains(&key) {
            return Err(wrong(scheme, &format!("`{key}` is not known; known are {}", KEYS.join(", "))));
        }
        if let Some(mode) = pair.strip_prefix("sslmode=")
            && PgSslMode::from_str(mode).is_err()
        {
            return Err(wrong(
                scheme,
                "sslmode is one of disable, allow, prefer, require, verify-ca, verify-full",
            ));
        }
    }
    let options = PgConnectOptions::from_str(address).map_err(|_| wrong(scheme, form))?;
    let shown = shown(&options);
    let encrypted =
        matches!(options.get_ssl_mode(), PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull);
    if !encrypted && !is_local(&options) {
        return Err(wrong(
            &shown,
            "the database is on another machine and TLS is not asked for; write ?sslmode=verify-full&sslrootcert=PATH at the end of the address",
        ));
    }
    Ok((options.application_name("ura").disable_statement_logging(), shown))
}

/// What may be shown: everything but the password and the options.
fn shown(options: &PgConnectOptions) -> String {
    let host = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => options.get_host().to_owned(),
    };
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    format!("postgres://{}@{host}:{}/{database}", options.get_username(), options.get_port())
}

/// Whether nothing of the connection leaves the machine.
fn is_local(options: &PgConnectOptions) -> bool {
    let host = options.get_host().trim_start_matches('[').trim_end_matches(']');
    options.get_socket().is_some()
        || Path::new(host).is_absolute()
        || host == "localhost"
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Sets the limits of a session that writes.
pub(super) async fn limit(connection: &mut PgConnection) -> Result<(), StoreError> {
    limited(sqlx::raw_sql(SESSION).execute(connection)).await.map(|_| ())
}

/// Sets the limits of a session that reads.
pub(super) async fn limit_reading(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(READING).execute(connection).await.map(|_| ())
}

/// Settings without which a commit is not on disk: name, values that will do, and how it is mended.
const SYNC: [(&str, &[&str], &str); 3] = [
    ("fsync", &["on"], "set fsync = on in postgresql.conf and reload the server"),
    ("full_page_writes", &["on"], "set full_page_writes = on in postgresql.conf and reload the server"),
    (
        "synchronous_commit",
        &["on", "local", "remote_write", "remote_apply"],
        "set synchronous_commit = on in postgresql.conf, for the role and for the database, and remove it from the address",
    ),
];

/// Asks the server itself whether a commit of this session syncs.
pub(super) async fn check_sync(connection: &mut PgConnection, store: &str) -> Result<(), StoreError> {
    for (name, good, mended) in SYNC {
        let query = sqlx::query_scalar("select current_setting($1)").bind(name);
        let found: String = limited(query.fetch_one(&mut *connection)).await?;
        if !good.contains(&found.as_str()) {
            let problem = format!("{name} = {found}; {mended}");
            return Err(StoreError::NotSynced { store: store.to_owned(), problem });
        }
    }
    Ok(())
}

/// Inserts entries with all that stands beside them; the first gets the index `first`.
pub(super) async fn insert(
    connection: &mut PgConnection,
    log: i64,
    first: i64,
    rows: &[Row],
) -> Result<(), StoreError> {
    let indexes: Vec<i64> = (first..).take(rows.len()).collect();
    let entries = sqlx::query(
        "insert into entry (log, log_index, leaf, kind, exchange_id, recorded_us, consumer, provider, method, reason, trace_id) \
         select $1, * from unnest($2::bigint[], $3::bytea[], $4::bigint[], $5::bytea[], $6::bigint[], $7::text[], $8::text[], $9::text[], $10::text[], $11::bytea[])",
    )
    .bind(log)
    .bind(&indexes)
    .bind(column(rows, |row| row.leaf.as_slice()))
    .bind(column(rows, |row| row.columns.kind))
    .bind(column(rows, |row| row.columns.exchange.as_slice()))
    .bind(column(rows, |row| row.columns.recorded_us))
    .bind(column(rows, |row| row.columns.consumer.as_str()))
    .bind(column(rows, |row| row.columns.provider.as_str()))
    .bind(column(rows, |row| row.columns.method.as_str()))
    .bind(column(rows, |row| row.columns.reason.as_str()))
    .bind(column(rows, |row| row.columns.trace_id.as_slice()));
    limited(entries.execute(&mut *connection)).await?;
    let bodies = sqlx::query(
        "insert into body (log, log_index, bytes) select $1, * from unnest($2::bigint[], $3::bytea[])",
    )
    .bind(log)
    .bind(&indexes)
    .bind(column(rows, |row| row.body.as_slice()));
    limited(bodies.execute(&mut *connection)).await?;
    insert_subjects(connection, log, first, rows).await
}

/// Inserts what opens the subjects of entries.
async fn insert_subjects(
    connection: &mut PgConnection,
    log: i64,
    first: i64,
    rows: &[Row],
) -> Result<(), StoreError> {
    let subjects: Vec<_> = (first..)
        .zip(rows)
        .flat_map(|(index, row)| {
            (0i64..).zip(&row.subjects).map(move |(ordinal, subject)| (index, ordinal, subject))
        })
        .collect();
    if subjects.is_empty() {
        return Ok(());
    }
    let query = sqlx::query(
        "insert into subject (log, log_index, ordinal, kind, pseudonym, blind) \
         select $1, * from unnest($2::bigint[], $3::bigint[], $4::text[], $5::bytea[], $6::bytea[])",
    )
    .bind(log)
    .bind(column(&subjects, |(index, ..)| *index))
    .bind(column(&subjects, |(_, ordinal, _)| *ordinal))
    .bind(column(&subjects, |(.., subject)| subject.kind.as_str()))
    .bind(column(&subjects, |(.., subject)| subject.pseudonym.as_slice()))
    .bind(column(&subjects, |(.., subject)| subject.blind.as_slice()));
    limited(query.execute(connection)).await.map(|_| ())
}

/// One column of many rows.
fn column<'r, T, C>(rows: &'r [T], of: impl Fn(&'r T) -> C) -> Vec<C> {
    rows.iter().map(of).collect()
}

/// Inserts roots of subtrees: level, index, hash.
pub(super) async fn insert_subtrees(
    connection: &mut PgConnection,
    log: i64,
    subtrees: &[(i64, i64, Hash)],
) -> Result<(), StoreError> {
    let query = sqlx::query(
        "insert into subtree (log, level, idx, hash) select $1, * from unnest($2::bigint[], $3::bigint[], $4::bytea[]) \
         on conflict (log, level, idx) do nothing",
    )
    .bind(log)
    .bind(column(subtrees, |(level, ..)| *level))
    .bind(column(subtrees, |(_, index, _)| *index))
    .bind(column(subtrees, |(.., hash)| hash.as_slice()));
    limited(query.execute(connection)).await.map(|_| ())
}

/// Takes bodies and subjects of entries away and blanks their columns; returns how many entries that were.
pub(super) async fn remove(
    connection: &mut PgConnection,
    log: i64,
    indexes: &[i64],
    removed_by: i64,
) -> Result<u64, StoreError> {
    let bodies =
        sqlx::query("delete from body where log = $1 and log_index = any($2)").bind(log).bind(indexes);
    limited(bodies.execute(&mut *connection)).await?;
    let subjects =
        sqlx::query("delete from subject where log = $1 and log_index = any($2)").bind(log).bind(indexes);
    limited(subjects.execute(&mut *connection)).await?;
    let columns = sqlx::query(
        "update entry set kind = 0, recorded_us = 0, exchange_id = '', consumer = '', provider = '', method = '', reason = '', trace_id = '', removed_by = $3 \
         where log = $1 and log_index = any($2) and removed_by = 0",
    )
    .bind(log)
    .bind(indexes)
    .bind(removed_by);
    Ok(limited(columns.execute(connection)).await?.rows_affected())
}

/// The subjects of these entries, in order of ordinals.
pub(super) async fn subjects(
    connection: &mut PgConnection,
    log: i64,
    indexes: &[i64],
) -> Result<Vec<SubjectRow>, StoreError> {
    let query = sqlx::query_as(
        "select log_index, kind, pseudonym, blind from subject where log = $1 and log_index = any($2) order by log_index, ordinal",
    )
    .bind(log)
    .bind(indexes);
    limited(query.fetch_all(connection)).await
}
