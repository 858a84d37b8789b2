//! An adapter against a gateway made for the test: real TLS, real HTTP/2, on loopback.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod calls;
mod files;
mod gateway;
mod life;
mod parts;
mod pki;
mod world;
