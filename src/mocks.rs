//! `ura mocks`: runs the three mock registers and their control port as a process.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use ura_registry_mocks::{Mocks, MocksConfig, MocksError, Register};
use ura_runtime::{
    config::{self, ConfigErrors},
    process::{self, Shutdown},
    telemetry::TelemetryConfig,
};

/// Time to close connections and let go of the database, in milliseconds.
const DRAIN_TIMEOUT_MS: u64 = 5_000;

/// Run three mock registers: civil status (SQL), property tax (REST), vehicles (SOAP)
#[derive(Debug, clap::Args)]
pub(crate) struct MocksCommand {
    /// Configuration of the mocks, TOML; config/mocks.toml is a sample
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl MocksCommand {
    /// Runs until SIGTERM or SIGINT. Standard output gets one line per register, its name and its URL, when all are
    /// ready.
    pub(crate) fn run(self) -> ExitCode {
        let config = match load(&self.config) {
            Ok(config) => config,
            Err(errors) => {
                // There is no log yet.
                drop(writeln!(std::io::stderr(), "{errors}"));
                return ExitCode::FAILURE;
            }
        };
        let telemetry = TelemetryConfig::default();
        process::run(&telemetry, "mocks", DRAIN_TIMEOUT_MS, async |shutdown| serve(config, shutdown).await)
    }
}

fn load(path: &Path) -> Result<MocksConfig, ConfigErrors> {
    let document = config::read::<MocksConfig>(path)?;
    let mut problems = document.source.problems();
    for problem in document.value.problems() {
        problems.whole(problem);
    }
    let config = problems.into_result(document.value)?;
    Ok(config.relative_to(path.parent().unwrap_or(Path::new(""))))
}

async fn serve(config: MocksConfig, shutdown: Shutdown) -> Result<(), MocksError> {
    let mocks = Mocks::start(config, |line| tracing::info!("{line}")).await?;
    let mut lines = String::new();
    for register in Register::ALL {
        lines.push_str(&format!("{} {}\n", register.name(), mocks.controls().public_url(register)));
    }
    lines.push_str(&format!("control {}\n", mocks.control_url()));
    // Whoever started the mocks may have closed the pipe: they run all the same.
    drop(std::io::stdout().write_all(lines.as_bytes()));
    shutdown.draining().await;
    mocks.shutdown().await;
    Ok(())
}
