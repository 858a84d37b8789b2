//! What an exchange records of itself: its opening and its ledger. The log that they go to is the crate
//! `ura-evidence`; only what knows calls stands here. Knows nothing of forwarding and of policy.

mod change;
mod ledger;
mod opening;

pub(crate) use change::directory_change;
pub(crate) use ledger::{Adapter, Ended, Ledger, unavailable};
pub(crate) use opening::Decided;
