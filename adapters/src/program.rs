//! An adapter as a process of its own: configuration, telemetry, signals, drain.
//!
//! Tells on standard error what is wrong before there is a log; must not know command lines.

use std::{io::Write as _, path::Path, process::ExitCode};

use ura_runtime::process;

use crate::{
    config::{Config, Link},
    run,
    serve::ServiceBuilder,
};

/// How much longer the process may take to leave than its calls, in milliseconds.
const LEAVING_SLACK_MS: u64 = 2_000;

/// Runs the adapter that a configuration declares, until SIGTERM or SIGINT.
#[must_use]
pub fn declared(config: Config) -> ExitCode {
    process(config, async |config, shutdown| run::run(config, shutdown).await)
}

/// Runs an adapter that is written in Rust, with the configuration of this file, until SIGTERM or SIGINT.
/// Its `contracts` and `[bridge]` are not read.
#[must_use]
pub fn written(config: &Path, services: ServiceBuilder) -> ExitCode {
    let config = match Config::load(config) {
        Ok(config) => config,
        Err(errors) => {
            // Telemetry is configured by this very file: there is no log yet.
            drop(writeln!(std::io::stderr(), "{errors}"));
            return ExitCode::FAILURE;
        }
    };
    process(config, async |config, shutdown| {
        run::serve(config, services, shutdown).await?.finished().await;
        Ok(())
    })
}

fn process<F>(mut config: Config, main: F) -> ExitCode
where
    F: AsyncFnOnce(Config, process::Shutdown) -> Result<(), run::StartError>,
{
    // Where it plugs in its gateway is its collector, unless it has one of its own.
    config.telemetry.relayed =
        config.telemetry.otlp_endpoint.is_none() && matches!(config.link, Link::Plug(_));
    let telemetry = config.telemetry.clone();
    let name = config.system.to_string();
    let limits = &config.limits;
    let drain_timeout_ms = limits.drain_notice_ms + limits.drain_timeout_ms + LEAVING_SLACK_MS;
    process::run(&telemetry, &name, drain_timeout_ms, async |shutdown| main(config, shutdown).await)
}
