//! What evidence says of one exchange, in a line or a few. Pure.

use serde_json::{Value as Json, json};
use tonic::Code;
use ura_evidence::find::Found;
use ura_proto::{
    ExchangeId,
    v1::{Closing, Opening, Outcome, entry::Kind},
};

use crate::evidence::{
    facts::{hex, time},
    print::{json_line, plain},
};

/// An exchange, as its entries tell of it.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    pub(crate) id: ExchangeId,
    /// When its opening was recorded, microseconds since 1970-01-01 UTC.
    asked_us: i64,
    opening: Option<Opening>,
    closing: Option<Closing>,
    /// How many entries it has.
    entries: usize,
    /// The log of its opening, and the index there.
    place: Option<(String, u64)>,
}

impl Summary {
    /// Out of all the entries of an exchange.
    pub(crate) fn of(id: ExchangeId, entries: &[Found]) -> Self {
        let mut summary =
            Self { id, asked_us: 0, opening: None, closing: None, entries: entries.len(), place: None };
        for found in entries {
            match found.entry().and_then(|entry| entry.kind.clone()) {
                Some(Kind::Opening(opening)) => {
                    summary.asked_us = found.recorded_us;
                    summary.place = Some((found.log.to_string(), found.index));
                    summary.opening = Some(opening);
                }
                Some(Kind::Closing(closing)) => summary.closing = Some(closing),
                _ => {}
            }
        }
        summary
    }

    /// Whether nothing more will be recorded of it.
    pub(crate) fn has_ended(&self) -> bool {
        self.closing.is_some() || self.refusal().is_some()
    }

    /// The trace, where the opening is there.
    pub(crate) fn trace_id(&self) -> Option<[u8; 16]> {
        self.opening.as_ref()?.trace_id.as_slice().try_into().ok()
    }

    /// Why the bus refused or ended it.
    pub(super) fn refusal(&self) -> Option<&str> {
        let opening = self.opening.as_ref().map(|opening| opening.refusal.as_str());
        let closing = self.closing.as_ref().map(|closing| closing.refusal.as_str());
        opening.into_iter().chain(closing).find(|reason| !reason.is_empty())
    }

    /// How it ended.
    fn ended(&self) -> String {
        let took = self.closing.as_ref().map(|closing| duration(closing.duration_us.saturating_mul(1_000)));
        let status = self.closing.as_ref().map(|closing| code(closing.status));
        match (self.refusal(), status, took) {
            (Some(reason), Some(status), Some(took)) => format!("refused: {reason} ({status}) after {took}"),
            (Some(reason), ..) => format!("refused: {reason}"),
            (None, Some(status), Some(took)) => format!("{status} in {took}{}", self.outcome()),
            _ => "has not ended".to_owned(),
        }
    }

    /// What is known of the register's side, where that is not simply an answer.
    fn outcome(&self) -> &'static str {
        match self.closing.as_ref().map(Closing::outcome) {
            Some(Outcome::NeverSent) => ", never sent",
            Some(Outcome::MaybeExecuted) => ", maybe executed",
            Some(Outcome::Unknown) => ", end unknown: the gateway ended before",
            _ => "",
        }
    }

    /// One line.
    pub(crate) fn line(&self) -> String {
        let Some(opening) = &self.opening else {
            return format!("{} its opening is not there: it was removed, or never recorded", self.id);
        };
        let provider = if opening.provider.is_empty() { "nobody" } else { opening.provider.as_str() };
        plain(&format!(
            "{} {} {} -> {provider} {} {}",
            time(self.asked_us),
            self.id,
            opening.consumer,
            opening.method,
            self.ended()
        ))
    }

    /// Several lines: who asked whom for what, what was decided, how it ended, and where that stands.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("exchange {}", self.id)];
        let mut line = |name: &str, value: &str| {
            if !value.is_empty() {
                lines.push(format!("  {name:<10}{}", plain(value)));
            }
        };
        let Some(opening) = &self.opening else {
            line("opening", "it is not there: it was removed, or never recorded");
            return lines;
        };
        line("asked", &time(self.asked_us));
        line("consumer", &opening.consumer);
        line("provider", &opening.provider);
        line("method", &opening.method);
        line("purpose", &opening.purpose);
        line("case", &opening.case_number);
        line("grant", &opening.grant);
        line("ended", &self.ended());
        if let Some(closing) = self.closing.as_ref().filter(|closing| closing.answered_us > 0) {
            let answered = duration(closing.answered_us.saturating_mul(1_000));
            line("answered", &format!("the adapter at {} after {answered}", closing.adapter_address));
        }
        if let Some((log, index)) = &self.place {
            line("evidence", &format!("{} entries, the first is {index} of {log}", self.entries));
        }
        lines
    }

    /// A JSON object.
    pub(crate) fn json(&self) -> String {
        let opening = self.opening.clone().unwrap_or_default();
        let closing = self.closing.as_ref();
        json_line(&json!({
            "exchange": self.id.to_string(),
            "asked": time(self.asked_us),
            "consumer": opening.consumer,
            "provider": opening.provider,
            "method": opening.method,
            "purpose": opening.purpose,
            "case": opening.case_number,
            "grant": opening.grant,
            "trace": hex(&opening.trace_id),
            "refusal": self.refusal(),
            "status": closing.map(|closing| code(closing.status)),
            "duration_us": closing.map_or(Json::Null, |closing| json!(closing.duration_us)),
        }))
    }
}

/// A status code's name.
fn code(status: u32) -> String {
    let code = i32::try_from(status).map_or(Code::Unknown, Code::from_i32);
    format!("{code:?}")
}

/// A duration for people, from nanoseconds.
pub(crate) fn duration(ns: u64) -> String {
    let (whole, part, unit) = match ns {
        0..1_000_000 => (ns / 1_000, ns % 1_000 / 100, "us"),
        1_000_000..1_000_000_000 => (ns / 1_000_000, ns % 1_000_000 / 100_000, "ms"),
        _ => (ns / 1_000_000_000, ns % 1_000_000_000 / 100_000_000, "s"),
    };
    format!("{whole}.{part} {unit}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ura_evidence::find::Content;
    use ura_proto::v1::Entry;

    use super::*;

    fn found(index: u64, kind: Kind) -> Found {
        let entry = Box::new(Entry { kind: Some(kind), ..Entry::default() });
        Found {
            log: Arc::from("b/g"),
            index,
            leaf_hash: [0; 32],
            kind: 0,
            recorded_us: 1_795_348_800_000_000,
            content: Content::There { entry, subjects: Vec::new() },
        }
    }

    fn opening(refusal: &str) -> Found {
        found(
            7,
            Kind::Opening(Opening {
                consumer: "ais/portal".to_owned(),
                provider: "arc/civil-status".to_owned(),
                method: "a.B/C".to_owned(),
                case_number: "K\u{1b}[31m".to_owned(),
                refusal: refusal.to_owned(),
                trace_id: vec![7; 16],
                ..Opening::default()
            }),
        )
    }

    fn closing(status: u32, outcome: Outcome, refusal: &str) -> Found {
        found(
            8,
            Kind::Closing(Closing {
                status,
                outcome: outcome.into(),
                refusal: refusal.to_owned(),
                duration_us: 12_345,
                answered_us: 900,
                adapter_address: "127.0.0.1:5".to_owned(),
                ..Closing::default()
            }),
        )
    }

    #[test]
    fn how_exchanges_end() {
        let id = ExchangeId::at(1_795_348_800_000_000);
        for (entries, ended, over) in [
            (vec![opening("GRANT_MISSING")], "refused: GRANT_MISSING", true),
            (vec![opening("")], "has not ended", false),
            (vec![opening(""), closing(0, Outcome::Answered, "")], "Ok in 12.3 ms", true),
            (
                vec![opening(""), closing(14, Outcome::MaybeExecuted, "REGISTER_UNAVAILABLE")],
                "refused: REGISTER_UNAVAILABLE (Unavailable) after 12.3 ms",
                true,
            ),
            (
                vec![opening(""), closing(1, Outcome::MaybeExecuted, "")],
                "Cancelled in 12.3 ms, maybe executed",
                true,
            ),
        ] {
            let summary = Summary::of(id, &entries);
            assert_eq!((summary.ended().as_str(), summary.has_ended()), (ended, over));
            let line = summary.line();
            let expected = format!("{id} ais/portal -> arc/civil-status a.B/C {ended}");
            assert!(line.starts_with("2026-11-22T12:00:00") && line.ends_with(&expected), "{line}");
            assert_eq!(summary.trace_id(), Some([7; 16]));
        }
        let gone = Summary::of(id, &[]);
        assert!(gone.line().contains("not there") && !gone.has_ended() && gone.trace_id().is_none());
    }

    #[test]
    fn all_that_is_told_of_one() {
        let id = ExchangeId::at(1_795_348_800_000_000);
        let summary = Summary::of(id, &[opening(""), closing(0, Outcome::Answered, "")]);
        let lines = summary.lines();
        assert_eq!(lines[0], format!("exchange {id}"));
        for expected in [
            "  case      K\\u{1b}[31m",
            "  ended     Ok in 12.3 ms",
            "  answered  the adapter at 127.0.0.1:5 after 900.0 us",
            "  evidence  2 entries, the first is 7 of b/g",
        ] {
            assert!(lines.iter().any(|line| line == expected), "{expected}: {lines:#?}");
        }
        let json: Json = serde_json::from_str(&summary.json()).expect("JSON");
        assert_eq!(json["trace"], "07".repeat(16));
        assert_eq!((&json["status"], &json["refusal"]), (&json!("Ok"), &Json::Null));
    }

    #[test]
    fn durations() {
        for (ns, expected) in [
            (0, "0.0 us"),
            (999_999, "999.9 us"),
            (1_000_000, "1.0 ms"),
            (12_345_678, "12.3 ms"),
            (999_999_999, "999.9 ms"),
            (61_250_000_000, "61.2 s"),
        ] {
            assert_eq!(duration(ns), expected, "{ns}");
        }
    }
}
