//! The generated code of the protobuf schemas matches `proto/`, here, in `components-otlp` and
//! in `components-process`.
//!
//! Builds compile the checked-in files, so that they need no schema compiler. `AQUEDUCT_BLESS=1`
//! rewrites the files after a change of a schema or of `prost-build`.

#![expect(clippy::disallowed_methods, reason = "the test reads and writes the source tree")]
#![expect(clippy::unwrap_used, reason = "every error fails the test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use prost::Message;

type Files = BTreeMap<String, Vec<u8>>;

const OTLP: [&str; 4] = [
    "opentelemetry/proto/collector/logs/v1/logs_service.proto",
    "opentelemetry/proto/collector/trace/v1/trace_service.proto",
    "opentelemetry/proto/collector/metrics/v1/metrics_service.proto",
    "google/rpc/status.proto",
];

#[test]
fn generated_code_of_the_wire_matches_its_schema() {
    let mut config = prost_build::Config::new();
    // Bodies stay slices of the buffer that they were received in.
    config.bytes(["."]);
    let schemas = ["aqueduct/v1/delivery.proto", "aqueduct/v1/fleet.proto", "opamp/v1/opamp.proto"];
    let (files, _) = compile(&schemas, &mut config);
    compare("src/generated", &files);
}

#[test]
fn generated_code_of_plugins_matches_its_schema() {
    let mut config = prost_build::Config::new();
    config.bytes(["."]);
    let (files, _) = compile(&["plugin/v1/plugin.proto"], &mut config);
    compare("../components-process/src/generated", &files);
}

#[test]
fn generated_code_of_otlp_matches_its_schema() {
    let mut config = prost_build::Config::new();
    // The schema's comments are written for another tool.
    config.disable_comments(["."]).include_file("otlp.rs");
    let (mut files, mut descriptors) = compile(&OTLP, &mut config);
    // Reading and writing JSON needs no comments and positions.
    descriptors.file.iter_mut().for_each(|file| file.source_code_info = None);
    files.insert("otlp.bin".into(), descriptors.encode_to_vec());
    compare("../components-otlp/src/generated", &files);
}

/// The files that `prost-build` writes for these schemas, and the schemas' descriptors.
fn compile(
    schemas: &[&str],
    config: &mut prost_build::Config,
) -> (Files, prost_types::FileDescriptorSet) {
    let root = manifest_dir().join("../../proto");
    let schemas: Vec<PathBuf> = schemas.iter().map(|schema| root.join(schema)).collect();
    let descriptors = protox::compile(schemas, [&root]).unwrap();
    let out = tempfile::tempdir().unwrap();
    config.out_dir(out.path()).compile_fds(descriptors.clone()).unwrap();
    (read(out.path()), descriptors)
}

/// Fails if the folder has other files than these, or rewrites it with `AQUEDUCT_BLESS`.
fn compare(folder: &str, expected: &Files) {
    let folder = manifest_dir().join(folder);
    if std::env::var_os("AQUEDUCT_BLESS").is_some() {
        fs::remove_dir_all(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        for (name, content) in expected {
            fs::write(folder.join(name), content).unwrap();
        }
    }
    let found = read(&folder);
    let names = |files: &Files| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(expected), "AQUEDUCT_BLESS=1 rewrites {}", folder.display());
    for (name, content) in expected {
        assert!(found[name] == *content, "{name} is outdated: AQUEDUCT_BLESS=1 rewrites it");
    }
}

fn read(folder: &Path) -> Files {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let name = |entry: &fs::DirEntry| entry.file_name().into_string().unwrap();
    entries.map(|entry| (name(&entry), fs::read(entry.path()).unwrap())).collect()
}

fn manifest_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
