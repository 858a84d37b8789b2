//! Who asks a service on the bus's port, and in which language.

use tonic::{Extensions, Status, metadata::MetadataMap};
use ura_proto::{SystemId, metadata, refusal::Language};

use super::status;
use crate::directory::Snapshot;

/// The caller by its certificate, where the directory knows it.
///
/// # Errors
/// PERMISSION_DENIED, saying who can mend it.
pub(super) fn known(
    extensions: &Extensions,
    directory: &Snapshot,
    language: Language,
) -> Result<SystemId, Status> {
    let caller = extensions.get::<SystemId>();
    let caller = caller.ok_or_else(|| Status::internal("the connection did not say who asks"))?;
    if !directory.systems.contains_key(caller) {
        return Err(status::not_a_system(caller, language));
    }
    Ok(caller.clone())
}

/// The language that the caller reads.
pub(super) fn language(metadata: &MetadataMap) -> Language {
    let asked = metadata.get(metadata::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    asked.map_or_else(Language::default, Language::negotiate)
}
