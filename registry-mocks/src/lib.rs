//! Mock registers for demonstrations and tests: civil status in a SQL database, property tax behind
//! REST, vehicles behind SOAP, all three about the same synthetic people.
//!
//! Each speaks its institution's own old format, described in `docs/mocks.md`. This crate knows no
//! gRPC, no contract and no bus.

mod civil_status;
mod config;
mod control;
mod error;
mod fault;
mod http;
mod mocks;
mod names;
mod number;
mod people;
mod places;
pub mod population;
mod property_tax;
mod request_log;
mod rng;
mod vehicles;

pub use self::{
    config::{CivilStatusConfig, MocksConfig, PEOPLE_MAX, PropertyTaxConfig, VehiclesConfig},
    error::MocksError,
    fault::{Fault, Register},
    mocks::{Controls, Mocks},
    people::People,
    places::Municipality,
    request_log::{LoggedRequest, RequestState},
};

/// Whether the birth certificate document of the person at this position carries a scan of the book's page.
pub(crate) fn has_scan(id: population::PersonId) -> bool {
    id.is_multiple_of(50)
}
