//! Every mistake is found at once, at its place, and nothing that only follows from another.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;

use super::{ConfigErrors, Document, FILE_BYTES_MAX, PROBLEMS_MAX, Spanned, parse, read};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only the shape matters")]
struct House {
    listen: Spanned<String>,
    port: u16,
    limits: Limits,
    #[serde(default)]
    doors: Vec<Door>,
    #[serde(default)]
    rooms: BTreeMap<String, Room>,
    colour: Option<Colour>,
    #[serde(default)]
    pair: Option<(u8, u8)>,
    source: Option<Tagged>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only the shape matters")]
struct Limits {
    timeout_ms: u64,
    bytes_max: usize,
    name: String,
    strict: bool,
    ratio: f64,
    tags: Vec<String>,
    even: Even,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only the shape matters")]
struct Door {
    name: String,
    width: u32,
    #[serde(default)]
    locks: Vec<u8>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only the shape matters")]
struct Room {
    size: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Colour {
    Red,
    Green(#[expect(dead_code, reason = "only the shape matters")] u8),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
#[expect(dead_code, reason = "only the shape matters")]
enum Tagged {
    File { path: String },
}

/// Accepts no filling: neither a number nor a text that is not made for it.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Even;

impl TryFrom<String> for Even {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "even" { Ok(Self) } else { Err(format!("`{text}` is not even")) }
    }
}

const GOOD: &str = r#"
listen = "[::]:1"
port = 80
[limits]
timeout_ms = 5
bytes_max = 6
name = "ë"
strict = true
ratio = 0.5
tags = ["a"]
even = "even"
"#;

fn house(text: &str) -> Result<Document<House>, ConfigErrors> {
    parse(Path::new("a/house.toml"), text.to_owned())
}

/// The mistakes in `text`, as `line:column: message`.
fn mistakes(text: &str) -> Vec<String> {
    house(text)
        .expect_err("mistakes")
        .iter()
        .map(|error| error.to_string().replacen("a/house.toml:", "", 1))
        .collect()
}

#[test]
fn a_good_file_is_read_with_places() {
    let document = house(GOOD).expect("good");
    assert_eq!(document.value.port, 80);
    let span = document.value.listen.span();
    assert_eq!(document.source.text().get(span.clone()), Some("\"[::]:1\""));
    assert_eq!(document.source.path(), Path::new("a/house.toml"));
    assert_eq!(document.source.resolve("x/y.pem"), Path::new("a/x/y.pem"));
    assert_eq!(document.source.resolve("/x"), Path::new("/x"));
    let mut problems = document.source.problems();
    assert!(problems.is_empty());
    problems.at(span, "nobody listens there");
    problems.whole("too quiet");
    let errors = problems.into_result(()).expect_err("two problems");
    assert_eq!(errors.len(), 2);
    assert_eq!(errors.to_string(), "a/house.toml: too quiet\na/house.toml:2:10: nobody listens there");
    assert!(document.source.problems().into_result(5).is_ok_and(|value| value == 5));
}

#[test]
fn all_kinds_of_mistakes_at_once() {
    let found = mistakes(
        r#"lisen = "a"
port = "80"
colour = "blue"
[limits]
timeout_ms = -1
name = 5
ratio = 0.5
tags = ["a", 5, "b", true]
even = "odd"
huge = 1
[[doors]]
name = "front"
widht = 1
[[doors]]
width = "wide"
locks = [1, 2, 300]
[[doors]]
name = "back"
width = 5
[rooms.kitchen]
size = { m = 5 }
[rooms.hall]
"#,
    );
    let expected = [
        "1:1: unknown key `lisen`, expected one of",
        "1:1: missing key `listen`",
        "2:8: invalid type: string \"80\", expected u16",
        "3:10: unknown variant `blue`, expected `red` or `green`",
        "4:1: missing key `bytes_max`",
        "4:1: missing key `strict`",
        "5:14: invalid value: integer `-1`, expected u64",
        "6:8: invalid type: integer `5`, expected a string",
        "8:14: invalid type: integer `5`, expected a string",
        "8:22: invalid type: boolean `true`, expected a string",
        "9:8: `odd` is not even",
        "10:1: unknown key `huge`",
        "11:1: missing key `width`",
        "13:1: unknown key `widht`, expected one of `name`, `width`, `locks`",
        "14:1: missing key `name`",
        "15:9: invalid type: string \"wide\", expected u32",
        "16:16: invalid value: integer `300`, expected u8",
        "21:8: invalid type: map, expected u32",
        "22:1: missing key `size`",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found} instead of {expected}");
    }
}

#[test]
fn nothing_follows_from_a_cut() {
    for (change, to, expected) in [
        ("port = 80", "port = 80\npair = [1]", "invalid length 1"),
        ("port = 80", "port = 80\npair = [1, 300]", "invalid value: integer `300`"),
        ("port = 80", "port = 80\ncolour = { green = \"x\" }", "invalid type"),
        ("port = 80", "port = 80\ncolour = { green = 1, red = 2 }", "wanted exactly 1 element"),
        ("port = 80", "port = 80\nsource = { kind = \"file\" }", "missing key `path`"),
        ("port = 80", "port = 80\nsource = { path = \"x\" }", "missing key `kind`"),
        ("port = 80", "port = 80\nsource = { kind = \"file\", path = \"x\", a = 1 }", "unknown key `a`"),
        ("port = 80", "port = 80\nsource = { kind = \"tape\" }", "unknown variant `tape`"),
        ("even = \"even\"", "", "missing key `even`"),
        ("port = 80", "port = [[[[1]]]]", "invalid type: sequence"),
    ] {
        let found = mistakes(&GOOD.replace(change, to));
        assert!(found.len() == 1 && found[0].contains(expected), "{to}: {found:#?}");
    }
    let found = mistakes("listen = \"a\"\nport = 1\nlimits = 5\nrooms = { x = { size = 1 }, y = 5 }");
    assert_eq!(found.len(), 2, "{found:#?}");
}

#[test]
fn unknown_keys_are_pointed_at_even_in_tagged_tables() {
    let found =
        mistakes(&GOOD.replace("port = 80", "port = 80\nsource = { kind = \"file\", path = \"x\", a = 1 }"));
    assert_eq!(found, ["4:39: unknown key `a`, expected `path`"]);
}

#[test]
fn an_empty_file_lacks_every_key() {
    let found = mistakes("");
    assert_eq!(
        found,
        ["1:1: missing key `listen`", "1:1: missing key `port`", "1:1: missing key `limits`"],
        "what a missing table would need is not asked for"
    );
}

#[test]
fn mistakes_of_syntax_come_alone() {
    for (text, expected) in [
        ("port = \nlisten = ]\n[limits\nx = 1", vec!["1:8", "2:10", "3:8"]),
        ("a = 1\na = 2", vec!["2:1"]),
        ("[a]\n[a]", vec!["2:2"]),
        ("text = \"open", vec!["1:13"]),
        ("a = [\n1,\n2\nb = 3\n[c]\nd = 4\n\ne = ", vec!["4:1", "8:1"]),
        ("a = { x = 1\nb = 2\n[c]", vec!["2:1"]),
        ("ë = 1", vec!["1:1"]),
    ] {
        let found = mistakes(text);
        assert_eq!(found.len(), expected.len(), "{text}: {found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{text}: {found} instead of {expected}");
        }
    }
}

#[test]
fn columns_count_characters() {
    let found = mistakes(&GOOD.replace("name = \"ë\"", "\"çëž\" = 5\nname = \"ë\""));
    assert!(found[0].starts_with("7:1: unknown key `çëž`"), "{found:?}");
    let found = mistakes(&GOOD.replace("tags = [\"a\"]", "tags = [\"çëž\", 5]"));
    assert!(found[0].starts_with("10:16: invalid type"), "{found:?}");
}

#[test]
fn there_is_an_end_to_it() {
    let many = format!("{GOOD}{}", "[[doors]]\nx = 1\n".repeat(3 * PROBLEMS_MAX));
    let errors = house(&many).expect_err("mistakes");
    assert_eq!(errors.len(), PROBLEMS_MAX + 1);
    assert!(errors.to_string().ends_with("more problems"), "{errors}");
    let deep = format!("port = {}1{}", "[".repeat(500), "]".repeat(500));
    assert!(!mistakes(&deep).is_empty());
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("large.toml");
    let file = std::fs::File::create(&path).expect("made");
    file.set_len(FILE_BYTES_MAX + 1).expect("grown");
    let error = read::<House>(&path).expect_err("too large");
    assert!(error.to_string().contains("larger than"), "{error}");
}

#[test]
fn files_that_cannot_be_read() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let missing = dir.path().join("missing.toml");
    let error = read::<House>(&missing).expect_err("missing");
    assert!(error.to_string().contains("missing.toml: cannot be read: No such file"), "{error}");
    let binary = dir.path().join("binary.toml");
    std::fs::write(&binary, [0xff, 0xfe]).expect("written");
    let error = read::<House>(&binary).expect_err("not UTF-8");
    assert!(error.to_string().contains("binary.toml: cannot be read"), "{error}");
    let both = error.and(ConfigErrors::new(&missing, "missing too"));
    assert_eq!(both.len(), 2);
    std::fs::write(&binary, GOOD).expect("written");
    assert!(read::<House>(&binary).is_ok());
}

#[test]
fn a_word_is_found_inside_a_span() {
    let text = "sql = \"a :id_card b :id.x c :id d :id\"\n".to_owned();
    let document = parse::<toml::Table>(Path::new("a.toml"), text.clone()).expect("right");
    let problems = document.source.problems();
    let whole = 6..text.len() - 1;
    let found = problems.inside(whole.clone(), ":id");
    assert_eq!((found.start, text.get(found)), (text.find(":id d").expect("there"), Some(":id")));
    assert_eq!(problems.inside(whole.clone(), ":name"), whole);
}
