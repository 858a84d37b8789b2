//! What of a member's span is kept: what names kinds of things, never what may hold a value of a person. Pure.

use opentelemetry_proto::tonic::{
    common::v1::{InstrumentationScope, KeyValue, any_value::Value},
    trace::v1::Span,
};

/// Longest text of an attribute, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 256;
/// Longest name of an attribute, in bytes.
const KEY_BYTES_MAX: usize = 128;
/// The attribute of an event that is kept: what kind of error it was.
const EXCEPTION_TYPE: &str = "exception.type";

/// The attributes of a span that are kept (OpenTelemetry, semantic conventions): kinds, names of methods and tables,
/// numbers. Statements, whole addresses, parameters and messages are not among them.
const KEPT: [&str; 46] = [
    "code.function.name",
    "code.line.number",
    "db.collection.name",
    "db.namespace",
    "db.operation.batch.size",
    "db.operation.name",
    "db.response.returned_rows",
    "db.response.status_code",
    "db.stored_procedure.name",
    "db.system",
    "db.system.name",
    "error.type",
    EXCEPTION_TYPE,
    "http.method",
    "http.request.body.size",
    "http.request.method",
    "http.request.resend_count",
    "http.response.body.size",
    "http.response.status_code",
    "http.route",
    "http.status_code",
    "messaging.batch.message_count",
    "messaging.operation.name",
    "messaging.operation.type",
    "messaging.system",
    "net.peer.name",
    "net.peer.port",
    "network.peer.port",
    "network.protocol.name",
    "network.protocol.version",
    "network.transport",
    "network.type",
    "process.pid",
    "rpc.grpc.status_code",
    "rpc.method",
    "rpc.response.status_code",
    "rpc.service",
    "rpc.system",
    "rpc.system.name",
    "server.address",
    "server.port",
    "thread.id",
    "thread.name",
    "tls.protocol.version",
    "url.scheme",
    "url.template",
];

/// Takes out of a span whatever may hold a value of a person, and what only the gateway may say. The number of
/// attributes that went is added to the span's own count of them.
pub(super) fn strip(span: &mut Span) {
    let before = span.attributes.len();
    span.attributes.retain(|attribute| KEPT.contains(&attribute.key.as_str()) && is_short(attribute));
    let went = u32::try_from(before - span.attributes.len()).unwrap_or(u32::MAX);
    span.dropped_attributes_count = span.dropped_attributes_count.saturating_add(went);
    span.trace_state.clear();
    for event in &mut span.events {
        event.attributes.retain(|attribute| attribute.key == EXCEPTION_TYPE && is_short(attribute));
    }
    for link in &mut span.links {
        link.attributes.clear();
        link.trace_state.clear();
    }
    if let Some(status) = &mut span.status {
        // The words of an error often quote what was asked for.
        status.message.clear();
    }
}

/// Takes out of a scope all but its name and version.
pub(super) fn strip_scope(scope: &mut InstrumentationScope) {
    scope.attributes.clear();
    for text in [&mut scope.name, &mut scope.version] {
        if text.len() > TEXT_BYTES_MAX {
            text.clear();
        }
    }
}

/// Whether an attribute is a number or a short text: no list, no table.
pub(super) fn is_short(attribute: &KeyValue) -> bool {
    attribute.key.len() <= KEY_BYTES_MAX
        && match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(Value::StringValue(text)) => text.len() <= TEXT_BYTES_MAX,
            Some(Value::BoolValue(_) | Value::IntValue(_) | Value::DoubleValue(_)) => true,
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::{
        common::v1::{AnyValue, ArrayValue},
        trace::v1::{Status, span::Event, span::Link},
    };

    use super::*;
    use crate::admit::attribute;

    fn keys(attributes: &[KeyValue]) -> Vec<&str> {
        attributes.iter().map(|attribute| attribute.key.as_str()).collect()
    }

    #[test]
    fn the_list_is_sorted_and_names_nothing_of_the_gateway() {
        assert!(KEPT.is_sorted());
        assert!(KEPT.iter().all(|key| !key.starts_with("ura.")));
    }

    #[test]
    fn what_may_hold_a_value_goes() {
        let list = AnyValue { value: Some(Value::ArrayValue(ArrayValue::default())) };
        let listed = KeyValue { value: Some(list), ..attribute("http.route", "") };
        let number = AnyValue { value: Some(Value::IntValue(503)) };
        let number = KeyValue { value: Some(number), ..attribute("http.response.status_code", "") };
        let exception = vec![
            attribute("exception.type", "ValueError"),
            attribute("exception.message", "no such person 1234567890"),
            attribute("exception.stacktrace", "1234567890"),
        ];
        let mut span = Span {
            trace_state: "person=1234567890".to_owned(),
            attributes: vec![
                attribute("db.query.text", "select * from person where id = 1234567890"),
                attribute("db.operation.name", "select"),
                attribute("url.full", "https://register.example/person/1234567890"),
                attribute("ura.exchange_id", "019aab3c-5e00-7d11-8a2b-1234567890ab"),
                attribute("http.route", &"1234567890".repeat(26)),
                listed,
                number,
            ],
            events: vec![Event { attributes: exception, ..Event::default() }],
            links: vec![Link { attributes: vec![attribute("a", "1234567890")], ..Link::default() }],
            status: Some(Status { message: "no such person 1234567890".to_owned(), code: 2 }),
            ..Span::default()
        };
        strip(&mut span);
        assert_eq!(keys(&span.attributes), ["db.operation.name", "http.response.status_code"]);
        assert_eq!(span.dropped_attributes_count, 5);
        assert_eq!(keys(&span.events[0].attributes), ["exception.type"]);
        assert_eq!(span.status.as_ref().map(|status| status.code), Some(2));
        assert!(!format!("{span:?}").contains("1234567890"), "{span:?}");
    }

    #[test]
    fn a_scope_has_a_name_and_a_version() {
        let mut scope = InstrumentationScope {
            name: "x".repeat(TEXT_BYTES_MAX + 1),
            version: "1".to_owned(),
            attributes: vec![attribute("ura.system", "ais/gateway")],
            ..InstrumentationScope::default()
        };
        strip_scope(&mut scope);
        assert_eq!(
            scope,
            InstrumentationScope { version: "1".to_owned(), ..InstrumentationScope::default() }
        );
    }
}
