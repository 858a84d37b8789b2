//! Values that break out of a text which is put together carelessly, by the language that they attack.

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

/// Values made of pieces of the others, per run.
const RANDOM_VALUES: usize = 60;

/// A value, and what it attacks.
#[derive(Clone, Debug)]
pub(crate) struct Hostile {
    pub(crate) family: &'static str,
    pub(crate) value: String,
}

const SQL: &[&str] = &[
    "'",
    "''",
    "\"",
    "' or '1'='1",
    "' or 1=1 --",
    "1; drop table asked",
    "'; drop table asked; --",
    "'); delete from asked; --",
    "\\'; drop table asked; --",
    "' union select null, version() --",
    "/* x",
    "*/ x",
    "-- x",
    "$$",
    "$1",
    "?1",
    ":body",
    "::text",
    "$q$'$q$",
    "E'\\''",
    "x' || (select 1) || 'y",
    "`",
    "%",
    "_",
    "\\",
    "{\"a\",\"b\"}",
    "NULL",
    "\u{2bc} or 1=1",
    "\u{ff07} or 1=1",
    "¿' or 1=1",
];
const XML: &[&str] = &[
    "<",
    ">",
    "&",
    "]]>",
    "<![CDATA[x]]>",
    "<!-- x -->",
    "-->",
    "<?xml version=\"1.0\"?>",
    "&lt;",
    "&amp;amp;",
    "&#0;",
    "&#x41;",
    "<!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><a>&b;</a>",
    "&b;",
    "%b;",
    "<!ENTITY % p SYSTEM \"http://127.0.0.1:1/x.dtd\"> %p;",
    "<!DOCTYPE l [<!ENTITY a \"aa\"><!ENTITY b \"&a;&a;\">]>&b;",
    "</body><body>",
    "x</v><v>y",
    "\" onload=\"x",
    "' a='1",
    "<xi:include href=\"file:///etc/passwd\"/>",
    "</soap:Body></soap:Envelope>",
    "\t",
    "\n",
    "\r",
    "\r\n",
    "a\r\nb\nc\td",
    " a ",
    "  ",
    "\u{85}",
    "\u{2028}",
];
const JSON: &[&str] = &[
    "\"",
    "\\",
    "\\\"",
    "\",\"admin\":true,\"x\":\"",
    "\"}",
    "{\"a\":1}",
    "[1]",
    "]}",
    "\\u0022",
    "\\u0000",
    "null",
    "true",
    "1e999",
    "NaN",
    "__proto__",
    "$ref",
    "\u{2029}",
    "\u{7}",
    "\u{8}\u{c}",
    "{{body}}",
    "{body}",
];
const HEADER: &[&str] = &[
    "x\r\nX-Admin: 1",
    "x\nX-Admin: 1",
    "x\rX-Admin: 1",
    "x\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
    "x\u{b}y",
    "x\u{c}y",
    "x\u{0}y",
    "x\u{7f}y",
    "ë",
    "Å",
    "嘊嘍X-Admin: 1",
    "\u{10a}\u{10d}",
    " x",
    "x ",
    "\tx",
    "x; y=z",
    "x, y",
    "\"x\"",
];
const LDAP: &[&str] = &[
    "*",
    "*)(uid=*",
    "*)(|(objectClass=*",
    "admin)(&)",
    "x)(cn=))\u{0}",
    "\\2a",
    "(&(a=b)(c=d))",
    "!(x=y)",
    "a,ou=b",
    "#01",
    "+",
    ";",
];
const PATH: &[&str] = &[
    ".",
    "..",
    "../../etc/passwd",
    "..\\..\\x",
    "a/../b",
    "/",
    "//",
    "//evil.example/x",
    "\\\\evil\\x",
    "%2e%2e%2f",
    "%00",
    "%",
    "%zz",
    "a?b=c",
    "a#b",
    "a&b=c",
    "a=b",
    "a+b",
    "a b",
    ";x=y",
    "http://evil.example/",
    "@evil.example",
    ":80",
    "x\u{0}.pdf",
    "~root",
    "..%c0%af",
    "${HOME}",
    "$(id)",
    "`id`",
    "| id",
    "C:\\x",
];
const TEXT: &[&str] = &[
    "",
    "x",
    "ë ç Ë Ç š č ž đ",
    "Đorđević",
    "e\u{308}",
    "\u{feff}x",
    "x\u{feff}",
    "\u{202e}x",
    "\u{200b}",
    "\u{fffd}",
    "\u{fffe}",
    "\u{ffff}",
    "\u{1f1fd}\u{1f1f0}",
    "\u{10ffff}",
    "\u{1}",
    "\u{1b}[31m",
    "\u{9f}",
    "0",
    "-1",
    "00001",
    "1e5",
    "true",
    "false",
];

/// All values, the random ones made from this seed.
pub(crate) fn corpus(seed: u64) -> Vec<Hostile> {
    let fixed = [
        ("SQL", SQL),
        ("XML", XML),
        ("JSON", JSON),
        ("header", HEADER),
        ("LDAP", LDAP),
        ("path", PATH),
        ("text", TEXT),
    ];
    let mut all: Vec<Hostile> = fixed
        .iter()
        .flat_map(|(family, values)| {
            values.iter().map(|value| Hostile { family, value: (*value).to_owned() })
        })
        .collect();
    all.push(Hostile { family: "text", value: "'<\"&\\\r\n%00ë".repeat(2000) });
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..RANDOM_VALUES {
        let mut value = String::new();
        for _ in 0..random.random_range(1..5) {
            let (_, values) = fixed.choose(&mut random).expect("a family");
            value += values.choose(&mut random).expect("a value");
        }
        all.push(Hostile { family: "random", value });
    }
    all
}
