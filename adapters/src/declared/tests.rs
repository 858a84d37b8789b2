//! The published JSON Schema and the parser say the same of the shape of a file.

use std::{collections::BTreeSet, path::Path};

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value as Json;
use toml::{Table, Value};

use super::{Declared, method, raw};
use crate::schema;

/// A file in which every key stands once. It has the right shape and no meaning.
const EVERYTHING: &str = include_str!("tests/everything.toml");

/// Other files that are right.
const SAMPLES: [&str; 4] = [
    include_str!("../../../config/adapters/civil-status.toml"),
    include_str!("../../../config/adapters/property-tax.toml"),
    include_str!("../../../config/adapters/vehicles.toml"),
    include_str!("../../../tests/fourth/health.toml"),
];

struct Schema {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Schema {
    fn new() -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("schema.json", json()).expect("a resource");
        let index = compiler.compile("schema.json", &mut schemas).expect("JSON Schema 2020-12");
        Self { schemas, index }
    }

    fn takes(&self, file: &Table) -> bool {
        let value = serde_json::to_value(file).expect("TOML without dates is JSON");
        self.schemas.validate(&value, self.index).is_ok()
    }
}

fn json() -> Json {
    serde_json::from_str(schema::TEXT).expect("JSON")
}

fn parser_takes(file: &Table) -> bool {
    toml::from_str::<raw::File>(&file.to_string()).is_ok()
}

/// The names in backquotes of serde's list of what it expects.
fn expected(text: &str) -> BTreeSet<String> {
    let error = toml::from_str::<raw::File>(text).expect_err(text);
    let message = error.message().to_owned();
    let (_, list) = message.split_once("expected ").unwrap_or_else(|| unreachable!("{text}: {message}"));
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_key_of_the_parser_is_in_the_schema_and_the_other_way_round() {
    let schema = json();
    for (place, text) in [
        ("/properties", "zzz = 1"),
        ("/$defs/register/properties", "[register]\nzzz = 1"),
        ("/$defs/auth/properties", "[register.auth]\nzzz = 1"),
        ("/$defs/client_identity/properties", "[register.client_identity]\nzzz = 1"),
        ("/$defs/method/properties", "[methods.A]\nzzz = 1"),
        ("/$defs/rest/properties", "[methods.A.rest]\nzzz = 1"),
        ("/$defs/soap/properties", "[methods.A.soap]\nzzz = 1"),
        ("/$defs/page/properties", "[methods.A.page]\nzzz = 1"),
        ("/$defs/chunk/properties", "[methods.A.chunk]\nzzz = 1"),
        ("/$defs/nested/properties", "[methods.A.nested.b]\nzzz = 1"),
        ("/$defs/options/properties", "[methods.A.fields.b]\nzzz = 1"),
        ("/$defs/refusal/anyOf/1/properties", "[methods.A.errors.b]\nzzz = 1"),
    ] {
        let table = schema.pointer(place).and_then(Json::as_object).expect(place);
        let known: BTreeSet<String> = table.keys().cloned().collect();
        assert_eq!(known, expected(text), "{place}: left is the schema, right the parser");
    }
    for (place, text) in [
        ("/$defs/register/properties/kind/enum", "[register]\nkind = \"zzz\""),
        ("/$defs/auth/properties/kind/enum", "[register.auth]\nkind = \"zzz\""),
        ("/$defs/method/properties/answer/enum", "[methods.A]\nanswer = \"zzz\""),
    ] {
        let list = schema.pointer(place).and_then(Json::as_array).expect(place);
        let known: BTreeSet<String> = list.iter().filter_map(Json::as_str).map(str::to_owned).collect();
        assert_eq!(known, expected(text), "{place}");
    }
    let codes = schema.pointer("/$defs/code/enum").and_then(Json::as_array).expect("codes");
    assert_eq!(codes.len(), 16);
    assert!(codes.iter().all(|code| code.as_str().and_then(method::code).is_some()), "{codes:?}");
}

#[test]
fn every_part_of_the_schema_is_described() {
    let schema = json();
    let tables = schema["$defs"].as_object().expect("parts");
    for (name, part) in tables.iter().chain([(&"file".to_owned(), &schema)]) {
        assert!(part["description"].is_string(), "{name}");
        for (key, value) in part["properties"].as_object().into_iter().flatten() {
            let told = value["description"].is_string() || value["$ref"].is_string();
            assert!(told, "{name}.{key} has no description");
        }
    }
}

/// All files that differ from this one in one place.
fn mutants(file: &Table) -> Vec<(String, Table)> {
    let mut found = Vec::new();
    mutate(&Value::Table(file.clone()), "", &mut |place, value| {
        if let Value::Table(table) = value {
            found.push((place.to_owned(), table));
        }
    });
    found
}

fn mutate(value: &Value, place: &str, take: &mut dyn FnMut(&str, Value)) {
    let others = [
        Value::from("NOT_FOUND"),
        Value::from(7),
        Value::from(-1),
        Value::from(1.5),
        Value::from(true),
        Value::Array(Vec::new()),
        Value::Array(vec![Value::from("a")]),
        Value::Array(vec![Value::Table(Table::new())]),
        Value::Table(Table::new()),
        Value::Table(Table::from_iter([("zzz".to_owned(), Value::from(1))])),
    ];
    // What a text says is no matter of shape. A list of the values of a table, in its order, is one of serde's other
    // ways to write the table, which nobody is told of.
    let tells_nothing =
        |other: &Value| other.is_str() && value.is_str() || other.is_array() && value.is_table();
    for other in others.into_iter().filter(|other| !tells_nothing(other)) {
        take(&format!("{place} = {other}"), other.clone());
    }
    match value {
        Value::Table(table) => {
            let mut more = table.clone();
            more.insert("zzz".to_owned(), Value::from(1));
            take(&format!("{place} + zzz"), Value::Table(more));
            for (key, inner) in table {
                let mut less = table.clone();
                less.remove(key);
                take(&format!("{place} - {key}"), Value::Table(less));
                mutate(inner, &format!("{place}.{key}"), &mut |place, changed| {
                    let mut whole = table.clone();
                    whole.insert(key.clone(), changed);
                    take(place, Value::Table(whole));
                });
            }
        }
        Value::Array(items) => {
            for (at, inner) in items.iter().enumerate() {
                mutate(inner, &format!("{place}[{at}]"), &mut |place, changed| {
                    let mut whole = items.clone();
                    whole.splice(at..=at, [changed]);
                    take(place, Value::Array(whole));
                });
            }
        }
        _ => {}
    }
}

#[test]
fn schema_and_parser_agree_on_every_changed_file() {
    let schema = Schema::new();
    let (mut right, mut wrong) = (0, 0);
    for text in SAMPLES.into_iter().chain([EVERYTHING]) {
        let file: Table = text.parse().expect("TOML");
        assert!(parser_takes(&file), "{:?}", toml::from_str::<raw::File>(text).err());
        assert!(
            schema.takes(&file),
            "{:?}",
            schema
                .schemas
                .validate(&serde_json::to_value(&file).expect("JSON"), schema.index)
                .map_err(|error| error.to_string())
        );
        for (place, file) in mutants(&file) {
            let (ours, theirs) = (parser_takes(&file), schema.takes(&file));
            assert_eq!(ours, theirs, "{place}: left is the parser, right the schema\n{file}");
            *(if ours { &mut right } else { &mut wrong }) += 1;
        }
    }
    assert!(
        right > 100 && wrong > 1000,
        "{right} right and {wrong} wrong files are too few to mean anything"
    );
}

#[test]
fn every_key_stands_in_the_file_with_every_key() {
    // Else its type was compared with nothing.
    for (place, schema) in [("", json()), ("register", json()["$defs"]["register"].clone())] {
        let file: Table = EVERYTHING.parse().expect("TOML");
        let table = file.get(place).and_then(Value::as_table).unwrap_or(&file).clone();
        for key in schema["properties"].as_object().expect("keys").keys() {
            assert!(table.contains_key(key), "{place} has no {key}");
        }
    }
    for part in ["auth", "client_identity", "method", "rest", "soap", "page", "chunk", "nested", "options"] {
        for key in json()["$defs"][part]["properties"].as_object().expect("keys").keys() {
            let (line, inner) = (format!("{key} ="), format!("{key}."));
            let heading = format!(".{key}");
            let found = [line, inner, heading].iter().any(|text| EVERYTHING.contains(text.as_str()));
            assert!(found, "{part} has no {key}");
        }
    }
}

#[test]
fn bounds_of_the_register_are_those_of_the_parser() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let proto = "syntax = \"proto3\"; package t; service S { rpc M(E) returns (E); } message E {}";
    std::fs::write(dir.path().join("t.proto"), proto).expect("the contract");
    let takes = |key: &str, value: i64| {
        let text = format!(
            "contract = \"t.S\"\nproto = \"t.proto\"\n[register]\nkind = \"sql\"\nurl = \"sqlite:t.db\"\n{key} = {value}\n[methods.M]\nsql = \"select 1\""
        );
        Declared::parse(&dir.path().join(Path::new("t.toml")), text).is_ok()
    };
    let schema = json();
    let mut seen = 0;
    for (key, part) in schema["$defs"]["register"]["properties"].as_object().expect("keys") {
        let (Some(least), Some(most)) = (part["minimum"].as_i64(), part["maximum"].as_i64()) else {
            continue;
        };
        seen += 1;
        let found = [least - 1, least, most, most + 1].map(|value| takes(key, value));
        assert_eq!(found, [false, true, true, false], "{key}: {least} to {most}");
    }
    assert!(seen >= 9);
}

const CONTRACT: &str = r#"syntax = "proto3"; package t; import "google/type/date.proto";
  service S {
    rpc Get(GetRequest) returns (GetResponse) { option idempotency_level = NO_SIDE_EFFECTS; }
    rpc List(ListRequest) returns (ListResponse) { option idempotency_level = NO_SIDE_EFFECTS; }
  }
  message GetRequest { string nr = 1; }
  message GetResponse { Permit permit = 1; string note = 2; }
  message ListRequest { int32 page_size = 1; string page_token = 2; }
  message ListResponse { repeated Permit permits = 1; string next_page_token = 2; int32 total = 3; }
  message Permit { string nr = 1; google.type.Date day = 2; Address address = 3; repeated Parcel parcels = 4; }
  message Address { string city = 1; string street_name = 2; }
  message Parcel { string nr = 1; int32 area = 2; }"#;

/// What is said of a file with these methods; of the contract above.
fn told(get: &str, list: &str) -> Vec<String> {
    let dir = tempfile::tempdir().expect("temporary folder");
    std::fs::write(dir.path().join("t.proto"), CONTRACT).expect("the contract");
    let text = format!(
        "contract = \"t.S\"\nproto = \"t.proto\"\n[register]\nkind = \"sql\"\nurl = \"postgres://localhost/t\"\n\
         [methods.Get]\ninto = \"permit\"\n{get}\n[methods.List]\nanswer = \"many\"\n{list}\n"
    );
    let place = |error: &ura_runtime::config::ConfigError| {
        let (line, column) = error.place.expect("a place");
        format!("{line}:{column}: {}", error.message)
    };
    match Declared::parse(&dir.path().join("t.toml"), text) {
        Ok(declared) => declared.warnings().map(place).collect(),
        Err(errors) => errors.iter().map(place).collect(),
    }
}

#[test]
fn what_nothing_fills_and_what_nothing_takes_is_told() {
    let list = "sql = \"select * from t\"\nreply.total = \"n\"";
    let full = r#"sql = "select nr, day, city as \"address.city\", s as \"address.streetName\", id from t where nr = :nr"
nested.parcels.sql = "select nr, m2 as area from p where of = :row.id""#;
    for (get, list, expected) in [
        (full.to_owned(), list, vec!["8:7: nothing fills `note`", "12:7: nothing fills `next_page_token`"]),
        (
            full.replace("day, ", "").replace("address.city", "adress.city").replace("m2 as area", "m2"),
            list,
            vec![
                "8:7: nothing fills `permit.day`, `permit.address.city`, `permit.parcels.area`, `note`",
                "8:7: no field takes the column `adress.city`",
                "12:7: nothing fills `next_page_token`",
            ],
        ),
        (
            full.to_owned() + "\nfields.address = { from = \"c\" }",
            "sql = \"select nr, x as y, count(*) as total from t\"",
            vec![
                "8:7: nothing fills `note`",
                "13:7: nothing fills `permits.day`, `permits.address`, `permits.parcels`, `next_page_token`, `total`",
                "13:7: no field takes the column `y`",
                "13:7: no field takes the column `total`",
            ],
        ),
    ] {
        let found = told(&get, list);
        let found: Vec<&str> =
            found.iter().filter_map(|text| text.split(": select a column").next()).collect();
        assert_eq!(found, expected, "{get}\n{list}");
    }
}

#[test]
fn a_parameter_is_pointed_at_in_its_line() {
    let get = "sql = \"\"\"\n  select nr\n  from t where nr = :nr and city = :city\"\"\"";
    let found = told(get, "sql = \"select * from t\"");
    let expected = "10:36: the parameter `city` is not bound; ";
    assert!(found.first().is_some_and(|line| line.starts_with(expected)), "{found:?}");
}
