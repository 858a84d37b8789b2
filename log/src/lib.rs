//! The core of a verifiable log: an append-only Merkle tree, its proofs, its tiles and its signed
//! checkpoints, in the formats that other logs, witnesses and verifiers already read.
//!
//! Everything here is a pure function or a plain value: no input or output, no clock, and no randomness but
//! for making a key. What an entry means, where it is stored and who may read it are not known here.
//!
//! | module | specification |
//! |---|---|
//! | [`tree`] | RFC 9162 section 2.1.1: hashes of leaves, nodes and trees |
//! | [`proof`] | RFC 9162 sections 2.1.3 and 2.1.4: inclusion and consistency |
//! | [`tile`] | <https://c2sp.org/tlog-tiles>: how hashes and entries are grouped and named |
//! | [`note`] | <https://c2sp.org/signed-note>: text with signatures, and verifier keys |
//! | [`checkpoint`] | <https://c2sp.org/tlog-checkpoint>, <https://c2sp.org/tlog-cosignature> |
//! | [`proof_file`] | <https://c2sp.org/tlog-proof>: a proof that verifies offline, as one file |
//! | [`witness`] | <https://c2sp.org/tlog-witness>: what a log sends to be cosigned |

pub mod checkpoint;
pub mod note;
pub mod proof;
pub mod proof_file;
mod syntax;
pub mod tile;
pub mod tree;
pub mod witness;

pub use tree::Hash;

/// The most leaves a tree may have here: 2^63 - 1, what fits a signed 64-bit integer, since other
/// implementations count in those. A proof in such a tree has at most [`MAX_PROOF_HASHES`] hashes.
pub const MAX_TREE_LEAVES: u64 = (1 << 63) - 1;

/// The most hashes that a proof may have where it is read as text (<https://c2sp.org/tlog-witness>).
pub const MAX_PROOF_HASHES: usize = 63;
