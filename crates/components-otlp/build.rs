//! Compiles the schema of OTLP, without an installed protoc, and keeps it for what writes JSON.

use std::error::Error;
use std::path::PathBuf;

use prost::Message;

const SCHEMAS: [&str; 4] = [
    "opentelemetry/proto/collector/logs/v1/logs_service.proto",
    "opentelemetry/proto/collector/trace/v1/trace_service.proto",
    "opentelemetry/proto/collector/metrics/v1/metrics_service.proto",
    "google/rpc/status.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    // Of the tree that is built now: the script itself may have been compiled in another one.
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    for folder in ["opentelemetry", "google"] {
        println!("cargo::rerun-if-changed={}", root.join(folder).display());
    }
    let compiled = protox::compile(SCHEMAS.map(|schema| root.join(schema)), [&root])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    #[expect(clippy::disallowed_methods, reason = "a build script has no `Env`")]
    std::fs::write(out.join("otlp.bin"), compiled.encode_to_vec())?;
    prost_build::Config::new()
        // The schema's comments are written for another tool.
        .disable_comments(["."])
        .include_file("otlp.rs")
        .compile_fds(compiled)?;
    Ok(())
}
