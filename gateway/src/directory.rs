//! The directory: members, systems, contracts, services and grants, as one immutable snapshot.
//! Requests read the snapshot from memory; a new file is validated whole, then published whole.

pub(crate) mod contract;
mod file;
mod snapshot;
pub(crate) mod subject;
mod watch;

pub use file::check;
#[cfg(test)]
pub(crate) use snapshot::Purpose;
pub(crate) use snapshot::{Grant, Service, ServiceKey, Snapshot, System};
pub(crate) use watch::Directory;
