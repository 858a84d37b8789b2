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

/// The first exchange id in a text; where it has none, the first trace id, alone or in a `traceparent`.
pub(super) fn wanted(text: &str) -> Option<Wanted> {
    let words =
        || text.split(|c: char| !c.is_ascii_hexdigit() && c != '-').map(|word| word.trim_matches('-'));
    let exchange = words().find_map(|word| word.parse().ok()).map(Wanted::Exchange);
    let ids = words().flat_map(|word| word.split('-'));
    exchange.or_else(|| ids.filter(|id| id.len() == 32).find_map(|id| trace(id).ok()).map(Wanted::Trace))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXCHANGE: &str = "019aab3c-5e00-7d11-8a2b-0123456789ab";
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn what_names_a_call() {
        let exchange = Wanted::Exchange(EXCHANGE.parse().expect("valid"));
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
