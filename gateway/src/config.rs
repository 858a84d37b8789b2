//! The gateway's configuration file. Knows names and limits, not what is done with them.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use ura_evidence::config::EvidenceConfig;
use ura_runtime::{
    config::{self, ConfigErrors},
    metrics::MetricsConfig,
    telemetry::TelemetryConfig,
    tls::ListenerLimits,
};
use ura_traces::config::TracesConfig;

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
    /// Where numbers for Prometheus are shown; without it, nowhere.
    #[serde(default)]
    pub metrics: Option<MetricsConfig>,
    /// Which spans are kept.
    #[serde(default)]
    pub traces: TracesConfig,
    /// Relieve the process that writes this gateway's log now. Not part of the file: `--take-over`.
    #[serde(skip)]
    pub take_over: bool,
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
        for path in [&mut config.identity, &mut config.directory] {
            *path = source.resolve(&path.to_string_lossy());
        }
        config.evidence.resolve(&source);
        for (name, is_zero) in config.limits.zeros() {
            if is_zero {
                problems.whole(format!("limits.{name} must be more than 0"));
            }
        }
        config.evidence.check(|problem| problems.whole(problem));
        if let Some(metrics) = &config.metrics {
            metrics.check(|problem| problems.whole(problem));
        }
        problems.into_result(config)
    }
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
    /// Calls in hand at once of one service, where the directory says nothing else.
    pub service_calls_in_flight_max: usize,
    /// Calls of one service that wait for one of those to end, where the directory says nothing else.
    pub service_queue_max: usize,
    /// For how long they wait, where the directory says nothing else.
    pub service_wait_ms: u64,
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
    /// Pairs of consumer and service that metrics count apart; those beyond are counted together.
    pub counted_pairs_max: usize,
}

impl Limits {
    /// Each limit that must not be zero, and whether it is.
    fn zeros(&self) -> [(&'static str, bool); 13] {
        [
            ("message_bytes_max", self.message_bytes_max == 0),
            ("inflated_bytes_max", self.inflated_bytes_max == 0),
            ("held_bytes_max", self.held_bytes_max == 0),
            ("calls_in_flight_max", self.calls_in_flight_max == 0),
            ("calls_per_plug_max", self.calls_per_plug_max == 0),
            ("streams_per_connection_max", self.streams_per_connection_max == 0),
            ("service_calls_in_flight_max", self.service_calls_in_flight_max == 0),
            ("metadata_bytes_max", self.metadata_bytes_max == 0),
            ("unary_timeout_ms", self.unary_timeout_ms == 0),
            ("stream_timeout_ms", self.stream_timeout_ms == 0),
            ("stream_idle_ms", self.stream_idle_ms == 0),
            ("connection_age_ms", self.connection_age_ms == 0),
            ("counted_pairs_max", self.counted_pairs_max == 0),
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
            streams_per_connection_max: 2048,
            service_calls_in_flight_max: 512,
            service_queue_max: 256,
            service_wait_ms: 1_000,
            metadata_bytes_max: 16 << 10,
            unary_timeout_ms: 30_000,
            stream_timeout_ms: 3_600_000,
            stream_idle_ms: 300_000,
            connection_age_ms: 3_600_000,
            drain_timeout_ms: 10_000,
            plug_wait_ms: 3_000,
            counted_pairs_max: 4_096,
        }
    }
}
