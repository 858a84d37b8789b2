//! `ura adapter bridge`: plugs in a gRPC server that runs beside this process, unchanged.

use std::{io::Write, path::PathBuf, process::ExitCode};

use ura_adapters::{
    bridge::{Address, Bridge, Source},
    config::{Config, Link},
    program,
};
use ura_proto::SystemId;
use ura_runtime::{config::ConfigErrors, tls::SpiffeId};

/// Plug in a gRPC server that runs beside this process, in any language, unchanged
///
/// Its contracts come from its reflection, or from a file; its health from grpc.health.v1. Either all by flags, or with
/// --config a configuration as `ura adapter run` reads it: its table [bridge] knows more settings.
#[derive(Debug, clap::Args)]
pub(crate) struct BridgeCommand {
    /// The server: host:port, or https://host:port
    #[arg(long, value_name = "ADDRESS", required_unless_present = "config")]
    to: Option<Address>,
    /// Configuration of the adapter, TOML; flags go before its table [bridge]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    who: Who,
    /// Contract to plug in, package.Service; may be repeated; without: all that the server reflects
    #[arg(long = "contract", value_name = "NAME")]
    contracts: Vec<String>,
    /// Describes the contracts where the server has no reflection: a serialised FileDescriptorSet
    #[arg(long, value_name = "FILE", requires = "contracts")]
    descriptor_set: Option<PathBuf>,
    /// The same as a .proto file
    #[arg(long, value_name = "FILE", requires = "contracts", conflicts_with = "descriptor_set")]
    proto: Option<PathBuf>,
    /// Where imports of --proto are looked for, beside its own folder; may be repeated
    #[arg(long = "proto-path", value_name = "DIR", requires = "proto")]
    proto_paths: Vec<PathBuf>,
    /// Authorities of the server's certificate, PEM; for https
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// Who plugs in, and where.
#[derive(Debug, clap::Args)]
struct Who {
    /// The adapter's system, member/system
    #[arg(long, required_unless_present = "config", conflicts_with = "config")]
    system: Option<SystemId>,
    /// Identity folder with cert.pem, key.pem and ca.pem
    #[arg(long, value_name = "DIR", required_unless_present = "config", conflicts_with = "config")]
    identity: Option<PathBuf>,
    /// Gateway to plug into; may be repeated
    #[arg(
        long = "gateway",
        value_name = "HOST:PORT",
        required_unless_present = "config",
        conflicts_with = "config"
    )]
    gateways: Vec<String>,
    /// SPIFFE id of the gateways
    #[arg(long, value_name = "ID", required_unless_present = "config", conflicts_with = "config")]
    gateway_id: Option<SpiffeId>,
}

impl BridgeCommand {
    /// Runs until SIGTERM or SIGINT.
    pub(crate) fn run(self) -> ExitCode {
        match self.configuration() {
            Ok(config) => program::declared(config),
            Err(wrong) => {
                // Telemetry is configured by what could not be read: there is no log yet.
                drop(writeln!(std::io::stderr(), "{wrong}"));
                ExitCode::FAILURE
            }
        }
    }

    fn configuration(self) -> Result<Config, String> {
        let mut config = match (&self.config, self.who) {
            (Some(path), _) => Config::load(path).map_err(|errors: ConfigErrors| errors.to_string())?,
            (
                None,
                Who {
                    system: Some(system),
                    identity: Some(identity),
                    gateways,
                    gateway_id: Some(gateway_id),
                },
            ) => Config::new(system, identity, gateway_id, Link::Plug(gateways)),
            (None, _) => return Err("--system, --identity, --gateway and --gateway-id are needed".to_owned()),
        };
        let mut bridge = match (self.to, config.bridge.take()) {
            (Some(to), Some(bridge)) => Bridge { to, ..bridge },
            (Some(to), None) => Bridge::new(to),
            (None, Some(bridge)) => bridge,
            (None, None) => {
                return Err(
                    "the configuration has no table [bridge]: say with --to where the server is".to_owned()
                );
            }
        };
        if !self.contracts.is_empty() {
            bridge.contracts = self.contracts;
        }
        if let Some(path) = self.descriptor_set {
            bridge.source = Source::DescriptorSet(path);
        }
        if let Some(path) = self.proto {
            bridge.source = Source::Proto(path, self.proto_paths);
        }
        bridge.ca = self.ca.or(bridge.ca);
        config.bridge = Some(bridge);
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        command: BridgeCommand,
    }

    const WHO: &str =
        "--system a/b --identity pki --gateway g:1 --gateway g:2 --gateway-id spiffe://td/ais/gateway";

    fn read(line: &str) -> Result<Config, String> {
        let words = ["bridge"].into_iter().chain(line.split_whitespace());
        Line::try_parse_from(words).map_err(|error| error.to_string())?.command.configuration()
    }

    #[test]
    fn flags_are_a_configuration() {
        let config = read(&format!("--to 127.0.0.1:5 {WHO} --contract a.B --proto a.proto --proto-path p"))
            .expect("complete");
        let bridge = config.bridge.expect("a bridge");
        assert_eq!(bridge.to.host_port(), "127.0.0.1:5");
        assert_eq!(bridge.contracts, ["a.B"]);
        assert_eq!(bridge.source, Source::Proto("a.proto".into(), vec!["p".into()]));
        assert_eq!(config.link, Link::Plug(vec!["g:1".to_owned(), "g:2".to_owned()]));
    }

    #[test]
    fn what_is_missing_is_told() {
        for (line, told) in [
            ("--to 127.0.0.1:5", "--gateway-id"),
            (&format!("{WHO} --to localhost"), "host:port"),
            (&format!("{WHO} --to a:1 --descriptor-set a.binpb"), "--contract"),
            (&format!("{WHO} --to a:1 --config c.toml"), "cannot be used with"),
        ] {
            let error = read(line).expect_err(line);
            assert!(error.contains(told), "{line}: {error}");
        }
    }
}
