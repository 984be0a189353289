//! Goal: messages with the framing of Confluent become typed rows by the schemas of a real
//! registry, also while it is down, and a message with a new schema waits for it.
//!
//! Method: files with one message each pass the interceptor `avro_rows` into Parquet files. The
//! registry, Apicurio, is killed between them, and the agent is restarted. pyarrow reads the rows.
//!
//! Lane: connector
//! Needs: java mvn python3
//! Weight: 1
//! Limit: 10m
//! Paths: crates/components-kafka crates/formats crates/rows

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use aqueduct_tests::agent::{Agent, program};
use aqueduct_tests::iceberg::python;
use aqueduct_tests::registry::Registry;
use aqueduct_tests::wait;
use serde_json::{Value, json};

use crate::parquet::lake;

const LIMIT: Duration = Duration::from_secs(60);

fn configuration(dir: &Path, registry: &str) -> String {
    let (lake, dir) = (lake(dir, "1s"), dir.display());
    format!(
        r#"
[agent]
data_dir = "{dir}/data"
[sources.orders]
type = "spool_dir"
directory = "{dir}/spool"
decoder = "blob"
channels = ["main"]
interceptors = [{{ type = "avro_rows", registry = {{ url = "{registry}", timeout = "5s" }} }}]
{lake}columns = [
    {{ name = "id", type = "int64", required = true }},
    {{ name = "city", type = "struct<zip: string>" }},
]
"#
    )
}

/// Puts a message into the spool directory.
fn send(dir: &Path, schema: u32, id: u8, zip: &str) {
    let mut message = vec![0];
    message.extend(schema.to_be_bytes());
    message.extend([id << 1, (zip.len() as u8) << 1]);
    message.extend(zip.as_bytes());
    let name = format!("{id}.avro");
    fs::write(dir.join(&name), message).expect("the test's own folder");
    fs::rename(dir.join(&name), dir.join("spool").join(name)).expect("a rename");
}

/// Registers a record that refers to another subject.
fn register(registry: &Registry, more: &[&str]) {
    let record = |name: &str, fields: Value| {
        json!({ "type": "record", "name": name, "namespace": "shop", "fields": fields }).to_string()
    };
    let city = record("City", json!([{ "name": "zip", "type": "string" }]));
    let answer = registry.register("a%2Fcity%20x", &json!({ "schema": city }));
    assert!(answer.contains("\"id\":1"), "{answer}");
    let references = json!([{ "name": "shop.City", "subject": "a/city x", "version": 1 }]);
    for (at, name) in ["Order"].iter().chain(more).enumerate() {
        let fields = json!([
            { "name": "id", "type": "long" },
            { "name": "city", "type": "shop.City" },
        ]);
        let schema = json!({ "schema": record(name, fields), "references": references });
        let answer = registry.register(name, &schema);
        assert!(answer.contains(&format!("\"id\":{}", at + 2)), "{answer}");
    }
}

fn until_committed(agent: &Agent, events: u32) {
    wait::until("the messages to be committed", LIMIT, || {
        let committed = agent.metrics()?.sum("aqueduct_sink_committed_events_total")?;
        (committed >= f64::from(events)).then_some(())
    });
}

#[test]
#[ignore = "needs the programs, a JDK, Maven and Python: tests/run"]
fn messages_become_rows_by_the_schemas_of_a_registry_that_restarts() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    for part in ["spool", "lake"] {
        fs::create_dir(dir.join(part)).expect("the test's own folder");
    }
    let mut registry = Registry::start(dir);
    register(&registry, &[]);
    let text = configuration(dir, &registry.url());
    let mut agent = Agent::configured("aqueduct-collector", dir, "collector", &text);
    agent.start();
    (0..5).for_each(|id| send(dir, 2, id, "80331"));
    until_committed(&agent, 5);
    agent.stop(Duration::from_secs(25));

    // Known schemas need no registry after a restart; a new one waits for it.
    registry.kill();
    agent.start();
    (5..10).for_each(|id| send(dir, 2, id, "10115"));
    until_committed(&agent, 5);
    send(dir, 3, 10, "20095");
    agent.until_logged("cannot read the schema 3", LIMIT);
    agent.stop(Duration::from_secs(25));
    // A registry without the schema would reject the message.
    registry.revive();
    register(&registry, &["Return"]);
    agent.start();
    until_committed(&agent, 1);

    // A schema that the registry does not have.
    send(dir, 99, 11, "x");
    wait::until("a dead letter", LIMIT, || {
        let mut list = program("aqueduct");
        let list = list.args(["dlq", "list"]).arg(dir.join("data")).output().ok()?;
        let list = String::from_utf8(list.stdout).ok()?;
        (list.contains("not_a_row") && list.contains("does not have the schema 99")).then_some(())
    });
    agent.stop(Duration::from_secs(25));

    let script = dir.join("read.py");
    fs::write(&script, include_str!("parquet/nested.py")).expect("the test's own folder");
    let output = python().arg(&script).arg(dir.join("lake")).output().expect("Python runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows = text.lines().filter_map(|line| line.strip_prefix("row "));
    let rows = rows.map(|row| {
        let row: Value = serde_json::from_str(row).expect("JSON");
        (row["id"].as_u64().expect("an id"), row["city"]["zip"].to_string())
    });
    let rows: Vec<(u64, String)> = rows.collect();
    assert_eq!(rows.len(), 11, "{text}");
    let zip = |id: u64| match id {
        0..5 => "\"80331\"",
        5..10 => "\"10115\"",
        _ => "\"20095\"",
    };
    let expected: BTreeMap<u64, String> = (0..11).map(|id| (id, zip(id).to_owned())).collect();
    assert_eq!(rows.into_iter().collect::<BTreeMap<_, _>>(), expected);
}
