//! Choosing among plugs: a plug that fails is left alone and comes back, a service that fails is shut for a
//! while, a slow one keeps its trouble to itself, and nothing is asked twice that must not be.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub)]

#[path = "choosing/apart.rs"]
mod apart;
#[path = "choosing/plugs.rs"]
mod plugs;
#[path = "choosing/register.rs"]
mod register;
#[path = "choosing/repeating.rs"]
mod repeating;
#[path = "choosing/rig.rs"]
mod rig;
mod world;
