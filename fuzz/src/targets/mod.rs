//! The targets. Where a decoder has settings, the first bytes of an input choose among them.

mod bodies;
mod brokers;
mod configurations;
mod files;
mod interceptors;
mod nats;
mod paths;
mod rpc;
mod shippers;
mod stored;
mod streams;
mod wire;

use crate::Target;

/// Inputs over it take a source no further than shorter ones, and only time.
const STREAM_MAX: usize = 16 << 10;

/// All of them. Those that the command `fuzz/run` gives the most time stand first.
pub const TARGETS: &[Target] = &[
    target("avro", rpc::avro, 20),
    target("thrift", rpc::thrift, 46),
    Target {
        more_seeds: Some("crates/flume/tests/corpus"),
        ..target("properties", configurations::properties, 80)
    },
    target("flume_channel", stored::flume_channel, 300),
    target("syslog", streams::syslog, 40),
    target("frames", stored::frames, 25),
    target("wire", wire::wire, 8),
    target("http", streams::http, 10),
    target("netcat", streams::netcat, 10),
    target("journal", stored::journal, 10),
    target("nats", nats::nats, 9),
    target("rabbitmq", brokers::rabbitmq, 6),
    target("amqp", brokers::amqp, 4),
    target("parquet", brokers::parquet, 1),
    target("fluent", shippers::fluent, 12),
    target("lumberjack", shippers::lumberjack, 9),
    target("otlp", shippers::otlp, 6),
    target("bodies", bodies::bodies, 70),
    target("files", files::files, 120),
    target("interceptors", interceptors::interceptors, 10),
    target("paths", paths::paths, 60),
    target("configuration", configurations::configuration, 4),
];

const fn target(name: &'static str, read: fn(&[u8]) -> usize, seeds_hold: usize) -> Target {
    Target { name, read, more_seeds: None, seeds_hold }
}

/// Lines that are one event, of at most so many bytes: a stack trace is indented.
fn multiline(bytes_max: &str) -> serde_json::Value {
    serde_json::json!({ "start": "^[^ \t]", "lines_max": 5, "bytes_max": bytes_max })
}

/// The first byte, which chooses, and the rest; of no bytes nothing is read.
fn chosen(input: &[u8]) -> (usize, &[u8]) {
    input.split_first().map_or((0, input), |(first, rest)| (usize::from(*first), rest))
}

/// Two bytes that choose, and the stream.
fn settings_and_stream(input: &[u8]) -> (usize, usize, &[u8]) {
    let (choice, rest) = chosen(input);
    let (piece, stream) = chosen(rest);
    (choice, 1 + piece, &stream[..stream.len().min(STREAM_MAX)])
}
