//! What verification of a log found, as lines and as JSON. Knows no store.

use std::{collections::BTreeMap, io::Write};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value as Json, json};
use ura_evidence::{
    registry::RegistryReport,
    verify::{Cosigned, KeyUsed, Report},
};
use ura_log::note::Key;

use super::{
    facts::{hex, kind_name, time},
    print::plain,
};

/// What was asked about a log, as far as its report tells of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// Whence the keys are, where the user gave none: then nothing says whose they are.
    pub(super) same_hand: Option<&'static str>,
    /// Keys that only the registry names.
    pub(super) listed: Vec<Key>,
    /// Witnesses whose word the user demands.
    pub(super) witnesses: Vec<Key>,
    /// Entries that the checkpoint covers which the gateway keeps beside its key.
    pub(super) held_size: Option<u64>,
}

impl Asked {
    /// Whether nothing is wrong and every witness that the user named cosigned.
    pub(super) fn holds(&self, report: &Report) -> bool {
        report.is_sound() && self.silent(report).is_empty()
    }

    /// Names of witnesses that the user named and that did not cosign.
    fn silent(&self, report: &Report) -> Vec<&str> {
        let cosigned = |key: &&Key| report.cosignatures.iter().any(|by| by.given && by.name == key.name());
        self.witnesses.iter().filter(|key| !cosigned(key)).map(Key::name).collect()
    }
}

/// A log's report as lines; each problem on a line of its own.
pub(super) fn text(report: &Report, asked: &Asked, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "log {}", plain(&report.origin))?;
    let mut line = |name: &str, value: &str| writeln!(out, "  {name:<18}{}", plain(value));
    line("entries", &entries(report.size, &report.kinds))?;
    if report.removed > 0 {
        line(
            "removed",
            &format!("bodies of {}, as the log's own removals account for", entry(report.removed)),
        )?;
    }
    line("signed", &format!("{}, in {}", entry(report.signed_size), checkpoint(report.checkpoints)))?;
    line("root", &STANDARD.encode(report.root))?;
    if report.unsigned > 0 {
        line(
            "not yet signed",
            &format!("the newest {}, of which nothing is proved", entry(report.unsigned)),
        )?;
    }
    for used in &report.keys {
        line("key", &key(used, asked))?;
    }
    if report.unverifiable > 0 {
        line(
            "other signatures",
            &format!(
                "{} by keys that are not known here; what they say fits the entries and proves nothing",
                checkpoint(report.unverifiable)
            ),
        )?;
    }
    for cosigned in &report.cosignatures {
        line("cosigned", &self::cosigned(cosigned))?;
    }
    if report.unknown_cosignatures > 0 {
        line(
            "unknown witnesses",
            &format!("{} in all, by keys that are not known here", cosignature(report.unknown_cosignatures)),
        )?;
    }
    for name in asked.silent(report) {
        line("not cosigned", &format!("by {name}, whose word you ask for"))?;
    }
    if let Some(size) = asked.held_size {
        line(
            "compared",
            &format!("with the checkpoint of {} that the gateway keeps beside its key", entry(size)),
        )?;
    }
    if let Some(sealed) = &report.sealed {
        line("ended", &sealed.to_string())?;
    }
    for vouched in on_the_word_of(report) {
        line("on the word of", &vouched)?;
    }
    for problem in &report.problems {
        line("problem", &problem.to_string())?;
    }
    if report.more_problems > 0 {
        line("problem", &format!("{} more, not shown", report.more_problems))?;
    }
    line("verdict", &verdict(report, asked))
}

/// Which entries stand on whose word, where that is not the log's own key alone.
fn on_the_word_of(report: &Report) -> Vec<String> {
    if report.own_size >= report.signed_size {
        return Vec::new();
    }
    let by = report.sealed.as_ref().map_or("another gateway", |sealed| &sealed.by);
    let (from, last) = (report.own_size, report.signed_size.saturating_sub(1));
    let own = format!("the log's own key: entries 0 to {}", from.saturating_sub(1));
    vec![own, format!("{by} alone: entries {from} to {last}")]
}

/// What it all comes to.
fn verdict(report: &Report, asked: &Asked) -> String {
    match (asked.holds(report), asked.same_hand, report.unsigned) {
        (false, ..) => "does not hold".to_owned(),
        (true, Some(_), _) => AGREES.to_owned(),
        (true, None, 0) => "holds".to_owned(),
        (true, None, new) => {
            format!("holds, but for the newest {}, which the gateway has still to sign", entry(new))
        }
    }
}

fn entries(size: u64, kinds: &BTreeMap<i64, u64>) -> String {
    let kinds: Vec<String> =
        kinds.iter().map(|(kind, count)| format!("{count} {}", kind_name(*kind))).collect();
    if kinds.is_empty() { size.to_string() } else { format!("{size}: {}", kinds.join(", ")) }
}

/// The verdict where nobody said whose key it is.
pub(super) const AGREES: &str = "agrees with itself; whose key this is was not checked";

fn cosignature(number: u64) -> String {
    if number == 1 { "1 cosignature".to_owned() } else { format!("{number} cosignatures") }
}

fn key(used: &KeyUsed, asked: &Asked) -> String {
    let how = match asked.same_hand {
        _ if !used.given => "announced in the log",
        _ if asked.listed.contains(&used.key) => "listed in the registry",
        Some(from) => from,
        None => "trusted",
    };
    let (name, size) = (name(&used.key), used.newest_size);
    format!("{name}, {how}, signed {}, the largest of {}", checkpoint(used.checkpoints), entry(size))
}

/// So many entries.
pub(super) fn entry(number: u64) -> String {
    if number == 1 { "1 entry".to_owned() } else { format!("{number} entries") }
}

/// So many checkpoints.
fn checkpoint(number: u64) -> String {
    if number == 1 { "1 checkpoint".to_owned() } else { format!("{number} checkpoints") }
}

/// Name and id of a key: what tells keys apart.
pub(super) fn name(key: &Key) -> String {
    format!("{}+{}", key.name(), hex(&key.id()))
}

fn cosigned(cosigned: &Cosigned) -> String {
    let how = if cosigned.given { "" } else { " (its key stands in the export only)" };
    let at = seconds(cosigned.unix_s);
    format!("{}, by {} at {at}{how}", entry(cosigned.size), plain(&cosigned.name))
}

/// Seconds since 1970-01-01 UTC, as RFC 3339 writes them.
pub(super) fn seconds(unix_s: u64) -> String {
    i64::try_from(unix_s)
        .ok()
        .and_then(|s| s.checked_mul(1_000_000))
        .map_or_else(|| format!("{unix_s} s"), time)
}

/// A log's report as a JSON object.
pub(super) fn json(report: &Report, asked: &Asked) -> Json {
    let kinds: BTreeMap<&str, u64> =
        report.kinds.iter().map(|(kind, count)| (kind_name(*kind), *count)).collect();
    let keys = report.keys.iter().map(|used| {
        json!({
            "key": used.key.to_string(), "trusted": used.given && asked.same_hand.is_none(),
            "checkpoints": used.checkpoints, "newest_size": used.newest_size,
        })
    });
    let cosignatures = report.cosignatures.iter().map(|cosigned| {
        json!({
            "name": cosigned.name, "time": seconds(cosigned.unix_s), "size": cosigned.size,
            "given": cosigned.given, "checkpoints": cosigned.checkpoints,
        })
    });
    let problems = report.problems.iter().map(|problem| {
        json!({
            "place": problem.place.to_string(),
            "file": problem.file.as_ref().map(ToString::to_string),
            "what": problem.what,
        })
    });
    json!({
        "log": report.origin, "holds": asked.holds(report), "key_checked": asked.same_hand.is_none(),
        "size": report.size, "signed_size": report.signed_size, "own_size": report.own_size,
        "not_cosigned": asked.silent(report), "held_size": asked.held_size,
        "root": STANDARD.encode(report.root), "kinds": kinds, "exchanges": report.exchanges, "removed": report.removed,
        "unsigned": report.unsigned, "checkpoints": report.checkpoints, "unverifiable": report.unverifiable,
        "keys": keys.collect::<Vec<_>>(), "cosignatures": cosignatures.collect::<Vec<_>>(),
        "sealed": report.sealed.as_ref().map(ToString::to_string),
        "unknown_cosignatures": report.unknown_cosignatures,
        "problems": problems.collect::<Vec<_>>(), "more_problems": report.more_problems,
    })
}

/// The registry's report as lines.
pub(super) fn registry_text(report: &RegistryReport, out: &mut impl Write) -> std::io::Result<()> {
    if report.newest == 0 && report.problems.is_empty() {
        return writeln!(out, "registry: none was signed yet");
    }
    let logs = report.logs.len();
    writeln!(out, "registry")?;
    let mut line = |name: &str, value: &str| writeln!(out, "  {name:<18}{value}");
    let known = match report.vouched {
        0 => "under no key that is known here".to_owned(),
        vouched if vouched == report.newest => "under keys that are known here".to_owned(),
        vouched => format!("up to number {vouched} under keys that are known here"),
    };
    line("versions", &format!("{}, {known}; logs: {logs}", report.newest))?;
    for problem in &report.problems {
        line("problem", &plain(&problem.to_string()))?;
    }
    if report.more_problems > 0 {
        line("problem", &format!("{} more, not shown", report.more_problems))?;
    }
    line("verdict", if report.problems.is_empty() { "holds" } else { "does not hold" })
}

/// The registry's report as a JSON object.
pub(super) fn registry_json(report: &RegistryReport) -> Json {
    let problems = report
        .problems
        .iter()
        .map(|problem| json!({"version": problem.version, "log": problem.origin, "what": problem.what}));
    json!({
        "registry": report.newest, "vouched": report.vouched, "holds": report.problems.is_empty(),
        "logs": report.logs.iter().map(|log| &log.origin).collect::<Vec<_>>(),
        "problems": problems.collect::<Vec<_>>(), "more_problems": report.more_problems,
    })
}

#[cfg(test)]
mod tests {
    use ura_evidence::verify::{Place, Problem};
    use ura_log::note::{Kind, Signer};

    use super::*;

    fn report() -> Report {
        let key = Signer::generate("l", Kind::Ed25519).expect("a key").key().clone();
        Report {
            origin: "l".into(),
            size: 9,
            signed_size: 7,
            own_size: 7,
            root: [1; 32],
            kinds: BTreeMap::from([(10, 4), (12, 4), (17, 1)]),
            exchanges: 4,
            removed: 2,
            unsigned: 2,
            checkpoints: 3,
            unverifiable: 0,
            cosignatures: vec![Cosigned {
                name: "w".into(),
                unix_s: 60,
                size: 6,
                given: false,
                checkpoints: 1,
            }],
            unknown_cosignatures: 0,
            keys: vec![KeyUsed { key, given: true, checkpoints: 3, newest_size: 7 }],
            problems: Vec::new(),
            more_problems: 0,
            sealed: None,
        }
    }

    fn lines(report: &Report) -> String {
        let mut text = Vec::new();
        self::text(report, &Asked::default(), &mut text).expect("a vector takes all");
        String::from_utf8(text).expect("UTF-8")
    }

    #[test]
    fn a_sound_log() {
        let text = lines(&report());
        for line in [
            "log l",
            "  entries           9: 4 opening, 4 closing, 1 removal",
            "  removed           bodies of 2 entries, as the log's own removals account for",
            "  signed            7 entries, in 3 checkpoints",
            "  not yet signed    the newest 2 entries, of which nothing is proved",
            "  cosigned          6 entries, by w at 1970-01-01T00:01:00Z (its key stands in the export only)",
            "  verdict           holds, but for the newest 2 entries, which the gateway has still to sign",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
        assert_eq!(
            json(&report(), &Asked::default())["kinds"],
            json!({"closing": 4, "opening": 4, "removal": 1})
        );
    }

    #[test]
    fn it_is_told_on_whose_word_it_stands() {
        let shown = |report: &Report, asked: &Asked| {
            let mut text = Vec::new();
            self::text(report, asked, &mut text).expect("a vector takes all");
            String::from_utf8(text).expect("UTF-8")
        };
        let own = Asked { same_hand: Some("as the export itself names it"), ..Asked::default() };
        let text = shown(&report(), &own);
        assert!(
            text.ends_with(&format!("  verdict           {AGREES}\n")) && !text.contains("trusted"),
            "{text}"
        );
        assert_eq!(json(&report(), &own)["key_checked"], json!(false));
        assert_eq!(json(&report(), &own)["keys"][0]["trusted"], json!(false));
        let witness = Signer::generate("other", Kind::CosignatureV1).expect("a key").key().clone();
        let demanding = Asked { witnesses: vec![witness], ..Asked::default() };
        let text = shown(&report(), &demanding);
        assert!(text.contains("  not cosigned      by other") && text.ends_with("does not hold\n"), "{text}");
        assert!(!demanding.holds(&report()) && Asked::default().holds(&report()));
        let text = shown(&Report { own_size: 4, ..report() }, &Asked::default());
        assert!(text.contains("the log's own key: entries 0 to 3\n"), "{text}");
        assert!(text.contains(" alone: entries 4 to 6\n"), "{text}");
    }

    #[test]
    fn each_problem_has_a_line_with_its_place() {
        let problem = |index| Problem { place: Place::entry(index), file: None, what: "changed".into() };
        let report = Report { problems: vec![problem(3), problem(5)], more_problems: 4, ..report() };
        let text = lines(&report);
        for line in [
            "  problem           entry 3: changed",
            "  problem           4 more, not shown",
            "  verdict           does not hold",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
        let json = json(&report, &Asked::default());
        assert_eq!((&json["holds"], &json["problems"][1]["place"]), (&json!(false), &json!("entry 5")));
    }
}
