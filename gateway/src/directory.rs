//! The directory: members, systems, contracts, services and grants, as one immutable snapshot.
//! Requests read the snapshot from memory; a new file is validated whole, then published whole.

pub(crate) mod contract;
mod file;
mod grant;
mod outline;
mod snapshot;
pub(crate) mod subject;
mod titles;
mod watch;

pub use file::check;
#[cfg(test)]
pub(crate) use grant::Disclosure;
pub(crate) use grant::Grant;
pub use outline::Outline;
#[cfg(test)]
pub(crate) use snapshot::Purpose;
pub(crate) use snapshot::{Service, ServiceKey, Snapshot, System};
#[cfg(test)]
pub(crate) use titles::Titles;
pub(crate) use watch::{Change, Directory};
