//! `ura evidence`: what is recorded is found, proved, exported, checked; keys and logs are looked after.

mod announce;
mod export;
pub(crate) mod facts;
pub(crate) mod failure;
pub(crate) mod find;
mod held;
mod keeping;
mod keys;
mod logs;
pub(crate) mod place;
pub(crate) mod print;
mod progress;
mod proof;
mod prune;
mod receipt;
mod remote;
mod report;
mod single;
mod trust;
mod verify;
mod view;
mod witness;
mod witness_key;

use std::process::ExitCode;

pub(crate) use place::generation;

use failure::{Ended, Failure, exit_code};

/// Find, prove and check what is recorded
///
/// Exit code 0: it holds, was found or was done; 1: it does not hold, or nothing was found; 2: it could not be read, or
/// something on the command line is wrong.
#[derive(Debug, clap::Args)]
pub(crate) struct EvidenceCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Find(Box<find::Find>),
    Verify(Box<verify::Verify>),
    Receipt(Box<receipt::Receipt>),
    Prove(Box<proof::Prove>),
    Checkpoint(Box<proof::Checkpoint>),
    Export(Box<export::Export>),
    View(Box<view::View>),
    Witness(Box<witness::Witness>),
    WitnessKey(Box<witness_key::WitnessKey>),
    Logs(Box<logs::Logs>),
    Seal(Box<logs::Seal>),
    Prune(Box<prune::Prune>),
    RotateLogKey(Box<keys::RotateLogKey>),
    RotateEpochKey(Box<keys::RotateEpochKey>),
    DestroyEpochKey(Box<keys::DestroyEpochKey>),
}

impl EvidenceCommand {
    /// Runs it; see the exit codes above.
    pub(crate) fn run(self) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let ended = match runtime {
            Ok(runtime) => runtime.block_on(Box::pin(self.action.run())),
            Err(error) => Err(Failure::Content(format!("the runtime cannot start: {error}"))),
        };
        exit_code(ended)
    }
}

impl Action {
    async fn run(self) -> Ended {
        match self {
            Self::Find(command) => Box::pin(command.run()).await,
            Self::Verify(command) => Box::pin(command.run()).await,
            Self::Receipt(command) => Box::pin(command.run()).await,
            Self::Prove(command) => Box::pin(command.run()).await,
            Self::Checkpoint(command) => Box::pin(command.run()).await,
            Self::Export(command) => Box::pin(command.run()).await,
            Self::View(command) => Box::pin(command.run()).await,
            Self::Witness(command) => Box::pin(command.run()).await,
            Self::WitnessKey(command) => command.run(),
            Self::Logs(command) => Box::pin(command.run()).await,
            Self::Seal(command) => Box::pin(command.run()).await,
            Self::Prune(command) => Box::pin(command.run()).await,
            Self::RotateLogKey(command) => Box::pin(command.run()).await,
            Self::RotateEpochKey(command) => Box::pin(command.run()).await,
            Self::DestroyEpochKey(command) => Box::pin(command.run()).await,
        }
    }
}

#[cfg(test)]
mod tests;
