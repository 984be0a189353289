//! Goal: an hour gets its receipt when every edge has sent everything, not before, although edges
//! and collectors are killed; a later file is recorded.
//!
//! Method: two edges with files of one past hour send to two collectors of one sink. One edge has
//! an incomplete line, which holds the hour back. An edge and a collector are killed (-9) in
//! between. `aqueduct complete` waits for the hour.
//!
//! Lane: core
//! Weight: 0
//! Limit: 10m
//! Paths: @core

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use aqueduct_tests::agent::{Agent, CollectorConfig, program, wait_until_delivered};
use aqueduct_tests::{http, wait};
use serde_json::Value;

/// The hour of all lines.
const HOUR: &str = "20260115-08";
const SETTINGS: &str =
    "complete = { grace = \"1s\", marker = \"_SUCCESS\" }\nroll = { idle_max = \"1s\" }";
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
    let listens = [(); 2].map(|()| http::free_address().to_string());
    let collector = |(name, listen): (&str, &String)| {
        let own = dir.join(name);
        fs::create_dir(&own).expect("the collector's own folder");
        let config = CollectorConfig::new(listen, &url, &own.join("data"));
        config.with_sink_settings(SETTINGS).agent(&own)
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
    assert_eq!(receipt["edges"].as_array().map(Vec::len), Some(2), "{receipt}");
    wait::until("the marker", PATIENCE, || hour.join("_SUCCESS").exists().then_some(()));

    collectors[1].kill();
    collectors[1].start();
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
    for agent in [&mut web, &mut pay] {
        agent.stop(PATIENCE);
    }
    collectors.iter_mut().for_each(|collector| collector.stop(PATIENCE));
}
