//! The contracts and the names on the wire.
//!
//! Everything that two programs must agree on stands here: the protobuf files, the types generated
//! from the bus's own ones, system ids, metadata keys and refusal reasons. This crate imports
//! nothing of the project; it reads contracts, from files or by reflection, and does no other input or
//! output.

pub mod breaking;
pub mod contract;
mod ids;
pub mod metadata;
pub mod reflection;
pub mod refusal;
pub mod timeout;

pub use ids::{ExchangeId, IdError, SystemId};

/// Types of `ura/v1`, generated; the `.proto` files are their documentation.
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/ura.v1.rs"));
}

/// Every contract of this repository as one serialised `google.protobuf.FileDescriptorSet`, imports
/// and comments included.
pub const CONTRACTS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/contracts.binpb"));

/// The `.proto` files that a contract may import without bringing them along: path as in an
/// `import` line, and text.
pub const IMPORTS: [(&str, &str); 2] = [
    ("ura/v1/annotations.proto", include_str!("../ura/v1/annotations.proto")),
    ("google/type/date.proto", include_str!("../google/type/date.proto")),
];

/// The register contracts of this repository: path as in an `import` line, and text.
pub const REGISTER_CONTRACTS: [(&str, &str); 3] = [
    ("ks/civilstatus/v1/civil_status.proto", include_str!("../ks/civilstatus/v1/civil_status.proto")),
    ("ks/tax/v1/property_tax.proto", include_str!("../ks/tax/v1/property_tax.proto")),
    ("ks/vehicles/v1/vehicles.proto", include_str!("../ks/vehicles/v1/vehicles.proto")),
];
