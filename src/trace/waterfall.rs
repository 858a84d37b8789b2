//! Spans as a picture of lines: who called whom, when and for how long. Pure.

use std::collections::{HashMap, HashSet};

use ura_traces::{
    Span,
    common::{KeyValue, any_value::Value},
    store::Kept,
};

use crate::{evidence::print::plain, exchanges::duration};

/// Width of the bars, in characters.
const BAR_CHARS: u64 = 40;
/// Longest name that is shown, in characters.
const NAME_CHARS_MAX: usize = 60;
/// Deeper spans stand no further to the right.
const DEPTH_SHOWN_MAX: usize = 12;
/// `status.code` of a span with an error (OTLP, `Status.StatusCode`).
const ERROR: i32 = 2;

/// The spans of one trace as lines: a bar on one scale of time, the duration, who, and what; callers above those
/// they called.
pub(super) fn lines(spans: &[Kept]) -> Vec<String> {
    let first = spans.iter().map(|kept| kept.span.start_time_unix_nano).min().unwrap_or_default();
    let last = spans.iter().map(|kept| kept.span.end_time_unix_nano).max().unwrap_or_default();
    let width = spans.iter().map(|kept| kept.system.chars().count()).max().unwrap_or_default();
    ordered(spans)
        .into_iter()
        .map(|(depth, kept)| {
            let span = &kept.span;
            let bar = bar(span, first, last.saturating_sub(first));
            let took = duration(span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano));
            let indent = "  ".repeat(depth.min(DEPTH_SHOWN_MAX));
            let name: String = plain(&span.name).chars().take(NAME_CHARS_MAX).collect();
            let result = result(span).map(|result| format!("  {}", plain(&result))).unwrap_or_default();
            format!("  |{bar}| {took:>9}  {:<width$}  {indent}{name}{result}", plain(&kept.system))
        })
        .collect()
}

/// How a span ended, as it says so itself; `None` where it says nothing.
pub(super) fn result(span: &Span) -> Option<String> {
    let text = |key: &str| {
        let found: Option<&KeyValue> = span.attributes.iter().find(|attribute| attribute.key == key);
        match found?.value.as_ref()?.value.as_ref()? {
            Value::StringValue(text) => Some(text.chars().take(NAME_CHARS_MAX).collect::<String>()),
            _ => None,
        }
    };
    let status = text("rpc.response.status_code");
    match (status, text("error.type")) {
        (Some(status), Some(reason)) if status != reason => Some(format!("{status} {reason}")),
        (Some(one), _) | (None, Some(one)) => Some(one),
        (None, None) => {
            span.status.as_ref().filter(|status| status.code == ERROR).map(|_| "ERROR".to_owned())
        }
    }
}

/// Every span once, each with its depth: after its parent, among its siblings by its start. What has no parent here
/// stands at the left; so does one of a circle.
fn ordered(spans: &[Kept]) -> Vec<(usize, &Kept)> {
    let known: HashSet<&[u8]> = spans.iter().map(|kept| kept.span.span_id.as_slice()).collect();
    let mut by_start: Vec<&Kept> = spans.iter().collect();
    by_start.sort_by_key(|kept| {
        (kept.span.start_time_unix_nano, std::cmp::Reverse(kept.span.end_time_unix_nano))
    });
    let mut children: HashMap<&[u8], Vec<usize>> = HashMap::new();
    let mut roots = Vec::new();
    for (at, kept) in by_start.iter().enumerate() {
        let parent = kept.span.parent_span_id.as_slice();
        if known.contains(parent) && parent != kept.span.span_id {
            children.entry(parent).or_default().push(at);
        } else {
            roots.push(at);
        }
    }
    let mut shown = vec![false; by_start.len()];
    let mut ordered = Vec::with_capacity(by_start.len());
    // After the roots, whatever they did not lead to.
    for start in roots.into_iter().chain(0..by_start.len()) {
        let mut waiting = vec![(0, start)];
        while let Some((depth, at)) = waiting.pop() {
            if std::mem::replace(&mut shown[at], true) {
                continue;
            }
            ordered.push((depth, by_start[at]));
            let below = children.get(by_start[at].span.span_id.as_slice());
            waiting.extend(below.into_iter().flatten().rev().map(|child| (depth + 1, *child)));
        }
    }
    ordered
}

/// Where a span lies in the whole time of the trace; at least one character.
fn bar(span: &Span, first: u64, whole: u64) -> String {
    let place = |at: u64| {
        let since = u128::from(at.saturating_sub(first)) * u128::from(BAR_CHARS);
        usize::try_from(since / u128::from(whole.max(1))).unwrap_or_default()
    };
    let chars = usize::try_from(BAR_CHARS).unwrap_or_default();
    let begin = place(span.start_time_unix_nano).min(chars - 1);
    let end = place(span.end_time_unix_nano).clamp(begin + 1, chars);
    format!("{}{}{}", " ".repeat(begin), "█".repeat(end - begin), " ".repeat(chars - end))
}

#[cfg(test)]
mod tests {
    use ura_traces::admit::attribute;

    use super::*;

    fn kept(id: u8, parent: u8, name: &str, from: u64, to: u64) -> Kept {
        let parent_span_id = if parent == 0 { Vec::new() } else { vec![parent; 8] };
        let span = Span {
            span_id: vec![id; 8],
            parent_span_id,
            name: name.to_owned(),
            start_time_unix_nano: from * 1_000_000,
            end_time_unix_nano: to * 1_000_000,
            ..Span::default()
        };
        Kept { system: "a/b".to_owned(), span }
    }

    fn order(spans: &[Kept]) -> Vec<(usize, &str)> {
        ordered(spans).into_iter().map(|(depth, kept)| (depth, kept.span.name.as_str())).collect()
    }

    #[test]
    fn the_picture() {
        let mut spans = [
            kept(3, 2, "register GetX", 30, 60),
            kept(1, 9, "x.Y/GetX", 0, 100),
            kept(2, 1, "x.Y/GetX", 20, 80),
        ];
        spans[1].system = "ais/gateway".to_owned();
        spans[1].span.attributes = vec![attribute("rpc.response.status_code", "OK")];
        let bar = |spaces: usize, full: usize| {
            format!("{}{}{}", " ".repeat(spaces), "█".repeat(full), " ".repeat(40 - spaces - full))
        };
        assert_eq!(
            lines(&spans),
            [
                format!("  |{}|  100.0 ms  ais/gateway  x.Y/GetX  OK", bar(0, 40)),
                format!("  |{}|   60.0 ms  a/b            x.Y/GetX", bar(8, 24)),
                format!("  |{}|   30.0 ms  a/b              register GetX", bar(12, 12)),
            ]
        );
        assert!(lines(&[]).is_empty());
    }

    #[test]
    fn every_span_stands_there_once() {
        let siblings =
            [kept(1, 0, "a", 0, 9), kept(3, 1, "c", 5, 6), kept(2, 1, "b", 1, 2), kept(4, 2, "d", 1, 2)];
        assert_eq!(order(&siblings), [(0, "a"), (1, "b"), (2, "d"), (1, "c")]);
        let circle = [kept(1, 2, "a", 0, 9), kept(2, 1, "b", 1, 2), kept(3, 3, "self", 2, 3)];
        assert_eq!(order(&circle), [(0, "self"), (0, "a"), (1, "b")]);
        // Two systems that use the same id.
        let twins = [kept(1, 0, "a", 0, 9), kept(1, 0, "b", 1, 9), kept(2, 1, "c", 2, 3)];
        assert_eq!(order(&twins), [(0, "a"), (1, "c"), (0, "b")]);
    }

    #[test]
    fn nothing_in_a_span_reaches_the_terminal_as_it_came() {
        let mut wild = kept(1, 0, "x\u{1b}[2J\u{202e}", 5, 5);
        wild.system = "a\n/b".to_owned();
        wild.span.attributes = vec![attribute("error.type", "\u{7}bell")];
        wild.span.end_time_unix_nano = 0;
        let shown = lines(&[wild, kept(2, 0, "long", u64::MAX / 2_000_000, u64::MAX / 1_000_000)]).join("|");
        assert!(!shown.contains(|c: char| c.is_control() || c == '\u{202e}'), "{shown:?}");
    }

    #[test]
    fn how_a_span_ended() {
        let with = |attributes: &[(&str, &str)], code: i32| {
            let mut span = kept(1, 0, "a", 0, 1).span;
            span.attributes = attributes.iter().map(|(key, value)| attribute(key, value)).collect();
            let mut status = span.status.unwrap_or_default();
            status.code = code;
            span.status = Some(status);
            result(&span)
        };
        let status = "rpc.response.status_code";
        for (attributes, code, expected) in [
            (&[][..], 0, None),
            (&[], 2, Some("ERROR")),
            (&[(status, "OK")], 0, Some("OK")),
            (&[("error.type", "TIMEOUT")], 2, Some("TIMEOUT")),
            (
                &[(status, "PERMISSION_DENIED"), ("error.type", "GRANT_MISSING")],
                0,
                Some("PERMISSION_DENIED GRANT_MISSING"),
            ),
        ] {
            assert_eq!(with(attributes, code).as_deref(), expected, "{attributes:?}");
        }
    }
}
