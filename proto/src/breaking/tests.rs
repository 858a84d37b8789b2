//! Every rule shown to be found, and what a break says.

use std::collections::BTreeSet;

use super::*;
use crate::contract::Contract;

const PROTO3: &str = r#"
syntax = "proto3";
package a.v1;
service S {
  rpc Read(Q) returns (R) { option idempotency_level = NO_SIDE_EFFECTS; }
  rpc Write(Q) returns (R);
}
message Q {
  reserved 8 to 10;
  reserved "old";
  string id = 1;
  int32 count = 2;
  repeated string names = 3;
  map<string, int32> by_name = 4;
  Color color = 5;
  oneof choice { string text = 6; bytes data = 7; }
}
message R { Q echo = 1; }
enum Color {
  reserved 8 to 10;
  reserved "OLD";
  NONE = 0;
  RED = 1;
}
"#;

const PROTO2: &str = r#"
syntax = "proto2";
package a.v1;
service S { rpc Read(Q) returns (Q); }
message Q {
  required string id = 1;
  optional int32 count = 2 [default = 7];
  optional float ratio = 3 [default = 0.1];
  extensions 100 to 200;
}
extend Q { optional int32 more = 100 [default = 1]; }
"#;

fn pool(text: &str) -> DescriptorPool {
    let dir = tempfile::tempdir().expect("temporary folder");
    let path = dir.path().join("a.proto");
    std::fs::write(&path, text).expect("temporary folder");
    Contract::pool(&path, &[]).expect("compiles").0
}

/// A change as old text and new text, and the rules that it is against.
type Change = (&'static str, &'static str, &'static [Rule]);

fn found(text: &str, (old, new, expected): &Change) -> Vec<Break> {
    assert!(text.contains(old), "{old}");
    let found = breaking(&pool(text), &pool(&text.replace(old, new)));
    let mut rules: Vec<Rule> = found.iter().map(|found| found.rule).collect();
    rules.sort_unstable();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(rules, expected, "{old} -> {new}: {found:#?}");
    found
}

const IN_PROTO3: &[Change] = &[
    ("string id = 1;", "string id = 1; // a comment\n", &[]),
    ("string id = 1;", "string id = 1 [deprecated = true]; string more = 11;", &[]),
    ("RED = 1;", "RED = 1; BLUE = 2;", &[]),
    ("int32 count", "int64 count", &[Rule::FieldJsonType]),
    ("int32 count", "uint32 count", &[]),
    ("string id", "bytes id", &[Rule::FieldJsonType]),
    ("bytes data", "string data", &[Rule::FieldType, Rule::FieldJsonType]),
    ("int32 count = 2;", "", &[Rule::FieldNumber, Rule::FieldName]),
    ("int32 count = 2;", "reserved 2;", &[Rule::FieldName]),
    ("int32 count = 2;", "reserved 2; reserved \"count\";", &[]),
    ("int32 count = 2;", "int32 total = 2;", &[Rule::FieldSameName, Rule::FieldJsonName]),
    ("int32 count", "optional int32 count", &[]),
    ("int32 count", "repeated int32 count", &[Rule::FieldCardinality, Rule::FieldJsonCardinality]),
    ("oneof choice { string text = 6; bytes", "string text = 6; oneof choice { bytes", &[Rule::FieldOneof]),
    ("RED = 1;", "", &[Rule::EnumValueNumber, Rule::EnumValueName]),
    ("RED = 1;", "reserved 1; reserved \"RED\";", &[]),
    ("RED = 1;", "CRIMSON = 1;", &[Rule::EnumValueSameName]),
    (
        "reserved 8 to 10;\n  reserved \"old\"",
        "reserved 8, 10;\n  reserved \"old\"",
        &[Rule::MessageReserved],
    ),
    ("reserved \"OLD\";", "", &[Rule::EnumReserved]),
    ("(Q) returns (R);", "(stream Q) returns (R);", &[Rule::ClientStreaming]),
    ("(Q) returns (R);", "(Q) returns (stream R);", &[Rule::ServerStreaming]),
    ("(Q) returns (R);", "(R) returns (Q);", &[Rule::RequestType, Rule::ResponseType]),
    ("NO_SIDE_EFFECTS", "IDEMPOTENT", &[Rule::IdempotencyLevel]),
    ("rpc Write(Q) returns (R);", "", &[Rule::MethodDeleted]),
    ("service S", "service T", &[Rule::ServiceDeleted]),
    ("package a.v1", "package a.v2", &[Rule::FilePackage, Rule::ServiceDeleted]),
];

const IN_PROTO2: &[Change] = &[
    (
        "required string",
        "optional string",
        &[Rule::RequiredFields, Rule::FieldCardinality, Rule::FieldJsonCardinality],
    ),
    ("count = 2 [default = 7]", "count = 2 [default = 8]", &[Rule::FieldDefault]),
    ("count = 2 [default = 7]", "count = 2", &[Rule::FieldDefault]),
    ("optional float ratio", "optional double ratio", &[Rule::FieldType, Rule::FieldJsonType]),
    ("int32 more = 100 [default = 1]", "int32 more = 100", &[Rule::FieldDefault]),
    ("int32 more = 100 [default = 1]", "bool more = 100 [default = true]", &[Rule::FieldJsonType]),
    ("more = 100", "other = 100", &[Rule::FieldSameName]),
];

#[test]
fn each_rule_is_found_and_nothing_else() {
    let mut seen: BTreeSet<Rule> = BTreeSet::new();
    for (text, changes) in [(PROTO3, IN_PROTO3), (PROTO2, IN_PROTO2)] {
        for change in changes {
            seen.extend(found(text, change).iter().map(|found| found.rule));
        }
    }
    let lost = breaking(
        &pool(PROTO3),
        &pool(
            &PROTO3
                .replace("proto3", "proto2")
                .replace("  string id", "optional string id")
                .replace("  int32 count", "optional int32 count")
                .replace("  Color color", "optional Color color")
                .replace("{ Q echo", "{ optional Q echo"),
        ),
    );
    seen.extend(lost.iter().map(|found| found.rule));
    let unseen: Vec<_> = Rule::ALL.iter().filter(|rule| !seen.contains(rule)).collect();
    assert!(unseen.is_empty(), "{unseen:?}");
}

#[test]
fn a_break_says_where_and_what_would_be_right() {
    let told = |old: &'static str, new: &'static str, rules: &'static [Rule]| {
        found(PROTO3, &(old, new, rules)).first().expect("one").to_string()
    };
    assert_eq!(
        told("bytes data = 7;", "sint32 data = 7;", &[Rule::FieldType, Rule::FieldJsonType]),
        "a.proto:16: a.v1.Q.data: its type was bytes and is sint32; keep the type, and add a field with a number \
         of its own [FIELD_WIRE_COMPATIBLE_TYPE]"
    );
    assert_eq!(
        told("reserved 8 to 10;\n  reserved \"old\"", "reserved \"old\"", &[Rule::MessageReserved]),
        "a.proto:8: a.v1.Q: 8 to 10 was reserved, and of it 8 to 10 is free again; write `reserved 8 to 10;` again \
         [RESERVED_MESSAGE_NO_DELETE]"
    );
}

/// A pool of one empty message in a file of this name.
fn named(file: &str, package: &str) -> DescriptorPool {
    let file = prost_types::FileDescriptorProto {
        name: Some(file.to_owned()),
        package: Some(package.to_owned()),
        ..Default::default()
    };
    let mut pool = DescriptorPool::new();
    pool.add_file_descriptor_proto(file).expect("complete");
    pool
}

#[test]
fn files_of_options_are_not_compared() {
    for file in OPTION_FILES {
        assert_eq!(breaking(&named(file, "a"), &named(file, "b")), [], "{file}");
    }
    assert_eq!(breaking(&named("a.proto", "a"), &named("a.proto", "b")).len(), 1);
}
