//! The table `[traces]` of the gateway's configuration.

use serde::Deserialize;

/// For how long spans are kept, and how many bytes of them. Where a bound is reached the oldest go first, and
/// those of traces with an error or a slow span last.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct TracesConfig {
    /// Traces in which all went well, seconds; default a day.
    pub keep_s: u64,
    /// Traces with an error or a slow span, seconds; default a week.
    pub keep_notable_s: u64,
    /// All spans together, bytes; default 256 MiB. 0: none is kept.
    pub kept_bytes_max: u64,
    /// A span that takes this long is slow, milliseconds; default 1000.
    pub slow_ms: u64,
}

impl Default for TracesConfig {
    fn default() -> Self {
        Self { keep_s: 86_400, keep_notable_s: 604_800, kept_bytes_max: 256 << 20, slow_ms: 1_000 }
    }
}
