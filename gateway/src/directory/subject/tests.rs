//! The scan against a real parser: prost-reflect decodes the same bytes, and both must name the same.

use prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage as _};

use super::*;

const PROTO: &str = r#"
    syntax = "proto3";
    package t;
    import "ura/v1/annotations.proto";
    service S { rpc M(Root) returns (Plain); }
    message Plain { string x = 1; }
    message Root {
      string one = 1 [(ura.v1.data_subject) = { kind: "person", form: CANONICAL_FORM_DIGITS }];
      repeated string many = 2 [(ura.v1.data_subject) = { kind: "person" }];
      Inner inner = 3;
      repeated Inner list = 4;
      oneof choice {
        string plate = 5 [(ura.v1.data_subject) = { kind: "plate", form: CANONICAL_FORM_ALPHANUMERIC }];
        string other = 6;
        Inner deep = 7;
      }
      int64 number = 8 [(ura.v1.data_subject) = { kind: "file" }];
      repeated sint32 packed = 9 [(ura.v1.data_subject) = { kind: "file" }];
      map<string, Inner> by_name = 10;
      Root again = 11;
      string free = 12;
      uint32 small = 13 [(ura.v1.data_subject) = { kind: "file" }];
      sint32 zigzag = 14 [(ura.v1.data_subject) = { kind: "file" }];
      int32 signed = 15 [(ura.v1.data_subject) = { kind: "file" }];
    }
    message Inner { string id = 1 [(ura.v1.data_subject) = { kind: "person" }]; int32 n = 2; }
"#;

fn contract() -> (tempfile::TempDir, Plan, DescriptorPool) {
    let dir = tempfile::tempdir().expect("temporary folder");
    let path = dir.path().join("t.proto");
    std::fs::write(&path, PROTO).expect("temporary folder");
    let contract = ura_proto::contract::Contract::from_proto("t.S", &path, &[]).expect("compiles");
    let pool = contract.service.parent_pool().clone();
    let extension = pool.get_extension_by_name("ura.v1.data_subject");
    let root = pool.get_message_by_name("t.Root").expect("defined");
    let plan =
        Plan::compile(&root, extension.as_ref()).expect("annotations are right").expect("names subjects");
    let plain = pool.get_message_by_name("t.Plain").expect("defined");
    assert!(Plan::compile(&plain, extension.as_ref()).expect("right").is_none());
    (dir, plan, pool)
}

/// One length-delimited field.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).expect("short")];
    out.extend_from_slice(bytes);
    out
}

fn values(plan: &Plan, bytes: &[u8]) -> Vec<String> {
    scan(plan, bytes)
        .expect("well formed")
        .into_iter()
        .map(|found| format!("{}:{}", found.kind, String::from_utf8_lossy(&found.value)))
        .collect()
}

#[test]
fn the_last_occurrence_counts_and_repeated_ones_are_all_taken() {
    let (_dir, plan, _) = contract();
    let cases: [(Vec<u8>, &[&str]); 12] = [
        ([field(1, b"111"), field(1, b"2 2-2")].concat(), &["person:222"]),
        ([field(2, b"a"), field(2, b"b"), field(2, b"a")].concat(), &["person:a", "person:b"]),
        ([field(3, &field(1, b"x")), field(3, &field(1, b"y"))].concat(), &["person:y"]),
        ([field(3, &field(1, b"x")), field(3, &[0x10, 1])].concat(), &["person:x"]),
        ([field(4, &field(1, b"x")), field(4, &field(1, b"y"))].concat(), &["person:x", "person:y"]),
        ([field(5, b"01-101-aa"), field(6, b"other")].concat(), &[]),
        ([field(6, b"other"), field(5, b"01-101-aa")].concat(), &["plate:01101AA"]),
        ([field(7, &field(1, b"d")), field(5, b"p1"), field(7, &[])].concat(), &[]),
        (vec![8 << 3, 5, 8 << 3, 7], &["file:7"]),
        (field(9, &[1, 4]), &["file:-1", "file:2"]),
        (field(10, &[field(1, b"key"), field(2, &field(1, b"m"))].concat()), &["person:m"]),
        (field(11, &field(11, &field(1, b"9"))), &["person:9"]),
    ];
    for (bytes, expected) in cases {
        assert_eq!(values(&plan, &bytes), expected, "{bytes:?}");
    }
}

#[test]
fn a_field_of_another_wire_type_is_unknown_to_a_parser_and_to_the_scan() {
    let (_dir, plan, pool) = contract();
    let bytes = [field(1, b"123"), vec![1 << 3, 9]].concat();
    assert_eq!(values(&plan, &bytes), ["person:123"]);
    let root = pool.get_message_by_name("t.Root").expect("defined");
    assert!(
        DynamicMessage::decode(root, bytes.as_slice()).is_err() || values(&plan, &bytes) == ["person:123"]
    );
}

#[test]
fn a_long_number_in_a_short_field_names_whom_a_parser_reads() {
    let (_dir, plan, pool) = contract();
    let root = pool.get_message_by_name("t.Root").expect("defined");
    for (key, field) in [(13 << 3, "small"), (14 << 3, "zigzag"), (15 << 3, "signed")] {
        // 2^32 + 7, and 2^64 - 1.
        for number in [vec![0x87, 0x80, 0x80, 0x80, 0x10], vec![0xff; 9].into_iter().chain([1]).collect()] {
            let bytes = [vec![key], number].concat();
            let message = DynamicMessage::decode(root.clone(), bytes.as_slice()).expect("a parser takes it");
            let value = message.get_field_by_name(field).expect("defined");
            let read =
                value.as_u32().map(i64::from).or_else(|| value.as_i32().map(i64::from)).expect("a number");
            assert_eq!(values(&plan, &bytes), [format!("file:{read}")], "{field}");
        }
    }
}

#[test]
fn values_are_counted_also_where_they_name_nobody_new() {
    let (_dir, plan, _) = contract();
    let same: Vec<u8> = field(2, b"p").repeat(VALUES_MAX);
    assert_eq!(scan(&plan, &same).map(|found| found.len()), Ok(1));
    assert_eq!(scan(&plan, &[same, field(2, b"p")].concat()), Err(ScanError::TooMany));
    let zeros: Vec<u8> = [vec![9 << 3 | 2, 0xc1, 0x9a, 0x0c], vec![0; 200_001]].concat();
    assert_eq!(scan(&plan, &zeros), Err(ScanError::TooMany), "packed");
}

#[test]
fn what_is_not_protobuf_is_refused() {
    let (_dir, plan, _) = contract();
    for (bytes, expected) in [
        (vec![0x0a, 5, b'x'], WireError::Truncated),
        (vec![0x80; 11], WireError::Varint),
        (vec![0x00, 1], WireError::FieldNumber),
        (vec![0x0e], WireError::WireType),
        (vec![0x0c], WireError::Group),
        (vec![0x0b, 0x14], WireError::Group),
    ] {
        assert_eq!(scan(&plan, &bytes), Err(ScanError::Wire(expected)), "{bytes:?}");
    }
    let mut deep = field(1, b"1");
    for _ in 0..40 {
        deep = field(11, &deep);
    }
    assert!(scan(&plan, &deep).is_ok());
    let many: Vec<u8> = (0..1001u32).flat_map(|n| field(2, format!("p{n}").as_bytes())).collect();
    assert_eq!(scan(&plan, &many), Err(ScanError::TooMany));
}

/// What a parser sees in the decoded message, by the same rules.
fn parsed(message: &DynamicMessage, out: &mut Vec<String>) {
    let mut add = |kind: &str, text: String| {
        let text = match kind {
            "digits" => text.chars().filter(char::is_ascii_digit).collect(),
            _ => text,
        };
        let kind = if kind == "digits" { "person" } else { kind };
        let entry = format!("{kind}:{text}");
        if !text.is_empty() && text != "0" && !out.contains(&entry) {
            out.push(entry);
        }
    };
    let text = |message: &DynamicMessage, name: &str| {
        message.get_field_by_name(name).and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
    };
    if message.descriptor().name() == "Inner" {
        add("person", text(message, "id"));
        return;
    }
    add("digits", text(message, "one"));
    add(
        "plate",
        text(message, "plate").chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_uppercase(),
    );
    add("file", message.get_field_by_name("number").and_then(|v| v.as_i64()).unwrap_or(0).to_string());
    for value in message.get_field_by_name("many").expect("defined").as_list().expect("list") {
        add("person", value.as_str().expect("text").to_owned());
    }
    for value in message.get_field_by_name("packed").expect("defined").as_list().expect("list") {
        add("file", value.as_i32().expect("number").to_string());
    }
    for name in ["inner", "deep", "again"] {
        if message.has_field_by_name(name)
            && let Some(inner) = message.get_field_by_name(name).expect("defined").as_message()
        {
            parsed(inner, out);
        }
    }
    for value in message.get_field_by_name("list").expect("defined").as_list().expect("list") {
        parsed(value.as_message().expect("message"), out);
    }
}

proptest::proptest! {
    #[test]
    fn the_scan_names_whom_a_parser_sees(seed in proptest::collection::vec((1u8..10, 0u8..4, 0u8..4), 0..24)) {
        let (_dir, plan, pool) = contract();
        let mut bytes = Vec::new();
        for (number, a, b) in seed {
            bytes.extend(match number {
                3 | 4 | 7 => field(number, &[field(1, &[b'a' + a]), field(1, &[b'a' + b])][usize::from(a % 2)..].concat()),
                8 => vec![8 << 3, a],
                9 => field(9, &[2 + 2 * a, 2 + 2 * b]),
                1 => field(1, &[b'1' + a, b'1' + b]),
                5 => field(5, &[b'P', b'1' + a]),
                _ => field(number, &[b'a' + a, b'a' + b]),
            });
        }
        // The same bytes once more as a nested message, in two parts that a parser merges.
        let half = bytes.len().min(100);
        let nested = if bytes.len() <= 100 { field(11, &bytes[..half]) } else { Vec::new() };
        let whole = [bytes.clone(), nested].concat();
        let root = pool.get_message_by_name("t.Root").expect("defined");
        if let Ok(message) = DynamicMessage::decode(root, whole.as_slice()) {
            let mut expected = Vec::new();
            parsed(&message, &mut expected);
            expected.sort();
            let mut found = values(&plan, &whole);
            found.sort();
            proptest::prop_assert_eq!(found, expected);
        }
    }
}
