//! `ura doctor`: looks at a gateway or an adapter from the outside in, and says what to do. Reads the files that the
//! role reads, and asks the running gateway as any member may; changes nothing.

mod adapter;
mod asked;
mod certificates;
mod clock;
mod disk;
mod evidence;
mod finding;
mod gateway;

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use ura_adapters::config::{Config, Link};
use ura_runtime::clock::Clock;

use finding::{Finding, Report, exit_code, json, text, worst};

/// Check a gateway or an adapter, and say what to do
///
/// One line for each check: ok, warning or problem, and what to do. Nothing is changed. Exit code 0: all is well;
/// 1: warnings; 2: problems.
#[derive(Debug, clap::Args)]
pub(crate) struct DoctorCommand {
    /// Configuration of a gateway or of an adapter; may stand several times
    #[arg(long, value_name = "FILE", required_unless_present = "dir")]
    config: Vec<PathBuf>,
    /// Folder of a demo (`ura demo --dir`): its gateway and all its adapters
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
    /// JSON, one object
    #[arg(long)]
    json: bool,
}

/// What no configuration says.
#[derive(Debug, Default, clap::Args)]
struct Options {
    /// Where the gateway of a gateway's configuration is asked, instead of where it listens
    #[arg(long, value_name = "HOST:PORT")]
    gateway: Option<String>,
    /// File into which the last `ura evidence verify` wrote
    #[arg(long, value_name = "FILE")]
    verified: Option<PathBuf>,
}

impl DoctorCommand {
    /// Checks, prints, and ends with the worst.
    pub(crate) fn run(mut self) -> ExitCode {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                // A closed stderr leaves nobody to tell.
                drop(writeln!(io::stderr(), "the runtime cannot start: {error}"));
                return ExitCode::from(2);
            }
        };
        if let Some(dir) = self.dir.take() {
            self.of_demo(&dir);
        }
        let clock = Clock::system();
        let mut reports = Vec::new();
        for file in &self.config {
            let checked = Box::pin(check(file, &self.options, &clock));
            reports.push(runtime.block_on(checked));
        }
        let told = if self.json { json(&reports) } else { text(&reports) };
        // A reader that has gone needs no more lines; the exit code still tells.
        drop(io::stdout().write_all(told.as_bytes()));
        ExitCode::from(exit_code(worst(&reports)))
    }

    /// The configurations of a demo. Its gateway may have left the port to the system: the adapters know it.
    fn of_demo(&mut self, dir: &Path) {
        let folder = dir.join("config");
        self.config = vec![folder.join("gateway.toml")];
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut adapters: Vec<_> =
            entries.map(|entry| entry.path()).filter(|path| is_adapter(path)).collect();
        adapters.sort();
        let told =
            adapters.iter().filter_map(|path| Config::load(path).ok()).find_map(|config| match config.link {
                Link::Plug(gateways) => gateways.into_iter().next(),
                Link::Listen(_) => None,
            });
        self.options.gateway = self.options.gateway.take().or(told);
        self.config.extend(adapters);
    }
}

/// Everything about one configuration.
async fn check(file: &Path, options: &Options, clock: &Clock) -> Report {
    let mut report = Report { file: file.display().to_string(), findings: Vec::new() };
    match std::fs::read_to_string(file) {
        Err(error) => {
            let what = format!("{} cannot be read: {error}", file.display());
            report.add(Finding::problem(
                "configuration",
                what,
                "name the file that the role is started with",
            ));
        }
        Ok(_) if is_adapter(file) => adapter::check(file, clock, &mut report).await,
        Ok(_) => gateway::check(file, options, clock, &mut report).await,
    }
    report
}

/// Whether the file is an adapter's configuration: it names whom it plugs into, which no other file does.
fn is_adapter(path: &Path) -> bool {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.parse::<toml::Table>().is_ok_and(|table| table.contains_key("gateway_id"))
}
