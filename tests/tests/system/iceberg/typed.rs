//! Statistics and partitions of a table with columns of every type, as PyIceberg reads them.
//!
//! PyIceberg creates a table with five partition transforms. A collector follows two logs, one for
//! each host, and appends the lines of three days. The last files have lines of two days. PyIceberg
//! compares the partition and the bounds of each file with its rows, and filters by each column.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use aqueduct_tests::agent::Agent;
use aqueduct_tests::iceberg::{Catalog, python};
use aqueduct_tests::wait;

use super::left;

/// Lines of each phase and host.
const LINES: usize = 400;
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns a line, of which every seventh lacks the optional values.
fn line(phase: usize, host: usize, n: usize) -> String {
    let number = (phase * 2 + host) * LINES + n;
    // The last phase begins on one day and ends on the next one.
    let hour = if phase == 3 { 20 + n * 8 / LINES } else { n * 24 / LINES };
    let (day, hour) = (28 + phase + hour / 24, hour % 24);
    let (month, day) = if day > 30 { (12, day - 30) } else { (11, day) };
    let required = format!(
        r#""n":{number},"phase":{phase},"at":"2026-{month}-{day:02}T{hour:02}:00:00.{n:06}Z""#
    );
    if n.is_multiple_of(7) {
        return format!("{{{required}}}\n");
    }
    let name = format!("name-of-a-row-that-is-longer-than-a-bound-{number:08}-ü");
    let (price, ratio) = (number as f64 - 500.25, (number as f64 - 700.0) / 3.0);
    let numbers = format!(r#""price":"{price}","ratio":{ratio},"part":{ratio},"small":{n}"#);
    let (ok, large) = (n.is_multiple_of(2), format!("-{number}{}.5", "0".repeat(25)));
    let others = format!(r#""ok":{ok},"day":"2026-11-{:02}","large":"{large}""#, n % 30 + 1);
    format!("{{{required},\"name\":\"{name}\",{numbers},{others}}}\n")
}

/// Columns of the files. Their positions are the ids of the columns of the table.
const COLUMNS: &str = r#"[
    { name = "n", type = "int64", required = true },
    { name = "phase", type = "int32", required = true },
    { name = "at", type = "timestamp_micros", required = true },
    { name = "host", type = "string", from = "header:host", required = true },
    { name = "name", type = "string" },
    { name = "price", type = "decimal", precision = 9, scale = 2 },
    { name = "ratio", type = "double" },
    { name = "part", type = "float" },
    { name = "small", type = "int32" },
    { name = "ok", type = "bool" },
    { name = "day", type = "date" },
    { name = "large", type = "decimal", precision = 38, scale = 1 },
    { name = "raw", type = "bytes", from = "name" },
]"#;

fn configuration(dir: &Path, catalog: &Catalog) -> String {
    let source = |host: &str| {
        format!(
            "[sources.{host}]\ntype = \"tail_dir\"\npaths = [\"{}/{host}.log\"]\n\
             channels = [\"main\"]\n\
             interceptors = [{{ type = \"static\", key = \"host\", value = \"{host}\" }}]\n",
            dir.display()
        )
    };
    format!(
        "[agent]\ndata_dir = \"{dir}/data\"\n{}{}[channels.main]\ntype = \"durable\"\n\
         capacity = \"64MiB\"\n[sinks.store]\ntype = \"hdfs\"\n\
         url = \"file://{dir}/typed/data/%{{host}}\"\nchannel = \"main\"\n\
         roll = {{ age_max = \"1s\" }}\n\
         encoder = {{ type = \"parquet\", row_group_size = \"64KiB\", columns = {} }}\n\
         iceberg = {{ catalog = \"http://{}\", table = \"logs.typed\" }}\n",
        source("web"),
        source("mail"),
        COLUMNS.replace('\n', " "),
        catalog.address(),
        dir = dir.display(),
    )
}

#[test]
#[ignore = "needs the programs, a JDK, Maven and Python: tests/run"]
fn partitions_and_bounds_are_true_for_every_row_and_files_are_skipped_by_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let catalog = Catalog::start(dir);
    let script = dir.join("typed.py");
    fs::write(&script, include_str!("typed.py")).expect("the test's own folder");
    let run = |step: &str| {
        let mut reader = python();
        reader.arg(&script).arg(step).arg(format!("http://{}", catalog.address()));
        reader.arg(format!("file://{}/typed", dir.display()));
        let output = reader.output().expect("Python runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    run("create");
    let text = configuration(dir, &catalog);
    let mut collector = Agent::configured("aqueduct-collector", dir, "typed", &text);
    let log = dir.join("typed.out");
    for phase in 0..4 {
        for (host, name) in ["web", "mail"].into_iter().enumerate() {
            let path = dir.join(format!("{name}.log"));
            let log = fs::OpenOptions::new().create(true).append(true).open(path);
            let text: String = (0..LINES).map(|n| line(phase, host, n)).collect();
            log.and_then(|mut log| log.write_all(text.as_bytes())).expect("a log is written");
        }
        if phase == 0 {
            collector.start();
        }
        let stored = (phase + 1) * 2 * LINES;
        wait::until("the table to have the lines", PATIENCE, || {
            let metrics = collector.metrics()?;
            let events = metrics.sum("aqueduct_sink_committed_events_total")?;
            (events as usize >= stored && left(&collector, &log)? == ("[]".to_owned(), 0.0))
                .then_some(())
        });
    }
    collector.stop(PATIENCE);
    let found = run("check");
    assert!(found.ends_with(&format!("{} rows are right\n", 8 * LINES)), "{found}");
    eprintln!("{found}");
}
