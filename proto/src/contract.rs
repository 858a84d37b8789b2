//! Compiling contracts from `.proto` files or descriptor sets, without a system `protoc`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use prost_reflect::{DescriptorPool, FileDescriptor, ServiceDescriptor};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver};

use crate::IMPORTS;

/// Largest descriptor set that is read, in bytes.
const DESCRIPTOR_BYTES_MAX: u64 = 16 << 20;

/// Why a contract cannot be compiled. The text names file, line and column where there are any.
#[derive(Debug, thiserror::Error)]
pub enum ContractError {
    /// The `.proto` file or one of its imports is wrong or not found.
    #[error("{0}")]
    Proto(String),
    /// The descriptor set cannot be read.
    #[error("{path}: {problem}")]
    DescriptorSet {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The files do not define the service.
    #[error("no service {wanted} in {path}; it defines: {found}")]
    NoService {
        /// The service that was to be there.
        wanted: String,
        /// Where.
        path: PathBuf,
        /// Those that are.
        found: String,
    },
}

/// A compiled contract.
#[derive(Clone, Debug)]
pub struct Contract {
    /// The service.
    pub service: ServiceDescriptor,
    /// The files that define it, imports first, as a serialised `google.protobuf.FileDescriptorSet`.
    pub descriptor_set: Vec<u8>,
    /// Every file that was read from disk.
    pub paths: Vec<PathBuf>,
}

/// The files a contract may import without bringing them along.
struct BuiltIn;

impl FileResolver for BuiltIn {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        IMPORTS.iter().find(|(path, _)| *path == name).map_or_else(
            || Err(protox::Error::file_not_found(name)),
            |(path, text)| File::from_source(path, text),
        )
    }
}

impl Contract {
    /// Compiles `proto`; imports are looked for in `roots`, then beside the file. The bus's own
    /// annotations and `google/type/date.proto` are built in and cannot be replaced.
    ///
    /// # Errors
    /// [`ContractError`], with the place in the file.
    pub fn from_proto(service: &str, proto: &Path, roots: &[PathBuf]) -> Result<Self, ContractError> {
        let (pool, paths) = compile(proto, roots)?;
        Self::find(service, pool, proto, paths)
    }

    /// Every type of a file and its imports, whatever services it has, and the files that were read: a `.proto`
    /// file, or else a serialised `google.protobuf.FileDescriptorSet`.
    ///
    /// # Errors
    /// As those of [`Self::from_proto`] and [`Self::from_descriptor_set`].
    pub fn pool(path: &Path, roots: &[PathBuf]) -> Result<(DescriptorPool, Vec<PathBuf>), ContractError> {
        if path.extension().is_some_and(|extension| extension == "proto") {
            return compile(path, roots);
        }
        Ok((decode(path)?, vec![path.to_path_buf()]))
    }

    /// Reads a serialised `google.protobuf.FileDescriptorSet`.
    ///
    /// # Errors
    /// [`ContractError`] where the file cannot be read, is above 16 MiB or lacks the service.
    pub fn from_descriptor_set(service: &str, path: &Path) -> Result<Self, ContractError> {
        Self::find(service, decode(path)?, path, vec![path.to_path_buf()])
    }

    /// Picks the service out of a pool, with the files it needs.
    fn find(
        service: &str,
        pool: DescriptorPool,
        path: &Path,
        paths: Vec<PathBuf>,
    ) -> Result<Self, ContractError> {
        let Some(found) = pool.get_service_by_name(service) else {
            let names: Vec<_> = pool.services().map(|s| s.full_name().to_owned()).collect();
            return Err(ContractError::NoService {
                wanted: service.to_owned(),
                path: path.to_path_buf(),
                found: if names.is_empty() { "no service at all".to_owned() } else { names.join(", ") },
            });
        };
        let mut needed = Vec::new();
        with_imports(&found.parent_file(), &mut needed);
        let mut descriptor_set = Vec::new();
        for file in &needed {
            // Field 1 of FileDescriptorSet: length-delimited. Encoded per file, so that custom options survive.
            let bytes = file.encode_to_vec();
            prost::encoding::encode_key(1, prost::encoding::WireType::LengthDelimited, &mut descriptor_set);
            prost::encoding::encode_varint(bytes.len() as u64, &mut descriptor_set);
            descriptor_set.extend_from_slice(&bytes);
        }
        Ok(Self { service: found, descriptor_set, paths })
    }
}

/// Compiles a `.proto` file; see [`Contract::from_proto`].
fn compile(proto: &Path, roots: &[PathBuf]) -> Result<(DescriptorPool, Vec<PathBuf>), ContractError> {
    let beside = proto.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    let canonical = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let target = canonical(proto);
    let name = roots
        .iter()
        .find_map(|root| target.strip_prefix(canonical(root)).ok().map(Path::to_path_buf))
        .or_else(|| proto.file_name().map(PathBuf::from))
        .unwrap_or_default();

    let mut resolver = ChainFileResolver::new();
    resolver.add(BuiltIn);
    resolver.add(GoogleFileResolver::new());
    for root in roots {
        resolver.add(IncludeFileResolver::new(root.clone()));
    }
    resolver.add(IncludeFileResolver::new(beside));
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).include_source_info(true);
    compiler.open_file(&name).map_err(|error| ContractError::Proto(describe(&error, proto)))?;
    let paths = compiler.files().filter_map(|file| file.path().map(Path::to_path_buf)).collect();
    Ok((compiler.descriptor_pool(), paths))
}

/// Reads a descriptor set; see [`Contract::from_descriptor_set`].
fn decode(path: &Path) -> Result<DescriptorPool, ContractError> {
    let wrong = |problem: String| ContractError::DescriptorSet { path: path.to_path_buf(), problem };
    let length = fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
    if length > DESCRIPTOR_BYTES_MAX {
        return Err(wrong(format!("{length} bytes are above the limit of {DESCRIPTOR_BYTES_MAX}")));
    }
    let bytes = fs::read(path).map_err(|error| wrong(error.to_string()))?;
    DescriptorPool::decode(bytes.as_slice())
        .map_err(|error| wrong(format!("not a FileDescriptorSet with all its imports: {error}")))
}

/// A file after everything it imports, each once.
fn with_imports(file: &FileDescriptor, out: &mut Vec<FileDescriptor>) {
    if out.iter().any(|known| known.name() == file.name()) {
        return;
    }
    for import in file.dependencies() {
        with_imports(&import, out);
    }
    out.push(file.clone());
}

/// The compiler's complaint in one line, with its place.
fn describe(error: &protox::Error, proto: &Path) -> String {
    let text = format!("{error:?}").replace('\n', " ");
    if error.is_file_not_found() {
        return format!(
            "{}: {error}; imports are looked for in proto_paths and beside the file",
            proto.display()
        );
    }
    if text.contains(".proto") { text } else { format!("{}: {text}", proto.display()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
        let path = dir.join(name);
        fs::write(&path, text).expect("temporary folder");
        path
    }

    #[test]
    fn a_file_with_built_in_imports_compiles_and_survives_as_a_descriptor_set() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let proto = write(
            dir.path(),
            "a.proto",
            r#"syntax = "proto3"; package a.v1;
               import "ura/v1/annotations.proto"; import "google/type/date.proto";
               service S { rpc M(Q) returns (Q) { option idempotency_level = NO_SIDE_EFFECTS; } }
               message Q { string id = 1 [(ura.v1.data_subject) = { kind: "person" }]; google.type.Date on = 2; }"#,
        );
        let contract = Contract::from_proto("a.v1.S", &proto, &[]).expect("compiles");
        let set = write(dir.path(), "a.binpb", "");
        fs::write(&set, &contract.descriptor_set).expect("temporary folder");
        let again = Contract::from_descriptor_set("a.v1.S", &set).expect("reads back");
        assert_eq!(again.descriptor_set, contract.descriptor_set);
        let field = again.service.methods().next().expect("M").input().get_field(1).expect("id");
        let extension =
            again.service.parent_pool().get_extension_by_name("ura.v1.data_subject").expect("known");
        assert!(field.options().has_extension(&extension), "custom options survive");
    }

    #[test]
    fn errors_say_where() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let broken = write(dir.path(), "b.proto", "syntax = \"proto3\";\nmessage M { strin x = 1 }\n");
        let error = Contract::from_proto("b.S", &broken, &[]).expect_err("broken").to_string();
        assert!(error.contains("b.proto"), "{error}");
        let missing = write(dir.path(), "c.proto", "syntax = \"proto3\"; import \"nowhere.proto\";");
        let error = Contract::from_proto("c.S", &missing, &[]).expect_err("import").to_string();
        assert!(error.contains("nowhere.proto"), "{error}");
        let empty = write(dir.path(), "d.proto", "syntax = \"proto3\"; package d; service T {}");
        let error = Contract::from_proto("d.S", &empty, &[]).expect_err("other service").to_string();
        assert!(error.contains("d.T"), "{error}");
    }
}
