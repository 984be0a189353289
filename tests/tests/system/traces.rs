//! Goal: the spans of an edge and two collectors form one trace for each batch, which ends with the
//! file that contains its events, even if the collector with the batch is killed.
//!
//! Method: the real programs, and as receiver a third agent with the source `otlp`, over TLS: it
//! stores the spans in OpenTelemetry's own format. The first collector never closes its files. It
//! is killed (-9), and the second one receives the batch.
//!
//! Lane: core
//! Needs: openssl
//! Weight: 1
//! Limit: 10m
//! Paths: @core crates/tls crates/components-otlp

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use aqueduct_tests::agent::Agent;
use aqueduct_tests::certificates;
use aqueduct_tests::http::free_address;
use aqueduct_tests::store::events;
use aqueduct_tests::wait;
use serde_json::Value;

/// Timeout of a step.
const LIMIT: Duration = Duration::from_secs(60);

/// A span, as stored by the receiver.
#[derive(Debug)]
struct Span {
    id: String,
    parent: String,
    name: String,
    error: String,
    ended: u128,
    attributes: BTreeMap<String, Value>,
}

impl Span {
    fn of(value: &Value) -> Self {
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let attributes = value["attributes"].as_array().expect("attributes").iter();
        let attributes = attributes
            .map(|it| (it["key"].as_str().expect("a key").to_owned(), it["value"].clone()));
        Self {
            id: text("spanId"),
            parent: text("parentSpanId"),
            name: text("name"),
            error: value["status"]["message"].as_str().unwrap_or_default().to_owned(),
            ended: text("endTimeUnixNano").parse().expect("nanoseconds"),
            attributes: attributes.collect(),
        }
    }

    fn text(&self, key: &str) -> &str {
        self.attributes.get(key).and_then(|it| it["stringValue"].as_str()).unwrap_or_default()
    }

    fn attempt(&self) -> &str {
        let attempt = self.attributes.get("aqueduct.attempt");
        attempt.and_then(|it| it["intValue"].as_str()).unwrap_or_default()
    }

    fn files(&self) -> Vec<String> {
        let files = self.attributes.get("aqueduct.files");
        let files = files.and_then(|it| it["arrayValue"]["values"].as_array());
        let text = |it: &Value| it["stringValue"].as_str().expect("a path").to_owned();
        files.into_iter().flatten().map(text).collect()
    }
}

/// Returns the spans of each trace.
fn traces(dir: &Path) -> BTreeMap<String, Vec<Span>> {
    let mut all: BTreeMap<String, Vec<Span>> = BTreeMap::new();
    for value in events(&dir.join("spans")) {
        let trace = value["traceId"].as_str().expect("an id").to_owned();
        all.entry(trace).or_default().push(Span::of(&value));
    }
    all
}

/// Returns whether some trace has such a span.
fn any(dir: &Path, like: impl Fn(&Span) -> bool) -> Option<()> {
    traces(dir).values().flatten().any(like).then_some(())
}

fn receiver(dir: &Path, listen: &str) -> Agent {
    let at = |name: &str| dir.join(name).display().to_string();
    let text = format!(
        "[agent]\ndata_dir = \"{}\"\n\
         [sources.spans]\ntype = \"otlp\"\nlisten = [\"{listen}\"]\nchannels = [\"main\"]\n\
         tls = {{ certificate = \"{}\", key = \"{}\", client_ca = \"{}\" }}\n\
         [channels.main]\ntype = \"durable\"\n\
         [sinks.store]\ntype = \"hdfs\"\nchannel = \"main\"\nurl = \"file://{}/%Y-%m-%d\"\n\
         roll = {{ idle_max = \"100ms\", age_max = \"300ms\" }}\n",
        at("receiver"),
        at("server.pem"),
        at("server.key"),
        at("ca.pem"),
        at("spans"),
    );
    Agent::configured("aqueduct-collector", dir, "receiver", &text)
}

/// The table of every traced agent: all of its batches are sampled.
fn table(dir: &Path, receiver: &str) -> String {
    let at = |name: &str| dir.join(name).display().to_string();
    format!(
        "[agent.traces]\nurl = \"https://{receiver}\"\nsample = 1.0\n\
         secret_headers = {{ authorization = \"Bearer ${{file:{}}}\" }}\n\
         tls = {{ ca = \"{}\", certificate = \"{}\", key = \"{}\" }}\n",
        at("secret"),
        at("ca.pem"),
        at("client.pem"),
        at("client.key"),
    )
}

fn collector(dir: &Path, name: &'static str, listen: &str, traced: &str, roll: &str) -> Agent {
    let at = |name: &str| dir.join(name).display().to_string();
    let text = format!(
        "[agent]\nname = \"{name}\"\ndata_dir = \"{}\"\n{traced}\
         [sources.intake]\ntype = \"grpc\"\nlisten = \"{listen}\"\nchannels = [\"main\"]\n\
         [channels.main]\ntype = \"durable\"\n\
         [sinks.store]\ntype = \"hdfs\"\nchannel = \"main\"\nurl = \"file://{}/%Y-%m-%d\"\n\
         roll = {{ {roll} }}\n",
        at(&format!("{name}.data")),
        at("store"),
    );
    Agent::configured("aqueduct-collector", dir, name, &text)
}

fn edge(dir: &Path, listen: [&str; 2], traced: &str) -> Agent {
    let at = |name: &str| dir.join(name).display().to_string();
    let [first, second] = listen;
    let text = format!(
        "[agent]\nname = \"edge\"\ndata_dir = \"{}\"\n{traced}\
         [sources.logs]\ntype = \"tail_dir\"\npaths = [\"{}\"]\nchannels = [\"main\"]\n\
         [channels.main]\ntype = \"durable\"\n\
         [sinks.first]\ntype = \"grpc\"\naddress = \"{first}\"\nresend_after = \"1s\"\n\
         [sinks.second]\ntype = \"grpc\"\naddress = \"{second}\"\n\
         [groups.collectors]\ntype = \"failover\"\nchannel = \"main\"\n\
         sinks = [\"first\", \"second\"]\n",
        at("edge.data"),
        at("*.log"),
    );
    Agent::configured("aqueduct-edge", dir, "edge", &text)
}

/// Returns the only such span of this trace.
fn one<'a>(trace: &'a [Span], what: &str, like: impl Fn(&Span) -> bool) -> &'a Span {
    let found: Vec<&Span> = trace.iter().filter(|span| like(span)).collect();
    assert_eq!(found.len(), 1, "{what} in {trace:#?}");
    found[0]
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn batch_of_a_killed_collector_is_one_trace_with_all_attempts() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    certificates::make(dir);
    fs::write(dir.join("secret"), "not-to-be-shown\n").expect("a secret is written");
    let address = || free_address().to_string();
    let (spans, listen) = (address(), [address(), address()]);
    let traced = table(dir, &spans);
    let mut receiver = receiver(dir, &spans);
    let never = "idle_max = \"1h\", age_max = \"1h\"";
    let mut first = collector(dir, "first", &listen[0], &traced, never);
    let mut second = collector(dir, "second", &listen[1], &traced, "idle_max = \"200ms\"");
    let mut edge = edge(dir, [&listen[0], &listen[1]], &traced);
    for agent in [&mut receiver, &mut first, &mut second, &mut edge] {
        agent.start();
    }

    let lines: String = (0..100).map(|number| format!("line {number}\n")).collect();
    // Renamed when complete, so that it is one batch.
    fs::write(dir.join("aside"), &lines).expect("a log is written");
    fs::rename(dir.join("aside"), dir.join("a.log")).expect("it appears");
    // Both have reported that the first collector has it, which reports nothing more.
    wait::until("the first attempt", LIMIT, || {
        any(dir, |span| span.text("aqueduct.sink") == "first")
    });
    wait::until("the first collector's span", LIMIT, || {
        any(dir, |span| span.name == "put" && span.text("aqueduct.source") == "intake")
    });
    first.kill();
    wait::until("the end of the trace", LIMIT, || {
        let is_last = |span: &Span| span.name == "settle" && span.error.is_empty();
        any(dir, |span| is_last(span) && span.text("aqueduct.sink") == "second")
    });
    wait::until("the file of the trace", LIMIT, || any(dir, |span| span.name == "commit"));

    let traces = traces(dir);
    assert_eq!(traces.len(), 1, "one batch: {traces:#?}");
    let trace = traces.values().next().expect("one trace");
    let root = one(trace, "the put where it was born", |span| span.parent.is_empty());
    assert!(root.name == "put" && root.text("aqueduct.source") == "logs", "{root:?}");
    assert!(trace.iter().all(|span| span.parent == root.id || span.id == root.id), "{trace:#?}");
    let ids: BTreeSet<&str> = trace.iter().map(|span| &*span.id).collect();
    assert_eq!(ids.len(), trace.len());
    let of_edge = |name: &'static str, attempt: &'static str| {
        let what = format!("{name}, attempt {attempt}");
        one(trace, &what, |span| {
            span.name == name
                && span.attempt() == attempt
                && span.text("aqueduct.group") == "collectors"
        })
    };
    assert!(of_edge("send", "1").text("aqueduct.sink") == "first");
    assert!(!of_edge("settle", "1").error.is_empty(), "the first collector was lost");
    // The first collector may have been tried once more.
    let last = one(trace, "the last attempt", |span| {
        span.name == "settle" && span.text("aqueduct.sink") == "second"
    });
    assert!(last.attempt() != "1" && last.error.is_empty(), "{last:?}");
    one(trace, "how the second collector got it", |span| {
        span.name == "send" && span.attempt() == last.attempt() && span.error.is_empty()
    });
    let puts = trace.iter().filter(|span| span.text("aqueduct.source") == "intake");
    assert_eq!(puts.count(), 2, "each collector has stored it: {trace:#?}");
    let commit = one(trace, "the commit", |span| span.name == "commit");
    let of_second = trace.iter().filter(|span| !span.text("aqueduct.channel").is_empty());
    assert!(of_second.into_iter().all(|span| span.ended <= commit.ended), "{trace:#?}");
    let [file] = &commit.files()[..] else { panic!("one file: {commit:?}") };
    assert_eq!(fs::read_to_string(file).expect("the file that the trace names"), lines);

    for agent in [&edge, &second] {
        let metrics = agent.metrics().expect("it answers");
        assert_eq!(metrics.sum("aqueduct_trace_spans_dropped_total"), Some(0.0));
        assert!(!agent.output().contains("not-to-be-shown"));
    }
    for mut agent in [edge, second, receiver] {
        agent.stop(LIMIT);
    }
}
