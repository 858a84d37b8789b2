//! The pure mapper: a request to parameters, a register's tree to a reply.
//!
//! No input, no output, no clock: what a mapping gives depends on its arguments only.

pub(crate) mod dates;
pub(crate) mod decimal;
pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod scalar;
