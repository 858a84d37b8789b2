//! Bounds of sizes and times of an adapter.

use std::{fmt::Display, ops::RangeInclusive};

use serde::Deserialize;
use ura_runtime::config::{Problems, Spanned};

/// Bounds of sizes and times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections to each gateway, 1 to 16; default 2.
    pub connections: usize,
    /// Calls at once on one connection, 1 to 100,000; default 1024.
    pub streams_max: u32,
    /// Largest request message, 1 KiB to 1 GiB; default 4 MiB.
    pub request_bytes_max: usize,
    /// Largest reply message, 1 KiB to 1 GiB; default 16 MiB.
    pub reply_bytes_max: usize,
    /// Largest metadata of a call, 1 KiB to 1 MiB; default 32 KiB.
    pub header_bytes_max: u32,
    /// Longest dialling and TLS handshake, 10 ms to 60 s; default 5 s.
    pub connect_timeout_ms: u64,
    /// Longest wait for a gateway's first question, 10 ms to 60 s; default 10 s.
    pub first_call_timeout_ms: u64,
    /// Time between NOT_SERVING and the end of taking calls, 0 to 60 s; default 100 ms.
    pub drain_notice_ms: u64,
    /// Longest wait for calls in flight when leaving, 0 to 10 min; default 10 s.
    pub drain_timeout_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 2,
            streams_max: 1024,
            request_bytes_max: 4 * 1024 * 1024,
            reply_bytes_max: 16 * 1024 * 1024,
            header_bytes_max: 32 * 1024,
            connect_timeout_ms: 5_000,
            first_call_timeout_ms: 10_000,
            drain_notice_ms: 100,
            drain_timeout_ms: 10_000,
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    connections: Option<Spanned<usize>>,
    streams_max: Option<Spanned<u32>>,
    request_bytes_max: Option<Spanned<usize>>,
    reply_bytes_max: Option<Spanned<usize>>,
    header_bytes_max: Option<Spanned<u32>>,
    connect_timeout_ms: Option<Spanned<u64>>,
    first_call_timeout_ms: Option<Spanned<u64>>,
    drain_notice_ms: Option<Spanned<u64>>,
    drain_timeout_ms: Option<Spanned<u64>>,
}

impl RawLimits {
    pub(super) fn check(self, problems: &mut Problems) -> Limits {
        const KIB: usize = 1024;
        let default = Limits::default();
        let bytes = KIB..=KIB * KIB * KIB;
        let wait = 10..=60_000;
        Limits {
            connections: bounded(self.connections, default.connections, 1..=16, problems),
            streams_max: bounded(self.streams_max, default.streams_max, 1..=100_000, problems),
            request_bytes_max: bounded(
                self.request_bytes_max,
                default.request_bytes_max,
                bytes.clone(),
                problems,
            ),
            reply_bytes_max: bounded(self.reply_bytes_max, default.reply_bytes_max, bytes, problems),
            header_bytes_max: bounded(
                self.header_bytes_max,
                default.header_bytes_max,
                1024..=1024 * 1024,
                problems,
            ),
            connect_timeout_ms: bounded(
                self.connect_timeout_ms,
                default.connect_timeout_ms,
                wait.clone(),
                problems,
            ),
            first_call_timeout_ms: bounded(
                self.first_call_timeout_ms,
                default.first_call_timeout_ms,
                wait,
                problems,
            ),
            drain_notice_ms: bounded(self.drain_notice_ms, default.drain_notice_ms, 0..=60_000, problems),
            drain_timeout_ms: bounded(self.drain_timeout_ms, default.drain_timeout_ms, 0..=600_000, problems),
        }
    }
}

/// The value of a limit, or its default; a value out of its range is a problem.
pub(crate) fn bounded<T>(
    value: Option<Spanned<T>>,
    default: T,
    range: RangeInclusive<T>,
    problems: &mut Problems,
) -> T
where
    T: PartialOrd + Display,
{
    let Some(value) = value else {
        return default;
    };
    if range.contains(value.get_ref()) {
        return value.into_inner();
    }
    let (least, most) = (range.start(), range.end());
    problems.at(value.span(), format!("{} is not within {least} to {most}", value.get_ref()));
    default
}
