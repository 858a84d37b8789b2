//! Drafts from SQLite, loaded and asked. PostgreSQL is drafted from by the tests of the documentation.

use std::path::Path;

use prost_reflect::{DynamicMessage, ReflectMessage as _};
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use ura_runtime::trace::TraceContext;

use super::{Draft, DraftError, Wish, draft};
use crate::{
    declared::Declared,
    register::{CallContext, Reply},
};

const TABLES: &str = r#"
create table "Lejet e Ndërtimit" (
  "order" integer primary key, "Nr" text not null unique, EmriPlotë text, dt date, u_krye boolean not null, shuma numeric(10,2), dok blob);
create table parcelat (leja integer not null references "Lejet e Ndërtimit", "select" text, pos integer, primary key (pos, leja));
create table pa_celes (a text, b text);
create view pamja as select "order" as nr, EmriPlotë as emri from "Lejet e Ndërtimit";
insert into "Lejet e Ndërtimit" values (7, 'P-1', 'Besë', '2026-03-12', 1, '125.50', x'00ff');
insert into parcelat values (7, 'B', 2), (7, 'A', 1);"#;

async fn database(dir: &Path) -> String {
    let path = dir.join("t.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.expect("a database");
    sqlx::raw_sql(TABLES).execute(&mut connection).await.expect("the tables");
    connection.close().await.expect("closed");
    format!("sqlite:{}", path.display())
}

fn wish(url: &str, table: &str) -> Wish {
    Wish {
        url: url.to_owned(),
        table: table.to_owned(),
        key: Vec::new(),
        package: "ks.permits.v1".to_owned(),
        service: "PermitService".to_owned(),
        entity: None,
        subjects: Vec::new(),
    }
}

fn load(dir: &Path, draft: &Draft) -> Declared {
    let contract = dir.join(&draft.contract_file);
    std::fs::create_dir_all(contract.parent().expect("in a folder")).expect("a folder");
    std::fs::write(contract, &draft.contract_text).expect("the contract");
    Declared::parse(&dir.join(&draft.adapter_file), draft.adapter_text.clone())
        .unwrap_or_else(|errors| unreachable!("{errors}\n{}{}", draft.adapter_text, draft.contract_text))
}

async fn ask(declared: &Declared, method: &str, request: &str) -> serde_json::Value {
    let register = declared.connect().await.expect("the register");
    let method = declared.contract().methods().find(|m| m.name() == method).expect("the method");
    let mut json = serde_json::Deserializer::from_str(request);
    let request = DynamicMessage::deserialize(method.input(), &mut json).expect("a request");
    let context = CallContext {
        consumer: "ais/portal".to_owned(),
        purpose: None,
        case_number: None,
        user: None,
        exchange_id: "x".to_owned(),
        idempotency_key: None,
        trace: TraceContext::root(false),
        deadline: None,
    };
    match register.call(context, &method, request).await {
        Ok(Reply::One(reply)) => {
            assert_eq!(reply.descriptor(), method.output());
            serde_json::to_value(&reply).expect("JSON")
        }
        Ok(Reply::Stream(_)) => unreachable!("unary"),
        Err(failure) => unreachable!("{failure}"),
    }
}

#[tokio::test]
async fn a_table_of_sqlite_with_its_parts() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let url = database(dir.path()).await;
    let drafted = draft(&wish(&url, "lejet e ndërtimit")).await;
    // SQLite knows no other case of letters than that of ASCII, and so does the draft.
    let drafted = drafted.expect("a draft");
    assert_eq!(drafted.methods, ["GetLejetENdertimit", "ListLejetENdertimits"]);
    let declared = load(dir.path(), &drafted);
    let got = ask(&declared, "GetLejetENdertimit", r#"{"order": "7"}"#).await;
    let row = serde_json::json!({
        "order": "7", "nr": "P-1", "emriPlote": "Besë", "dt": { "year": 2026, "month": 3, "day": 12 },
        "uKrye": true, "shuma": "125.5", "dok": "AP8=",
        "parcelat": [{ "select": "A", "pos": "1" }, { "select": "B", "pos": "2" }],
    });
    assert_eq!(got["lejetENdertimit"], row);
    let listed = ask(&declared, "ListLejetENdertimits", "{}").await;
    assert_eq!(listed["lejetENdertimits"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_view_by_a_key_that_is_a_subject_is_not_listed() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let url = database(dir.path()).await;
    let wish = Wish {
        key: vec!["nr".to_owned()],
        entity: Some("Entry".to_owned()),
        subjects: vec![("nr".to_owned(), "permit".to_owned())],
        ..wish(&url, "pamja")
    };
    let drafted = draft(&wish).await.expect("a draft");
    assert_eq!(drafted.methods, ["GetEntry"]);
    assert_eq!(drafted.contract_text.matches("(ura.v1.data_subject) = {kind: \"permit\"}").count(), 2);
    let got = ask(&load(dir.path(), &drafted), "GetEntry", r#"{"nr": 7}"#).await;
    assert_eq!(got["entry"]["emri"], "Besë");
    // With another way to name the row, entries are listed by whom they are about.
    let subjects = vec![("emri".to_owned(), "person".to_owned())];
    let drafted = draft(&Wish { subjects, ..wish }).await.expect("a draft");
    assert_eq!(drafted.methods, ["GetEntry", "ListEntries"]);
    let listed = async |emri: &str| {
        let reply =
            ask(&load(dir.path(), &drafted), "ListEntries", &format!("{{\"emri\": \"{emri}\"}}")).await;
        reply["entries"].as_array().map_or(0, Vec::len)
    };
    assert_eq!((listed("Besë").await, listed("Agim").await), (1, 0));
}

#[tokio::test]
async fn what_cannot_be_drafted_is_told() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let url = database(dir.path()).await;
    let good = wish(&url, "parcelat");
    let of = |change: &dyn Fn(&mut Wish)| {
        let mut wish = good.clone();
        change(&mut wish);
        wish
    };
    let subject = |column: &str, kind: &str| vec![(column.to_owned(), kind.to_owned())];
    for (wish, parts) in [
        (of(&|w| w.table = "nothing".to_owned()), vec!["no table `nothing`", "pa_celes, pamja, parcelat"]),
        (
            of(&|w| w.table = "pa_celes".to_owned()),
            vec!["nothing names one row of pa_celes", "--key", "a, b"],
        ),
        (of(&|w| w.key = vec!["leje".to_owned()]), vec!["no column `leje`", "leja, select, pos"]),
        (of(&|w| w.subjects = subject("leje", "person")), vec!["no column `leje`"]),
        (of(&|w| w.subjects = subject("leja", "Person")), vec!["`Person` is no kind of subject"]),
        (of(&|w| w.package = "ks..v1".to_owned()), vec!["`ks..v1` is no package", "ks.permits.v1"]),
        (of(&|w| w.package = "v1".to_owned()), vec!["`v1` is no package"]),
        (of(&|w| w.service = "permits".to_owned()), vec!["`permits` is no name of a service"]),
        (of(&|w| w.url = "mysql://h/d".to_owned()), vec!["a url begins with postgres:// or sqlite:"]),
        (of(&|w| w.url = "${URA_NOT_SET_ANYWHERE}".to_owned()), vec!["URA_NOT_SET_ANYWHERE is not set"]),
        (of(&|w| w.url = "sqlite:/nowhere/x.db".to_owned()), vec!["the database cannot be read"]),
    ] {
        let error = draft(&wish).await.err().map(|error: DraftError| error.to_string()).unwrap_or_default();
        assert!(parts.iter().all(|part| error.contains(part)), "{wish:?}: {error}");
    }
    let blob = Wish { subjects: subject("dok", "person"), ..wish(&url, "Lejet e Ndërtimit") };
    assert!(matches!(draft(&blob).await, Err(DraftError::Subject(column)) if column == "dok"));
}
