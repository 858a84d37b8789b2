//! What a member sent, made into what is kept: under the sender's own name, within bounds, without the values of anybody. Pure.

mod strip;

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, Span},
};
use prost::Message as _;

/// Largest request, in bytes after decompression.
pub const REQUEST_BYTES_MAX: usize = 4 << 20;
/// Spans of one request.
pub const SPANS_MAX: usize = 8_192;
/// One span, in bytes.
pub const SPAN_BYTES_MAX: usize = 32 << 10;
/// Attributes, events or links of one span, each.
const ITEMS_MAX: usize = 128;
/// A span's end may lie so far from the gateway's clock, in nanoseconds: an hour.
const OFF_NS_MAX: u64 = 3_600_000_000_000;
/// A span may have begun so long ago, in nanoseconds: a day.
const BEGUN_NS_MAX: u64 = 24 * OFF_NS_MAX;
/// Attributes of a resource that are passed on, beside those that the gateway sets.
const RESOURCE_ATTRIBUTES_MAX: usize = 64;

/// Attribute of a resource: its name, forced to the sender (OpenTelemetry, resource conventions).
pub const SERVICE_NAME: &str = "service.name";
/// Attribute of a resource: the sender by its certificate.
pub const SYSTEM: &str = "ura.system";
/// Attribute of a resource: what the sender called itself, where that is something else.
pub const CLAIMED: &str = "ura.claimed_service_name";

/// What was taken of a request.
#[derive(Debug, Default, PartialEq)]
pub struct Admitted {
    /// The spans, all of the sender.
    pub spans: Vec<ResourceSpans>,
    /// How many those are.
    pub taken: usize,
    /// How many were not taken.
    pub rejected: usize,
    /// Why the last of those was not; empty where all were taken.
    pub why: &'static str,
}

/// The gateway's own spans, under the name of its system. They say what a member's may not.
#[must_use]
pub fn own(system: &str, mut spans: Vec<ResourceSpans>) -> Vec<ResourceSpans> {
    for of_resource in &mut spans {
        of_resource.resource = Some(resource(system, of_resource.resource.take().unwrap_or_default()));
    }
    spans
}

/// Takes the spans of `system`, which its certificate names. Whatever a resource says of who it is gives way, and of a
/// span only is taken what tells no value. `now_unix_us` is the gateway's clock, in microseconds since 1970.
#[must_use]
pub fn admit(system: &str, sent: Vec<ResourceSpans>, now_unix_us: i64) -> Admitted {
    let now_ns = u64::try_from(now_unix_us).unwrap_or_default().saturating_mul(1_000);
    let mut admitted = Admitted::default();
    for mut of_resource in sent {
        of_resource.resource = Some(resource(system, of_resource.resource.take().unwrap_or_default()));
        of_resource.schema_url.clear();
        for scope in &mut of_resource.scope_spans {
            scope.schema_url.clear();
            if let Some(of_scope) = &mut scope.scope {
                strip::strip_scope(of_scope);
            }
            scope.spans.retain_mut(|span| {
                let problem = if admitted.taken == SPANS_MAX {
                    Some("a request has at most 8192 spans")
                } else {
                    problem(span, now_ns)
                };
                match problem {
                    None => {
                        strip::strip(span);
                        admitted.taken += 1;
                    }
                    Some(problem) => {
                        admitted.rejected += 1;
                        admitted.why = problem;
                    }
                }
                problem.is_none()
            });
        }
        of_resource.scope_spans.retain(|scope| !scope.spans.is_empty());
        if !of_resource.scope_spans.is_empty() {
            admitted.spans.push(of_resource);
        }
    }
    admitted
}

/// What is wrong with a span, if anything.
fn problem(span: &Span, now_ns: u64) -> Option<&'static str> {
    let id = |bytes: &[u8], length| bytes.len() == length && bytes.iter().any(|byte| *byte != 0);
    if !id(&span.trace_id, 16) {
        return Some("trace_id must be 16 bytes that are not all 0");
    }
    if !id(&span.span_id, 8) {
        return Some("span_id must be 8 bytes that are not all 0");
    }
    if !span.parent_span_id.is_empty() && span.parent_span_id.len() != 8 {
        return Some("parent_span_id must be empty or 8 bytes");
    }
    if span.end_time_unix_nano < span.start_time_unix_nano {
        return Some("end_time_unix_nano is before start_time_unix_nano");
    }
    if span.end_time_unix_nano.abs_diff(now_ns) > OFF_NS_MAX {
        return Some("end_time_unix_nano is more than an hour from the gateway's clock");
    }
    if now_ns.saturating_sub(span.start_time_unix_nano) > BEGUN_NS_MAX {
        return Some("start_time_unix_nano is more than a day ago");
    }
    // Their number before their size: an empty one takes two bytes here, and a hundred where it is kept.
    if [span.attributes.len(), span.events.len(), span.links.len()].iter().any(|items| *items > ITEMS_MAX) {
        return Some("a span has at most 128 attributes, 128 events and 128 links");
    }
    (span.encoded_len() > SPAN_BYTES_MAX).then_some("a span has at most 32768 bytes")
}

/// A resource under the sender's name.
fn resource(system: &str, sent: Resource) -> Resource {
    let text = |value: &KeyValue| match value.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => Some(text.clone()),
        _ => None,
    };
    let claimed = sent.attributes.iter().find(|attribute| attribute.key == SERVICE_NAME).and_then(text);
    let claimed = claimed.filter(|claimed| claimed != system && claimed.len() <= 256);
    let mut attributes = vec![attribute(SERVICE_NAME, system), attribute(SYSTEM, system)];
    attributes.extend(claimed.map(|claimed| attribute(CLAIMED, &claimed)));
    let others = sent.attributes.into_iter();
    let others = others.filter(|other| other.key != SERVICE_NAME && !other.key.starts_with("ura."));
    let others = others.filter(|other| !other.key.is_empty() && strip::is_short(other));
    attributes.extend(others.take(RESOURCE_ATTRIBUTES_MAX));
    // References from entities to attributes could say again who it is.
    Resource { attributes, dropped_attributes_count: sent.dropped_attributes_count, ..Resource::default() }
}

/// An attribute with a text.
#[must_use]
pub fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, span};

    use super::*;

    const NOW_US: i64 = 1_795_348_800_000_000;
    const NOW_NS: u64 = 1_795_348_800_000_000_000;

    fn span() -> Span {
        let (start_time_unix_nano, end_time_unix_nano) = (NOW_NS - 5, NOW_NS);
        let name = "a".to_owned();
        Span {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            name,
            start_time_unix_nano,
            end_time_unix_nano,
            ..Span::default()
        }
    }

    fn sent(attributes: Vec<KeyValue>, spans: Vec<Span>) -> Vec<ResourceSpans> {
        let resource = Resource { attributes, ..Resource::default() };
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        vec![ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }]
    }

    #[test]
    fn nobody_speaks_under_another_name() {
        let claims = vec![
            attribute("host.name", "vm-1"),
            attribute(SERVICE_NAME, "ais/gateway"),
            attribute(SYSTEM, "ais/gateway"),
            attribute(SERVICE_NAME, "atk/property-tax"),
            attribute("ura.anything", "x"),
        ];
        let admitted = admit("arc/civil-status", sent(claims, vec![span()]), NOW_US);
        let resource = admitted.spans[0].resource.clone().expect("there");
        let expected = [
            attribute(SERVICE_NAME, "arc/civil-status"),
            attribute(SYSTEM, "arc/civil-status"),
            attribute(CLAIMED, "ais/gateway"),
            attribute("host.name", "vm-1"),
        ];
        assert_eq!(resource.attributes, expected);
        let mut nameless = sent(Vec::new(), vec![span()]);
        nameless[0].resource = None;
        let resource = admit("arc/civil-status", nameless, NOW_US).spans[0].resource.clone().expect("made");
        assert_eq!(resource.attributes, expected[..2]);
        let named = vec![attribute(SERVICE_NAME, "arc/civil-status")];
        let resource = admit("arc/civil-status", sent(named, vec![span()]), NOW_US).spans[0].resource.clone();
        assert_eq!(resource.expect("there").attributes, expected[..2]);
    }

    #[test]
    fn spans_that_are_not_taken() {
        const HOUR_NS: u64 = 3_600_000_000_000;
        let large = attribute("a", &"x".repeat(SPAN_BYTES_MAX));
        let table = [
            (Span { trace_id: vec![1; 15], ..span() }, "trace_id"),
            (Span { trace_id: vec![0; 16], ..span() }, "trace_id"),
            (Span { span_id: Vec::new(), ..span() }, "span_id"),
            (Span { span_id: vec![0; 8], ..span() }, "span_id"),
            (Span { parent_span_id: vec![3; 4], ..span() }, "parent_span_id"),
            (Span { start_time_unix_nano: NOW_NS, end_time_unix_nano: NOW_NS - 1, ..span() }, "before"),
            (Span { end_time_unix_nano: NOW_NS + HOUR_NS + 1, ..span() }, "an hour"),
            (
                Span {
                    start_time_unix_nano: NOW_NS - HOUR_NS - 1,
                    end_time_unix_nano: NOW_NS - HOUR_NS - 1,
                    ..span()
                },
                "an hour",
            ),
            (Span { start_time_unix_nano: NOW_NS - 24 * HOUR_NS - 1, ..span() }, "a day"),
            // On the wire these are small.
            (Span { attributes: vec![KeyValue::default(); 129], ..span() }, "128"),
            (Span { events: vec![span::Event::default(); 129], ..span() }, "128"),
            (Span { links: vec![span::Link::default(); 129], ..span() }, "128"),
            (Span { attributes: vec![large], ..span() }, "32768"),
        ];
        for (wrong, why) in table {
            let admitted = admit("a/b", sent(Vec::new(), vec![wrong, span()]), NOW_US);
            assert_eq!((admitted.taken, admitted.rejected), (1, 1), "{why}");
            assert!(admitted.why.contains(why), "{why}: {}", admitted.why);
            assert_eq!(admitted.spans[0].scope_spans[0].spans, [span()], "{why}");
        }
        let many = admit("a/b", sent(Vec::new(), vec![span(); SPANS_MAX + 2]), NOW_US);
        assert_eq!((many.taken, many.rejected), (SPANS_MAX, 2));
        assert_eq!(admit("a/b", sent(Vec::new(), Vec::new()), NOW_US), Admitted::default());
    }

    #[test]
    fn nothing_is_taken_along_with_a_span() {
        let mut wild =
            sent(vec![attribute("host.name", &"x".repeat(257)), KeyValue::default()], vec![span()]);
        wild[0].schema_url = "x".to_owned();
        wild[0].scope_spans[0].schema_url = "x".to_owned();
        wild[0].scope_spans[0].spans[0].attributes = vec![attribute("ura.exchange_id", "forged")];
        let taken = admit("a/b", wild, NOW_US).spans;
        let mut expected = sent(vec![attribute(SERVICE_NAME, "a/b"), attribute(SYSTEM, "a/b")], vec![span()]);
        expected[0].scope_spans[0].spans[0].dropped_attributes_count = 1;
        assert_eq!(taken, expected);
    }

    #[test]
    fn the_gateway_s_own_spans_are_taken_as_they_are() {
        let mut spans = sent(Vec::new(), vec![Span { start_time_unix_nano: 1, ..span() }]);
        spans[0].scope_spans[0].spans[0].attributes = vec![attribute("ura.exchange_id", "x")];
        let own = own("ais/gateway", spans.clone());
        assert_eq!(own[0].scope_spans, spans[0].scope_spans);
        let resource = own[0].resource.clone().expect("made");
        assert_eq!(
            resource.attributes,
            [attribute(SERVICE_NAME, "ais/gateway"), attribute(SYSTEM, "ais/gateway")]
        );
    }
}
