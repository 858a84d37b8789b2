//! `ura contract`: whether a new version of a contract breaks an old one, before the directory is asked.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use ura_proto::{
    breaking::{Break, breaking},
    contract::{Contract, ContractError},
};

/// What the command ends with where a file cannot be read; 1 says that something breaks.
const UNREADABLE: u8 = 2;

/// Look at contracts
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct ContractCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Check(CheckCommand),
}

/// Say everything by which a new version of a contract breaks an old one
///
/// The rules are those by which the gateway takes or refuses a directory with both versions: those of `buf breaking`,
/// categories WIRE and WIRE_JSON, and that no method and no service is taken away. Exit code 0: nothing breaks;
/// 1: something does; 2: a file cannot be read.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckCommand {
    /// The old version: a .proto file, or a descriptor set with all its imports
    old: PathBuf,
    /// The new version, likewise
    new: PathBuf,
    /// Where imports of both are looked for, besides the folder of each file; may be given several times
    #[arg(long = "proto-path", value_name = "DIR")]
    proto_paths: Vec<PathBuf>,
}

impl ContractCommand {
    /// Runs the action that was asked for.
    pub(crate) fn run(self) -> ExitCode {
        let Action::Check(command) = self.action;
        match command.breaks() {
            Ok(breaks) => {
                // A reader that has gone needs no more lines.
                drop(io::stdout().write_all(command.told(&breaks).as_bytes()));
                if breaks.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
            }
            Err(error) => {
                drop(writeln!(io::stderr(), "{error}"));
                ExitCode::from(UNREADABLE)
            }
        }
    }
}

impl CheckCommand {
    fn breaks(&self) -> Result<Vec<Break>, ContractError> {
        let read = |path: &Path| Contract::pool(path, &self.proto_paths).map(|(pool, _)| pool);
        Ok(breaking(&read(&self.old)?, &read(&self.new)?))
    }

    /// A line for each break, and one that sums up.
    fn told(&self, breaks: &[Break]) -> String {
        let (old, new) = (self.old.display(), self.new.display());
        let mut told: String = breaks.iter().map(|found| format!("{found}\n")).collect();
        told += &match breaks.len() {
            0 => format!("{new} keeps everything that {old} promises\n"),
            1 => format!("{new} breaks {old} in one thing\n"),
            several => format!("{new} breaks {old} in {several} things\n"),
        };
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(old: &str, new: &str) -> Result<String, String> {
        let dir = tempfile::tempdir().expect("temporary folder");
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, format!("syntax = \"proto3\"; package a.v1;\n{text}")).expect("written");
            path
        };
        let command = CheckCommand {
            old: write("old.proto", old),
            new: write("new.proto", new),
            proto_paths: Vec::new(),
        };
        let breaks = command.breaks().map_err(|error| error.to_string())?;
        let folder = format!("{}/", dir.path().display());
        Ok(command.told(&breaks).replace(&folder, ""))
    }

    #[test]
    fn each_break_has_a_line() {
        let old = "message Q { string id = 1; int32 count = 2; }";
        assert_eq!(
            told(old, "message Q { string id = 1; int32 count = 2; bool more = 3; }").expect("read"),
            "new.proto keeps everything that old.proto promises\n"
        );
        let found = told(old, "message Q {\n bytes id = 1; }").expect("read");
        let lines: Vec<&str> = found.lines().collect();
        assert_eq!(lines.len(), 4, "{found}");
        assert!(lines[0].starts_with("new.proto:2: a.v1.Q: field count = 2 is gone; keep it, or"), "{found}");
        assert_eq!(lines[3], "new.proto breaks old.proto in 3 things");
        let error = told(old, "message Q { strin id = 1 }").expect_err("no contract");
        assert!(error.contains("new.proto"), "{error}");
    }
}
