//! Makes Rust of the contract.

use std::{env, fs, path::Path};

/// Where the contract lies, and the bus's own annotations.
const ROOTS: [&str; 2] = ["proto", "../../../proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(ROOTS)?;
    compiler.include_imports(true).open_file("ks/archive/v1/archive.proto")?;
    let described = Path::new(&env::var("OUT_DIR")?).join("archive.binpb");
    fs::write(described, compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure().build_client(false).compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
