//! Goal: every reader of `/metrics` parses the metrics correctly.
//!
//! Method: real agents move lines, and their pages, in both formats, are checked with Prometheus'
//! `promtool` and the parsers of the Python client. The `Accept` header, as sent by Prometheus,
//! selects the format.
//!
//! Lane: connector
//! Needs: promtool prometheus_client
//! Weight: 1
//! Limit: 10m
//! Paths: crates/metrics crates/admin crates/agent crates/control deploy/prometheus

use std::fs;
use std::process::Command;
use std::time::Duration;

use aqueduct_tests::agent::Agent;
use aqueduct_tests::site::Site;
use aqueduct_tests::{http, wait};

/// The `Accept` header of Prometheus.
const OPEN: &str =
    "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";

/// The folder of the alerts.
const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/prometheus");

/// Parses a page with the client's parser; each counter must have its type and its help.
const PARSE: &str = r#"
import sys
kind, path = sys.argv[1:]
if kind == "plain":
    from prometheus_client.parser import text_string_to_metric_families as parse
else:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
families = list(parse(open(path).read()))
for family in families:
    assert family.documentation, family.name + " has no help"
    assert family.type in ("counter", "gauge", "histogram"), family.name + " is " + family.type
    for sample in family.samples:
        if sample.name.endswith("_total"):
            assert family.type == "counter", sample.name + " is a " + family.type
names = [family.name for family in families]
assert len(names) == len(set(names)), names
for name in ("aqueduct_source_events", "aqueduct_sink_stored_events", "aqueduct_sink_failures"):
    samples = [s for f in families if f.name == name for s in f.samples]
    assert samples, name + " has no sample"
print(len(families))
"#;

#[test]
#[ignore = "needs promtool: tests/run"]
fn each_alert_fires_where_its_trouble_is_and_ends_with_it() {
    let rules = fs::read_to_string(format!("{RULES}/aqueduct.rules.yml")).expect("the alerts");
    let tests =
        fs::read_to_string(format!("{RULES}/aqueduct.rules.test.yml")).expect("their tests");
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        let fires = format!("alertname: {alert}\n        exp_alerts:");
        let clears = format!("alertname: {alert}\n");
        let (_, after) = tests.split_once(&fires).unwrap_or_else(|| panic!("{alert} never fires"));
        let ends = after.split(&clears).skip(1).any(|it| !it.starts_with("        exp_alerts"));
        assert!(ends, "{alert} is never seen to end after it has fired");
    }
    for arguments in
        [["check", "rules", "aqueduct.rules.yml"], ["test", "rules", "aqueduct.rules.test.yml"]]
    {
        let done = Command::new("promtool").args(arguments).current_dir(RULES).output();
        let done = done.expect("promtool can be started");
        let said = [done.stdout, done.stderr].concat();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said));
    }
}

#[test]
#[ignore = "needs the programs, promtool and Python: tests/run"]
fn every_reader_reads_every_metric_with_its_type() {
    let site = Site::new();
    let (mut edge, mut collector) = (site.edge(), site.collector());
    collector.start();
    edge.start();
    fs::write(site.logs().join("a \"b\".log"), "1\n2\n3\n").expect("a log is written");
    site.wait_until_stored(3);
    let committed = "aqueduct_sink_committed_events_total";
    wait::until("the edge to have let go of its lines", Duration::from_secs(60), || {
        (edge.metrics()?.sum(committed)? >= 3.0).then_some(())
    });

    for agent in [&edge, &collector] {
        let plain = page(agent, "*/*", "text/plain; version=0.0.4; charset=utf-8");
        assert!(plain.contains("# TYPE aqueduct_source_events_total counter\n"), "{plain}");
        assert!(!plain.contains("# EOF"), "{plain}");
        read(&["promtool", "check", "metrics"], &site.path().join("page"), &plain);
        python("plain", &site, &plain);
        let open = page(agent, OPEN, "application/openmetrics-text; version=1.0.0; charset=utf-8");
        assert!(open.contains("# TYPE aqueduct_source_events counter\n"), "{open}");
        assert!(open.ends_with("# EOF\n"), "{open}");
        python("open", &site, &open);

        for name in [
            "aqueduct_source_events_total",
            "aqueduct_sink_sent_events_total",
            "aqueduct_sink_stored_events_total",
            committed,
        ] {
            assert_eq!(agent.metrics().and_then(|it| it.sum(name)), Some(3.0), "{name}");
        }
        let batches =
            agent.metrics().and_then(|it| it.sum("aqueduct_sink_committed_seconds_count"));
        assert_eq!(batches, Some(1.0), "one batch was committed");
        let letters = agent.metrics().and_then(|it| it.sum("aqueduct_dead_letter_events_total"));
        assert_eq!(letters, Some(0.0), "a counter is there before it counts");
        let resident = agent.metrics().and_then(|it| it.sum("process_resident_memory_bytes"));
        assert!(resident.is_some_and(|bytes| bytes > 1e6), "{resident:?}");
    }
    let sum = |agent: &Agent, name| agent.metrics().and_then(|it| it.sum(name));
    assert_eq!(sum(&edge, "aqueduct_source_files"), Some(1.0));
    assert_eq!(sum(&collector, "aqueduct_source_connections"), Some(1.0));
    assert_eq!(sum(&collector, "aqueduct_sink_visible_files_total"), Some(1.0));
    let last = sum(&collector, "aqueduct_sink_last_visible_file_timestamp_seconds");
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let age = since.expect("it is after 1970").as_secs_f64() - last.expect("a file is visible");
    assert!((-1.0..120.0).contains(&age), "{age} s ago");
    for agent in [&mut edge, &mut collector] {
        agent.stop(Duration::from_secs(25));
    }
}

/// Returns the page for this `accept` header; it must have the content type `kind`.
fn page(agent: &Agent, accept: &str, kind: &str) -> String {
    let answer = http::ask(agent.admin(), "/metrics", &[("Accept", accept)]);
    let (head, body) = answer.expect("the agent answers");
    assert!(head.to_ascii_lowercase().contains(&format!("content-type: {kind}\r\n")), "{head}");
    body
}

fn python(kind: &str, site: &Site, text: &str) {
    let path = site.path().join("page");
    fs::write(&path, text).expect("a page is written");
    // The interpreter whose packages come with the system.
    let mut command = Command::new("/usr/bin/python3");
    let done = command.args(["-c", PARSE, kind]).arg(&path).output().expect("python3 runs");
    assert!(done.status.success(), "{}\n{text}", String::from_utf8_lossy(&done.stderr));
}

/// Checks the page with a program, which must find no error.
fn read(program: &[&str], path: &std::path::Path, text: &str) {
    fs::write(path, text).expect("a page is written");
    let input = fs::File::open(path).expect("the page is there");
    let mut command = Command::new(program[0]);
    let done = command.args(&program[1..]).stdin(input).output().expect("the program runs");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.is_empty(), "{said}\n{text}");
}
