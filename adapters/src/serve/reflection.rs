//! Reflection, v1 and v1alpha, over the descriptor sets of all contracts.

use std::collections::HashMap;

use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use tonic::server::NamedService;
use tonic_reflection::server::Builder;

use super::parts::{Boxed, OWN_BYTES_MAX, Offer, PartsError};

/// Files that every compiler brings along, in whatever version.
const WELL_KNOWN: &str = "google/protobuf/";

/// The reflection services, each with the name it is served under.
pub(super) fn services(offers: &[Offer]) -> Result<[(String, Boxed); 2], PartsError> {
    check(offers)?;
    let undescribed = |error: tonic_reflection::server::Error| PartsError::Undescribed {
        contract: offers.iter().map(|offer| offer.contract.name()).collect::<Vec<_>>().join(", "),
        reason: error.to_string(),
    };
    let v1 = builder(offers).build_v1().map_err(undescribed)?.max_decoding_message_size(OWN_BYTES_MAX);
    let v1alpha =
        builder(offers).build_v1alpha().map_err(undescribed)?.max_decoding_message_size(OWN_BYTES_MAX);
    Ok([(name_of(&v1).to_owned(), Boxed::new(v1)), (name_of(&v1alpha).to_owned(), Boxed::new(v1alpha))])
}

fn name_of<S: NamedService>(_: &S) -> &'static str {
    S::NAME
}

/// Only contracts are advertised: what the library serves itself is no business of a directory.
fn builder(offers: &[Offer]) -> Builder<'_> {
    let builder = offers.iter().fold(Builder::configure(), |builder, offer| {
        builder
            .register_encoded_file_descriptor_set(&offer.descriptor_set)
            .with_service_name(offer.contract.name())
    });
    builder.register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// Refuses two different files of one name: reflection could show only one of them.
fn check(offers: &[Offer]) -> Result<(), PartsError> {
    let mut seen: HashMap<String, (FileDescriptorProto, &str)> = HashMap::new();
    for offer in offers {
        let contract = offer.contract.name();
        let set = FileDescriptorSet::decode(offer.descriptor_set.as_slice()).map_err(|error| {
            PartsError::Undescribed { contract: contract.to_owned(), reason: error.to_string() }
        })?;
        for file in set.file {
            let name = file.name().to_owned();
            match seen.get(&name) {
                None => {
                    seen.insert(name, (file, contract));
                }
                Some((first, _)) if name.starts_with(WELL_KNOWN) || same(first, &file) => {}
                Some((_, first)) => {
                    return Err(PartsError::FileConflict {
                        file: name,
                        first: (*first).to_owned(),
                        second: contract.to_owned(),
                    });
                }
            }
        }
    }
    Ok(())
}

/// Whether two files say the same; comments do not count.
fn same(one: &FileDescriptorProto, other: &FileDescriptorProto) -> bool {
    one.package == other.package
        && one.message_type == other.message_type
        && one.enum_type == other.enum_type
        && one.service == other.service
        && one.extension == other.extension
}
