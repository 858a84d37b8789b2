//! Adapter files: what is refused, and with which words; and the example of the documentation.

use crate::fixture::Folder;
use ura_adapters::declared::Declared;

const SQL: &str = "kind = \"sql\"\nurl = \"sqlite:x.db\"";

/// The lines of all mistakes, without the file's path.
fn mistakes(register: &str, methods: &str) -> Vec<String> {
    let folder = Folder::new();
    let prefix = format!("{}/people.toml:", folder.path().display());
    let errors = folder.load(register, methods).expect_err("mistakes");
    errors.lines().map(|line| line.strip_prefix(&prefix).unwrap_or(line).to_owned()).collect()
}

#[test]
fn pages_go_with_what_can_page() {
    let rest = "kind = \"rest\"\nurl = \"http://x\"";
    for (register, method, expected) in [
        (
            SQL,
            "sql = \"select :page_cursor\"\npage = { size_default = 1, size_max = 2, next = \"x\" }",
            "`next` goes with rest and soap only",
        ),
        (
            rest,
            "rest = { path = \"/{page_number}\" }\npage = { size_default = 1, size_max = 2 }",
            "or `page_number` and `page_size`, in the request",
        ),
    ] {
        let all = mistakes(register, &format!("[methods.List]\nanswer = \"many\"\n{method}"));
        assert!(all.iter().any(|line| line.contains(expected)), "{all:#?}");
    }
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let methods = r#"
[methods.Get]
sql = "select :number, :nobody, :row.x"
parameters.unused = "number"
parameters.wrong = "person.number"
fields.kind = { from = "k", enum = { "C" = "KIND_CITIZN" } }
fields.given_nam = "emri"
fields.born_on = { from = "d", date = "%d.%q" }
fields.debt = { from = "x", bool = { "J" = true } }
fields.serial = { from = "x", money = "EUR" }
fields.phones = { from = "x", fields = {} }
fields."phones.number" = "x"
[methods.Lst]
sql = "select 1"
[methods.List]
answer = "many"
into = "peple"
sql = "select :page_limit"
[methods.Export]
answer = "one"
sql = "select 1"
[methods.Document]
answer = "chunks"
rest = { path = "/x" }
[methods.Pay]
sql = ""
errors = { "1" = "NOPE" }
"#;
    let all = mistakes("kind = \"sql\"\nurl = \"mysql://x\"\nprobe_ms = 0", methods);
    for expected in [
        "5:7: a sql register's url begins with",
        "6:12: write a number from 1",
        "the parameter `nobody` is not bound",
        "`row` exists in nested queries only",
        "the parameter `unused` is declared and not used",
        "test.v1.GetRequest has no field `person`; there is: number",
        "has no value `KIND_CITIZN`; there is: KIND_UNSPECIFIED, KIND_CITIZEN, KIND_FOREIGNER",
        "test.v1.Person has no field `given_nam`",
        "`%q` is not known",
        "bool fits a bool field, not the message test.v1.Money",
        "money fits a message with currency_code",
        "`fields` fits a nested message",
        "`phones` is repeated",
        "test.v1.PeopleService has no method `Lst`; there is: Get, List",
        "`into` names the repeated message field of test.v1.ListResponse that takes the rows; there is: people",
        "`page_limit` needs paging",
        "the method is a server stream: write \"stream\" or \"chunks\"",
        "the register's kind is sql: write `sql`, not `rest`",
        "the statement is empty",
        "`NOPE` is no gRPC code",
    ] {
        assert!(all.iter().any(|line| line.contains(expected)), "{expected}\nin\n{}", all.join("\n"));
    }
    let unplaced: Vec<_> =
        all.iter().filter(|line| !line.starts_with(|c: char| c.is_ascii_digit())).collect();
    assert!(unplaced.is_empty(), "{unplaced:?}");
}

#[test]
fn a_method_that_is_missing_is_told() {
    let all = mistakes(SQL, "[methods.Get]\nsql = \"select 1\"").join("\n");
    for name in ["List", "Export", "Document", "Pay"] {
        assert!(
            all.contains(&format!(
                "1:12: the method `{name}` of the contract is missing: add [methods.{name}]"
            )),
            "{all}"
        );
    }
}

#[test]
fn unknown_keys_and_wrong_types_are_told() {
    let all = mistakes(SQL, "[methods.Get]\nsql = 1\nsqll = \"x\"\nfields.kind = { fom = \"x\" }").join("\n");
    for expected in ["sqll", "fom", "statement"] {
        assert!(all.contains(expected), "{expected}\nin\n{all}");
    }
}

#[test]
fn a_contract_that_does_not_compile_is_told_with_its_place() {
    let folder = Folder::new();
    std::fs::write(folder.path().join("people.proto"), "syntax = \"proto3\";\nmessage A { Nope b = 1; }")
        .expect("written");
    let errors = folder.load(SQL, "").expect_err("does not compile");
    assert!(
        errors.contains("2:9: the contract does not compile: people.proto:2:13: ")
            || errors.contains("people.proto:2:"),
        "{errors}"
    );
}

#[test]
fn a_descriptor_set_serves_as_well() {
    let folder = Folder::new();
    let methods = "[methods.Get]\nsql = \"select 1\"\n[methods.List]\nanswer = \"many\"\nsql = \"select 1\"\n[methods.Export]\nsql = \"select 1\"\n[methods.Document]\nanswer = \"chunks\"\nsql = \"select 1\"\n[methods.Pay]\nsql = \"select 1\"";
    let first = folder.load(SQL, methods).expect("valid");
    std::fs::write(folder.path().join("x.binpb"), first.descriptor_set()).expect("written");
    let text = format!(
        "contract = \"test.v1.PeopleService\"\ndescriptor_set = \"x.binpb\"\n[register]\n{SQL}\n{methods}"
    );
    let second = Declared::parse(&folder.path().join("y.toml"), text).expect("valid");
    assert_eq!(first.descriptor_set(), second.descriptor_set());
    assert_eq!(second.contract().methods().len(), 5);
}

#[test]
fn the_example_of_the_documentation_is_valid() {
    let docs = include_str!("../../../docs/adapter-files.md");
    let block = |begin: &str, marker: &str| {
        let blocks = docs.split(begin).skip(1).filter_map(|rest| rest.split("\n```").next());
        blocks.into_iter().find(|block| block.contains(marker)).expect("a block").to_owned()
    };
    let folder = tempfile::tempdir().expect("a temp dir");
    let proto = folder.path().join("proto/ks/libraries/v1");
    std::fs::create_dir_all(&proto).expect("made");
    std::fs::create_dir_all(folder.path().join("config")).expect("made");
    std::fs::write(proto.join("libraries.proto"), block("```proto\n", "LibraryService")).expect("written");
    let toml = block("```toml\n", "contract = \"ks.libraries.v1.LibraryService\"");
    let loaded = Declared::parse(&folder.path().join("config/libraries.toml"), toml);
    assert_eq!(loaded.map(|d| d.contract().methods().len()).map_err(|e| e.to_string()), Ok(3));
}

#[test]
fn who_the_adapter_is_and_whom_it_trusts() {
    let rest = "kind = \"rest\"\nurl = \"https://x\"";
    let postgres = |query: &str| format!("kind = \"sql\"\nurl = \"postgres://h/d{query}\"");
    for (register, expected) in [
        (
            format!("{rest}\nauth = {{ kind = \"basic\", user = \"a:b\" }}"),
            "auth of kind basic needs `password_file`",
        ),
        (
            format!("{rest}\nauth = {{ kind = \"basic\", user = \"a:b\", password_file = \"p\" }}"),
            "a user's name has no colon",
        ),
        (
            format!("{rest}\nauth = {{ kind = \"bearer\", token_file = \"t\", user = \"a\" }}"),
            "auth of kind bearer has no `user`; it has token_file",
        ),
        (
            format!(
                "{rest}\nauth = {{ kind = \"oauth2\", token_url = \"ftp://x\", client_id = \"\", secret_file = \"s\", scopes = [\"a b\"] }}"
            ),
            "write the address of the token endpoint: https://host/path",
        ),
        (
            format!(
                "{rest}\nauth = {{ kind = \"oauth2\", token_url = \"https://x\", client_id = \"c\", secret_file = \"s\", scopes = [\"a b\"] }}"
            ),
            "one scope, without blanks and quotes",
        ),
        (
            format!(
                "{rest}\nheaders = {{ Authorization = \"x\" }}\nauth = {{ kind = \"bearer\", token_file = \"t\" }}"
            ),
            "`auth` writes this header: keep one of them",
        ),
        (
            "kind = \"rest\"\nurl = \"https://me:pw@x\"".to_owned(),
            "user and password go into [register.auth]",
        ),
        (
            format!("{SQL}\nauth = {{ kind = \"bearer\", token_file = \"t\" }}"),
            "auth goes with rest and soap only",
        ),
        (format!("{SQL}\nca_file = \"x\""), "ca_file goes with rest, soap and PostgreSQL over TLS"),
        (
            format!("{}\nclient_identity = {{ certificate_file = \"x\", key_file = \"x\" }}", postgres("")),
            "client_identity goes with rest, soap and PostgreSQL over TLS",
        ),
        (postgres("?sslmode=verify-full"), "sslmode=verify-full needs ca_file"),
        (postgres("?sslmode=prefer"), "write sslmode=verify-full, or sslmode=disable"),
        (postgres("?prot=1"), "not a PostgreSQL url"),
        (format!("{rest}\nsoap_version = \"1.2\""), "soap_version goes with soap only"),
        ("kind = \"soap\"\nurl = \"http://x\"\nsoap_version = \"2\"".to_owned(), "write \"1.1\" or \"1.2\""),
    ] {
        let all = mistakes(&register, "");
        assert!(all.iter().any(|line| line.contains(expected)), "{expected}: {all:#?}");
    }
}
