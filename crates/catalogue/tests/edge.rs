//! The edge stays light: it depends on no store, and on few crates.
//!
//! Method: `cargo tree` lists the dependencies of the program with the features of its own build.

#![expect(clippy::unwrap_used, reason = "every error fails the test")]

use std::collections::BTreeSet;
use std::process::Command;

/// Crates of the edge at most, with those that its build runs and its own 21.
const CRATES_MAX: usize = 206;

/// Crates that bring a store, a broker or a file format.
const HEAVY: &[&str] = &[
    "hdfs-native",
    "hickory-resolver",
    "p12-keystore",
    "prost-build",
    "protox",
    "x509-parser",
    "aqueduct-storage",
    "aqueduct-ledger",
    "aqueduct-catalogue",
    "amq-protocol",
    "cel",
    "fe2o3-amqp",
    "prost-reflect",
    "rdkafka",
    "rumqttc",
    "parquet",
    "mysql_async",
    "rusqlite",
    "tokio-postgres",
    "tokio-tungstenite",
    "wasmtime",
];

/// Lines of `cargo tree` for the edge: a crate and its version at the beginning of each.
fn tree() -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "-p", "aqueduct-edge", "-e", "normal,build", "--prefix", "none"])
        .args(["--target", "x86_64-unknown-linux-gnu", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn edge_depends_only_on_light_components() {
    let tree = tree();
    let names: Vec<&str> = tree.iter().filter_map(|line| line.split(' ').next()).collect();
    for light in ["aqueduct-components", "components-files", "components-grpc", "formats", "kit"] {
        assert!(names.contains(&light), "{light}: {tree:?}");
    }
    // Each connector has a crate of its own.
    let is_connector = |name: &str| name.starts_with("aqueduct-components-");
    let heavy: Vec<_> =
        names.iter().filter(|name| HEAVY.contains(*name) || is_connector(name)).collect();
    assert!(heavy.is_empty(), "an edge must not depend on {heavy:?}");
}

#[test]
fn edge_has_at_most_206_crates() {
    let tree = tree();
    let crates: BTreeSet<(&str, &str)> =
        tree.iter().filter_map(|line| line.split(' ').next().zip(line.split(' ').nth(1))).collect();
    assert!(crates.len() <= CRATES_MAX, "{} crates: {crates:#?}", crates.len());
}
