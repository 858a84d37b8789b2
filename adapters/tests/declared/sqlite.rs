//! SQL over SQLite.

use futures_util::StreamExt as _;
use sqlx::{Connection as _, SqliteConnection};
use tonic::Code;
use ura_adapters::register::Reply;

use crate::fixture::{Folder, Subject, bytes_of, json};

const SCHEMA: &str = "
create table njerez (nr text primary key, emri text, dl text, lloji text, rruga text, qyteti text, borxhi text,
  pare_me text, shenim text, gjatesia integer, foto blob, gjalle text, seria integer, pesha real, ofiqe text, etiketa text);
insert into njerez values
 ('1', 'Ëngjëll Šaćić-Đorđević', '03.04.1980', 'Q', 'Rr. Çamëria 5', 'Prishtinë', '12.35', '2026-11-22 10:00:00',
  'ok', 180, x'00ff10', 'J', 9007199254740993, 71.5, '[\"a\",\"ë\"]', '{\"sq\":\"një\",\"en\":\"one\"}'),
 ('2', 'Žana', '1999-12-31', 'KIND_FOREIGNER', null, null, '0.05', null, null, null, null, 'N', 2, 1e3, null, null),
 ('3', 'Besa', null, '2', null, null, null, null, null, null, null, null, 3, null, null, null);
create table telefona (njeri text, nr text, mobil integer);
insert into telefona values ('1', '044-1', 1), ('1', '038-2', 0), ('2', '045-3', 1);
create table pagesa (celesi text unique, nr text, shuma numeric);
create table dok (njeri text, nr integer, permbajtja blob);
insert into dok values ('1', 1, zeroblob(150000)), ('1', 2, x'0102');
";

const METHODS: &str = r#"
[methods.Get]
sql = """select nr as number, emri as given_name, dl, lloji, rruga as "address.street", qyteti as "address.city", borxhi,
  pare_me as seen_at, shenim as note, gjatesia as height_cm, foto as photo, gjalle as alive, seria as serial, pesha as weight,
  ofiqe as nicknames, etiketa as labels from njerez where nr = :number -- :not a parameter"""
not_found = "Nobody has this number."
fields.born_on = { from = "dl", date = "%d.%m.%Y" }
fields.kind = { from = "lloji", enum = { "Q" = "KIND_CITIZEN" }, default = "KIND_UNSPECIFIED" }
fields.debt = { from = "borxhi", money = "EUR" }
fields.alive = { from = "alive", bool = { "J" = true, "N" = false } }
fields.phones = { each = "tel", fields = { mobile = "mobil" } }
nested.tel.sql = "select nr as number, mobil from telefona where njeri = :row.number order by nr desc"

[methods.List]
answer = "many"
sql = """select nr as number, emri as given_name, lloji as kind, count(*) over () as gjithsej from njerez
  where (:kind is null or lloji = :kind) and (:filter.city is null or qyteti = :filter.city)
  and (json_array_length(:numbers) = 0 or nr in (select value from json_each(:numbers))) and nr <> 'x:y'
  order by nr limit :page_limit offset :page_offset"""
page = { size_default = 2, size_max = 2 }
parameters.kind = { from = "kind", enum = { "KIND_CITIZEN" = "Q" } }
fields.kind = { from = "kind", enum = { "Q" = 1, "KIND_FOREIGNER" = 2, "2" = "FOREIGNER" } }
reply.total = "gjithsej"

[methods.Export]
sql = "with recursive n(i) as (select 1 union all select i + 1 from n where i < :count) select i as serial from n"

[methods.Document]
answer = "chunks"
sql = "select 'application/pdf' as media_type, permbajtja as content from dok where njeri = :number order by nr"

[methods.Pay]
sql = ["insert into pagesa values (:idempotency_key, :number, :amount)", "select celesi as reference, shuma from pagesa where celesi = :idempotency_key"]
parameters.amount = { from = "amount", money = "EUR" }
fields.amount = { from = "shuma", money = "EUR" }
errors = { "2067" = { code = "ALREADY_EXISTS", message = "Paid already." } }
"#;

const SLOW: &str = r#"
[methods.Get]
timeout_ms = 50
sql = "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) as serial from n where :number <> ''"
[methods.List]
answer = "many"
sql = "select emri as given_name from njerez"
"#;

async fn subject(methods: &str, register: &str) -> (Folder, Subject) {
    let folder = Folder::new();
    let url = format!("sqlite:{}?mode=rwc", folder.path().join("x.db").display());
    let mut connection = SqliteConnection::connect(&url).await.expect("a database");
    sqlx::raw_sql(SCHEMA).execute(&mut connection).await.expect("a schema");
    connection.close().await.expect("closed");
    let register = format!("kind = \"sql\"\nurl = \"sqlite:x.db\"\n{register}");
    let declared = folder.load_some(&register, methods, "sql = \"select 1\"");
    let subject = Subject::new(declared).await;
    assert!(*subject.register.health().borrow());
    (folder, subject)
}

#[tokio::test]
async fn a_row_fills_a_message_of_every_kind() {
    let (_folder, subject) = subject(METHODS, "").await;
    let whole = subject.json("Get", r#"{"number":"1"}"#).await;
    let expected: serde_json::Value = serde_json::json!({
        "number": "1", "given_name": "Ëngjëll Šaćić-Đorđević", "born_on": {"year": 1980, "month": 4, "day": 3},
        "kind": "KIND_CITIZEN", "address": {"street": "Rr. Çamëria 5", "city": "Prishtinë"},
        "phones": [{"number": "044-1", "mobile": true}, {"number": "038-2"}], "nicknames": ["a", "ë"],
        "labels": {"sq": "një", "en": "one"}, "debt": {"currency_code": "EUR", "minor_units": "1235"},
        "seen_at": "2026-11-22T10:00:00Z", "note": "ok", "height_cm": 180, "photo": "AP8Q", "alive": true,
        "serial": "9007199254740993", "weight": 71.5,
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(&whole).expect("JSON"), expected);
    // NULLs leave fields, and nested messages of which nothing came, unset.
    let third = subject.json("Get", r#"{"number":"3"}"#).await;
    assert!(third.contains("\"number\":\"3\"") && !third.contains("address"), "{third}");
}

#[tokio::test]
async fn what_does_not_fit_is_told_by_method_and_field_only() {
    let (_folder, subject) = subject(METHODS, "").await;
    let failure = subject.failure("Get", r#"{"number":"2"}"#).await;
    assert_eq!((failure.code, failure.reason), (Code::DataLoss, "CONTRACT_MISMATCH"));
    assert!(failure.message.contains("method Get, field born_on"), "{}", failure.message);
    assert!(!failure.message.contains("1999") && !failure.detail.contains("1999"), "{failure}");
    let none = subject.failure("Get", r#"{"number":"' or 1=1 --"}"#).await;
    assert_eq!(
        (none.code, none.reason, none.message.as_str()),
        (Code::NotFound, "NOT_FOUND", "Nobody has this number.")
    );
}

#[tokio::test]
async fn lists_come_in_pages() {
    let (_folder, subject) = subject(METHODS, "").await;
    let first: serde_json::Value =
        serde_json::from_str(&subject.json("List", r#"{"pageSize":100}"#).await).expect("JSON");
    assert_eq!(first["people"].as_array().map(Vec::len), Some(2));
    assert_eq!(first["total"], 3);
    let token = first["next_page_token"].as_str().expect("a token");
    let second = subject.json("List", &format!("{{\"pageToken\":\"{token}\"}}")).await;
    assert!(second.contains("Besa") && !second.contains("Žana") && !second.contains("token"), "{second}");
    for request in [format!("{{\"pageToken\":\"{token}\",\"kind\":1}}"), "{\"pageToken\":\"x\"}".to_owned()] {
        let failure = subject.failure("List", &request).await;
        assert_eq!((failure.code, failure.reason), (Code::InvalidArgument, "REQUEST_INVALID"));
    }
}

#[tokio::test]
async fn parameters_are_translated() {
    let (_folder, subject) = subject(METHODS, "").await;
    for (request, names) in [
        (r#"{"kind":1}"#, "1"),
        (r#"{"numbers":["3","2"]}"#, "23"),
        (r#"{"filter":{"city":"Prishtinë"}}"#, "1"),
        (r#"{"filter":{"city":""}}"#, ""),
        (r#"{"filter":{}, "numbers":["3"]}"#, "3"),
    ] {
        let reply: serde_json::Value =
            serde_json::from_str(&subject.json("List", request).await).expect("JSON");
        let people = reply["people"].as_array().cloned().unwrap_or_default();
        let found: String = people.iter().filter_map(|p| p["number"].as_str()).collect();
        assert_eq!(found, names, "{request}");
    }
    let failure = subject.failure("List", r#"{"kind":2}"#).await;
    assert_eq!(failure.reason, "REQUEST_INVALID", "a value that the register does not know");
}

#[tokio::test]
async fn rows_are_streamed_with_backpressure_and_bounds() {
    let (_folder, subject) = subject(METHODS, "stream_rows_max = 5000").await;
    let (messages, end) = subject.stream("Export", r#"{"count":5000}"#).await;
    assert_eq!((messages.len(), end.is_none()), (5000, true));
    assert_eq!(messages.last().map(json).as_deref(), Some("{\"serial\":\"5000\"}"));
    let (messages, end) = subject.stream("Export", r#"{"count":5001}"#).await;
    assert_eq!((messages.len(), end.map(|f| f.reason)), (5000, Some("CONTRACT_MISMATCH")));
    // A stream that is dropped frees its connection: more of them than the pool has.
    for _ in 0..20 {
        let _ = subject.call("Export", r#"{"count":1000000000}"#).await.expect("a stream");
    }
    assert!(subject.json("Get", r#"{"number":"1"}"#).await.contains("Prishtinë"));
}

#[tokio::test]
async fn large_values_come_in_pieces() {
    let (_folder, subject) = subject(METHODS, "").await;
    let (messages, end) = subject.stream("Document", r#"{"number":"1"}"#).await;
    assert!(end.is_none(), "{end:?}");
    let sizes: Vec<_> = messages.iter().map(|m| bytes_of(m, "content").len()).collect();
    assert_eq!(sizes, [65536, 65536, 18928, 2]);
    let types = messages.iter().filter(|m| json(m).contains("application/pdf")).count();
    assert_eq!(types, 1, "only in the first message");
    let (_, end) = subject.stream("Document", r#"{"number":"9"}"#).await;
    assert_eq!(end.map(|f| f.code), Some(Code::NotFound));
}

#[tokio::test]
async fn writes_are_whole_or_not_at_all() {
    let (_folder, subject) = subject(METHODS, "").await;
    let request = r#"{"number":"1","amount":{"currencyCode":"EUR","minorUnits":1235}}"#;
    let reply = subject.json("Pay", request).await;
    assert_eq!(reply, r#"{"reference":"key-1","amount":{"currency_code":"EUR","minor_units":"1235"}}"#);
    let again = subject.failure("Pay", request).await;
    assert_eq!(
        (again.code, again.reason, again.message.as_str()),
        (Code::AlreadyExists, "REGISTER_REFUSED", "Paid already.")
    );
    let other = subject.failure("Pay", r#"{"amount":{"currencyCode":"CHF"}}"#).await;
    assert_eq!(other.reason, "REQUEST_INVALID");

    let broken = METHODS
        .replace("celesi as reference", "celesi as reference, 'x' as q")
        .replace("\"shuma\", money", "\"q\", money");
    let (folder, subject) = self::subject(&broken, "").await;
    assert_eq!(subject.failure("Pay", request).await.reason, "CONTRACT_MISMATCH");
    let url = format!("sqlite:{}", folder.path().join("x.db").display());
    let mut connection = SqliteConnection::connect(&url).await.expect("the database");
    let count: i64 =
        sqlx::query_scalar("select count(*) from pagesa").fetch_one(&mut connection).await.expect("a count");
    assert_eq!(count, 0, "an answer that does not fit undoes the write");
}

#[tokio::test]
async fn methods_without_side_effects_cannot_write() {
    let methods = METHODS.replace("where nr = :number -- :not a parameter", "where nr = :number").replace(
        "[methods.Export]\nsql = \"with",
        "[methods.Export]\nsql = [\"delete from njerez where :count > 0\", \"select 1 as serial\"]\n#",
    );
    let (_folder, subject) = subject(&methods, "").await;
    let (_, end) = subject.stream("Export", r#"{"count":1}"#).await;
    assert_eq!(end.map(|f| f.reason), Some("REGISTER_REFUSED"));
    assert!(subject.json("Get", r#"{"number":"1"}"#).await.contains("Prishtinë"));
}

#[tokio::test]
async fn a_missing_database_is_unavailable_until_it_is_there() {
    let folder = Folder::new();
    let register = "kind = \"sql\"\nurl = \"sqlite:later.db\"\nprobe_ms = 20";
    let subject = Subject::new(folder.load_some(register, METHODS, "sql = \"select 1\"")).await;
    let mut health = subject.register.health();
    assert!(!*health.borrow());
    let failure = subject.failure("Get", r#"{"number":"1"}"#).await;
    assert_eq!((failure.code, failure.reason), (Code::Unavailable, "REGISTER_UNAVAILABLE"));
    let url = format!("sqlite:{}?mode=rwc", folder.path().join("later.db").display());
    let mut connection = SqliteConnection::connect(&url).await.expect("a database");
    sqlx::raw_sql(SCHEMA).execute(&mut connection).await.expect("a schema");
    health.wait_for(|up| *up).await.expect("the register lives");
    assert!(subject.json("Get", r#"{"number":"1"}"#).await.contains("Prishtinë"));
}

#[tokio::test]
async fn slow_queries_end_at_their_limits() {
    let (_folder, subject) = subject(SLOW, "connections_max = 1\ncalls_in_flight_max = 1").await;
    let failure = subject.failure("Get", r#"{"number":"1"}"#).await;
    assert_eq!((failure.code, failure.reason), (Code::Unavailable, "REGISTER_TIMEOUT"));
    // The only connection is free again.
    assert!(subject.json("List", "{}").await.contains("Žana"));
    let mut context = crate::fixture::context();
    context.deadline = Some(tokio::time::Instant::now() + std::time::Duration::from_millis(10));
    let failure = subject.call_as(context, "Get", r#"{"number":"1"}"#).await.err().expect("a failure");
    assert_eq!(failure.code, Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_full_register_says_so() {
    let (_folder, subject) = subject(METHODS, "calls_in_flight_max = 1\nwait_ms = 10").await;
    let held = subject.call("Export", r#"{"count":1000000000}"#).await.expect("a stream");
    let failure = subject.failure("Get", r#"{"number":"1"}"#).await;
    assert_eq!((failure.code, failure.reason), (Code::ResourceExhausted, "OVERLOADED"));
    drop(held);
}

#[tokio::test]
async fn waiting_for_a_connection_sends_nothing() {
    let (_folder, subject) = subject(METHODS, "connections_max = 1\ntimeout_ms = 1000").await;
    let Ok(Reply::Stream(mut held)) = subject.call("Export", r#"{"count":1000000000}"#).await else {
        panic!("no stream");
    };
    // The stream has the only connection, and its reader goes no further.
    held.next().await.expect("a row").expect("a message");
    let failure = subject.failure("Get", r#"{"number":"1"}"#).await;
    assert_eq!((failure.code, failure.reason), (Code::ResourceExhausted, "OVERLOADED"));
    drop(held);
    assert!(subject.json("Get", r#"{"number":"1"}"#).await.contains("Prishtinë"));
    assert!(*subject.register.health().borrow());
}

#[tokio::test]
async fn a_database_that_was_moved_or_replaced_is_noticed() {
    let (folder, subject) = subject(METHODS, "probe_ms = 20").await;
    let path = |name: &str| folder.path().join(name);
    let get = r#"{"number":"1"}"#;
    assert!(subject.json("Get", get).await.contains("Ëngjëll"));
    std::fs::rename(path("x.db"), path("kept.db")).expect("moved away");
    assert_eq!(subject.failure("Get", get).await.reason, "REGISTER_UNAVAILABLE");
    std::fs::copy(path("kept.db"), path("next.db")).expect("copied");
    let url = format!("sqlite:{}", path("next.db").display());
    let mut connection = SqliteConnection::connect(&url).await.expect("a database");
    let renamed =
        sqlx::raw_sql("update njerez set emri = 'Zana e Re' where nr = '1'").execute(&mut connection);
    renamed.await.expect("renamed");
    connection.close().await.expect("closed");
    std::fs::rename(path("kept.db"), path("x.db")).expect("moved back");
    let mut health = subject.register.health();
    health.wait_for(|up| *up).await.expect("the register lives");
    assert!(subject.json("Get", get).await.contains("Ëngjëll"));
    std::fs::rename(path("next.db"), path("x.db")).expect("replaced");
    assert!(subject.json("Get", get).await.contains("Zana e Re"));
}
