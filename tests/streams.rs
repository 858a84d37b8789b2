//! Streams and faults on the way: what happens to a call when peers misbehave or vanish.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub)]

#[path = "streams/bulk.rs"]
mod bulk;
#[path = "streams/cancel.rs"]
mod cancel;
#[path = "streams/deadline.rs"]
mod deadline;
#[path = "streams/drain.rs"]
mod drain;
#[path = "streams/durable.rs"]
mod durable;
#[path = "streams/hops.rs"]
mod hops;
#[path = "streams/plugs.rs"]
mod plugs;
#[path = "streams/reply.rs"]
mod reply;
#[path = "streams/rig.rs"]
mod rig;
#[path = "streams/slow.rs"]
mod slow;
#[path = "streams/upload.rs"]
mod upload;
#[path = "streams/vanish.rs"]
mod vanish;
mod world;
