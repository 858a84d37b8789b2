//! Answers that do not fit the contract: whatever the register is, the caller learns the method and the field, and never
//! the value.

use sqlx::{Connection as _, SqliteConnection};
use tonic::Code;

use crate::{
    fixture::{Folder, Subject},
    http::Server,
    server::Postgres,
};

/// A field, what the file says of it, and a value that cannot be it. The name of the value is `x`.
const CASES: &[(&str, &str, &str)] = &[
    ("born_on", r#"{ from = "x", date = "%d/%m/%Y" }"#, "30/02/1999"),
    ("born_on", r#""x""#, "dje pasdite"),
    ("seen_at", r#""x""#, "1999-13-45T99:00:00Z"),
    ("kind", r#"{ from = "x", enum = { "Q" = "KIND_CITIZEN" } }"#, "I panjohur"),
    ("kind", r#""x""#, "KIND_MARTIAN"),
    ("kind", r#""x""#, "4711"),
    ("debt", r#"{ from = "x", money = "EUR" }"#, "12.3456"),
    ("debt", r#"{ from = "x", money = "EUR" }"#, "99999999999999999999"),
    ("debt", r#"{ from = "x", money = "EUR" }"#, "dymbëdhjetë"),
    ("serial", r#""x""#, "12.5"),
    ("serial", r#""x""#, "9223372036854775808"),
    ("height_cm", r#""x""#, "2147483648"),
    ("alive", r#""x""#, "ndoshta"),
    ("alive", r#"{ from = "x", bool = { "po" = true, "jo" = false } }"#, "TRUE?"),
    ("weight", r#""x""#, "e rëndë"),
    ("photo", r#""x""#, "%%% no base64"),
    ("address", r#""x""#, "Prishtinë 10000"),
];

/// The register section and the operation of a register that answers with this `x`.
type Backend = (&'static str, String, String);

async fn refused(
    (name, register, operation): &Backend,
    folder: &Folder,
    field: &str,
    rule: &str,
    value: &str,
) {
    let methods = format!("[methods.Get]\n{operation}\nfields.{field} = {rule}");
    let other = operation.replace(":number", "'1'").replace("{number}", "1");
    let subject = Subject::new(folder.load_some(register, &methods, &other)).await;
    let failure = subject.failure("Get", r#"{"number":"1"}"#).await;
    let what = format!("{name}: {value:?} as {field} = {rule}: {failure}");
    assert_eq!((failure.code, failure.reason), (Code::DataLoss, "CONTRACT_MISMATCH"), "{what}");
    assert!(failure.message.contains(&format!("method Get, field {field}")), "{what}");
    assert!(!failure.message.contains(value) && !failure.detail.contains(value), "{what}");
}

#[tokio::test]
async fn every_register_is_held_to_the_contract() {
    let postgres = Postgres::start(&["fsync=off"]);
    let folder = Folder::new();
    let path = folder.path().join("x.db");
    let url = format!("sqlite:{}?mode=rwc", path.display());
    let mut sqlite = SqliteConnection::connect(&url).await.expect("a database");
    sqlx::raw_sql("create table t (x)").execute(&mut sqlite).await.expect("a table");
    for (field, rule, value) in CASES {
        let json = format!("{{\"x\":\"{value}\"}}");
        let rest = Server::start(move |_| (200, json.clone().into_bytes())).await;
        let xml = format!("<e:Envelope xmlns:e='urn:e'><e:Body><r><x>{value}</x></r></e:Body></e:Envelope>");
        let soap = Server::start(move |_| (200, xml.clone().into_bytes())).await;
        let sql = format!("sql = \"select '{value}' as x where :number <> ''\"");
        let backends: [Backend; 4] = [
            ("PostgreSQL", format!("kind = \"sql\"\nurl = \"{}\"", postgres.url()), sql.clone()),
            ("SQLite", format!("kind = \"sql\"\nurl = \"sqlite:{}\"", path.display()), sql),
            (
                "REST",
                format!("kind = \"rest\"\nurl = \"{}\"", rest.url),
                "rest = { path = \"/{number}\" }".to_owned(),
            ),
            (
                "SOAP",
                format!("kind = \"soap\"\nurl = \"{}\"", soap.url),
                "soap = { namespace = \"urn:q\", operation = \"X\", body = { nr = \"{number}\" } }"
                    .to_owned(),
            ),
        ];
        for backend in &backends {
            refused(backend, &folder, field, rule, value).await;
        }
    }
}
