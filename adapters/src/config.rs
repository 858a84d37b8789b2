//! The adapter's configuration file: who it is, whom it plugs into, what it serves. TOML; every
//! mistake is reported, at its place.

mod limits;
mod proxy;

use std::{
    fmt::Display,
    net::SocketAddr,
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

use crate::bridge::{Bridge, RawBridge};
pub use limits::Limits;
use limits::RawLimits;
pub(crate) use limits::bounded;
use proxy::RawProxy;
pub use proxy::{Proxy, ProxyUser};

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
    /// Where the gateways are reached through a proxy.
    pub proxy: Option<Proxy>,
    /// Adapter files, one per contract. Adapters written in Rust have none.
    pub contracts: Vec<PathBuf>,
    /// A server beside the adapter whose contracts are plugged in too.
    pub bridge: Option<Bridge>,
    /// Bounds of sizes and times.
    pub limits: Limits,
    /// Logs and traces.
    pub telemetry: TelemetryConfig,
}

/// Who dials whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// The adapter dials these gateways, `host:port` each, and those that they tell it of, and serves on
    /// the connections.
    Plug(Vec<String>),
    /// The gateway dials the adapter here.
    Listen(SocketAddr),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    system: Spanned<String>,
    identity: String,
    gateway_id: Spanned<String>,
    gateways: Option<Spanned<Vec<Spanned<String>>>>,
    listen: Option<Spanned<String>>,
    proxy: Option<Spanned<String>>,
    proxy_user: Option<Spanned<String>>,
    proxy_password_file: Option<Spanned<String>>,
    contracts: Option<Spanned<Vec<Spanned<String>>>>,
    bridge: Option<RawBridge>,
    #[serde(default)]
    limits: RawLimits,
    #[serde(default)]
    telemetry: TelemetryConfig,
}

impl Config {
    /// An adapter of this system with the defaults of all else, and without contracts.
    #[must_use]
    pub fn new(system: SystemId, identity: PathBuf, gateway_id: SpiffeId, link: Link) -> Self {
        Self {
            system,
            identity,
            gateway_id,
            link,
            proxy: None,
            contracts: Vec::new(),
            bridge: None,
            limits: Limits::default(),
            telemetry: TelemetryConfig::default(),
        }
    }

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
    if let (Some(_), Some(url)) = (&raw.listen, &raw.proxy) {
        problems.at(url.span(), "an adapter that listens reaches nobody through a proxy");
    }
    let proxy = RawProxy { url: raw.proxy, user: raw.proxy_user, password_file: raw.proxy_password_file };
    let proxy = proxy.check(source, &mut problems);
    let link = link(raw.gateways, raw.listen, &mut problems);
    if let Some(contracts) = raw.contracts.as_ref().filter(|contracts| contracts.get_ref().is_empty()) {
        let message = "there is no contract: name at least one adapter file";
        problems.at(contracts.span(), message);
    }
    let contracts = raw.contracts.map(Spanned::into_inner).unwrap_or_default();
    let contracts = contracts.iter().map(|path| source.resolve(path.get_ref())).collect();
    let bridge = raw.bridge.and_then(|bridge| bridge.check(source, &mut problems));
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
        proxy,
        contracts,
        bridge,
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

/// Whether a text is `host:port`.
pub(crate) fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
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
    fn a_proxy_and_who_may_use_it() {
        let with = |lines: &str| parse(&format!("{lines}\n{GOOD}"));
        let user = "proxy_user = \"arc\"";
        let all = format!("proxy = \"http://proxy:3128\"\n{user}\nproxy_password_file = \"secrets/proxy\"");
        let proxy = with(&all).expect("valid").proxy.expect("a proxy");
        let user_of = ProxyUser { name: "arc".into(), password_file: "conf/secrets/proxy".into() };
        assert_eq!(proxy, Proxy { address: "proxy:3128".into(), user: Some(user_of) });
        for (lines, expected) in [
            (user.to_owned(), "go together"),
            (all.replace("\"arc\"", "\"a:c\""), "colon"),
            (all.replace("proxy = \"http://proxy:3128\"", ""), "`proxy` is not"),
            (all.replace("http://proxy:3128", "proxy"), "http://host:port"),
        ] {
            let errors = with(&lines).expect_err(expected);
            assert!(errors.iter().any(|line| line.contains(expected)), "{errors:#?}");
        }
        let listens =
            GOOD.replace("gateways = [\"127.0.0.1:7400\", \"gw.example:7400\"]", "listen = \"[::1]:0\"");
        let errors = parse(&format!("proxy = \"http://proxy:3128\"\n{listens}")).expect_err("listens");
        assert!(errors[0].contains("listens"), "{errors:#?}");
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
