//! The edge stays light: nothing that a store needs is in its dependencies.
//!
//! Method: cargo says what the program depends on, with the features that it is built with.

use std::process::Command;

/// What brings a store, a broker or a file format with it.
const HEAVY: &[&str] = &[
    "hdfs-native",
    "aqueduct-storage",
    "aqueduct-ledger",
    "aqueduct-components-amqp",
    "aqueduct-components-expr",
    "aqueduct-components-hbase",
    "aqueduct-components-hdfs",
    "aqueduct-components-http-stream",
    "aqueduct-components-kafka",
    "aqueduct-components-mqtt",
    "aqueduct-components-nats",
    "aqueduct-components-otlp",
    "aqueduct-components-parquet",
    "aqueduct-components-rabbitmq",
    "aqueduct-components-search",
    "aqueduct-components-shippers",
    "aqueduct-components-sql",
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
];

#[test]
fn an_edge_depends_on_the_light_components_alone() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "-p", "aqueduct-edge", "-e", "normal", "--prefix", "none", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let tree = String::from_utf8(output.stdout).unwrap();
    let names: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains(&"aqueduct-components"), "{tree}");
    for &heavy in HEAVY {
        assert!(!names.contains(&heavy), "an edge must not depend on {heavy}");
    }
}
