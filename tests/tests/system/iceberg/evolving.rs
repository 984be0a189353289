//! A sink with more and wider columns changes the schema of its table. PyIceberg and Iceberg's
//! `HadoopCatalog` read the rows of both schemas.

use std::fs;
use std::path::Path;
use std::time::Duration;

use aqueduct_tests::agent::Agent;
use aqueduct_tests::iceberg::{Catalog, hadoop_catalog, python};
use aqueduct_tests::wait;

use super::left;

/// Lines of each schema.
const LINES: u64 = 100;
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a collector with these columns. It stores this file in the table, and stops.
fn store(dir: &Path, name: &str, (columns, lines): (&str, String), iceberg: &str) {
    let text = format!(
        "[agent]\ndata_dir = \"{dir}/data-{name}\"\n\
         [sources.log]\ntype = \"tail_dir\"\npaths = [\"{dir}/{name}.log\"]\n\
         channels = [\"main\"]\n\
         [channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.store]\ntype = \"hdfs\"\nurl = \"file://{dir}/warehouse/logs/web/data\"\n\
         channel = \"main\"\nroll = {{ age_max = \"1s\" }}\n\
         encoder = {{ type = \"parquet\", columns = [{columns}] }}\n\
         iceberg = {{ {iceberg}, table = \"logs.web\", create = true }}\n",
        dir = dir.display(),
    );
    fs::write(dir.join(format!("{name}.log")), lines).expect("the test's own folder");
    let mut collector = Agent::configured("aqueduct-collector", dir, name, &text);
    let log = dir.join(format!("{name}.out"));
    collector.start();
    wait::until("the table to have the lines", PATIENCE, || {
        let events = collector.metrics()?.sum("aqueduct_sink_committed_events_total")?;
        (events as u64 >= LINES && left(&collector, &log)? == ("[]".to_owned(), 0.0)).then_some(())
    });
    collector.stop(PATIENCE);
}

/// Stores lines with two schemas. PyIceberg reads this table.
fn evolve(dir: &Path, catalog: &str, table: &[&str]) {
    let earlier = (0..LINES).map(|n| format!("{{\"n\":{n},\"host\":\"host-{n}\"}}\n")).collect();
    let columns = "{ name = \"n\", type = \"int32\" }, { name = \"host\", type = \"string\" }";
    store(dir, "earlier", (columns, earlier), &format!("catalog = \"{catalog}\""));
    let later = |n| format!("{{\"n\":{},\"ratio\":{}}}\n", (1_u64 << 40) + n, n as f64 / 4.0);
    let columns = "{ name = \"n\", type = \"int64\" }, { name = \"host\", type = \"string\" }, \
                   { name = \"ratio\", type = \"double\" }";
    let settings = format!("catalog = \"{catalog}\", evolve_schema = true");
    store(dir, "later", (columns, (0..LINES).map(later).collect()), &settings);
    let script = dir.join("evolving.py");
    fs::write(&script, include_str!("evolving.py")).expect("the test's own folder");
    let output = python().arg(script).args(table).output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "needs the programs, a JDK, Maven and Python: tests/run"]
fn schema_of_a_table_in_a_rest_catalog_gets_more_and_wider_columns() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let catalog = Catalog::start(folder.path());
    let address = format!("http://{}", catalog.address());
    evolve(folder.path(), &address, &[&address, "logs.web"]);
}

#[test]
#[ignore = "needs the programs, a JDK, Maven and Python: tests/run"]
fn schema_of_a_table_in_a_directory_gets_more_and_wider_columns() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, warehouse) = (folder.path(), folder.path().join("warehouse"));
    let url = format!("file://{}", warehouse.display());
    evolve(dir, &url, &[&warehouse.join("logs/web").display().to_string()]);
    assert_eq!(hadoop_catalog(dir, &[&url, "count"]), "200 rows, null changes\n");
    assert_eq!(
        hadoop_catalog(dir, &[&url, "columns"]),
        "1: n: optional long\n2: host: optional string\n3: ratio: optional double\n"
    );
}
