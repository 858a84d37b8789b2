//! W3C trace context, <https://www.w3.org/TR/trace-context/>, read and written by hand because it
//! stands on the exchange path.
//!
//! Knows the header `traceparent` and nothing of spans, samplers or exporters.

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// Length of the header in version 00, in bytes: `00-<32>-<16>-<2>`.
const HEADER_BYTES: usize = 55;
/// Bit of the flags that says "sampled" (section 3.2.2.5.1).
const SAMPLED: u8 = 0x01;
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Where a call stands in its trace: the content of one `traceparent` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Id of the whole trace; never all zero when parsed or made here.
    pub trace_id: [u8; 16],
    /// Id of the calling span; never all zero when parsed or made here.
    pub span_id: [u8; 8],
    /// Whether the caller records this trace. A hint: it is not to be trusted with costs.
    pub sampled: bool,
}

impl TraceContext {
    /// Reads a `traceparent` header. `None` where it is malformed: then a new trace begins
    /// (section 3.2). Versions after 00 are read as far as version 00 goes; version ff is invalid.
    #[must_use]
    pub fn parse(header: &[u8]) -> Option<Self> {
        let (head, rest) = header.split_at_checked(HEADER_BYTES)?;
        let version = byte(head.get(0..2)?)?;
        let ends_well = match version {
            0xff => false,
            0 => rest.is_empty(),
            _ => rest.first().is_none_or(|b| *b == b'-'),
        };
        if !ends_well || [2, 35, 52].iter().any(|at| head.get(*at) != Some(&b'-')) {
            return None;
        }
        let trace_id: [u8; 16] = bytes(head.get(3..35)?)?;
        let span_id: [u8; 8] = bytes(head.get(36..52)?)?;
        let flags = byte(head.get(53..55)?)?;
        if trace_id == [0; 16] || span_id == [0; 8] {
            return None;
        }
        Some(Self { trace_id, span_id, sampled: flags & SAMPLED != 0 })
    }

    /// The beginning of a new trace, with random ids.
    #[must_use]
    pub fn root(sampled: bool) -> Self {
        Self { trace_id: random(), span_id: random(), sampled }
    }

    /// The same trace with a new, random span id: what is sent on to the next hop.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { span_id: random(), ..*self }
    }

    /// The header of version 00. The only flag that is passed on is "sampled".
    #[must_use]
    pub fn header(&self) -> [u8; HEADER_BYTES] {
        let mut header = [b'-'; HEADER_BYTES];
        write_hex(&mut header[0..2], &[0]);
        write_hex(&mut header[3..35], &self.trace_id);
        write_hex(&mut header[36..52], &self.span_id);
        write_hex(&mut header[53..55], &[u8::from(self.sampled)]);
        header
    }

    /// The same as OpenTelemetry's type, marked as coming from another process.
    #[must_use]
    pub fn otel(&self) -> SpanContext {
        SpanContext::new(
            TraceId::from_bytes(self.trace_id),
            SpanId::from_bytes(self.span_id),
            TraceFlags::NOT_SAMPLED.with_sampled(self.sampled),
            true,
            TraceState::NONE,
        )
    }
}

/// Random bytes that are not all zero.
fn random<const N: usize>() -> [u8; N] {
    loop {
        let mut id = [0; N];
        rand::fill(&mut id[..]);
        if id != [0; N] {
            return id;
        }
    }
}

/// One lower-case hexadecimal digit; the specification allows no capitals.
fn digit(b: u8) -> Option<u8> {
    match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    }
}

fn byte(hex: &[u8]) -> Option<u8> {
    match hex {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    }
}

fn bytes<const N: usize>(hex: &[u8]) -> Option<[u8; N]> {
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(hex.chunks_exact(2)) {
        *to = byte(from)?;
    }
    Some(out)
}

fn write_hex(to: &mut [u8], bytes: &[u8]) {
    for (pair, byte) in to.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0x0f)];
    }
}

#[cfg(test)]
mod tests {
    use super::TraceContext;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[test]
    fn headers_that_are_read() {
        for (header, sampled) in [
            (format!("00-{TRACE}-{SPAN}-01"), true),
            (format!("00-{TRACE}-{SPAN}-00"), false),
            (format!("00-{TRACE}-{SPAN}-03"), true),
            (format!("00-{TRACE}-{SPAN}-fe"), false),
            (format!("01-{TRACE}-{SPAN}-01"), true),
            (format!("01-{TRACE}-{SPAN}-01-what-comes-later"), true),
            (format!("fe-{TRACE}-{SPAN}-01-"), true),
        ] {
            let context = TraceContext::parse(header.as_bytes()).expect(&header);
            assert_eq!(context.sampled, sampled, "{header}");
            assert_eq!(context.otel().trace_id().to_string(), TRACE);
            assert_eq!(context.otel().span_id().to_string(), SPAN);
        }
    }

    #[test]
    fn headers_that_are_not() {
        for header in [
            String::new(),
            "00".into(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("01-{TRACE}-{SPAN}-01more"),
            format!("01-{TRACE}-{SPAN}-0"),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-{SPAN}-0G"),
            format!("0x-{TRACE}-{SPAN}-01"),
            format!("00_{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}_{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}_01"),
            format!(" 00-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-01 "),
            format!("00-{TRACE}-00f067aa0ba902ë-01"),
        ] {
            assert_eq!(TraceContext::parse(header.as_bytes()), None, "{header}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for sampled in [true, false] {
            let root = TraceContext::root(sampled);
            assert_eq!(TraceContext::parse(&root.header()), Some(root));
            let child = root.child();
            assert_eq!(child.trace_id, root.trace_id);
            assert_ne!(child.span_id, root.span_id);
            assert_eq!(child.sampled, sampled);
            assert!(child.otel().is_remote() && child.otel().is_valid());
            assert_eq!(child.otel().is_sampled(), sampled);
        }
        let header = format!("00-{TRACE}-{SPAN}-01");
        let context = TraceContext::parse(header.as_bytes()).expect("a valid header");
        assert_eq!(&context.header()[..], header.as_bytes());
    }
}
