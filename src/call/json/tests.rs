//! Table tests of the JSON mapping's errors and of splitting.

use std::io::BufReader;

use prost_reflect::{DescriptorPool, ReflectMessage as _};

use super::*;

fn query() -> MessageDescriptor {
    let pool = DescriptorPool::decode(ura_proto::CONTRACTS).expect("own contracts");
    pool.get_message_by_name("google.type.Date").expect("built in")
}

/// A message with everything in it.
fn everything() -> MessageDescriptor {
    let dir = tempfile::tempdir().expect("temporary folder");
    let path = dir.path().join("all.proto");
    let text = r#"syntax = "proto3"; package t;
        import "google/type/date.proto"; import "google/protobuf/timestamp.proto";
        service S { rpc M(All) returns (All); }
        enum Kind { KIND_UNSPECIFIED = 0; KIND_CAR = 1; }
        message Empty {}
        message All {
          string family_name = 1; int64 amount = 2; bytes data = 3; Kind kind = 4; bool yes = 5;
          google.type.Date on = 6; google.protobuf.Timestamp at = 7; repeated All more = 8;
          map<string, All> named = 9; map<string, int32> counts = 10; Empty empty = 11;
          oneof either { string one = 12; string other = 13; } repeated string words = 14;
        }"#;
    std::fs::write(&path, text).expect("temporary folder");
    let contract = ura_proto::contract::Contract::from_proto("t.S", &path, &[]).expect("compiles");
    contract.service.methods().next().expect("M").input()
}

#[test]
fn what_fits_is_read() {
    let all = everything();
    for (json, encoded_bytes) in [
        ("{}", 0),
        (r#"{"familyName": "Kuçi"}"#, 7),
        (r#"{"family_name": "Kuçi", "amount": "5"}"#, 9),
        (r#"{"kind": "KIND_CAR"}"#, 2),
        (r#"{"kind": 1, "data": "AAE="}"#, 6),
        (r#"{"at": "2026-01-02T03:04:05Z"}"#, 8),
        (r#"{"more": [{"yes": true}], "on": null}"#, 4),
    ] {
        let value: Value = serde_json::from_str(json).expect(json);
        let read = message(&all, &value).expect(json);
        assert_eq!(prost::Message::encoded_len(&read), encoded_bytes, "{json}");
        assert_eq!(read.descriptor().full_name(), "t.All");
    }
}

#[test]
fn errors_name_the_field_and_say_what_would_be_right() {
    let all = everything();
    for (json, parts) in [
        (r#"{"familyname": "x"}"#, &["t.All has no field `familyname`", "it has familyName, amount"][..]),
        (r#"{"on": {"yeer": 1}}"#, &["google.type.Date has no field `on.yeer`", "it has year, month, day"]),
        (r#"{"more": [{}, {"more": [{"x": 1}]}]}"#, &["`more[1].more[0].x`"]),
        (r#"{"named": {"a": {"x": 1}}}"#, &["`named[\"a\"].x`"]),
        (r#"{"empty": {"x": 1}}"#, &["t.Empty has no field `empty.x`", "it has no fields at all"]),
        (r#"{"amount": "five"}"#, &["`amount` takes int64"]),
        (r#"{"on": {"year": "MMXX"}}"#, &["`on.year` takes int32"]),
        (r#"{"on": "2026-01-01"}"#, &["`on` is no google.type.Date"]),
        (r#"{"kind": "CAR"}"#, &["`kind` takes one of KIND_UNSPECIFIED, KIND_CAR"]),
        (r#"{"data": "ë"}"#, &["`data` takes bytes in base64"]),
        (r#"{"at": "yesterday"}"#, &["`at`"]),
        (r#"{"words": "one"}"#, &["`words` takes a list, each string"]),
        (r#"{"counts": {"a": "b"}}"#, &["`counts` takes an object (map)"]),
        (r#"{"one": "a", "other": "b"}"#, &["the request is no t.All"]),
        ("[]", &["the request is no t.All"]),
    ] {
        let value: Value = serde_json::from_str(json).expect(json);
        let error = message(&all, &value).expect_err(json).to_string();
        for part in parts {
            assert!(error.contains(part), "{json}: {error}");
        }
    }
}

#[test]
fn values_stand_one_after_another() {
    for (text, count, fails) in [
        ("", 0, false),
        (" \n", 0, false),
        ("{}", 1, false),
        ("{}{}\n{ \"year\": 1 } ", 3, false),
        ("1 2", 2, false),
        ("{} ,", 1, true),
        ("{} {", 1, true),
        ("{}{\"year\": 2026, \"month\": 10, \"day\": 12}{}", 1, true),
    ] {
        let values: Vec<_> = Values::new(BufReader::new(text.as_bytes()), 24).collect();
        assert_eq!(values.iter().filter(|value| value.is_ok()).count(), count, "{text}");
        assert_eq!(values.last().is_some_and(Result::is_err), fails, "{text}");
    }
}

#[test]
fn a_value_is_given_before_the_next_has_come() {
    /// Gives one object, and then nobody may ask for more.
    struct Once(Option<&'static [u8]>);
    impl Read for Once {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let bytes = self.0.take().expect("asked again before the first value was given");
            buffer.get_mut(..bytes.len()).expect("a large buffer").copy_from_slice(bytes);
            Ok(bytes.len())
        }
    }
    let mut values = Values::new(BufReader::new(Once(Some(b"{\"year\": 1}"))), 1024);
    let value = values.next().expect("one").expect("JSON");
    assert!(message(&query(), &value).is_ok());
}
