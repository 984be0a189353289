//! The planted configurations: changes of a good one, by kind.

use std::net::SocketAddr;
use std::path::PathBuf;

/// The neighbours of the agents.
#[derive(Debug, Clone)]
pub(super) struct Around {
    /// Folder of certificates.
    pub(super) certificates: PathBuf,
    /// Receives batches over TLS, from clients with a certificate.
    pub(super) store: SocketAddr,
    /// Accepts connections, and never answers.
    pub(super) black_hole: SocketAddr,
    /// Answers each HTTP request after a while.
    pub(super) slow: SocketAddr,
    /// Nothing listens here.
    pub(super) dead: SocketAddr,
}

/// Changes a configuration.
pub(super) type Change = fn(&str, &Around) -> String;

/// A planted configuration.
#[derive(Debug, Clone, Copy)]
pub(super) struct Planted {
    /// Its kind; `good` for those that must pass.
    pub(super) kind: &'static str,
    /// The fault.
    pub(super) name: &'static str,
    /// Plants it.
    pub(super) change: Change,
}

impl Around {
    /// The good configuration of agents whose logs are in `logs`.
    pub(super) fn good(&self, logs: &str) -> String {
        let tls = |file: &str| self.certificates.join(file).display().to_string();
        format!(
            "[sources.logs]\ntype = \"tail_dir\"\npaths = [\"{logs}/*.log\"]\n\
             channels = [\"main\"]\n\n\
             [channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\n\
             [sinks.store]\ntype = \"grpc\"\naddress = \"{}\"\n\
             tls = {{ ca = \"{}\", certificate = \"{}\", key = \"{}\" }}\nchannel = \"main\"\n",
            self.store,
            tls("ca.pem"),
            tls("client.pem"),
            tls("client.key"),
        )
    }

    fn http_sink(&self, text: &str, address: SocketAddr, settings: &str) -> String {
        let sink = format!("type = \"http\"\nurl = \"http://{address}/\"\n{settings}\n");
        sink_instead(text, &sink)
    }
}

/// Replaces the settings of the sink, but its channel.
fn sink_instead(text: &str, settings: &str) -> String {
    let (head, sink) = text.split_once("type = \"grpc\"").expect("the good sink");
    let end = sink.find("channel = ").expect("its channel");
    format!("{head}{settings}{}", &sink[end..])
}

/// Replaces a text that must occur.
fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from} is not in {text}");
    text.replacen(from, to, 1)
}

/// Adds settings to the source.
fn source(text: &str, settings: &str) -> String {
    let channels = "channels = [\"main\"]\n";
    replaced(text, channels, &format!("{channels}{settings}\n"))
}

/// Adds settings to the channel.
fn channel(text: &str, settings: &str) -> String {
    replaced(text, "capacity = \"64MiB\"\n", &format!("capacity = \"64MiB\"\n{settings}\n"))
}

fn without_tls(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with("tls = "));
    lines.map(|line| format!("{line}\n")).collect()
}

const fn planted(kind: &'static str, name: &'static str, change: Change) -> Planted {
    Planted { kind, name, change }
}

/// All planted configurations.
pub(super) const PLANTED: [Planted; 33] = [
    planted("good", "another capacity", |it, _| replaced(it, "64MiB", "65MiB")),
    planted("drops", "a filter keeps nothing", |it, _| {
        source(it, "interceptors = [{ type = \"filter\", keep = [{ matches = \"never\" }] }]")
    }),
    planted("drops", "a filter drops one of five lines", |it, _| {
        source(it, "interceptors = [{ type = \"filter\", drop = [{ matches = \"level=4\" }] }]")
    }),
    planted("drops", "a sample of the half", |it, _| {
        source(it, "interceptors = [{ type = \"sample\", rate = 0.5 }]")
    }),
    planted("drops", "a throttle below the rate", |it, _| {
        source(it, "interceptors = [{ type = \"throttle\", events_per_second = 20 }]")
    }),
    planted("drops", "a selector without a default", |it, _| {
        source(
            it,
            "selector = { type = \"multiplexing\", header = \"x\", mapping = { a = \"main\" } }",
        )
    }),
    planted("drops", "a format that no line has", |it, _| {
        let parse = "type = \"parse\", format = \"json\", on_failure = \"dead_letters\"";
        source(it, &format!("interceptors = [{{ {parse} }}]"))
    }),
    planted("drops", "a full channel that drops", |it, around| {
        let it = channel(it, "capacity_events = 50\noverflow = \"drop_newest\"");
        replaced(&it, &around.store.to_string(), &around.dead.to_string())
    }),
    planted("good", "another header", |it, _| source(it, "interceptors = [{ type = \"host\" }]")),
    planted("stalls", "a dead address", |it, around| {
        replaced(it, &around.store.to_string(), &around.dead.to_string())
    }),
    planted("stalls", "a peer that never answers", |it, around| {
        replaced(it, &around.store.to_string(), &around.black_hole.to_string())
    }),
    planted("stalls", "a peer of another protocol", |it, around| {
        replaced(it, &around.store.to_string(), &around.slow.to_string())
    }),
    planted("stalls", "a directory below a file", |it, around| {
        let file = around.certificates.join("ca.pem").join("out");
        sink_instead(it, &format!("type = \"file_roll\"\ndirectory = \"{}\"\n", file.display()))
    }),
    planted("stalls", "a tiny channel before a dead address", |it, around| {
        let it = channel(it, "capacity_events = 20");
        replaced(&it, &around.store.to_string(), &around.dead.to_string())
    }),
    planted("stalls", "a server that never answers", |it, around| {
        around.http_sink(it, around.black_hole, "")
    }),
    planted("leaks", "one event at a time", |it, around| {
        around.http_sink(it, around.slow, "events_max = 1\nin_flight_max = 1")
    }),
    planted("leaks", "half of the rate", |it, around| {
        around.http_sink(it, around.slow, "in_flight_max = 3")
    }),
    planted("good", "compression", |it, _| {
        replaced(it, "type = \"grpc\"\n", "type = \"grpc\"\ncompression = \"zstd\"\n")
    }),
    planted("wrong path", "a pattern that matches nothing", |it, _| {
        replaced(it, "/*.log", "/*.lgo")
    }),
    planted("wrong path", "a directory that does not exist", |it, _| {
        replaced(it, "/*.log", "/nowhere/*.log")
    }),
    planted("wrong path", "a pattern of a small file", |it, _| {
        replaced(it, "/*.log", "/rare*.log")
    }),
    planted("wrong path", "all files excluded", |it, _| source(it, "exclude = [\"*.log\"]")),
    planted("wrong TLS", "another authority", |it, _| replaced(it, "/ca.pem", "/other.pem")),
    planted("wrong TLS", "no TLS", |it, _| without_tls(it)),
    planted("wrong TLS", "no certificate", |it, _| {
        let (head, tls) = it.split_once(", certificate = ").expect("a certificate");
        format!("{head}{}", &tls[tls.find(" }").expect("the end of the table")..])
    }),
    planted("wrong TLS", "no file of authorities", |it, _| replaced(it, "/ca.pem", "/nope.pem")),
    planted("good", "smaller batches", |it, _| source(it, "batch_events = 1000")),
    planted("refused", "wrong syntax", |it, _| replaced(it, "[sinks.store]", "[sinks.store")),
    planted("refused", "an unknown component", |it, _| replaced(it, "\"grpc\"", "\"gprc\"")),
    planted("refused", "an unknown setting", |it, _| source(it, "path = \"/var/log\"")),
    planted("refused", "an unknown channel", |it, _| replaced(it, "[\"main\"]", "[\"mian\"]")),
    planted("refused", "a missing file", |it, _| {
        source(it, "file_header_key = \"${file:/nowhere/key}\"")
    }),
    planted("refused", "a port in use", |it, around| {
        let syslog = format!("type = \"syslog\"\nlisten = [\"tcp://{}\"]\n", around.slow);
        format!("{it}\n[sources.more]\n{syslog}channels = [\"main\"]\n")
    }),
];
