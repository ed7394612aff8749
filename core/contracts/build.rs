//! Compiles `proto/` with protox (no protoc) into messages, server traits and
//! clients, and keeps the descriptor set for reflection and `lombard call`.

use std::error::Error;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    println!("cargo::rerun-if-changed={}", root.display());

    let mut files = Vec::new();
    proto_files(&root, &root, &mut files)?;
    files.sort();

    let set = protox::Compiler::new([&root])?
        .include_imports(true)
        .include_source_info(true)
        .open_files(&files)?
        .encode_file_descriptor_set();
    let descriptors = out.join("descriptors.bin");
    std::fs::write(&descriptors, set)?;

    let mut codegen = connectrpc_build::CodeGenConfig::default();
    codegen.generate_json = true;
    // A field that no one knows is a caller's mistake, and is told to him.
    codegen
        .message_attributes
        .push((".".to_owned(), "#[serde(deny_unknown_fields)]".to_owned()));
    connectrpc_build::Config::new()
        .buffa_config(codegen)
        .descriptor_set(&descriptors)
        .files(&files)
        .include_file("contracts.rs")
        .emit_rerun_directives(false)
        .compile()?;
    Ok(())
}

/// All `.proto` files under `dir`, named relative to `root`.
fn proto_files(root: &Path, dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            proto_files(root, &path, files)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "proto")
        {
            files.push(path.strip_prefix(root)?.to_owned());
        }
    }
    Ok(())
}
