//! `ura gateway`: runs a gateway as a process, or checks its files.

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use ura_gateway::{Gateway, GatewayError, check_directory, config::GatewayConfig};
use ura_runtime::{clock::Clock, process, telemetry::TelemetryConfig};

/// How much longer the process may take to end than its connections, in milliseconds.
const LEAVING_SLACK_MS: u64 = 5_000;

/// Run a gateway
#[derive(Debug, clap::Args)]
pub(crate) struct GatewayCommand {
    /// Configuration of the gateway, TOML; config/gateway.toml is a sample
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Only check the configuration and the directory it names
    #[arg(long)]
    check: bool,
    /// Relieve the process that writes this gateway's log now: both serve until that one has drained
    #[arg(long, conflicts_with = "check")]
    take_over: bool,
}

impl GatewayCommand {
    /// Runs until SIGTERM or SIGINT.
    pub(crate) fn run(self) -> ExitCode {
        let mut config = match GatewayConfig::load(&self.config) {
            Ok(config) => config,
            Err(errors) => return refused(&errors),
        };
        if self.check {
            return match check_directory(&config.directory) {
                Ok(summary) => {
                    writeln!(std::io::stdout(), "{summary}").map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
                }
                Err(errors) => refused(&errors),
            };
        }
        config.take_over = self.take_over;
        // The gateway keeps its spans, and forwards them with those of its members.
        let telemetry = TelemetryConfig { relayed: true, ..config.telemetry.clone() };
        let drain_timeout_ms = config.limits.drain_timeout_ms + LEAVING_SLACK_MS;
        process::run(&telemetry, "gateway", drain_timeout_ms, async |shutdown| {
            let gateway = Gateway::start(config, Clock::system(), shutdown).await?;
            gateway.finished().await;
            Ok::<(), GatewayError>(())
        })
    }
}

/// Telemetry is configured by the very file that is wrong: there is no log yet.
fn refused(errors: &impl std::fmt::Display) -> ExitCode {
    // Where stderr is closed too, the exit code still tells.
    writeln!(std::io::stderr(), "{errors}").ok();
    ExitCode::FAILURE
}
