//! `ura adapter run`: runs one adapter as a process.

use std::{io::Write, path::PathBuf, process::ExitCode};

use ura_adapters::{config::Config, program};

/// Plug an institution's register into the bus
#[derive(Debug, clap::Args)]
pub(crate) struct RunCommand {
    /// Configuration of the adapter, TOML; config/adapter.toml is a sample
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl RunCommand {
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
        program::declared(config)
    }
}
