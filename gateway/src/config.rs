//! The gateway's configuration file. Knows names and limits, not what is done with them.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use ura_runtime::{
    config::{self, ConfigErrors},
    telemetry::TelemetryConfig,
    tls::ListenerLimits,
};

/// `ura gateway --config FILE`. Paths are relative to the file's folder.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayConfig {
    /// Address of the bus's one port, for example `0.0.0.0:7400`.
    pub listen: SocketAddr,
    /// Folder with `cert.pem`, `key.pem` and `ca.pem` of the gateway.
    pub identity: PathBuf,
    /// The directory file.
    pub directory: PathBuf,
    /// Where exchanges are recorded.
    pub evidence: EvidenceConfig,
    /// Limits of calls and connections.
    #[serde(default)]
    pub limits: Limits,
    /// Limits of the listener.
    #[serde(default)]
    pub listener: ListenerLimits,
    /// Logs and traces.
    #[serde(default)]
    pub telemetry: TelemetryConfig,
}

impl GatewayConfig {
    /// Reads a configuration file; paths in it become relative to its folder.
    ///
    /// # Errors
    /// Every error of the file, each with its place.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        let document = config::read::<Self>(path)?;
        let (mut config, source) = (document.value, document.source);
        let mut problems = source.problems();
        for path in [&mut config.identity, &mut config.directory, &mut config.evidence.keys] {
            *path = source.resolve(&path.to_string_lossy());
        }
        // What is no file is told so where the store is opened.
        if let Some(file) =
            config.evidence.store.strip_prefix("sqlite:").filter(|file| !file.starts_with(':'))
        {
            config.evidence.store = format!("sqlite:{}", source.resolve(file).display());
        }
        for (name, is_zero) in config.limits.zeros() {
            if is_zero {
                problems.whole(format!("limits.{name} must be more than 0"));
            }
        }
        let origin = &config.evidence.origin;
        let plain = |b: u8| (0x21..0x7f).contains(&b) && b != b';' && b != b'=';
        if !(1..=255).contains(&origin.len()) || !origin.bytes().all(plain) {
            problems.whole("evidence.origin must be 1 to 255 visible ASCII characters without ; and =");
        }
        if config.evidence.queue_entries_max == 0 || config.evidence.batch_entries_max == 0 {
            problems.whole("evidence.queue_entries_max and evidence.batch_entries_max must be more than 0");
        }
        problems.into_result(config)
    }
}

/// The evidence log of this gateway.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceConfig {
    /// `sqlite:PATH`. The pragmas `synchronous` and `journal_mode` may be given as query; a setting
    /// under which a commit does not sync is refused.
    pub store: String,
    /// Folder of the epoch keys, apart from the log. Made on the first start.
    pub keys: PathBuf,
    /// Name of the log, as receipts and checkpoints will carry it, for example `ura.rks-gov.net/gateway-1`.
    pub origin: String,
    /// Records that may wait for the writer; calls beyond are refused.
    #[serde(default = "default_queue")]
    pub queue_entries_max: usize,
    /// Records in one commit.
    #[serde(default = "default_batch")]
    pub batch_entries_max: usize,
}

const fn default_queue() -> usize {
    16_384
}

const fn default_batch() -> usize {
    512
}

/// Limits of calls and connections. Milliseconds and bytes, as the names say.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// One gRPC message, each way (gRPC's own default is 4 MiB).
    pub message_bytes_max: usize,
    /// What a gzip message may inflate to when it is looked into.
    pub inflated_bytes_max: usize,
    /// Request bytes held at once for all calls together.
    pub held_bytes_max: usize,
    /// Calls in hand at once.
    pub calls_in_flight_max: usize,
    /// Calls in hand at once on one plug.
    pub calls_per_plug_max: usize,
    /// Calls in hand at once on one consumer's connection.
    pub streams_per_connection_max: u32,
    /// All metadata of a call together.
    pub metadata_bytes_max: u32,
    /// A call with a unary reply and a unary request.
    pub unary_timeout_ms: u64,
    /// A stream from its beginning to its end.
    pub stream_timeout_ms: u64,
    /// A stream on which nothing moves.
    pub stream_idle_ms: u64,
    /// A consumer's connection; some jitter is added.
    pub connection_age_ms: u64,
    /// At drain, or when a certificate ended: time for the calls in hand.
    pub drain_timeout_ms: u64,
    /// After a start: how long a call waits for the first plug of its service.
    pub plug_wait_ms: u64,
}

impl Limits {
    /// Each limit that must not be zero, and whether it is.
    fn zeros(&self) -> [(&'static str, bool); 11] {
        [
            ("message_bytes_max", self.message_bytes_max == 0),
            ("inflated_bytes_max", self.inflated_bytes_max == 0),
            ("held_bytes_max", self.held_bytes_max == 0),
            ("calls_in_flight_max", self.calls_in_flight_max == 0),
            ("calls_per_plug_max", self.calls_per_plug_max == 0),
            ("streams_per_connection_max", self.streams_per_connection_max == 0),
            ("metadata_bytes_max", self.metadata_bytes_max == 0),
            ("unary_timeout_ms", self.unary_timeout_ms == 0),
            ("stream_timeout_ms", self.stream_timeout_ms == 0),
            ("stream_idle_ms", self.stream_idle_ms == 0),
            ("connection_age_ms", self.connection_age_ms == 0),
        ]
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: 4 << 20,
            inflated_bytes_max: 16 << 20,
            held_bytes_max: 256 << 20,
            calls_in_flight_max: 8192,
            calls_per_plug_max: 1024,
            streams_per_connection_max: 1024,
            metadata_bytes_max: 16 << 10,
            unary_timeout_ms: 30_000,
            stream_timeout_ms: 3_600_000,
            stream_idle_ms: 300_000,
            connection_age_ms: 3_600_000,
            drain_timeout_ms: 10_000,
            plug_wait_ms: 3_000,
        }
    }
}
