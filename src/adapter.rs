//! `ura adapter`: from an institution's register to a contract that is answered on the bus.

mod bridge;
mod check;
mod new;
mod run;
mod r#try;

use std::{
    io::{self, Write},
    process::ExitCode,
};

/// Plug an institution's register into the bus: run its adapter
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct AdapterCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Bridge(Box<bridge::BridgeCommand>),
    New(Box<new::NewCommand>),
    Check(check::CheckCommand),
    Try(Box<r#try::TryCommand>),
    /// Run an adapter: plug in, or listen, and answer
    Run(run::RunCommand),
    /// Print the JSON Schema of adapter files, for editors
    Schema,
}

impl AdapterCommand {
    /// Runs the action that was asked for.
    pub(crate) fn run(self) -> ExitCode {
        match self.action {
            Action::New(command) => command.run(),
            Action::Bridge(command) => command.run(),
            Action::Check(command) => command.run(),
            Action::Try(command) => command.run(),
            Action::Run(command) => command.run(),
            Action::Schema => {
                // A reader that has gone needs no schema.
                drop(io::stdout().write_all(ura_adapters::schema::TEXT.as_bytes()));
                ExitCode::SUCCESS
            }
        }
    }
}
