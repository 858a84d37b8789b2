//! Adapters: what stands between a register and the bus.
//!
//! Two halves. A *declared* adapter ([`declared::Declared`], [`register::Register`]) turns calls of a contract into
//! SQL, REST or SOAP as an adapter file says. The *serving* half plugs any adapter into the bus.
//! Nothing of a particular country, institution or register is compiled in.

pub mod bridge;
mod caller;
pub mod config;
pub mod declared;
pub mod draft;
mod http;
pub mod identity;
pub mod listen;
mod mapper;
mod paging;
mod plan;
mod plug;
pub mod program;
pub mod register;
mod rest;
pub mod run;
pub mod schema;
mod secrets;
pub mod serve;
mod soap;
mod spans;
mod sql;
mod tree;
mod wsdl;
mod xml;

pub use caller::Caller;
