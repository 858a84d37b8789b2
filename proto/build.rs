//! Compiles the contracts: types of the bus's own messages, and the whole set as descriptors.

use std::{env, fs, path::PathBuf};

/// Every file of this folder, in the order in which one may read them.
const FILES: [&str; 9] = [
    "google/type/date.proto",
    "ura/v1/annotations.proto",
    "ura/v1/evidence.proto",
    "ura/v1/evidence_service.proto",
    "ura/v1/plug.proto",
    "ura/v1/subject_access.proto",
    "ks/civilstatus/v1/civil_status.proto",
    "ks/tax/v1/property_tax.proto",
    "ks/vehicles/v1/vehicles.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(FILES)?;
    fs::write(out.join("contracts.binpb"), compiler.encode_file_descriptor_set())?;

    let mut bus = protox::Compiler::new([&root])?;
    bus.include_imports(true);
    bus.open_files(FILES.iter().filter(|file| file.starts_with("ura/")))?;
    tonic_prost_build::configure()
        .out_dir(&out)
        .build_transport(false)
        .compile_fds(bus.file_descriptor_set())?;
    Ok(())
}
