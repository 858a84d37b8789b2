//! Contracts that the program brings along: those of the bus itself, which a gateway answers.

use std::path::PathBuf;

use prost::encoding::{WireType, encode_key, encode_varint};
use prost_reflect::{DescriptorPool, FileDescriptor};
use ura_proto::contract::{Contract, ContractError};

/// Package of the bus's own contracts, with the dot behind it.
const PACKAGE: &str = "ura.v1.";

/// Whether a contract, `package.Service`, is one of the bus itself.
pub(crate) fn is_of_the_bus(contract: &str) -> bool {
    contract.strip_prefix(PACKAGE).is_some_and(|service| !service.contains('.'))
}

/// A contract of the bus itself.
///
/// # Errors
/// [`ContractError::NoService`] where the program has none of that name.
pub(super) fn contract(name: &str) -> Result<Contract, ContractError> {
    let pool = DescriptorPool::decode(ura_proto::CONTRACTS).expect("the program's own contracts compile");
    let Some(service) = pool.get_service_by_name(name).filter(|_| is_of_the_bus(name)) else {
        let names = pool.services().map(|service| service.full_name().to_owned());
        return Err(ContractError::NoService {
            wanted: name.to_owned(),
            path: PathBuf::from("this program"),
            found: names.filter(|name| is_of_the_bus(name)).collect::<Vec<_>>().join(", "),
        });
    };
    let mut files = Vec::new();
    with_imports(&service.parent_file(), &mut files);
    let mut descriptor_set = Vec::new();
    for file in &files {
        // Field 1 of FileDescriptorSet. Encoded per file, so that annotations survive.
        let bytes = file.encode_to_vec();
        encode_key(1, WireType::LengthDelimited, &mut descriptor_set);
        encode_varint(bytes.len() as u64, &mut descriptor_set);
        descriptor_set.extend_from_slice(&bytes);
    }
    Ok(Contract { service, descriptor_set, paths: Vec::new() })
}

/// A file after everything it imports, each once.
fn with_imports(file: &FileDescriptor, files: &mut Vec<FileDescriptor>) {
    if files.iter().all(|known| known.name() != file.name()) {
        file.dependencies().for_each(|import| with_imports(&import, files));
        files.push(file.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bus_has_one_package() {
        for (name, own) in [
            ("ura.v1.SubjectAccessService", true),
            ("ura.v1.Anything", true),
            ("ura.v1.sub.Service", false),
            ("ura.v1", false),
            ("ura.v12.Service", false),
            ("ks.ura.v1.Service", false),
        ] {
            assert_eq!(is_of_the_bus(name), own, "{name}");
        }
    }

    #[test]
    fn its_contracts_come_with_their_imports_and_annotations() {
        let name = "ura.v1.SubjectAccessService";
        let found = contract(name).expect("the program has it");
        let pool = DescriptorPool::decode(found.descriptor_set.as_slice()).expect("complete");
        let files: Vec<_> = pool.files().map(|file| file.name().to_owned()).collect();
        assert!(files.iter().any(|file| file == "ura/v1/annotations.proto"), "{files:?}");
        assert!(files.iter().all(|file| !file.starts_with("ks/")), "{files:?}");
        let service = pool.get_service_by_name(name).expect("there");
        let title = pool.get_extension_by_name("ura.v1.service_title").expect("there");
        assert!(service.options().has_extension(&title));
        let told = contract("ura.v1.Absent").expect_err("no such service").to_string();
        assert!(told.contains(name) && !told.contains("ks."), "{told}");
        assert!(contract("ks.vehicles.v1.VehicleService").is_err(), "not of the bus");
    }
}
