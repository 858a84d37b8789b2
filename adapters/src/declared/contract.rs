//! The contract behind an adapter file: compiled from `.proto` text or read as a descriptor set.

use std::{
    fs,
    path::{Path, PathBuf},
};

use prost_reflect::{DescriptorPool, ServiceDescriptor};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver};
use ura_runtime::config::{Problems, Source, Spanned};

use super::raw;

/// Largest descriptor set that is read, in bytes.
const DESCRIPTOR_SET_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A service and the descriptors that it needs.
#[derive(Debug)]
pub(super) struct Contract {
    pub(super) service: ServiceDescriptor,
    /// Serialised `google.protobuf.FileDescriptorSet`, imports included.
    pub(super) descriptor_set: Vec<u8>,
}

/// Files that every contract may import without bringing them.
struct BuiltIn;

impl FileResolver for BuiltIn {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        ura_proto::IMPORTS.iter().find(|(path, _)| *path == name).map_or_else(
            || Err(protox::Error::file_not_found(name)),
            |(path, text)| File::from_source(path, text),
        )
    }
}

/// Compiles or reads the contract; `None` where that failed, with the problem noted.
pub(super) fn load(file: &raw::File, source: &Source, problems: &mut Problems) -> Option<Contract> {
    let descriptor_set = match (&file.proto, &file.descriptor_set) {
        (Some(proto), None) => compile(proto, file, source, problems),
        (None, Some(set)) => {
            if let Some(paths) = file.proto_paths.as_ref().and_then(|p| p.first()) {
                problems.at(paths.span(), "`proto_paths` has no meaning beside `descriptor_set`");
            }
            read(set, source, problems)
        }
        (Some(_), Some(set)) => {
            problems.at(set.span(), "give either `proto` or `descriptor_set`, not both");
            None
        }
        (None, None) => {
            problems.at(
                file.contract.span(),
                "where the contract is defined is missing: add `proto = \"….proto\"` or `descriptor_set = \"….binpb\"`",
            );
            None
        }
    }?;
    let at = file.descriptor_set.as_ref().or(file.proto.as_ref()).unwrap_or(&file.contract);
    let pool = match DescriptorPool::decode(descriptor_set.as_slice()) {
        Ok(pool) => pool,
        Err(error) => {
            problems.at(at.span(), format!("no usable descriptor set: {error}"));
            return None;
        }
    };
    let Some(service) = pool.get_service_by_name(file.contract.as_ref()) else {
        let known: Vec<_> = pool.services().map(|s| s.full_name().to_owned()).collect();
        problems.at(
            file.contract.span(),
            format!(
                "there is no service `{}` in the contract; {}",
                file.contract.as_ref(),
                super::one_of(known.iter().map(String::as_str))
            ),
        );
        return None;
    };
    Some(Contract { service, descriptor_set })
}

fn compile(
    proto: &Spanned<String>,
    file: &raw::File,
    source: &Source,
    problems: &mut Problems,
) -> Option<Vec<u8>> {
    let path = source.resolve(proto.as_ref());
    let mut chain = ChainFileResolver::new();
    let roots: Vec<PathBuf> = match &file.proto_paths {
        Some(paths) => paths.iter().map(|p| source.resolve(p.as_ref())).collect(),
        // A file that is named without a folder lies in this one.
        None => {
            vec![path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new(".")).to_owned()]
        }
    };
    let mut sound = true;
    for (at, root) in roots.iter().enumerate() {
        // Links and `..` would make one file look like two.
        match fs::canonicalize(root) {
            Ok(root) => chain.add(IncludeFileResolver::new(root)),
            Err(error) => {
                let span = file.proto_paths.as_ref().and_then(|p| p.get(at)).unwrap_or(proto).span();
                problems.at(span, format!("the folder {} cannot be read: {error}", root.display()));
                sound = false;
            }
        }
    }
    chain.add(BuiltIn);
    chain.add(GoogleFileResolver::new());
    let path = match fs::canonicalize(&path) {
        Ok(path) => path,
        Err(error) => {
            problems.at(proto.span(), format!("{} cannot be read: {error}", path.display()));
            return None;
        }
    };
    let mut compiler = protox::Compiler::with_file_resolver(chain);
    compiler.include_imports(true).include_source_info(true);
    if let Err(error) = compiler.open_file(&path) {
        if sound {
            problems.at(proto.span(), format!("the contract does not compile: {}", message(&error)));
        }
        return None;
    }
    Some(compiler.encode_file_descriptor_set())
}

/// The compiler's message with file and line where it knows them.
fn message(error: &protox::Error) -> String {
    let text = format!("{error:?}");
    if text.is_empty() { error.to_string() } else { text }
}

fn read(set: &Spanned<String>, source: &Source, problems: &mut Problems) -> Option<Vec<u8>> {
    let path = source.resolve(set.as_ref());
    let length = fs::metadata(&path).map(|m| m.len());
    let bytes = length.and_then(|length| {
        if length > DESCRIPTOR_SET_BYTES_MAX {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        fs::read(&path)
    });
    bytes.map_err(|error| problems.at(set.span(), format!("{} cannot be read: {error}", path.display()))).ok()
}
