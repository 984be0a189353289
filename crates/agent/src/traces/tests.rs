//! Method: a receiver of this test, on a real socket, reports the requests and sends the answers of
//! the test. Time is the runtime's own and advances immediately when nothing else happens.

use std::net::SocketAddr;
use std::path::Path;

use pipeline::{Epoch, Identity, Origin, Sequence};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;

/// Longer than any condition takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn batch(sequence: u64) -> Identity {
    Identity { origin: Origin([3; 16]), epoch: Epoch(1 << 20), sequence: Sequence(sequence) }
}

/// A running exporter to `url`, with its recorder of spans.
struct Bench {
    traces: Traces,
    metrics: Metrics,
    exporting: Exporting,
}

impl Bench {
    fn to(address: SocketAddr, more: &str) -> Self {
        support::mutants::plant_by_environment();
        let text = format!(
            "[agent]\nname = \"e\"\ndata_dir = \"/d\"\n[agent.traces]\nsample = 1.0\n\
             url = \"http://{address}\"\n{more}\n\
             [sources.s]\ntype = \"sequence\"\nchannels = [\"c\"]\n[channels.c]\n\
             type = \"memory\"\n[sinks.k]\ntype = \"discard\"\nchannel = \"c\"\n"
        );
        let plan = config::load(Path::new("agent.toml"), &text, "host").unwrap();
        let (traces, metrics) = (Traces::default(), Metrics::default());
        let exporter = Exporter::from_plan(&plan, &env::real(), &metrics).unwrap();
        let exporting = Exporting::begin(exporter, &traces);
        Self { traces, metrics, exporting }
    }

    fn record(&self, sequences: std::ops::Range<u64>) {
        let now = Instant::now();
        for sequence in sequences {
            let span = self.traces.span(batch(sequence), "put", (now, now)).unwrap();
            self.traces.record(span.text("aqueduct.channel", "main"));
        }
    }

    fn counts(&self) -> (u64, u64) {
        (self.metrics.trace_spans.get(), self.metrics.trace_spans_dropped.get())
    }

    async fn until_counted(&self, exported: u64, dropped: u64) {
        let all = async {
            while self.counts() != (exported, dropped) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let counted = timeout(PATIENCE, all).await;
        assert!(counted.is_ok(), "{:?} and not {exported}, {dropped}", self.counts());
    }
}

/// The head and the body of the next request.
async fn request(stream: &mut TcpStream) -> (String, Value) {
    let mut bytes = Vec::new();
    loop {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "{bytes:?}");
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.unwrap().parse().unwrap();
        while bytes.len() < end + 4 + length {
            assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "{head}");
        }
        return (head, serde_json::from_slice(&bytes[end + 4..]).unwrap());
    }
}

async fn answer(stream: &mut TcpStream, status: &str, body: &str) {
    let text = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).await.unwrap();
}

fn traced(body: &Value) -> Vec<String> {
    let spans = body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
    spans.iter().map(|span| span["traceId"].as_str().unwrap().to_owned()).collect()
}

async fn listen() -> (TcpListener, SocketAddr) {
    #[expect(clippy::disallowed_methods, reason = "the receiver stands outside")]
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn spans_are_resent_to_a_busy_receiver_and_dropped_if_it_refuses_them() {
    let (listener, address) = listen().await;
    let secret = "secret_headers = { authorization = \"Bearer x\" }";
    let bench = Bench::to(address, secret);
    bench.record(0..3);
    let (mut stream, _) = listener.accept().await.unwrap();
    let (head, first) = request(&mut stream).await;
    assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
    assert!(head.contains("authorization: bearer x"), "{head}");
    assert!(head.contains("content-type: application/json"), "{head}");
    assert_eq!(traced(&first).len(), 3);
    answer(&mut stream, "503 Busy", "").await;
    let (_, again) = request(&mut stream).await;
    assert_eq!(traced(&again), traced(&first));
    answer(&mut stream, "200 OK", "{\"partialSuccess\":{\"rejectedSpans\":\"1\"}}").await;
    bench.until_counted(2, 1).await;
    bench.record(3..5);
    request(&mut stream).await;
    answer(&mut stream, "400 Bad", "no such thing").await;
    bench.until_counted(2, 3).await;
    // Closed between two requests, as a receiver does that was restarted.
    drop(stream);
    bench.record(5..6);
    let (mut stream, _) = listener.accept().await.unwrap();
    assert_eq!(
        traced(&request(&mut stream).await.1),
        [format!("{}", bench.traces.trace_id(batch(5)).unwrap())]
    );
    answer(&mut stream, "200 OK", "{}").await;
    bench.until_counted(3, 3).await;
}

/// Method: one receiver accepts connections and never answers, another one does not exist. Far more
/// spans are recorded together than the queue has room for.
#[tokio::test]
async fn a_receiver_that_is_dead_delays_nothing_and_every_span_is_counted() {
    let (silent, address) = listen().await;
    let (gone, nowhere) = listen().await;
    drop(gone);
    for to in [address, nowhere] {
        let bench = Bench::to(to, "timeout = \"1h\"");
        let all = 10 * pipeline::traces::QUEUE_SPANS as u64;
        for some in 0..10 {
            let size = all / 10;
            bench.record(some * size..(some + 1) * size);
            tokio::task::yield_now().await;
        }
        let dropped = bench.counts().1;
        let most = all - pipeline::traces::QUEUE_SPANS as u64;
        assert!(dropped <= most && dropped >= most - 2 * REQUEST_SPANS as u64, "{dropped}");
        let Bench { metrics, exporting, .. } = bench;
        timeout(PATIENCE, exporting.end()).await.expect("it ends in two seconds");
        let counted = (metrics.trace_spans.get(), metrics.trace_spans_dropped.get());
        assert_eq!(counted, (0, all), "each span is counted");
    }
    drop(silent);
}

#[tokio::test]
async fn waiting_spans_are_exported_at_the_end_and_join_to_one_trace() {
    let (listener, address) = listen().await;
    let bench = Bench::to(address, "");
    let now = Instant::now();
    let traces = &bench.traces;
    let mut root = traces.span(batch(1), "put", (now, now)).unwrap();
    root.is_root = true;
    traces.record(root);
    let sent = traces.span(batch(1), "send", (now, now)).unwrap();
    traces.record(sent.failed("gone").number("aqueduct.attempt", 1));
    let Bench { exporting, metrics, .. } = bench;
    let receive = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (_, body) = request(&mut stream).await;
        answer(&mut stream, "200 OK", "").await;
        body
    };
    let ((), body) = tokio::join!(exporting.end(), receive);
    let resource = &body["resourceSpans"][0];
    let attributes = resource["resource"]["attributes"].to_string();
    assert!(attributes.contains("\"aqueduct\"") && attributes.contains("\"e\""), "{attributes}");
    let spans = &resource["scopeSpans"][0]["spans"];
    assert_eq!(spans[0]["traceId"], spans[1]["traceId"]);
    assert_eq!(spans[0]["spanId"], spans[1]["parentSpanId"]);
    assert!(spans[0]["parentSpanId"].is_null() && spans[0]["status"].is_null());
    assert_eq!(spans[1]["status"]["message"], "gone");
    assert_eq!(spans[1]["attributes"][1]["value"]["intValue"], "1");
    assert_eq!(metrics.trace_spans.get(), 2);
}

#[test]
fn a_setting_that_is_not_possible_is_named_with_its_place() {
    for (setting, place, cause) in [
        ("url = \"http://h\"", "agent.traces.url: ", "data would leave this host in plain text"),
        ("url = \"http://localhost:1\"\nsample = 0", "agent.traces.sample: ", "greater than 0"),
        (
            "url = \"http://localhost:1\"\nheaders = { Authorization = \"x\" }",
            "agent.traces.headers.Authorization: ",
            "move it to `secret_headers`",
        ),
        ("url = \"http://localhost:1\"\ntls = {}", "agent.traces.tls: ", "write `https://`"),
    ] {
        let text = format!(
            "[agent]\ndata_dir = \"/d\"\n[agent.traces]\n{setting}\n\
             [sources.s]\ntype = \"sequence\"\nchannels = [\"c\"]\n[channels.c]\n\
             type = \"memory\"\n[sinks.k]\ntype = \"discard\"\nchannel = \"c\"\n"
        );
        let plan = config::load(Path::new("agent.toml"), &text, "host");
        let checked = plan.and_then(|plan| crate::check(&plan, catalogue::FULL, &env::real()));
        let said = checked.map(|_| ()).unwrap_err().to_string();
        assert!(said.contains(place) && said.contains(cause), "{setting}: {said}");
    }
}
