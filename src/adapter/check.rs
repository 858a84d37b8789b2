//! `ura adapter check`: reads adapter files and configurations as `run` would, and asks nobody.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use ura_adapters::{config::Config, declared::Declared};
use ura_runtime::config::ConfigErrors;

/// Check adapter files with their contracts, without a register and without the bus
///
/// Every mistake is told with its line, its column and what would be right; so are fields that nothing fills. The
/// exit code is 1 where there is a mistake; what is only a warning leaves it at 0.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckCommand {
    /// Adapter files; or an adapter's configuration, which is checked with all of its adapter files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl CheckCommand {
    /// Checks all files, whatever is wrong with one of them.
    pub(crate) fn run(self) -> ExitCode {
        let mut told = String::new();
        let mut wrong = 0;
        for file in &self.files {
            let checked = if is_configuration(file) { configuration(file) } else { adapter_file(file) };
            match checked {
                Ok(lines) => told.push_str(&lines),
                Err(errors) => {
                    wrong += errors.len();
                    told.push_str(&format!("{errors}\n"));
                }
            }
        }
        if wrong > 0 {
            told.push_str(&format!("{wrong} to mend\n"));
        }
        // A reader that has gone needs no more lines.
        drop(io::stdout().write_all(told.as_bytes()));
        if wrong > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// Whether the file is an adapter's configuration: it names its system, which no adapter file does.
fn is_configuration(path: &Path) -> bool {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.parse::<toml::Table>().is_ok_and(|table| table.contains_key("system"))
}

fn configuration(path: &Path) -> Result<String, ConfigErrors> {
    let config = Config::load(path)?;
    let mut told = format!(
        "{}: {} answers {}\n",
        path.display(),
        config.system,
        count(config.contracts.len(), "contract")
    );
    let mut errors: Option<ConfigErrors> = None;
    for file in &config.contracts {
        match adapter_file(file) {
            Ok(lines) => told.push_str(&lines),
            Err(more) => errors = Some(errors.map_or_else(|| more.clone(), |known| known.and(more.clone()))),
        }
    }
    errors.map_or(Ok(told), Err)
}

/// What there is to say of a file that is right.
fn adapter_file(path: &Path) -> Result<String, ConfigErrors> {
    let declared = Declared::load(path)?;
    let warnings: Vec<String> = declared.warnings().map(|warning| format!("warning: {warning}\n")).collect();
    let contract = declared.contract();
    Ok(format!(
        "{}{}: {}, {}: right\n",
        warnings.concat(),
        path.display(),
        contract.full_name(),
        count(contract.methods().len(), "method")
    ))
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
