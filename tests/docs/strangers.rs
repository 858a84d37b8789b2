//! A new institution's engineer with a table that nobody here has seen, and with one page of documentation.

use std::{path::Path, process::Stdio};

use serde_json::Value;
use tokio::process::Command;

use crate::{
    bus::{Demo, PATIENCE},
    page::{Block, blocks, read},
    postgres::Postgres,
    random::Random,
    schemas::Schema,
    walk::{Walk, run_in_postgres},
};

const PAGE: &str = "docs/institutions.md";
/// Where the page's walk from a table to a service ends.
const END: &str = "## A contract that lasts, step by step";
/// Tables that are drafted and tried without a bus.
const TABLES: usize = 25;
/// What the institution declares: its adapter's configuration and its lines for the directory; its adapter file.
const LINES_MAX: usize = 40;

/// A database of its own for each.
async fn database(name: &str) -> String {
    let server = Postgres::shared();
    run_in_postgres(&server.url(), &format!("create database {name}")).await.expect("a database");
    server.url_of(name)
}

/// Runs `ura adapter` in a folder: what it printed, where it ended well.
async fn adapter(dir: &Path, url: &str, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ura"));
    command.arg("adapter").args(arguments).current_dir(dir).env("LICENCES_DB", url);
    let ended = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let ended = tokio::time::timeout(PATIENCE, ended).await.expect("in time").expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if ended.status.success() {
        Ok(text(&ended.stdout))
    } else {
        Err(text(&ended.stdout) + &text(&ended.stderr))
    }
}

fn row(printed: &str) -> Value {
    let reply: Value = serde_json::from_str(printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
    reply["licence"].clone()
}

#[tokio::test]
async fn drafts_of_any_table_pass_check_and_try_at_once() {
    let mut random = Random::of_environment();
    for at in 0..TABLES {
        let schema = Schema::new(&mut random);
        let url = database(&format!("drafted_{at}")).await;
        run_in_postgres(&url, &schema.make).await.unwrap_or_else(|error| panic!("{error}: {}", schema.make));
        let dir = tempfile::tempdir().expect("temporary folder");
        let mut new =
            vec!["new", "--url", "${LICENCES_DB}", "--table", &schema.table, "--package", "ks.t.v1"];
        new.extend(["--service", "LicenceService", "--entity", "Licence"]);
        let subject = schema.subject.as_ref().map(|(column, ..)| format!("{column}=business"));
        new.extend(subject.iter().flat_map(|subject| ["--subject", subject]));
        let ran = async |arguments: &[&str]| {
            let ran = adapter(dir.path(), &url, arguments).await;
            ran.unwrap_or_else(|error| panic!("table {at}: {arguments:?}: {error}\n{}", schema.make))
        };
        ran(&new).await;
        ran(&["check", "t.toml"]).await;
        let key = schema.key.to_string();
        let empty = adapter(dir.path(), &url, &["try", "t.toml", "GetLicence", "-d", &key]).await;
        assert!(empty.as_ref().is_err_and(|told| told.starts_with("NOT_FOUND")), "table {at}: {empty:?}");
        run_in_postgres(&url, &schema.fill).await.unwrap_or_else(|error| panic!("{error}: {}", schema.fill));
        let got = ran(&["try", "t.toml", "GetLicence", "-d", &key]).await;
        assert_eq!(row(&got), schema.row, "table {at}\n{}", schema.make);
        let subject = schema.subject.as_ref().map(|(_, field, value)| serde_json::json!({ *field: value }));
        let listed = subject.unwrap_or_else(|| serde_json::json!({})).to_string();
        let text = std::fs::read_to_string(dir.path().join("t.toml")).expect("drafted");
        // Where each row is about the one that names it, there is no list.
        if text.contains("[methods.ListLicences]") {
            let list = ran(&["try", "t.toml", "ListLicences", "-d", &listed]).await;
            let list: Value = serde_json::from_str(&list).expect("JSON");
            assert_eq!(list["licences"].as_array().map(Vec::len), Some(1), "table {at}: {list}");
        }
    }
}

#[tokio::test]
async fn mistakes_are_told_all_at_once_with_their_places() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("a file");
    write(
        "t.proto",
        "syntax = \"proto3\"; package t; service S { rpc Get(Q) returns (A); } message Q { string nr = 1; } message A { string name = 1; }",
    );
    let head = "contract = \"t.S\"\nproto = \"t.proto\"\n[register]\nkind = \"sql\"\nurl = \"sqlite:t.db\"\n";
    write("right.toml", &format!("{head}[methods.Get]\nsql = \"select name from t where nr = :nr\"\n"));
    write("open.toml", &format!("{head}[methods.Get]\nsql = \"select emri from t where nr = :nr\"\n"));
    write(
        "wrong.toml",
        &format!(
            "{head}[methods.Get]\nsql = \"select name from t where nr = :number\"\nfields.nam = \"emri\"\n[methods.Gett]\nsql = \"\"\n"
        ),
    );
    write("shape.toml", &format!("{head}timeout = 5\nwait_ms = \"1\"\n[methods.Get]\nsql = 7\n"));
    write(
        "adapter.toml",
        "system = \"a/b\"\nidentity = \"i\"\ngateways = [\"127.0.0.1:1\"]\ngateway_id = \"spiffe://t/a/g\"\ncontracts = [\"right.toml\", \"wrong.toml\"]\n",
    );
    let check = async |files: &[&str]| adapter(dir.path(), "", &[&["check"], files].concat()).await;
    assert_eq!(check(&["right.toml"]).await.as_deref(), Ok("right.toml: t.S, 1 method: right\n"));
    let open = check(&["open.toml"]).await.expect("a warning is no mistake");
    assert!(open.starts_with("warning: open.toml:7:7: nothing fills `name`"), "{open}");
    let wrong = [
        "wrong.toml:7:38: the parameter `number` is not bound",
        "wrong.toml:8:8: t.A has no field `nam`; there is: name",
        "wrong.toml:9:10: t.S has no method `Gett`; there is: Get",
    ];
    let shape = ["shape.toml:6:1: unknown key `timeout`", "shape.toml:7:11: ", "shape.toml:9:7: "];
    for (files, lines) in [
        (vec!["wrong.toml"], [&wrong[..], &["3 to mend"]].concat()),
        (vec!["shape.toml", "right.toml"], [&shape[..], &["right.toml: t.S", "3 to mend"]].concat()),
        (vec!["adapter.toml"], [&wrong[..], &["3 to mend"]].concat()),
        (vec!["nowhere.toml"], vec!["nowhere.toml: cannot be read", "1 to mend"]),
    ] {
        let told = check(&files).await.expect_err("mistakes");
        let told: Vec<&str> = told.lines().collect();
        assert_eq!(told.len(), lines.len(), "{told:#?}");
        for (line, begin) in told.iter().zip(lines) {
            assert!(line.contains(begin), "{begin}: {told:#?}");
        }
    }
}

/// The page's blocks up to the end of the first walk, for another table than the page's own.
fn for_table(page: &str, schema: &Schema) -> Vec<Block> {
    let end = page.lines().position(|line| line == END).expect("the page has its second part");
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let subject = schema.subject.as_ref();
    let listed = subject.map_or_else(
        || "{}".to_owned(),
        |(_, field, value)| serde_json::json!({ *field: value }).to_string(),
    );
    let changes = [
        ("--table licencat", format!("--table {}", quoted(&schema.table))),
        (
            "--subject biznesi_nui=business",
            subject
                .map(|(column, ..)| format!("--subject {}", quoted(&format!("{column}=business"))))
                .unwrap_or_default(),
        ),
        (r#"'{"biznesi_nui": 810000001}'"#, quoted(&listed)),
        (r#"'{"nr":"GJL-2026-0001"}'"#, quoted(&schema.key.to_string())),
    ];
    for (from, _) in &changes {
        assert_eq!(page.matches(from).count(), 1, "{PAGE} is to say `{from}` once");
    }
    let mut statements = [&schema.make, &schema.fill].into_iter();
    let mut found: Vec<Block> = blocks(page).into_iter().filter(|block| block.line <= end).collect();
    // What it prints is of the page's own table.
    found.retain(|block| !block.is("output") && !block.is("drafted"));
    for block in &mut found {
        if block.is("postgres") {
            block.text.clone_from(statements.next().expect("the page makes a table and fills it"));
        }
        for (from, to) in &changes {
            block.text = block.text.replace(from, to);
        }
    }
    assert!(statements.next().is_none(), "the page makes a table and fills it");
    found
}

/// Lines that say something.
fn said(text: &str) -> usize {
    text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).count()
}

#[tokio::test]
async fn the_page_makes_a_service_of_any_empty_table() {
    let mut random = Random::of_environment();
    // A subject that is the key leaves nothing to list, and the page lists.
    let schema = std::iter::repeat_with(|| Schema::new(&mut random)).find(|schema| {
        schema.subject.as_ref().is_none_or(|(_, field, _)| {
            schema.key.as_object().is_some_and(|key| key.len() > 1 || !key.contains_key(*field))
        })
    });
    let schema = schema.expect("endless");
    let demo = Demo::start().await;
    let mut walk = Walk::new(&demo, PAGE).with_database("LICENCES_DB", database("walked").await);
    let blocks = for_table(&read(PAGE), &schema);
    let printed = walk.through(blocks.clone()).await;
    // The last that is printed is the call over the bus.
    let (_, reply) = printed.rsplit_once("\n{").expect("a reply");
    assert_eq!(row(&format!("{{{reply}")), schema.row, "{}", schema.make);
    let adapter_file = std::fs::read_to_string(walk.dir().join("licences.toml")).expect("drafted");
    let written: usize =
        blocks.iter().filter(|block| block.language == "toml").map(|block| said(&block.text)).sum();
    assert!(
        said(&adapter_file) < LINES_MAX && (20..LINES_MAX).contains(&written),
        "{written} lines, and\n{adapter_file}"
    );
    walk.end().await;
    demo.end().await;
}
