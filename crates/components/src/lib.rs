//! The components that every program has: no store, and nothing heavy.
//!
//! One file is one component, and one line in its role's table makes it known. What brings
//! something heavy with it is in a crate of its own, with a group of its own. Code that sources and
//! sinks share is in `kit`. The tables of the crate `formats` are part of the group here. The
//! sources of files and the hop between agents are crates of their own, which each program has too.

pub mod interceptors;
pub mod processors;
pub mod selectors;
pub mod sinks;
pub mod sources;

use pipeline::component::entry;
use pipeline::{BuildContext, Catalogue, Channel, Entry, Env, Group, Unavailable};

/// All channels.
pub static CHANNELS: &[Entry<dyn Channel>] = &[
    entry::<channel::durable::Config>(),
    entry::<channel::memory::Config>(),
    entry::<channel::spill::Config>(),
];

/// The components of this crate and the formats, for the catalogue of a program.
pub static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    feature: None,
    sources: sources::ALL,
    interceptors: interceptors::ALL,
    conditions: &[],
    selectors: selectors::ALL,
    channels: CHANNELS,
    processors: processors::ALL,
    sinks: sinks::ALL,
    encoders: formats::encoders::ALL,
    codecs: formats::codecs::ALL,
    decoders: formats::decoders::ALL,
    framings: formats::framings::ALL,
};

/// The components of the full programs, by feature. A test of the catalogue compares them with its
/// groups.
pub const UNAVAILABLE: &[Unavailable] = &[
    Unavailable { feature: "amqp", components: &[("source", "amqp"), ("sink", "amqp")] },
    Unavailable { feature: "expr", components: &[("condition", "cel")] },
    Unavailable { feature: "hbase", components: &[("sink", "hbase")] },
    Unavailable {
        feature: "hdfs",
        components: &[
            ("decoder", "avro_rows"),
            ("decoder", "delimited"),
            ("sink", "files"),
            ("source", "hdfs"),
            ("sink", "hdfs"),
            ("decoder", "sequence_file"),
        ],
    },
    Unavailable {
        feature: "http_stream",
        components: &[("source", "http_poll"), ("source", "http_stream")],
    },
    Unavailable {
        feature: "kafka",
        components: &[
            ("source", "kafka"),
            ("interceptor", "avro_rows"),
            ("sink", "kafka"),
            ("channel", "kafka"),
        ],
    },
    Unavailable { feature: "mqtt", components: &[("source", "mqtt"), ("sink", "mqtt")] },
    Unavailable { feature: "nats", components: &[("source", "nats"), ("sink", "nats")] },
    Unavailable { feature: "otlp", components: &[("source", "otlp"), ("sink", "otlp")] },
    Unavailable {
        feature: "parquet",
        components: &[("encoder", "parquet"), ("decoder", "parquet_rows")],
    },
    Unavailable {
        feature: "process",
        components: &[
            ("source", "process"),
            ("interceptor", "process"),
            ("selector", "process"),
            ("sink", "process"),
            ("encoder", "process"),
        ],
    },
    Unavailable {
        feature: "rabbitmq",
        components: &[("source", "rabbitmq"), ("sink", "rabbitmq")],
    },
    Unavailable { feature: "search", components: &[("sink", "elasticsearch"), ("sink", "solr")] },
    Unavailable {
        feature: "shippers",
        components: &[("source", "fluent_forward"), ("source", "lumberjack")],
    },
    Unavailable {
        feature: "sql",
        components: &[("source", "sql"), ("source", "sql_changes"), ("sink", "sql")],
    },
    Unavailable { feature: "wasm", components: &[("interceptor", "wasm")] },
];

/// Catalogue of a program on a producer.
pub const EDGE: Catalogue = Catalogue {
    groups: &[&GROUP, &components_files::GROUP, &components_grpc::GROUP],
    unavailable: UNAVAILABLE,
};

/// Returns the context of a component outside of an agent, with the components of an edge.
pub fn alone(name: &str, directory: &std::path::Path, env: Env) -> BuildContext {
    BuildContext { catalogue: EDGE, ..BuildContext::alone(name, directory, env) }
}
