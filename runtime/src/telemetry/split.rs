//! Spans in parts that a receiver takes: so many in each, and so many bytes. Pure.

use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use prost::Message as _;

/// The spans in parts of at most `spans_max` and about `bytes_max` bytes, encoded, in their order. A span that is larger
/// by itself stands alone. What has no span is left out.
#[must_use]
pub fn split(all: Vec<ResourceSpans>, spans_max: usize, bytes_max: usize) -> Vec<Vec<ResourceSpans>> {
    let mut parts: Vec<Vec<ResourceSpans>> = Vec::new();
    // What is left of the last part.
    let (mut spans_left, mut bytes_left) = (0, 0);
    for ResourceSpans { resource, scope_spans, schema_url } in all {
        let of_resource = ResourceSpans { resource, scope_spans: Vec::new(), schema_url };
        let mut resource_part = None;
        for ScopeSpans { scope, spans, schema_url } in scope_spans {
            let of_scope = ScopeSpans { scope, spans: Vec::new(), schema_url };
            let mut scope_part = None;
            let around = of_resource.encoded_len() + of_scope.encoded_len();
            for span in spans {
                let bytes = span.encoded_len();
                if spans_left == 0 || bytes > bytes_left {
                    parts.push(Vec::new());
                    (spans_left, bytes_left) = (spans_max, bytes_max);
                }
                let at = parts.len();
                let part = parts.last_mut().expect("one was made for the first span");
                if resource_part != Some(at) {
                    part.push(of_resource.clone());
                    (resource_part, scope_part) = (Some(at), None);
                }
                let in_resource = part.last_mut().expect("pushed for this part");
                if scope_part != Some(at) {
                    in_resource.scope_spans.push(of_scope.clone());
                    scope_part = Some(at);
                    bytes_left = bytes_left.saturating_sub(around);
                }
                in_resource.scope_spans.last_mut().expect("pushed for this part").spans.push(span);
                spans_left -= 1;
                bytes_left = bytes_left.saturating_sub(bytes);
            }
        }
    }
    parts
}

/// How many spans these are.
#[must_use]
pub fn count(spans: &[ResourceSpans]) -> usize {
    spans.iter().flat_map(|resource| &resource.scope_spans).map(|scope| scope.spans.len()).sum()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::Span;

    use super::*;

    /// Resources of scopes of spans, whose names are so long.
    fn spans(lengths: &[&[&[usize]]]) -> Vec<ResourceSpans> {
        let span = |length: &usize| Span { name: "x".repeat(*length), ..Span::default() };
        let scope = |spans: &&[usize]| ScopeSpans {
            schema_url: "scope".to_owned(),
            spans: spans.iter().map(span).collect(),
            ..ScopeSpans::default()
        };
        let resource = |scopes: &&[&[usize]]| ResourceSpans {
            schema_url: "resource".to_owned(),
            scope_spans: scopes.iter().map(scope).collect(),
            ..ResourceSpans::default()
        };
        lengths.iter().map(resource).collect()
    }

    #[test]
    fn parts_are_bounded_and_nothing_is_lost() {
        assert!(split(spans(&[&[&[]], &[]]), 2, 1_000).is_empty());
        let all = spans(&[&[&[1, 2, 3], &[4]], &[&[5]]]);
        let parts = split(all.clone(), 2, 1_000);
        assert_eq!(parts, [spans(&[&[&[1, 2]]]), spans(&[&[&[3], &[4]]]), spans(&[&[&[5]]])]);
        assert_eq!(split(all.clone(), 100, 1_000), vec![all.clone()]);
        assert_eq!(parts.iter().map(|part| count(part)).sum::<usize>(), count(&all));
        let large = split(spans(&[&[&[400, 400, 400, 5_000, 1]]]), 100, 1_000);
        assert_eq!(
            large,
            [spans(&[&[&[400, 400]]]), spans(&[&[&[400]]]), spans(&[&[&[5_000]]]), spans(&[&[&[1]]])]
        );
        let small: [&[&[usize]]; 40] = [&[&[10]]; 40];
        for part in split(spans(&small), 100, 200) {
            let bytes: usize = part.iter().map(ResourceSpans::encoded_len).sum();
            assert!(bytes < 300, "{bytes}");
        }
    }
}
