//! Evidence: what the bus records of exchanges, before their answers leave it.
//!
//! One writer commits records in groups: while one commit syncs, the next group gathers, so that no
//! timer adds to the latency of an idle bus. Knows nothing of forwarding and of policy.

mod entry;
mod keys;
mod ledger;
mod store;
mod writer;

pub(crate) use entry::Decided;
pub use keys::KeysError;
pub(crate) use ledger::{Ended, Ledger, unavailable};
pub use store::{StoreError, StoredEntry, find};
pub use writer::EvidenceError;
pub(crate) use writer::{Evidence, Ticket, WriterThread};
