//! SQL: what PostgreSQL writes into its log, and what a trigger of SQLite writes down.

use std::io::{Read as _, Seek as _, SeekFrom};

use sqlx::{Connection as _, SqliteConnection};

use super::{
    Asked, Entry, Log, Place, anything, ask, assert_clean, assert_found, audit, hostile_values,
    server::from_hex, subject,
};
use crate::server::Postgres;

/// Text of PostgreSQL has no NUL (manual, chapter 8.3).
fn in_postgres(value: &str) -> bool {
    !value.contains('\0')
}

/// Lists and maps are read by the server, and what it reads there comes back in the query below.
const POSTGRES_METHOD: &str = r#"
sql = ["insert into asked values (:body, :idempotency_key)",
  "select 'ok' as told, item, k, v from unnest(:items::text[]) item, jsonb_each_text(:map::jsonb) e (k, v)"]
nested.n.sql = "select :row.item::text, :row.k::text, :row.v::text"
"#;
const POSTGRES_PLACES: [Place; 5] = [
    Place { name: "body", entry: 0, carries: in_postgres },
    Place { name: "key", entry: 1, carries: in_postgres },
    Place { name: "items", entry: 4, carries: in_postgres },
    Place { name: "map key", entry: 5, carries: in_postgres },
    Place { name: "map", entry: 6, carries: in_postgres },
];

struct PostgresLog {
    server: Postgres,
    control: tokio_postgres::Client,
    marked: usize,
    read: u64,
}

impl PostgresLog {
    async fn start() -> Self {
        let server = Postgres::start(&[
            "fsync=off",
            "logging_collector=on",
            "log_destination=jsonlog",
            "log_filename=asked.log",
            "log_rotation_age=0",
            "log_rotation_size=0",
            "log_statement=all",
        ]);
        let (control, connection) =
            tokio_postgres::connect(&server.url(), tokio_postgres::NoTls).await.expect("PostgreSQL");
        tokio::spawn(connection);
        control.batch_execute("create table asked (value text, key text)").await.expect("a table");
        Self { server, control, marked: 0, read: 0 }
    }

    /// Lines that are there in full since the last look.
    fn lines(&mut self) -> Vec<serde_json::Value> {
        let path = self.server.folder().join("data/log/asked.json");
        let Ok(mut file) = std::fs::File::open(path) else { return Vec::new() };
        file.seek(SeekFrom::Start(self.read)).expect("the place");
        let mut text = Vec::new();
        file.read_to_end(&mut text).expect("the log");
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.read += u64::try_from(whole).expect("a file's size");
        let lines = text[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).expect("JSON")).collect()
    }
}

impl Log for PostgresLog {
    async fn mark(&mut self, call: usize) {
        self.marked = call;
        self.control.simple_query(&format!("select 'mark {call}'")).await.expect("a mark");
    }

    async fn read(&mut self) -> Vec<Entry> {
        let mut entries = Vec::new();
        loop {
            for line in self.lines() {
                if let Some(entry) = entry(&line) {
                    let last = matches!(entry, Entry::Mark(mark) if mark == self.marked);
                    entries.push(entry);
                    if last {
                        return entries;
                    }
                }
            }
            // Its collector writes on.
            tokio::task::yield_now().await;
        }
    }
}

fn entry(line: &serde_json::Value) -> Option<Entry> {
    let message = line["message"].as_str()?;
    if let Some(mark) = message.strip_prefix("statement: select 'mark ") {
        return mark.strip_suffix('\'')?.parse().ok().map(Entry::Mark);
    }
    if line["application_name"] != "ura-adapter" {
        return None;
    }
    // `execute s17: select …`: the name of a prepared statement counts on.
    let shape = match message.strip_prefix("execute ") {
        Some(named) => named.split_once(": ").map_or(named, |(_, text)| text),
        None => message,
    };
    let values = line["detail"].as_str().map(parameters).unwrap_or_default();
    Some(Entry::Asked(Asked { shape: shape.to_owned(), values }))
}

/// Reads `parameters: $1 = 'it''s', $2 = NULL`.
fn parameters(detail: &str) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    let mut rest = detail;
    while let Some((_, after)) = rest.split_once(" = ") {
        let Some(mut text) = after.strip_prefix('\'') else {
            values.push(b"NULL".to_vec());
            rest = after;
            continue;
        };
        let mut value = String::new();
        while let Some((piece, after)) = text.split_once('\'') {
            value += piece;
            text = after;
            match after.strip_prefix('\'') {
                Some(after) => (value, text) = (value + "'", after),
                None => break,
            }
        }
        values.push(value.into_bytes());
        rest = text;
    }
    values
}

#[tokio::test]
async fn every_value_is_bound_in_postgresql() {
    let (seed, values) = hostile_values();
    let mut log = PostgresLog::start().await;
    let register = format!("kind = \"sql\"\nurl = \"{}\"\ntimeout_ms = 60000", log.server.url());
    let (_folder, subject) = subject(&register, POSTGRES_METHOD).await;
    let findings =
        audit(&mut log, &POSTGRES_PLACES, &values, async |place, value| ask(&subject, place, value).await)
            .await;
    assert_clean(&findings, seed);
}

#[tokio::test]
async fn mutants_that_concatenate_are_found_in_postgresql() {
    let (_, values) = hostile_values();
    let mut log = PostgresLog::start().await;
    let url = format!("{}?application_name=ura-adapter", log.server.url());
    let (client, connection) =
        tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("PostgreSQL");
    tokio::spawn(connection);
    let places = &POSTGRES_PLACES[..1];
    for (mutant, doubled) in [("a concatenating backend", "'"), ("a backend that doubles quotes", "''")] {
        let concatenate = async |_: &str, value: &str| {
            let text = format!("insert into asked values ('{}', 'x')", value.replace('\'', doubled));
            let _ = client.simple_query(&text).await;
            Ok(())
        };
        let findings = audit(&mut log, places, &values, concatenate).await;
        assert_found(mutant, &findings, "body", &["SQL", "XML", "JSON", "header", "LDAP", "path"]);
    }
}

/// A trigger writes down what the database was asked to keep: bytes, whatever the text is.
const SQLITE_SCHEMA: &str = "
create table asked (place text, value text);
create table log (place text, hex text);
create trigger written after insert on asked begin insert into log values (new.place, hex(new.value)); end;
";
const SQLITE_METHOD: &str = r#"
sql = ["insert into asked values ('body', :body), ('key', :idempotency_key)",
  "insert into asked select 'items', value from json_each(:items)",
  "insert into asked select 'map key', key from json_each(:map)",
  "insert into asked select 'map', value from json_each(:map)",
  "select 'ok' as told"]
"#;
const SQLITE_PLACES: [Place; 5] = [
    Place { name: "body", entry: 0, carries: anything },
    Place { name: "key", entry: 1, carries: anything },
    Place { name: "items", entry: 2, carries: anything },
    Place { name: "map key", entry: 3, carries: anything },
    Place { name: "map", entry: 4, carries: anything },
];

struct SqliteLog {
    connection: SqliteConnection,
    read: i64,
}

impl SqliteLog {
    async fn open(path: &std::path::Path) -> Self {
        let url = format!("sqlite:{}?mode=rwc", path.display());
        let mut connection = SqliteConnection::connect(&url).await.expect("a database");
        sqlx::raw_sql("pragma synchronous = off").execute(&mut connection).await.expect("in a hurry");
        sqlx::raw_sql(SQLITE_SCHEMA).execute(&mut connection).await.expect("a schema");
        Self { connection, read: 0 }
    }
}

impl Log for SqliteLog {
    async fn mark(&mut self, call: usize) {
        let mark = sqlx::query("insert into log values ('mark', ?1)").bind(call.to_string());
        mark.execute(&mut self.connection).await.expect("a mark");
    }

    async fn read(&mut self) -> Vec<Entry> {
        let rows: Vec<(i64, String, String)> =
            sqlx::query_as("select rowid, place, hex from log where rowid > ?1 order by rowid")
                .bind(self.read)
                .fetch_all(&mut self.connection)
                .await
                .expect("the log");
        self.read = rows.last().map_or(self.read, |row| row.0);
        let entry = |(_, place, hex): (i64, String, String)| match place.as_str() {
            "mark" => Entry::Mark(hex.parse().expect("a mark")),
            _ => Entry::Asked(Asked { values: vec![from_hex(&hex)], shape: place }),
        };
        rows.into_iter().map(entry).collect()
    }
}

#[tokio::test]
async fn every_value_is_bound_in_sqlite() {
    let (seed, values) = hostile_values();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("asked.db");
    let mut log = SqliteLog::open(&path).await;
    let register = format!("kind = \"sql\"\nurl = \"sqlite:{}\"", path.display());
    let (_folder, subject) = subject(&register, SQLITE_METHOD).await;
    let findings =
        audit(&mut log, &SQLITE_PLACES, &values, async |place, value| ask(&subject, place, value).await)
            .await;
    assert_clean(&findings, seed);
}

#[tokio::test]
async fn a_mutant_that_concatenates_is_found_in_sqlite() {
    let (_, values) = hostile_values();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("asked.db");
    let mut log = SqliteLog::open(&path).await;
    let register = tokio::sync::Mutex::new(
        SqliteConnection::connect(&format!("sqlite:{}", path.display())).await.expect("a database"),
    );
    let concatenate = async |_: &str, value: &str| {
        let text = format!("insert into asked values ('body', '{value}'), ('key', 'x')");
        let _ = sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut *register.lock().await).await;
        Ok(())
    };
    let findings = audit(&mut log, &SQLITE_PLACES[..1], &values, concatenate).await;
    assert_found("a concatenating backend", &findings, "body", &["SQL", "XML", "header"]);
}
