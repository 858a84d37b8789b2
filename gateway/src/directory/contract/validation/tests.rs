//! Messages that a contract says and those that it does not.

use super::*;
use ura_proto::contract::Contract;

const PROTO: &str = r#"
syntax = "proto3";
package a.v1;
import "old.proto";
service S { rpc M(Q) returns (Q); }
message Q {
  reserved 20 to 29;
  string text = 1;
  bytes data = 2;
  repeated int32 numbers = 3;
  repeated Q inner = 4;
  map<string, Q> by_name = 5;
  Color color = 6;
  double ratio = 7;
  fixed32 four = 8;
  a.old.Closed closed = 9;
  a.old.Old old = 10;
  repeated Color colors = 11;
  bool flag = 12;
}
enum Color { NONE = 0; RED = 1; DARK = -1; }
"#;

const OLD: &str = r#"
syntax = "proto2";
package a.old;
enum Closed { ONE = 1; }
message Old { optional group Part = 1 { optional string text = 1; } extensions 10 to 20; }
extend Old { optional string more = 10; }
"#;

fn message() -> MessageDescriptor {
    let dir = tempfile::tempdir().expect("temporary folder");
    std::fs::write(dir.path().join("old.proto"), OLD).expect("temporary folder");
    let path = dir.path().join("a.proto");
    std::fs::write(&path, PROTO).expect("temporary folder");
    let contract = Contract::from_proto("a.v1.S", &path, &[]).expect("compiles");
    contract.service.methods().next().expect("M").input()
}

/// A field of bytes.
fn bytes(number: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2, u8::try_from(value.len()).expect("short")];
    out.extend_from_slice(value);
    out
}

#[test]
fn what_the_contract_says_passes() {
    let of = message();
    for (what, message) in [
        ("nothing", Vec::new()),
        ("text", bytes(1, "Ëmimi".as_bytes())),
        ("any bytes", bytes(2, &[0xff, 0])),
        ("a list, packed", bytes(3, &[1, 0xac, 0x02])),
        ("a list, one by one", vec![3 << 3, 1, 3 << 3, 2]),
        ("messages in messages", bytes(4, &bytes(4, &bytes(1, b"x")))),
        ("a map", bytes(5, &[bytes(1, b"key"), bytes(2, &bytes(1, b"x"))].concat())),
        ("a negative enum number", [vec![6 << 3], vec![0xff; 9], vec![1]].concat()),
        ("a double", vec![7 << 3 | 1, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]),
        ("four bytes", vec![8 << 3 | 5, 1, 2, 3, 4]),
        ("a closed enum", vec![9 << 3, 1]),
        ("a group", bytes(10, &[1 << 3 | 3, 1 << 3 | 2, 1, 0xff, 1 << 3 | 4])),
        ("an extension", bytes(10, &bytes(10, b"x"))),
        ("a field twice", [bytes(1, b"a"), bytes(1, b"b")].concat()),
    ] {
        assert_eq!(check(&of, &message), Ok(None), "{what}");
    }
}

#[test]
fn what_it_does_not_say_is_told_with_its_place_and_without_its_value() {
    let of = message();
    for (message, told) in [
        (bytes(14, b"secret"), "field 14: a.v1.Q has no field of this number"),
        (bytes(1, &[b'x', 0xff]), "field text: its text is not UTF-8"),
        (vec![1 << 3, 7], "field text: its bytes are not those of a string"),
        (bytes(12, b"secret"), "field flag: its bytes are not those of a bool"),
        (vec![7 << 3 | 5, 0, 0, 0, 0], "field ratio: its bytes are not those of a double"),
        (vec![4 << 3, 1], "field inner[0]: its bytes are not those of a a.v1.Q"),
        (vec![9 << 3, 7], "field closed: a.old.Closed has no value of this number"),
        (bytes(3, &[1, 0x80]), "field numbers[0]: not a protobuf message: it ends inside a field"),
        (
            [bytes(4, b""), bytes(4, &bytes(4, &bytes(1, &[0xff])))].concat(),
            "field inner[1].inner[0].text: its text is not UTF-8",
        ),
        (bytes(5, &bytes(2, &bytes(13, b""))), "field by_name.value.13: a.v1.Q has no field of this number"),
        (bytes(5, &bytes(1, &[0xff])), "field by_name.key: its text is not UTF-8"),
        (bytes(10, &bytes(10, &[0xff])), "field old.[a.old.more]: its text is not UTF-8"),
        (bytes(10, &bytes(11, b"")), "field old.11: a.old.Old has no field of this number"),
        (vec![1 << 3 | 2, 5, b'x'], "not a protobuf message: it ends inside a field"),
    ] {
        let fault = check(&of, &message).expect_err(told);
        assert_eq!(fault.to_string(), told);
    }
}

#[test]
fn what_another_version_may_know_is_noted_only() {
    let of = message();
    let newer = |message: &[u8]| check(&of, message).expect("nothing wrong").map(|fault| fault.to_string());
    assert_eq!(newer(&[6 << 3, 9]).as_deref(), Some("field color: a.v1.Color has no value of this number"));
    let packed = bytes(11, &[0, 1, 9]);
    assert_eq!(newer(&packed).as_deref(), Some("field colors[0]: a.v1.Color has no value of this number"));
    // Field 25, of bytes.
    let gone = [&[0xca, 0x01, 6], &b"secret"[..]].concat();
    assert_eq!(newer(&gone).as_deref(), Some("field 25: a.v1.Q has reserved this number"));
    // What is wrong beside it counts.
    let both = [vec![6 << 3, 9], bytes(1, &[0xff])].concat();
    assert_eq!(check(&of, &both).expect_err("wrong").field, "text");
}

#[test]
fn nesting_has_an_end() {
    let of = message();
    let nested = |depth: usize| {
        (0..depth).fold(Vec::new(), |inner: Vec<u8>, _| {
            let mut out = vec![4 << 3 | 2];
            prost::encoding::encode_varint(inner.len() as u64, &mut out);
            out.extend(inner);
            out
        })
    };
    assert_eq!(check(&of, &nested(DEPTH_MAX)), Ok(None));
    assert_eq!(check(&of, &nested(DEPTH_MAX + 1)).expect_err("deeper").problem, Problem::Depth);
}
