//! What a member sent, made into what is kept: under the sender's own name, within bounds. Pure.

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

/// Takes the spans of `system`, which its certificate names. Whatever a resource says of who it is gives way.
#[must_use]
pub fn admit(system: &str, sent: Vec<ResourceSpans>) -> Admitted {
    let mut admitted = Admitted::default();
    for mut of_resource in sent {
        of_resource.resource = Some(resource(system, of_resource.resource.take().unwrap_or_default()));
        for scope in &mut of_resource.scope_spans {
            scope.spans.retain(|span| {
                let problem = if admitted.taken == SPANS_MAX {
                    Some("a request has at most 8192 spans")
                } else {
                    problem(span)
                };
                match problem {
                    None => admitted.taken += 1,
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
fn problem(span: &Span) -> Option<&'static str> {
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
    use opentelemetry_proto::tonic::trace::v1::ScopeSpans;

    use super::*;

    fn span() -> Span {
        Span { trace_id: vec![1; 16], span_id: vec![2; 8], name: "a".to_owned(), ..Span::default() }
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
        let admitted = admit("arc/civil-status", sent(claims, vec![span()]));
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
        let resource = admit("arc/civil-status", nameless).spans[0].resource.clone().expect("made");
        assert_eq!(resource.attributes, expected[..2]);
        let own = vec![attribute(SERVICE_NAME, "arc/civil-status")];
        let resource = admit("arc/civil-status", sent(own, vec![span()])).spans[0].resource.clone();
        assert_eq!(resource.expect("there").attributes, expected[..2]);
    }

    #[test]
    fn spans_that_are_not_taken() {
        let large = attribute("a", &"x".repeat(SPAN_BYTES_MAX));
        let table = [
            (Span { trace_id: vec![1; 15], ..span() }, "trace_id"),
            (Span { trace_id: vec![0; 16], ..span() }, "trace_id"),
            (Span { span_id: Vec::new(), ..span() }, "span_id"),
            (Span { span_id: vec![0; 8], ..span() }, "span_id"),
            (Span { parent_span_id: vec![3; 4], ..span() }, "parent_span_id"),
            (Span { start_time_unix_nano: 5, end_time_unix_nano: 4, ..span() }, "before"),
            (Span { attributes: vec![large], ..span() }, "32768"),
        ];
        for (wrong, why) in table {
            let admitted = admit("a/b", sent(Vec::new(), vec![wrong, span()]));
            assert_eq!((admitted.taken, admitted.rejected), (1, 1), "{why}");
            assert!(admitted.why.contains(why), "{why}: {}", admitted.why);
            assert_eq!(admitted.spans[0].scope_spans[0].spans, [span()], "{why}");
        }
        let many = admit("a/b", sent(Vec::new(), vec![span(); SPANS_MAX + 2]));
        assert_eq!((many.taken, many.rejected), (SPANS_MAX, 2));
        assert_eq!(admit("a/b", sent(Vec::new(), Vec::new())), Admitted::default());
    }
}
