//! SQL over PostgreSQL: each test starts a server of its own.

use tonic::Code;

use crate::fixture::{Folder, Subject, bytes_of, json};
use crate::server::Postgres;

const METHODS: &str = r#"
[methods.Get]
sql = """select nr as number, emri as given_name, dl as born_on, lloji as kind, qyteti as "address.city", borxhi, pare_me as seen_at,
  gjatesia as height_cm, foto as photo, gjalle as alive, seria as serial, pesha as weight, ofiqe as nicknames, etiketa as labels,
  shenim as note from SCHEMA.njerez where id = :number and ':no' = $q$:no$q$ and gjatesia::int > 0"""
fields.debt = { from = "borxhi", money = "EUR" }
nested.phones.sql = "select nr as number, mobil as mobile from SCHEMA.telefona where njeri = :row.number order by nr"

[methods.List]
answer = "many"
sql = """select nr as number from SCHEMA.njerez where (:since::date is null or dl >= :since)
  and (cardinality(:numbers::text[]) = 0 or nr = any(:numbers)) and (:kind::text is null or lloji::text = :kind) order by nr limit :page_limit offset :page_offset"""
page = { size_default = 10, size_max = 10 }
parameters.kind = { from = "kind", enum = { "KIND_CITIZEN" = "CITIZEN", "KIND_FOREIGNER" = "FOREIGNER" } }

[methods.Export]
sql = "select i as serial from generate_series(1, :count) i"
nested.phones.sql = "select :row.serial::text as number"

[methods.Document]
answer = "chunks"
sql = "select 'application/pdf' as media_type, foto as content from SCHEMA.njerez where nr = :number"

[methods.Pay]
sql = "insert into SCHEMA.pagesa values (:idempotency_key, :amount) returning celesi as reference, shuma"
parameters.amount = { from = "amount", money = "EUR" }
fields.amount = { from = "shuma", money = "EUR" }
errors = { "23505" = "ALREADY_EXISTS" }
"#;

const SCHEMA: &str = "
drop schema if exists SCHEMA cascade; create schema SCHEMA;
create type SCHEMA.lloj as enum ('CITIZEN', 'FOREIGNER');
create domain SCHEMA.emer as varchar(50);
create table SCHEMA.njerez (id integer, nr char(4), emri SCHEMA.emer, dl date, lloji SCHEMA.lloj, qyteti text, borxhi numeric(20,2),
  pare_me timestamptz, gjatesia smallint, foto bytea, gjalle boolean, seria bigint, pesha double precision, ofiqe text[], etiketa jsonb, shenim uuid);
insert into SCHEMA.njerez values (1, '1', 'Ëngjëll Đ', '1980-04-03', 'CITIZEN', 'Prishtinë', 90071992547409.93, '2026-11-22 11:00+01', 180,
  '\\x00ff10', true, 9007199254740993, 71.5, '{a,\"ë,b\"}', '{\"sq\":\"një\"}', '0192c0de-0000-7000-8000-000000000001'),
  (2, '2', 'Besa', null, 'FOREIGNER', null, null, null, 1, null, false, null, null, null, null, null);
create table SCHEMA.telefona (njeri text, nr text, mobil boolean);
insert into SCHEMA.telefona values ('1', '044', true), ('1', '038', false);
create table SCHEMA.pagesa (celesi text unique, shuma numeric(12,2));
";

/// A register in a schema of this name; the server ends with the first part.
async fn subject(schema: &str) -> ((Postgres, Folder), Subject, tokio_postgres::Client) {
    let server = Postgres::start(&["fsync=off"]);
    let url = server.url();
    let (client, connection) =
        tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("PostgreSQL");
    tokio::spawn(connection);
    client.batch_execute(&SCHEMA.replace("SCHEMA", schema)).await.expect("a schema");
    let folder = Folder::new();
    let register = format!(
        "kind = \"sql\"\nurl = \"{url}?application_name={schema}\"\nconnections_max = 4\nprobe_ms = 20"
    );
    let declared = folder.load_some(&register, &METHODS.replace("SCHEMA", schema), "sql = \"select 1\"");
    let subject = Subject::new(declared).await;
    assert!(*subject.register.health().borrow());
    ((server, folder), subject, client)
}

#[tokio::test]
async fn every_common_type_is_read() {
    let (_folder, subject, _) = subject("t_types").await;
    let reply: serde_json::Value =
        serde_json::from_str(&subject.json("Get", r#"{"number":"1"}"#).await).expect("JSON");
    let expected = serde_json::json!({
        "number": "1", "given_name": "Ëngjëll Đ", "born_on": {"year": 1980, "month": 4, "day": 3}, "kind": "KIND_CITIZEN",
        "address": {"city": "Prishtinë"}, "phones": [{"number": "038"}, {"number": "044", "mobile": true}],
        "nicknames": ["a", "ë,b"], "labels": {"sq": "një"}, "debt": {"currency_code": "EUR", "minor_units": "9007199254740993"},
        "seen_at": "2026-11-22T10:00:00Z", "note": "0192c0de-0000-7000-8000-000000000001", "height_cm": 180, "photo": "AP8Q",
        "alive": true, "serial": "9007199254740993", "weight": 71.5,
    });
    assert_eq!(reply, expected);
    assert_eq!(subject.failure("Get", r#"{"number":"9"}"#).await.code, Code::NotFound);
    let failure = subject.failure("Get", r#"{"number":"x"}"#).await;
    assert_eq!((failure.code, failure.reason), (Code::InvalidArgument, "REQUEST_INVALID"));
}

#[tokio::test]
async fn text_is_read_as_the_type_that_the_server_infers() {
    let (_folder, subject, _) = subject("t_params").await;
    for (request, numbers) in [
        ("{}", "12"),
        (r#"{"since":{"year":1980,"month":4,"day":3}}"#, "1"),
        (r#"{"since":{"year":1990,"month":1,"day":1}}"#, ""),
        (r#"{"numbers":["2","\"},{"]}"#, "2"),
        (r#"{"kind":2}"#, "2"),
    ] {
        let reply: serde_json::Value =
            serde_json::from_str(&subject.json("List", request).await).expect("JSON");
        let people = reply["people"].as_array().cloned().unwrap_or_default();
        let found: String = people.iter().filter_map(|p| p["number"].as_str()).collect();
        assert_eq!(found, numbers, "{request}");
    }
}

#[tokio::test]
async fn rows_and_large_values_are_streamed() {
    let (_folder, subject, client) = subject("t_stream").await;
    let (messages, end) = subject.stream("Export", r#"{"count":200}"#).await;
    assert_eq!((messages.len(), end.is_none()), (200, true), "{end:?}");
    assert_eq!(messages.last().map(json).as_deref(), Some(r#"{"phones":[{"number":"200"}],"serial":"200"}"#));
    client
        .batch_execute("update t_stream.njerez set foto = decode(repeat('ab', 100000), 'hex')")
        .await
        .expect("updated");
    let (messages, end) = subject.stream("Document", r#"{"number":"1"}"#).await;
    assert!(end.is_none(), "{end:?}");
    assert_eq!(messages.iter().map(|m| bytes_of(m, "content").len()).sum::<usize>(), 100_000);
    for _ in 0..10 {
        let _ = subject.call("Export", r#"{"count":100000000}"#).await.expect("a stream");
    }
    assert!(subject.json("List", "{}").await.contains("\"1\""));
}

#[tokio::test]
async fn writes_are_transactions() {
    let (_folder, subject, client) = subject("t_writes").await;
    let request = r#"{"amount":{"currencyCode":"EUR","minorUnits":1235}}"#;
    let reply = subject.json("Pay", request).await;
    assert_eq!(reply, r#"{"reference":"key-1","amount":{"currency_code":"EUR","minor_units":"1235"}}"#);
    assert_eq!(subject.failure("Pay", request).await.code, Code::AlreadyExists);
    let count: i64 =
        client.query_one("select count(*) from t_writes.pagesa", &[]).await.expect("a count").get(0);
    assert_eq!(count, 1);
}

#[tokio::test]
async fn connections_that_the_server_closes_are_replaced() {
    let (_folder, subject, client) = subject("t_closed").await;
    let me: i32 = client.query_one("select pg_backend_pid()", &[]).await.expect("a pid").get(0);
    let kill = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 't_closed' and pid <> $1";
    client.execute(kill, &[&me]).await.expect("killed");
    // The first call may find a connection that dies under it; then the probe brings it back.
    let mut health = subject.register.health();
    while let Err(failure) = subject.call("Get", r#"{"number":"1"}"#).await {
        assert_eq!(failure.reason, "REGISTER_UNAVAILABLE", "{failure}");
        health.wait_for(|up| *up).await.expect("the register lives");
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_unavailable_at_once() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    drop(listener);
    let folder = Folder::new();
    let register = format!("kind = \"sql\"\nurl = \"postgres://nobody@127.0.0.1:{port}/x\"");
    let subject = Subject::new(folder.load_some(&register, METHODS, "sql = \"select 1\"")).await;
    assert!(!*subject.register.health().borrow());
    let failure = subject.failure("Get", r#"{"number":"1"}"#).await;
    assert_eq!((failure.code, failure.reason), (Code::Unavailable, "REGISTER_UNAVAILABLE"));
}
