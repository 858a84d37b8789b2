//! The JSON Schema of adapter files, for editors. Says what shape a file has; what it means is checked by
//! [`crate::declared`].

/// The schema, JSON Schema 2020-12. Published as `config/adapter-file.schema.json`.
pub const TEXT: &str = include_str!("../../config/adapter-file.schema.json");
