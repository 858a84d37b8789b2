//! The adapter's configuration file: who it is, whom it plugs into, what it serves. TOML; every
//! mistake is reported, at its place.

use std::{
    fmt::Display,
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::Deserialize;
use ura_proto::SystemId;
use ura_runtime::{
    config::{self, ConfigErrors, Problems, Source, Spanned},
    telemetry::TelemetryConfig,
    tls::SpiffeId,
};

/// What an adapter needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The adapter's own id; its certificate must name the same.
    pub system: SystemId,
    /// Identity folder: `cert.pem`, `key.pem`, `ca.pem`.
    pub identity: PathBuf,
    /// The only peer that is spoken with.
    pub gateway_id: SpiffeId,
    /// Who dials whom.
    pub link: Link,
    /// Adapter files, one per contract.
    pub contracts: Vec<PathBuf>,
    /// Bounds of sizes and times.
    pub limits: Limits,
    /// Logs and traces.
    pub telemetry: TelemetryConfig,
}

/// Who dials whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// The adapter dials these gateways, `host:port` each, and serves on those connections.
    Plug(Vec<String>),
    /// The gateway dials the adapter here.
    Listen(SocketAddr),
}

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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    system: Spanned<String>,
    identity: String,
    gateway_id: Spanned<String>,
    gateways: Option<Spanned<Vec<Spanned<String>>>>,
    listen: Option<Spanned<String>>,
    contracts: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    limits: RawLimits,
    #[serde(default)]
    telemetry: TelemetryConfig,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawLimits {
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

impl Config {
    /// Reads and checks a configuration file; paths in it are relative to its folder.
    ///
    /// # Errors
    /// Everything that is wrong with the file, each with line and column.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        let document = config::read::<RawConfig>(path)?;
        check(document.value, &document.source)
    }

    /// Checks a text as if it had been read from `path`.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(path: &Path, text: String) -> Result<Self, ConfigErrors> {
        let document = config::parse::<RawConfig>(path, text)?;
        check(document.value, &document.source)
    }
}

fn check(raw: RawConfig, source: &Source) -> Result<Config, ConfigErrors> {
    let mut problems = source.problems();
    let system: Option<SystemId> = parsed(&raw.system, &mut problems);
    let gateway_id: Option<SpiffeId> = parsed(&raw.gateway_id, &mut problems);
    let link = link(raw.gateways, raw.listen, &mut problems);
    if raw.contracts.get_ref().is_empty() {
        let message = "there is no contract: name at least one adapter file";
        problems.at(raw.contracts.span(), message);
    }
    let contracts = raw.contracts.into_inner();
    let contracts = contracts.iter().map(|path| source.resolve(path.get_ref())).collect();
    let limits = raw.limits.check(&mut problems);
    let identity = source.resolve(&raw.identity);
    let (Some(system), Some(gateway_id), Some(link)) = (system, gateway_id, link) else {
        return problems
            .into_result(None)
            .and_then(|config| config.ok_or_else(|| ConfigErrors::new(source.path(), "it is incomplete")));
    };
    problems.into_result(Config {
        system,
        identity,
        gateway_id,
        link,
        contracts,
        limits,
        telemetry: raw.telemetry,
    })
}

fn parsed<T>(text: &Spanned<String>, problems: &mut Problems) -> Option<T>
where
    T: FromStr<Err: Display>,
{
    text.get_ref().parse().map_err(|error: T::Err| problems.at(text.span(), error.to_string())).ok()
}

fn link(
    gateways: Option<Spanned<Vec<Spanned<String>>>>,
    listen: Option<Spanned<String>>,
    problems: &mut Problems,
) -> Option<Link> {
    match (gateways, listen) {
        (Some(gateways), None) => {
            if gateways.get_ref().is_empty() {
                problems.at(gateways.span(), "there is no gateway in the list");
            }
            let gateways = gateways.into_inner();
            for gateway in &gateways {
                if !is_address(gateway.get_ref()) {
                    let message = format!("`{}` is not host:port", gateway.get_ref());
                    problems.at(gateway.span(), message);
                }
            }
            let gateways = gateways.into_iter().map(Spanned::into_inner);
            Some(Link::Plug(gateways.collect()))
        }
        (None, Some(listen)) => {
            let address = listen.get_ref().parse().map_err(|_| {
                let message = format!("`{}` is not ip:port", listen.get_ref());
                problems.at(listen.span(), message);
            });
            address.ok().map(Link::Listen)
        }
        (Some(_), Some(listen)) => {
            let message = "an adapter either plugs into `gateways` or has a port to `listen` on, not both";
            problems.at(listen.span(), message);
            None
        }
        (None, None) => {
            problems.whole("`gateways` is missing: where to plug in (or `listen`, where the gateway dials)");
            None
        }
    }
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

impl RawLimits {
    fn check(self, problems: &mut Problems) -> Limits {
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
fn bounded<T>(value: Option<Spanned<T>>, default: T, range: RangeInclusive<T>, problems: &mut Problems) -> T
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

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
system = "arc/civil-status"
identity = "pki/arc-civil-status"
gateway_id = "spiffe://td/ais/gateway"
gateways = ["127.0.0.1:7400", "gw.example:7400"]
contracts = ["a.toml", "/abs/b.toml"]
"#;

    fn parse(text: &str) -> Result<Config, Vec<String>> {
        Config::parse(Path::new("conf/adapter.toml"), text.to_owned())
            .map_err(|errors| errors.to_string().lines().map(str::to_owned).collect())
    }

    #[test]
    fn a_good_file_is_taken_with_its_defaults() {
        let config = parse(GOOD).expect("valid");
        assert_eq!(config.system.as_str(), "arc/civil-status");
        assert_eq!(config.identity, Path::new("conf/pki/arc-civil-status"));
        assert_eq!(config.contracts[0], Path::new("conf/a.toml"));
        assert_eq!(config.contracts[1], Path::new("/abs/b.toml"));
        assert_eq!(config.limits, Limits::default());
        assert!(matches!(config.link, Link::Plug(gateways) if gateways.len() == 2));

        let listens =
            GOOD.replace("gateways = [\"127.0.0.1:7400\", \"gw.example:7400\"]", "listen = \"[::1]:0\"");
        let config = parse(&listens).expect("valid");
        assert_eq!(config.link, Link::Listen("[::1]:0".parse().expect("valid")));
    }

    #[test]
    fn the_sample_names_the_defaults() {
        let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/adapter.toml");
        let config = Config::load(Path::new(sample)).expect("valid");
        assert_eq!(config.limits, Limits::default());
        assert_eq!(config.telemetry, TelemetryConfig::default());
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let errors = parse(
            r#"system = "arc"
identity = "pki"
gateway_id = "ais/gateway"
gateways = ["127.0.0.1", ":1"]
contracts = []
[limits]
connections = 0
streams_max = 5
drain_timeout_ms = 600001
"#,
        )
        .expect_err("seven mistakes");
        let places: Vec<&str> = errors
            .iter()
            .filter_map(|line| line.strip_prefix("conf/adapter.toml:")?.split(':').next())
            .collect();
        assert_eq!(places, ["1", "3", "4", "4", "5", "7", "9"], "{errors:#?}");
    }

    #[test]
    fn one_link_and_no_more() {
        let both = format!("listen = \"127.0.0.1:0\"{GOOD}");
        assert!(parse(&both).expect_err("both")[0].contains("not both"));
        let none = GOOD.replace("gateways", "gateway_list");
        let errors = parse(&none).expect_err("an unknown key");
        assert!(errors.iter().any(|line| line.contains("gateway_list")), "{errors:#?}");
    }
}
