//! Goal: a monitor made for Flume can read an agent, and the page about the counters names each of
//! them.
//!
//! Method: an agent in a child process sends numbers to a store and to an address without a
//! listener. Its page is read on both ports and compared with `docs/flume-metrics.md`.

#[allow(dead_code, reason = "a part of it is used here")]
use crate::common;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use support::loopback::free_address;

use crate::common::{Agent, write};

/// The counters of each component, as `SINK.name`.
type Page = BTreeMap<String, BTreeMap<String, String>>;

/// Numbers that the source generates.
const COUNT: u64 = 1_000;

const DOCS: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/flume-metrics.md"));

/// Returns head and body of a response, or `None` before the page answers.
fn get(port: u16, path: &str) -> Option<(String, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split_once("\r\n\r\n").map(|(head, body)| (head.to_owned(), body.to_owned()))
}

fn page(port: u16, path: &str) -> Option<Page> {
    serde_json::from_str(&get(port, path)?.1).ok()
}

/// Returns the counters in the table below this heading, each with its component.
fn documented() -> BTreeSet<(String, String)> {
    let (_, table) = DOCS.split_once("## Counters").unwrap();
    let (table, _) = table.split_once("## Not on the page").unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let rows = rows.filter_map(|(of, rest)| Some((of, rest.split('`').nth(1)?)));
    rows.map(|(of, counter)| (of.to_owned(), counter.to_owned())).collect()
}

/// Ports of the agent's pages.
struct Ports {
    admin: u16,
    own: u16,
}

/// Starts an agent with a working store and an address without a listener.
fn start(dir: &Path) -> (Agent, Ports) {
    let (at, ports) =
        (dir.display(), Ports { admin: free_address().port(), own: free_address().port() });
    let Ports { admin, own } = ports;
    let (nothing, grpc) = (free_address().port(), free_address().port());
    let text = format!(
        "[agent]\ndata_dir = \"{at}/data\"\ngrace = \"1s\"\nadmin = \"127.0.0.1:{admin}\"\n\
         flume_metrics = \"127.0.0.1:{own}\"\n\
         [sources.in]\ntype = \"sequence\"\ncount = {COUNT}\nbatch_events = 10\n\
         channels = [\"main\", \"away\"]\n\
         [sources.edges]\ntype = \"grpc\"\nlisten = \"127.0.0.1:{grpc}\"\nchannels = [\"main\"]\n\
         [channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [channels.away]\ntype = \"memory\"\ncapacity = \"64MiB\"\n\
         [sinks.store]\ntype = \"hdfs\"\nurl = \"file://{at}/store\"\nchannel = \"main\"\n\
         roll = {{ age_max = \"200ms\" }}\n\
         [sinks.gone]\ntype = \"http\"\nurl = \"http://127.0.0.1:{nothing}/\"\nchannel = \"away\"\n"
    );
    (Agent::configured(dir, "agent", &text), ports)
}

#[test]
fn a_monitor_of_flume_reads_what_every_component_has_done() {
    let dir = tempfile::tempdir().unwrap();
    let (agent, Ports { admin, own }) = start(dir.path());
    let is = |page: &Page, of: &str, counter: &str, value: u64| {
        page.get(of).and_then(|it| it.get(counter)).is_some_and(|it| *it == value.to_string())
    };
    agent.until(|| {
        page(own, "/metrics").is_some_and(|page| {
            is(&page, "SINK.store", "EventDrainSuccessCount", COUNT)
                && !is(&page, "SINK.gone", "ConnectionFailedCount", 0)
        })
    });
    let found = page(own, "/metrics").unwrap();
    for (of, counter, value) in [
        ("SOURCE.in", "EventReceivedCount", COUNT),
        ("SOURCE.in", "EventAcceptedCount", COUNT),
        ("SOURCE.in", "AppendBatchReceivedCount", COUNT / 10),
        ("SOURCE.in", "AppendBatchAcceptedCount", COUNT / 10),
        ("SOURCE.in", "ChannelWriteFail", 0),
        ("SOURCE.edges", "OpenConnectionCount", 0),
        ("CHANNEL.main", "ChannelSize", 0),
        ("CHANNEL.main", "EventPutSuccessCount", COUNT),
        ("CHANNEL.main", "EventTakeSuccessCount", COUNT),
        ("CHANNEL.away", "ChannelSize", COUNT),
        ("CHANNEL.away", "EventTakeSuccessCount", 0),
        ("SINK.store", "EventDrainAttemptCount", COUNT),
        ("SINK.store", "BatchCompleteCount", COUNT / 10),
        ("SINK.store", "EventWriteFail", 0),
        ("SINK.gone", "EventDrainSuccessCount", 0),
    ] {
        assert!(is(&found, of, counter, value), "{of} {counter} is not {value}: {found:?}");
    }
    let fill: f64 = found["CHANNEL.away"]["ChannelFillPercentage"].parse().unwrap();
    assert!(fill > 0.0 && fill < 100.0, "{fill}");
    let started: u64 = found["SOURCE.in"]["StartTime"].parse().unwrap();
    assert!(started > 1_600_000_000_000, "milliseconds since 1970: {started}");
    assert_eq!(started.to_string(), page(own, "/metrics").unwrap()["SOURCE.in"]["StartTime"]);

    let lower = |of: &str| of.split('.').next().unwrap().to_lowercase();
    let mut shown = BTreeSet::new();
    for (of, counters) in &found {
        assert_eq!(counters["Type"].to_lowercase(), lower(of));
        for counter in counters.keys() {
            let of = if ["Type", "StartTime", "StopTime"].contains(&&**counter) {
                "all".to_owned()
            } else {
                lower(of)
            };
            shown.insert((of, counter.clone()));
        }
    }
    assert_eq!(shown, documented());

    let keys = |page: &Page| page.keys().cloned().collect::<Vec<_>>();
    assert_eq!(page(admin, "/flume/metrics").map(|page| keys(&page)), Some(keys(&found)));
    let (head, _) = get(own, "/metrics").unwrap();
    assert!(head.contains("content-type: application/json;charset=utf-8"), "{head}");
    let (head, _) = get(own, "/status").unwrap();
    assert!(head.starts_with("HTTP/1.1 404"), "the other pages stay at the admin address: {head}");
    agent.stop();
}

#[test]
fn two_listeners_on_one_address_are_an_error_with_both_places() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("agent.toml");
    let text = "[agent]\ndata_dir = \"/d\"\nadmin = \"127.0.0.1:1\"\nflume_metrics = \
                \"127.0.0.1:1\"\n";
    write(&file, text);
    let output = common::aqueduct(&["check", &file.display().to_string()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("agent.flume_metrics: `agent.admin"), "{said}{}", common::text(&output));
}
