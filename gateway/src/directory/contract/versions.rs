//! Several approved versions of one contract: what an adapter may have, and what a newer one must keep. Knows no
//! directory file.

use std::path::PathBuf;

use prost_reflect::{DescriptorPool, ServiceDescriptor};
use ura_proto::{
    breaking::{Break, breaking},
    contract::ContractError,
};

use super::{Files, Shape};

/// An approved version of a contract that is not the newest.
#[derive(Debug)]
pub(crate) struct Older {
    /// What the directory calls it: its file.
    label: Box<str>,
    /// Serialised `google.protobuf.FileDescriptorSet`.
    pub(crate) descriptor_set: Vec<u8>,
    /// Files it was compiled from.
    pub(crate) paths: Vec<PathBuf>,
    shape: Shape,
}

impl Older {
    /// Compiles a version of the contract `name`.
    pub(crate) fn read(name: &str, label: &str, files: &Files<'_>) -> Result<Self, ContractError> {
        let compiled = files.compile(name)?;
        Ok(Self {
            label: label.into(),
            shape: Shape::of(&compiled.service),
            descriptor_set: compiled.descriptor_set,
            paths: compiled.paths,
        })
    }

    /// What the directory calls it.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }
}

/// Everything by which a version breaks one before it; both as descriptor sets of approved contracts.
pub(crate) fn breaks(before: &[u8], after: &[u8]) -> Vec<Break> {
    breaking(&pool(before), &pool(after))
}

/// Fields, by their full names, that say in `older` whom a message is about and that `newest` does not have: only
/// the newest version is read for evidence, and an adapter of the older one would still be asked by them.
pub(crate) fn lost_subjects(older: &[u8], newest: &[u8]) -> Vec<String> {
    let (older, newest) = (pool(older), pool(newest));
    let Some(subject) = older.get_extension_by_name("ura.v1.data_subject") else { return Vec::new() };
    let fields = older.all_messages().flat_map(|message| message.fields().collect::<Vec<_>>());
    let lost = fields.filter(|field| field.options().has_extension(&subject)).filter(|field| {
        let message = newest.get_message_by_name(field.parent_message().full_name());
        message.is_none_or(|message| message.get_field(field.number()).is_none())
    });
    lost.map(|field| field.full_name().to_owned()).collect()
}

/// The types of an approved version.
fn pool(descriptor_set: &[u8]) -> DescriptorPool {
    DescriptorPool::decode(descriptor_set).expect("it was written from a pool")
}

/// What an adapter's contract differs in from each of the versions, in words, as from the one that is nearest;
/// `None` where it is one of them.
pub(super) fn difference(newest: &Shape, older: &[Older], reflected: &ServiceDescriptor) -> Option<String> {
    let theirs = Shape::of(reflected);
    let versions =
        std::iter::once((None, newest)).chain(older.iter().rev().map(|o| (Some(&*o.label), &o.shape)));
    // Of equals the newer one: it comes first.
    let (label, shape) = versions.min_by_key(|(_, shape)| shape.differences(&theirs).count())?;
    let found = shape.differences(&theirs).next()?;
    Some(match (label, older) {
        (_, []) => format!("the contract differs from the approved one: {found}"),
        (None, _) => format!("the contract is none of the approved versions; the newest is nearest: {found}"),
        (Some(label), _) => {
            format!("the contract is none of the approved versions; the one of {label} is nearest: {found}")
        }
    })
}
