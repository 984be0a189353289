//! Goal: an hour gets its receipt when every edge has sent everything, not before, although edges
//! and collectors are killed; a later file is recorded; a server of OpenLineage gets an event for
//! both, although it is down and rejects events first.
//!
//! Method: two edges with files of one past hour send to two collectors of one sink. One edge has
//! an incomplete line, which holds the hour back. An edge and a collector are killed (-9) in
//! between. `aqueduct complete` waits for the hour, `aqueduct verify` proves its receipt and shows
//! a planted file, and an edge leaves the roster. The server of OpenLineage starts after the
//! receipt, answers 500, and accepts events after the collectors are killed.
//!
//! Lane: core
//! Weight: 0
//! Limit: 10m
//! Paths: @core

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use aqueduct_tests::agent::{Agent, CollectorConfig, program, wait_until_delivered};
use aqueduct_tests::lineage::LineageServer;
use aqueduct_tests::reconcile::{proved, verify};
use aqueduct_tests::{http, wait};
use serde_json::Value;

/// The hour of all lines.
const HOUR: &str = "20260115-08";
const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than the interval of reports and the pause of the collectors together.
const REPORTED: Duration = Duration::from_secs(35);

fn edge(dir: &Path, name: &str, to: &[String]) -> Agent {
    let own = dir.join(name);
    fs::create_dir(&own).expect("the edge's own folder");
    let sinks: String = to.iter().enumerate().map(|(n, address)| sink(n, address)).collect();
    let text = format!(
        r#"
[agent]
data_dir = "{own}/data"

[sources.logs]
type = "tail_dir"
paths = ["{own}/*.log"]
channels = ["main"]
[[sources.logs.interceptors]]
type = "event_time"
pattern = '^(\S+)'
formats = ["rfc3339"]

[channels.main]
type = "durable"

{sinks}
[groups.collectors]
type = "load_balance"
channel = "main"
sinks = ["to0", "to1"]
"#,
        own = own.display()
    );
    Agent::configured("aqueduct-edge", dir, name, &text)
}

fn sink(number: usize, address: &str) -> String {
    format!("[sinks.to{number}]\ntype = \"grpc\"\naddress = \"{address}\"\n")
}

/// Returns the settings of the sink, with a server of OpenLineage at this address.
fn settings(lineage: SocketAddr) -> String {
    let url = format!("http://{lineage}/api/v1/lineage");
    format!(
        "complete = {{ grace = \"1s\", marker = \"_SUCCESS\", open_lineage = {{ url = \"{url}\", \
         namespace = \"logs\" }} }}\nroll = {{ idle_max = \"1s\" }}"
    )
}

fn line(minute: u32, text: &str) -> String {
    format!("2026-01-15T08:{minute:02}:00Z {text}\n")
}

/// Calls `aqueduct complete`; returns its exit code and its JSON.
fn complete(store: &Path, more: &[&str]) -> (i32, Value) {
    let url = format!("file://{}/%Y%m%d-%H", store.display());
    let mut command = program("aqueduct");
    command.args(["complete", "--json", "--sink", "store", "--partition", HOUR, "--store", &url]);
    let output = command.args(more).output().expect("the program starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let json = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text} {output:?}"));
    (output.status.code().expect("an exit code"), json)
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn an_hour_is_complete_when_both_edges_have_sent_everything_and_late_files_are_recorded() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, store) = (folder.path(), folder.path().join("store"));
    let hour = store.join(HOUR);
    let url = format!("file://{}/%Y%m%d-%H", store.display());
    let lineage = http::free_address();
    let listens = [(); 2].map(|()| http::free_address().to_string());
    let collector = |(name, listen): (&str, &String)| {
        let own = dir.join(name);
        fs::create_dir(&own).expect("the collector's own folder");
        let config = CollectorConfig::new(listen, &url, &own.join("data"));
        config.with_sink_settings(&settings(lineage)).agent(&own)
    };
    let mut collectors: Vec<Agent> =
        ["one", "two"].into_iter().zip(&listens).map(collector).collect();
    let [mut web, mut pay] = ["web", "pay"].map(|name| edge(dir, name, &listens));
    collectors.iter_mut().for_each(Agent::start);

    // The edge with an incomplete line has a batch in the dataset first, so that it is expected.
    let log = dir.join("pay/pay.log");
    let half = line(59, "pay 3");
    let (half, end) = half.split_at(half.len() - 4);
    let text = [line(1, "pay 1"), line(2, "pay 2"), half.to_owned()].concat();
    fs::write(&log, text).expect("a log is written");
    pay.start();
    let has_file = || hour.is_dir().then_some(());
    wait::until("a visible file of the hour", PATIENCE, has_file);
    fs::write(dir.join("web/web.log"), line(30, "web 1")).expect("a log is written");
    web.start();
    wait_until_delivered(&web, PATIENCE);
    thread::sleep(REPORTED);
    let (code, open) = complete(&store, &[]);
    assert_eq!((code, &open["state"]), (3, &Value::from("open")), "{open}");

    for agent in [&mut pay, &mut collectors[0]] {
        agent.kill();
        agent.start();
    }
    thread::sleep(REPORTED);
    let (code, open) = complete(&store, &[]);
    assert_eq!(code, 3, "the line is still incomplete: {open}");
    assert!(!hour.join("_SUCCESS").exists() && !hour.join("_receipt.json").exists());

    let mut file = OpenOptions::new().append(true).open(&log).expect("the log is opened");
    file.write_all(end.as_bytes()).expect("the line ends");
    let (code, report) = complete(&store, &["--wait", "2m"]);
    assert_eq!(code, 0, "{report}");
    let receipt = &report["receipt"];
    assert_eq!(receipt["events"], 4, "{receipt}");
    let edges = receipt["edges"].as_array().expect("a list");
    let mut counts: Vec<u64> =
        edges.iter().filter_map(|edge| edge["in_directory"]["events"].as_u64()).collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 3], "{receipt}");
    wait::until("the marker", PATIENCE, || hour.join("_SUCCESS").exists().then_some(()));

    let server = is_announced(lineage, &mut collectors, receipt);
    fs::write(dir.join("web/rotated-late.log"), line(45, "web 2")).expect("a log is written");
    let record = wait::until("the record of the late file", PATIENCE, || {
        let names = fs::read_dir(&hour).expect("the hour is listed").flatten();
        let mut paths = names.map(|entry| entry.path());
        paths.find(|path| path.display().to_string().contains("/_late-"))
    });
    let record: Value =
        serde_json::from_slice(&fs::read(record).expect("the record is read")).expect("JSON");
    assert_eq!(record["files"][0]["events"], 1, "{record}");
    let (code, report) = complete(&store, &[]);
    assert_eq!((code, report["late_files"].as_array().map(Vec::len)), (5, Some(1)), "{report}");
    late_file_is_announced(&server, receipt);
    for agent in [&mut web, &mut pay] {
        agent.stop(PATIENCE);
    }
    collectors.iter_mut().for_each(|collector| collector.stop(PATIENCE));
    can_be_verified(dir, &url);
    an_edge_can_leave(&url);
}

fn late_file_is_announced(server: &LineageServer, receipt: &Value) {
    let late = wait::until("the event for the late file", PATIENCE, || {
        server.accepted().into_iter().find(|event| event["eventType"] == "OTHER")
    });
    check_event(&late);
    let facet = &late["outputs"][0]["outputFacets"]["aqueduct_lateFiles"];
    assert_eq!((&facet["events"], &facet["hash"]), (&Value::from(1), &receipt["hash"]), "{late}");
}

/// The receipt reaches a server that is down first, then answers 500, and then accepts events. The
/// collectors are killed in between.
fn is_announced(address: SocketAddr, collectors: &mut [Agent], receipt: &Value) -> LineageServer {
    let problem = || {
        let pages = collectors.iter().filter_map(|it| http::get(it.admin(), "/status"));
        let mut texts = pages.map(|(_, text)| text);
        texts.find(|text| text.contains("cannot send receipts to the OpenLineage server"))
    };
    wait::until("the problem on the status page", PATIENCE, problem);
    let server = LineageServer::start(address, 500);
    wait::until("rejected events", PATIENCE, || (server.rejected() >= 2).then_some(()));
    for collector in collectors {
        collector.kill();
        collector.start();
    }
    server.set_status(201);
    let completed = wait::until("the event for the receipt", PATIENCE, || {
        server.accepted().into_iter().find(|event| event["eventType"] == "COMPLETE")
    });
    let started = server.accepted().into_iter().find(|event| event["eventType"] == "START");
    let started = started.expect("a run starts before it ends");
    for event in [&started, &completed] {
        check_event(event);
    }
    assert_eq!(started["run"], completed["run"]);
    let facets = &completed["outputs"][0]["outputFacets"];
    let statistics = &facets["outputStatistics"];
    let files = Value::from(receipt["files"].as_array().expect("a list").len());
    assert_eq!((&statistics["rowCount"], &statistics["fileCount"]), (&receipt["events"], &files));
    assert!(statistics["size"].as_u64() > Some(0), "{completed}");
    let own = &facets["aqueduct_receipt"];
    for name in ["hash", "edges", "waived", "directory"] {
        assert_eq!(own[name], receipt[name], "{name}: {completed}");
    }
    server
}

/// Checks the fields that the specification requires.
fn check_event(event: &Value) {
    let text = |value: &Value| value.as_str().map(str::to_owned).unwrap_or_default();
    let schema = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";
    assert_eq!(event["schemaURL"], schema, "{event}");
    let (time, id) = (text(&event["eventTime"]), text(&event["run"]["runId"]));
    assert!(time.starts_with("20") && time.ends_with('Z') && time.contains('T'), "{time}");
    let groups = id.split('-').map(|group| group.len());
    assert_eq!(groups.collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{id}");
    let (job, output) = (&event["job"], &event["outputs"][0]);
    assert_eq!((text(&job["namespace"]), text(&job["name"])), ("logs".into(), "store".into()));
    assert!(text(&output["name"]).ends_with("/store") && output["namespace"] == "file", "{event}");
    let facets = output["outputFacets"].as_object().expect("facets");
    for own in facets.values().chain([&serde_json::json!({
        "_producer": event["producer"], "_schemaURL": event["schemaURL"],
    })]) {
        for name in ["_producer", "_schemaURL"] {
            assert!(text(&own[name]).starts_with("https://"), "{name}: {event}");
        }
    }
}

/// `verify` accepts the directory, and finds a planted file.
fn can_be_verified(dir: &Path, url: &str) {
    let channels = ["web", "pay"].map(|name| dir.join(name).join("data/channels/main"));
    proved(verify(url, &channels)).expect("the receipt and the record are true");
    fs::write(dir.join("store").join(HOUR).join("planted.log"), "foreign\n")
        .expect("a file is written");
    let problem = proved(verify(url, &channels)).expect_err("a planted file is a finding");
    assert!(problem.contains("planted.log is not a file of this sink"), "{problem}");
}

/// An edge leaves the roster, and is listed as left.
fn an_edge_can_leave(url: &str) {
    let roster = |more: &[&str]| {
        let mut command = program("aqueduct");
        let output = command.arg("roster").args(more).args(["--store", url]).output();
        let output = output.expect("the program starts");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let listed = roster(&["list", "--json"]);
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let origins = listed["edges"].as_array().expect("a list").iter();
    let origins: Vec<&str> = origins.filter_map(|edge| edge["origin"].as_str()).collect();
    assert_eq!(origins.len(), 2, "{listed}");
    roster(&["leave", origins[0]]);
    assert!(roster(&["list"]).contains("left at "), "{}", roster(&["list"]));
}
