//! Compiles the schema, without an installed protoc.

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    // Of the tree that is built now: the script itself may have been compiled in another one.
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let schema = root.join("aqueduct/v1/delivery.proto");
    println!("cargo::rerun-if-changed={}", schema.display());
    let compiled = protox::compile([&schema], [&root])?;
    tonic_prost_build::configure()
        // The sender's end is in `exchange.rs`.
        .build_client(false)
        // Bodies stay slices of the buffer that they were received in.
        .bytes(".")
        .use_arc_self(true)
        .codec_path("crate::codec::SmallProstCodec")
        .compile_fds(compiled)?;
    Ok(())
}
