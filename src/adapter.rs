//! `ura adapter`: runs one adapter as a process.

use std::{io::Write, path::PathBuf, process::ExitCode};

use ura_adapters::{config::Config, run};
use ura_runtime::process;

/// How much longer the process may take to leave than its calls, in milliseconds.
const LEAVING_SLACK_MS: u64 = 2_000;

/// Plug an institution's register into the bus
#[derive(Debug, clap::Args)]
pub(crate) struct AdapterCommand {
    /// Configuration of the adapter, TOML; config/adapter.toml is a sample
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl AdapterCommand {
    /// Runs until SIGTERM or SIGINT.
    pub(crate) fn run(self) -> ExitCode {
        let config = match Config::load(&self.config) {
            Ok(config) => config,
            Err(errors) => {
                // Telemetry is configured by this very file: there is no log yet.
                drop(writeln!(std::io::stderr(), "{errors}"));
                return ExitCode::FAILURE;
            }
        };
        let telemetry = config.telemetry.clone();
        let name = config.system.to_string();
        let limits = &config.limits;
        let drain_timeout_ms = limits.drain_notice_ms + limits.drain_timeout_ms + LEAVING_SLACK_MS;
        process::run(&telemetry, &name, drain_timeout_ms, async |shutdown| {
            let adapter = run::start(config, shutdown).await?;
            adapter.finished().await;
            Ok::<(), run::StartError>(())
        })
    }
}
