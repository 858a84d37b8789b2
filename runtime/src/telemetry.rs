//! Logs to stderr, and spans to an OTLP collector where one is configured, or to whoever in this process
//! sends them on.
//!
//! Knows nothing of what is logged or traced. The exchange path asks [`tracing_enabled`] before it
//! builds anything for a span, and decides itself which traces are sampled: what it begins is exported.

pub mod relay;
pub mod split;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::{
    Resource,
    trace::{
        BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanExporter,
        TracerProviderBuilder,
    },
};
use serde::Deserialize;
use tracing_subscriber::EnvFilter;

/// Spans that wait for the exporter; more are dropped, and the SDK says how many when it stops.
const SPANS_WAITING_MAX: usize = 32_768;
/// Spans in one request to the collector.
const SPANS_PER_BATCH_MAX: usize = 512;
/// Longest time that a span waits for others to be sent with.
const SENT_EVERY: Duration = Duration::from_millis(500);

static INITIALISED: AtomicBool = AtomicBool::new(false);
static TRACING: AtomicBool = AtomicBool::new(false);

/// Form of the log lines.
#[derive(Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// What is logged and traced, and where to.
#[derive(Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// Form of the log lines, `text` or `json`; default `text`.
    pub log: LogFormat,
    /// Which log lines, in the syntax of tracing's `EnvFilter`; default `info`.
    pub log_filter: String,
    /// Address of an OTLP/gRPC collector, such as `http://127.0.0.1:4317`; default none. A gateway sends
    /// it the spans of everybody; an adapter its own, instead of to its gateway.
    pub otlp_endpoint: Option<String>,
    /// Share of traces that the gateway records, 0.0 to 1.0; default 0.01. What others record follows it.
    pub sample_ratio: f64,
    /// Spans go to [`relay::take`] and not to the endpoint. Not part of a file: the program decides it.
    #[serde(skip)]
    pub relayed: bool,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            log: LogFormat::Text,
            log_filter: "info".to_owned(),
            otlp_endpoint: None,
            sample_ratio: 0.01,
            relayed: false,
        }
    }
}

/// Why telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Called a second time in this process, or somebody else set a global subscriber.
    #[error("telemetry was already started in this process")]
    Twice,
    /// `log_filter` is not in the syntax of `EnvFilter`.
    #[error("log_filter `{filter}` cannot be read")]
    Filter {
        /// The configured text.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// `sample_ratio` is not between 0 and 1.
    #[error("sample_ratio is {0}, but must be from 0.0 to 1.0")]
    Ratio(f64),
    /// `otlp_endpoint` is set, but there is no tokio runtime to export on.
    #[error("otlp_endpoint is set, but telemetry was not started inside a tokio runtime")]
    NoRuntime,
    /// `otlp_endpoint` cannot be used.
    #[error("otlp_endpoint `{endpoint}` cannot be used")]
    Endpoint {
        /// The configured address.
        endpoint: String,
        /// What is wrong with it.
        #[source]
        source: opentelemetry_otlp::ExporterBuildError,
    },
}

/// Telemetry that runs; give it back to [`Telemetry::shutdown`] at the end.
#[derive(Debug)]
#[must_use = "spans that wait are lost unless shutdown is called"]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

/// Starts logging to stderr and, where `otlp_endpoint` is set, a global tracer provider. Once per
/// process; with an `otlp_endpoint` inside a multi-thread tokio runtime.
///
/// # Errors
/// See [`TelemetryError`]; after an error other than [`TelemetryError::Twice`] it may be called again.
pub fn init(config: &TelemetryConfig, service_name: &str) -> Result<Telemetry, TelemetryError> {
    if !(0.0..=1.0).contains(&config.sample_ratio) {
        return Err(TelemetryError::Ratio(config.sample_ratio));
    }
    let filter = EnvFilter::try_new(&config.log_filter)
        .map_err(|source| TelemetryError::Filter { filter: config.log_filter.clone(), source })?;
    let provider = match &config.otlp_endpoint {
        _ if config.relayed => Some(relay::provider()),
        Some(endpoint) => Some(provider(endpoint, service_name)?),
        None => None,
    };
    if INITIALISED.swap(true, Ordering::AcqRel) {
        return Err(TelemetryError::Twice);
    }
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log {
        LogFormat::Text => lines.with_ansi(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    }
    .map_err(|_| TelemetryError::Twice)?;
    if let Some(provider) = &provider {
        opentelemetry::global::set_tracer_provider(provider.clone());
        TRACING.store(true, Ordering::Release);
    }
    Ok(Telemetry { provider })
}

/// Whether spans are exported at all. One relaxed load: the exchange path asks this first.
#[must_use]
pub fn tracing_enabled() -> bool {
    TRACING.load(Ordering::Relaxed)
}

impl Telemetry {
    /// Sends the spans that wait and stops exporting. Blocks for at most the SDK's export timeout;
    /// call it outside async code, while the runtime still lives.
    pub fn shutdown(self) {
        TRACING.store(false, Ordering::Release);
        if let Some(Err(error)) = self.provider.map(|provider| provider.shutdown()) {
            tracing::warn!(%error, "the last spans may not have reached the collector");
        }
    }
}

fn provider(endpoint: &str, service_name: &str) -> Result<SdkTracerProvider, TelemetryError> {
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(TelemetryError::NoRuntime);
    }
    let resource = Resource::builder().with_service_name(service_name.to_owned()).build();
    let mut exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .map_err(|source| TelemetryError::Endpoint { endpoint: endpoint.to_owned(), source })?;
    exporter.set_resource(&resource);
    Ok(batching(exporter).with_resource(resource).build())
}

/// A provider whose spans go to this exporter in batches. It samples all: whoever begins a span has decided.
fn batching(exporter: impl SpanExporter + 'static) -> TracerProviderBuilder {
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(SPANS_WAITING_MAX)
        .with_max_export_batch_size(SPANS_PER_BATCH_MAX)
        .with_scheduled_delay(SENT_EVERY)
        .build();
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
    SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOn).with_span_processor(processor)
}

#[cfg(test)]
mod tests {
    use super::{LogFormat, TelemetryConfig, TelemetryError, init, tracing_enabled};

    #[test]
    fn defaults_are_quiet() {
        let config: TelemetryConfig = toml::from_str("").expect("every key has a default");
        assert_eq!(config, TelemetryConfig::default());
        assert_eq!(
            (config.log, config.log_filter.as_str(), config.sample_ratio),
            (LogFormat::Text, "info", 0.01)
        );
        assert!(!tracing_enabled());
    }

    #[test]
    fn settings_that_make_no_sense_are_refused_before_anything_starts() {
        let refused = |config: TelemetryConfig| init(&config, "test").expect_err("refused");
        for ratio in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            let error = refused(TelemetryConfig { sample_ratio: ratio, ..TelemetryConfig::default() });
            assert!(matches!(error, TelemetryError::Ratio(_)), "{ratio}");
        }
        let error = refused(TelemetryConfig { log_filter: "a=b=c".to_owned(), ..TelemetryConfig::default() });
        assert!(matches!(error, TelemetryError::Filter { .. }));
        let error = refused(TelemetryConfig {
            otlp_endpoint: Some("http://127.0.0.1:1".to_owned()),
            ..TelemetryConfig::default()
        });
        assert!(matches!(error, TelemetryError::NoRuntime));
    }
}
