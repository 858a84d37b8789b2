//! Entries on standard output: a line for each fact, or JSON, one object a line. Knows no store.

use std::io::{self, Write};

use serde_json::{Map, Value as Json, json};
use ura_evidence::find::Found;
use ura_log::Hash;
use ura_proto::{
    ExchangeId,
    v1::{Entry, SubjectOpening},
};

use super::facts::{Fact, add, facts, hex, kind_name, time};

/// An entry to be printed.
pub(super) struct Shown<'e> {
    /// Name of its log.
    pub(super) log: &'e str,
    pub(super) index: u64,
    pub(super) leaf_hash: Hash,
    /// See [`ura_evidence::entry::kind`].
    pub(super) kind: i64,
    /// Microseconds since 1970-01-01 UTC.
    pub(super) recorded_us: i64,
    /// `None` where its body was removed.
    pub(super) entry: Option<&'e Entry>,
    /// What opens its subjects, where it is known.
    pub(super) subjects: &'e [SubjectOpening],
    /// Index of the entry by which its body was removed.
    pub(super) removed_by: Option<u64>,
}

impl<'e> From<&'e Found> for Shown<'e> {
    fn from(found: &'e Found) -> Self {
        Self {
            log: &found.log,
            index: found.index,
            leaf_hash: found.leaf_hash,
            kind: found.kind,
            recorded_us: found.recorded_us,
            entry: found.entry(),
            subjects: found.subjects(),
            removed_by: found.removed_by(),
        }
    }
}

impl Shown<'_> {
    /// Name and time, then a line for each fact; empty facts are left out.
    pub(super) fn text(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{} at {}", kind_name(self.kind), time(self.recorded_us))?;
        let mut line = |name: &str, value: &str| writeln!(out, "  {name:<18}{}", plain(value));
        line("index", &self.index.to_string())?;
        line("leaf hash", &hex(&self.leaf_hash))?;
        line("log", self.log)?;
        if let Some(exchange) = self.exchange() {
            line("exchange", &exchange)?;
        }
        if let Some(by) = self.removed_by {
            line("removed by", &format!("entry {by}, because its time was over"))?;
        }
        for (name, value) in self.facts() {
            let value = value.text();
            if !value.is_empty() {
                line(name, &value)?;
            }
        }
        Ok(())
    }

    /// All of it as a JSON object.
    pub(super) fn json(&self) -> Map<String, Json> {
        let mut object = Map::new();
        object.insert("log".to_owned(), json!(self.log));
        object.insert("index".to_owned(), json!(self.index));
        object.insert("leaf_hash".to_owned(), json!(hex(&self.leaf_hash)));
        object.insert("entry".to_owned(), json!(kind_name(self.kind)));
        object.insert("recorded".to_owned(), json!(time(self.recorded_us)));
        if let Some(exchange) = self.exchange() {
            object.insert("exchange".to_owned(), json!(exchange));
        }
        if let Some(by) = self.removed_by {
            object.insert("removed_by".to_owned(), json!(by));
        }
        add(&self.facts(), &mut object);
        object
    }

    fn facts(&self) -> Vec<Fact> {
        self.entry.map(|entry| facts(entry, self.subjects)).unwrap_or_default()
    }

    fn exchange(&self) -> Option<String> {
        exchange(self.entry?).map(|exchange| exchange.to_string())
    }
}

/// The exchange that an entry belongs to, if to one.
pub(crate) fn exchange(entry: &Entry) -> Option<ExchangeId> {
    let bytes: [u8; 16] = entry.exchange_id.as_slice().try_into().ok()?;
    uuid::Uuid::from_bytes(bytes).to_string().parse().ok()
}

/// Prints entries, one after another.
pub(super) fn entries<'e>(shown: impl IntoIterator<Item = Shown<'e>>, as_json: bool) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for shown in shown {
        if as_json {
            writeln!(out, "{}", json_line(&Json::Object(shown.json())))?;
        } else {
            shown.text(&mut out)?;
        }
    }
    out.flush()
}

/// Text that does nothing to a terminal and stays on its line: some of it came from callers.
pub(crate) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || turns(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Whether a character only changes the direction of others, or ends a line: what is shown would not be what is there.
const fn turns(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// JSON as one line that does nothing to a terminal: inside of strings only, where such characters can stand.
pub(crate) fn json_line(json: &Json) -> String {
    let mut shown = String::new();
    for c in json.to_string().chars() {
        if c.is_control() || turns(c) {
            shown.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use ura_evidence::entry::{Row, decode, kind};
    use ura_proto::v1::{
        Closing, Disclosure, Gap, KeyChange, Opening, Progress, Removal, Subject, Withheld, entry::Kind,
    };

    use super::*;

    fn shown(kind: Kind, subjects: &[SubjectOpening]) -> (String, Json) {
        let exchange = "01a202e7-103a-7fa5-8082-adf09f5c9662".parse().expect("an exchange id");
        let row = Row::new(Some(exchange), 1_000_000, kind);
        let entry = decode(&row.body).expect("own encoding");
        let shown = Shown {
            log: "ura.test/g",
            index: 7,
            leaf_hash: row.leaf_hash(),
            kind: row.columns.kind,
            recorded_us: row.columns.recorded_us,
            entry: Some(&entry),
            subjects,
            removed_by: None,
        };
        let mut text = Vec::new();
        shown.text(&mut text).expect("a vector takes all");
        (String::from_utf8(text).expect("UTF-8"), Json::Object(shown.json()))
    }

    #[test]
    fn an_opening_has_a_line_for_each_fact() {
        let opening = Opening {
            consumer: "ais/portal".into(),
            method: "a.B/C".into(),
            grant: "g-1".into(),
            directory_version: "2026.1".into(),
            directory_digest: vec![0xab; 2],
            request_digest: vec![1, 2],
            subjects: vec![Subject { kind: "person".into(), commitment: vec![9] }; 2],
            ..Opening::default()
        };
        let beside = SubjectOpening { kind: "person".into(), pseudonym: vec![0xff], blind: vec![1] };
        let (text, json) = shown(Kind::Opening(opening), &[beside]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["opening at 1970-01-01T00:00:01Z", "  index             7"]);
        for line in [
            "  log               ura.test/g",
            "  exchange          01a202e7-103a-7fa5-8082-adf09f5c9662",
            "  consumer          ais/portal",
            "  decision          permitted by grant g-1",
            "  directory         2026.1 (abab)",
            "  request digest    0102",
            "  request bytes     0",
            "  subject           person ff",
            "  subject           person (commitment 09)",
        ] {
            assert!(lines.contains(&line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("provider") && !text.contains("disclosed"), "{text}");
        assert_eq!(json["directory"], json!({"version": "2026.1", "digest": "abab"}));
        assert_eq!(json["subjects"][0]["pseudonym"], json!("ff"));
        assert_eq!(json["subjects"][1], json!({"kind": "person", "commitment": "09", "pseudonym": null}));
        assert_eq!((&json["entry"], &json["index"]), (&json!("opening"), &json!(7)));
    }

    #[test]
    fn every_kind_is_shown() {
        let closing = Closing { status: 5, outcome: 1, duration_us: 12, ..Closing::default() };
        let unknown = Closing { status: 2, outcome: 4, ..Closing::default() };
        let withheld = Withheld { grant: "g".into(), accesses: 2, until_unix_us: i64::MAX };
        for (kind, line) in [
            (Kind::Closing(closing), "  status            5 NotFound"),
            (Kind::Closing(unknown), "  outcome           unknown: the gateway ended before it knew"),
            (
                Kind::Progress(Progress { from_reply: true, ..Progress::default() }),
                "  subjects from     the reply",
            ),
            (
                Kind::Gap(Gap { first_unix_us: 1_000_000, refused: 3, ..Gap::default() }),
                "  from              1970-01-01T00:00:01Z",
            ),
            (
                Kind::KeyChange(KeyChange { epoch: "2".into(), before: "1".into(), ..KeyChange::default() }),
                "  replaces          1",
            ),
            (
                Kind::Removal(Removal { contract: "a.B".into(), entries: 4, ..Removal::default() }),
                "  entries           4",
            ),
            (
                Kind::Disclosure(Disclosure { told: 1, withheld: vec![withheld] }),
                "  withheld          2 under grant g, until the grant says so",
            ),
        ] {
            let (text, _) = shown(kind, &[]);
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn nothing_reaches_the_terminal_as_it_came() {
        let opening = Opening { case_number: "1\u{1b}[2J\nindex 9".into(), ..Opening::default() };
        let (text, _) = shown(Kind::Opening(opening), &[]);
        assert!(!text.contains('\u{1b}') && !text.lines().any(|line| line.starts_with("index")), "{text}");
    }

    #[test]
    fn json_stays_what_it_was() {
        let odd = json!({"a": "\u{9b}2J \u{202e}x\u{7f} \u{eb}"});
        let line = json_line(&odd);
        assert_eq!(line, r#"{"a":"\u009b2J \u202ex\u007f ë"}"#);
        assert_eq!(serde_json::from_str::<Json>(&line).expect("JSON"), odd);
    }

    #[test]
    fn a_removed_entry_says_by_which() {
        let (log, leaf_hash) = ("l", [0; 32]);
        let kind = kind::OPENING;
        let entry = Shown {
            log,
            index: 1,
            leaf_hash,
            kind,
            recorded_us: 0,
            entry: None,
            subjects: &[],
            removed_by: Some(9),
        };
        let mut text = Vec::new();
        entry.text(&mut text).expect("a vector takes all");
        assert!(String::from_utf8_lossy(&text).contains("removed by        entry 9"));
        assert_eq!(entry.json()["removed_by"], json!(9));
    }
}
