//! Compiles the schema, without an installed protoc.

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    // Of the tree that is built now: the script itself may have been compiled in another one.
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let schema = root.join("aqueduct/v1/delivery.proto");
    println!("cargo::rerun-if-changed={}", schema.display());
    let compiled = protox::compile([&schema], [&root])?;
    // The method itself is in `exchange.rs`.
    prost_build::Config::new()
        // Bodies stay slices of the buffer that they were received in.
        .bytes(["."])
        .compile_fds(compiled)?;
    Ok(())
}
