//! The targets. If a decoder has settings, the first input bytes select them.

mod bodies;
mod brokers;
mod configurations;
mod files;
mod interceptors;
mod nats;
mod paths;
mod plugins;
mod rows;
mod rpc;
mod shippers;
mod stored;
mod streams;
mod wire;

use crate::Target;

/// Longer inputs cost time without reaching new code of a source.
const STREAM_MAX: usize = 16 << 10;

/// All targets. `fuzz/run` gives the most time to the first ones.
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
    target("rows", rows::rows, 60),
    target("plugin", plugins::plugin, 8),
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

/// Settings for multi-line events of at most this size, like an indented stack trace.
fn multiline(bytes_max: &str) -> serde_json::Value {
    serde_json::json!({ "start": "^[^ \t]", "lines_max": 5, "bytes_max": bytes_max })
}

/// Splits off the selector byte; 0 for an empty input.
fn chosen(input: &[u8]) -> (usize, &[u8]) {
    input.split_first().map_or((0, input), |(first, rest)| (usize::from(*first), rest))
}

/// Splits off two selector bytes.
fn settings_and_stream(input: &[u8]) -> (usize, usize, &[u8]) {
    let (choice, rest) = chosen(input);
    let (piece, stream) = chosen(rest);
    (choice, 1 + piece, &stream[..stream.len().min(STREAM_MAX)])
}
