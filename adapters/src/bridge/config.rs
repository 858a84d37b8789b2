//! The table `[bridge]` of the adapter's configuration.

use std::path::PathBuf;

use serde::Deserialize;
use ura_runtime::config::{self, Problems, Spanned};

use super::Address;
use crate::config::bounded;

/// What a bridge needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// Where the server listens.
    pub to: Address,
    /// Authorities of the server's certificate, PEM; needed where it has TLS.
    pub ca: Option<PathBuf>,
    /// Contracts to plug in; none: all that the server reflects.
    pub contracts: Vec<String>,
    /// Where the contracts are described.
    pub source: Source,
    /// Connections to the server, 1 to 16; default 2.
    pub connections: usize,
    /// Time between two questions for the server's health, 50 ms to 60 s; default 1 s.
    pub health_interval_ms: u64,
    /// Longest wait for an answer to one, 10 ms to 60 s; default 2 s.
    pub health_timeout_ms: u64,
}

/// Where a server's contracts are described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// By the server itself: `grpc.reflection.v1`, or `v1alpha`.
    Reflection,
    /// In a serialised `google.protobuf.FileDescriptorSet`.
    DescriptorSet(PathBuf),
    /// In a `.proto` file, whose imports are looked for in these folders and beside it.
    Proto(PathBuf, Vec<PathBuf>),
}

impl Bridge {
    /// A bridge to this server, with the defaults.
    #[must_use]
    pub fn new(to: Address) -> Self {
        Self {
            to,
            ca: None,
            contracts: Vec::new(),
            source: Source::Reflection,
            connections: 2,
            health_interval_ms: 1_000,
            health_timeout_ms: 2_000,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawBridge {
    to: Spanned<String>,
    ca: Option<Spanned<String>>,
    #[serde(default)]
    contracts: Vec<Spanned<String>>,
    descriptor_set: Option<Spanned<String>>,
    proto: Option<Spanned<String>>,
    proto_paths: Option<Spanned<Vec<String>>>,
    connections: Option<Spanned<usize>>,
    health_interval_ms: Option<Spanned<u64>>,
    health_timeout_ms: Option<Spanned<u64>>,
}

impl RawBridge {
    /// The table, checked; paths are relative to the file's folder.
    pub(crate) fn check(self, file: &config::Source, problems: &mut Problems) -> Option<Bridge> {
        let to: Result<Address, _> = self.to.get_ref().parse();
        match (&to, &self.ca) {
            (Err(error), _) => problems.at(self.to.span(), error.to_string()),
            (Ok(to), None) if to.is_tls() => {
                let message = "a server with TLS needs `ca`: the authorities of its certificate, PEM";
                problems.at(self.to.span(), message);
            }
            (Ok(to), Some(ca)) if !to.is_tls() => {
                problems.at(ca.span(), "`ca` is for a server with TLS: write `to` as https://host:port");
            }
            (Ok(_), _) => {}
        }
        let paths = self.proto_paths.as_ref();
        if let (Some(paths), None) = (paths, &self.proto) {
            problems.at(paths.span(), "`proto_paths` goes with `proto`");
        }
        let source = match (&self.descriptor_set, &self.proto) {
            (None, None) => Source::Reflection,
            (Some(set), None) => Source::DescriptorSet(file.resolve(set.get_ref())),
            (None, Some(proto)) => {
                let roots = paths.map(|paths| paths.get_ref().as_slice()).unwrap_or_default();
                let roots = roots.iter().map(|root| file.resolve(root)).collect();
                Source::Proto(file.resolve(proto.get_ref()), roots)
            }
            (Some(_), Some(proto)) => {
                problems.at(proto.span(), "contracts are described by `descriptor_set` or `proto`, not both");
                Source::Reflection
            }
        };
        if source != Source::Reflection && self.contracts.is_empty() {
            problems.at(self.to.span(), "a file describes the contracts: name those to plug in, `contracts`");
        }
        let default = Bridge::new(to.ok()?);
        Some(Bridge {
            ca: self.ca.map(|path| file.resolve(path.get_ref())),
            contracts: self.contracts.into_iter().map(Spanned::into_inner).collect(),
            source,
            connections: bounded(self.connections, default.connections, 1..=16, problems),
            health_interval_ms: bounded(
                self.health_interval_ms,
                default.health_interval_ms,
                50..=60_000,
                problems,
            ),
            health_timeout_ms: bounded(
                self.health_timeout_ms,
                default.health_timeout_ms,
                10..=60_000,
                problems,
            ),
            to: default.to,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    const WHO: &str = "system = \"a/b\"\nidentity = \"pki\"\ngateway_id = \"spiffe://td/ais/gateway\"\ngateways = [\"g:1\"]\n[bridge]\n";

    fn parse(table: &str) -> Result<Config, String> {
        let text = format!("{WHO}{table}");
        Config::parse(Path::new("conf/adapter.toml"), text).map_err(|errors| errors.to_string())
    }

    #[test]
    fn a_table_is_taken_with_its_defaults() {
        let bridge = parse("to = \"localhost:50051\"").expect("valid").bridge.expect("a bridge");
        assert_eq!(bridge, Bridge::new("localhost:50051".parse().expect("valid")));
        let all = "to = \"https://localhost:1\"\nca = \"ca.pem\"\ncontracts = [\"a.B\"]\nproto = \"a.proto\"\n\
                   proto_paths = [\"p\"]\nconnections = 4\nhealth_interval_ms = 50\nhealth_timeout_ms = 10\n";
        let bridge = parse(all).expect("valid").bridge.expect("a bridge");
        assert_eq!(bridge.ca.as_deref(), Some(Path::new("conf/ca.pem")));
        assert_eq!(bridge.source, Source::Proto("conf/a.proto".into(), vec!["conf/p".into()]));
        assert_eq!((bridge.connections, bridge.health_interval_ms, bridge.health_timeout_ms), (4, 50, 10));
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (table, told) in [
            ("to = \"localhost\"", "6:6: `localhost` is not the address"),
            ("to = \"https://a:1\"", "6:6: a server with TLS needs `ca`"),
            ("to = \"a:1\"\nca = \"x\"", "7:6: `ca` is for a server with TLS"),
            ("to = \"a:1\"\nproto_paths = [\"p\"]", "7:15: `proto_paths` goes with `proto`"),
            ("to = \"a:1\"\nproto = \"a\"", "6:6: a file describes the contracts"),
            (
                "to = \"a:1\"\ncontracts = [\"a.B\"]\nproto = \"a\"\ndescriptor_set = \"b\"",
                "8:9: contracts are described by",
            ),
            ("to = \"a:1\"\nconnections = 17", "7:15: 17 is not within 1 to 16"),
            ("to = \"a:1\"\nhealth_timeout_ms = 9", "7:21: 9 is not within 10 to 60000"),
            ("", "to"),
        ] {
            let errors = parse(table).expect_err(table);
            assert!(errors.contains(told), "{table}: {errors}");
        }
    }
}
