//! Evidence that proves itself: logs as they are written verify, and whatever is changed in a store or an
//! export is found, and its place named.

#[path = "verify/clean.rs"]
mod clean;
#[path = "verify/export.rs"]
mod export;
#[path = "verify/store.rs"]
mod store;
#[path = "verify/world.rs"]
mod world;
