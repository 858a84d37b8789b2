//! What a text names: an exchange or a trace. Pure.

use std::fmt;

use ura_proto::ExchangeId;

use crate::evidence::{facts::hex, find::trace};

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// One exchange.
    Exchange(ExchangeId),
    /// A whole trace.
    Trace([u8; 16]),
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exchange(id) => write!(f, "exchange {id}"),
            Self::Trace(id) => write!(f, "trace {}", hex(id)),
        }
    }
}

/// Length of an exchange id as it is always written, with its hyphens; without them it could be a trace id.
const EXCHANGE_CHARS: usize = 36;

/// What stands before the id in a refusal's text, in each language.
const BEFORE: [&str; 3] = ["[exchange ", "[shkëmbimi ", "[razmena "];

/// The last exchange id between this and a closing bracket, and where.
fn last_after(text: &str, before: &str) -> Option<(usize, ExchangeId)> {
    text.rmatch_indices(before).find_map(|(at, _)| {
        let (id, rest) = text.get(at + before.len()..)?.split_at_checked(EXCHANGE_CHARS)?;
        rest.starts_with(']').then(|| Some((at, exchange(id)?)))?
    })
}

/// What a text names. The bus ends the text of a refusal with `[exchange ID]`, in the caller's language: the last of
/// those is meant, whatever else is quoted before it. Else it is the first exchange id, or else the first trace id,
/// alone or in a `traceparent`.
pub(super) fn wanted(text: &str) -> Option<Wanted> {
    // Of `grpc-message` as it goes over the wire.
    let text = text.replace("%20", " ").replace("%C3%AB", "ë");
    let named = BEFORE.iter().filter_map(|before| last_after(&text, before)).max_by_key(|(at, _)| *at);
    let named = named.map(|(_, id)| id);
    let first = || words(&text).find_map(exchange);
    let of_trace = || words(&text).flat_map(|word| word.split('-')).filter(|id| id.len() == 32);
    (named.or_else(first).map(Wanted::Exchange))
        .or_else(|| of_trace().find_map(|id| trace(id).ok()).map(Wanted::Trace))
}

/// What may be an id.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_hexdigit() && c != '-').map(|word| word.trim_matches('-'))
}

fn exchange(word: &str) -> Option<ExchangeId> {
    (word.len() == EXCHANGE_CHARS).then(|| word.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXCHANGE: &str = "019aab3c-5e00-7d11-8a2b-0123456789ab";
    const OTHER: &str = "019aab3c-5e00-7d11-8a2b-000000000000";
    /// A trace id that would be an exchange id if hyphens were put into it.
    const LIKE_EXCHANGE: &str = "019aab3c5e007d118a2b0123456789ab";
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn the_text_of_a_refusal_is_known_in_each_language() {
        use ura_proto::refusal::Language;
        let id: ExchangeId = EXCHANGE.parse().expect("valid");
        for language in [Language::English, Language::Albanian, Language::Serbian] {
            let text = format!("{OTHER} is not valid{}; see [{OTHER}]", language.exchange(id));
            assert_eq!(wanted(&text), Some(Wanted::Exchange(id)), "{text}");
        }
    }

    #[test]
    fn what_names_a_call() {
        let exchange = Wanted::Exchange(EXCHANGE.parse().expect("valid"));
        let like = super::trace(LIKE_EXCHANGE).expect("valid");
        let trace = Wanted::Trace(trace(TRACE).expect("valid"));
        for (text, expected) in [
            (EXCHANGE.to_owned(), Some(exchange)),
            (TRACE.to_owned(), Some(trace)),
            (format!("00-{TRACE}-00f067aa0ba902b7-01"), Some(trace)),
            (format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-01, exchange={EXCHANGE}."), Some(exchange)),
            (
                format!(
                    "refused by the bus: PermissionDenied, GRANT_MISSING\n  exchange  {EXCHANGE}\n  try  ask"
                ),
                Some(exchange),
            ),
            (format!("{{\"exchange_id\":\"{EXCHANGE}\"}}"), Some(exchange)),
            (format!("({EXCHANGE})"), Some(exchange)),
            (format!("GRANT_MISSING: ask arc for a grant [exchange {EXCHANGE}]"), Some(exchange)),
            (format!("metadata {OTHER} is not valid [razmena {EXCHANGE}]; see [1]"), Some(exchange)),
            (format!("GRANT_MISSING:%20ask%20arc%20[exchange%20{EXCHANGE}]"), Some(exchange)),
            (format!("GRANT_MISSING: a [shk%C3%ABmbimi%20{EXCHANGE}]"), Some(exchange)),
            (format!("a [exchange {OTHER}] b [shkëmbimi {EXCHANGE}] [exchange of views]"), Some(exchange)),
            (format!("refused [exchange {EXCHANGE}] by [worker {OTHER}] [{OTHER}]"), Some(exchange)),
            (format!("{EXCHANGE}, not {OTHER}"), Some(exchange)),
            (LIKE_EXCHANGE.to_owned(), Some(Wanted::Trace(like))),
            (format!("Shkëmbimi {EXCHANGE}–"), Some(exchange)),
            ("a refusal without an id".to_owned(), None),
            (TRACE.get(1..).expect("ASCII").to_owned(), None),
            (format!("{TRACE}0"), None),
            (String::new(), None),
        ] {
            assert_eq!(wanted(&text), expected, "{text}");
        }
    }
}
