//! `ura`: one binary, a subcommand per role.

mod adapter;
mod call;
mod certs;
mod contract;
mod demo;
mod doctor;
mod evidence;
mod exchanges;
mod gateway;
mod mocks;
mod trace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Interoperability bus: one place where a services portal asks every institution's register, over
/// mutually authenticated gRPC, permitted by the register's owner and recorded.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Ura {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Run the whole bus on this machine: mock registers, adapters, gateway, and a portal that asks
    Demo(demo::DemoCommand),
    Doctor(doctor::DoctorCommand),
    /// Call a method of any contract through a gateway
    Call(Box<call::CallCommand>),
    /// Run a gateway
    Gateway(gateway::GatewayCommand),
    /// Make, check, try and run adapters
    Adapter(adapter::AdapterCommand),
    Contract(contract::ContractCommand),
    /// Run the mock registers
    Mocks(mocks::MocksCommand),
    Evidence(evidence::EvidenceCommand),
    Exchanges(Box<exchanges::ExchangesCommand>),
    Trace(trace::TraceCommand),
    /// Make and look at certificates
    Certs(certs::CertsCommand),
}

fn main() -> ExitCode {
    match Ura::parse().role {
        Role::Demo(command) => command.run(),
        Role::Doctor(command) => command.run(),
        Role::Call(command) => command.run(),
        Role::Gateway(command) => command.run(),
        Role::Adapter(command) => command.run(),
        Role::Contract(command) => command.run(),
        Role::Mocks(command) => command.run(),
        Role::Evidence(command) => command.run(),
        Role::Exchanges(command) => command.run(),
        Role::Trace(command) => command.run(),
        Role::Certs(command) => command.run(),
    }
}
