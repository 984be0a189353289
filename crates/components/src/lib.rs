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
use pipeline::{BuildContext, Catalogue, Channel, Elsewhere, Entry, Env, Group};

/// What holds events.
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

/// What is in the full programs only. A test of the operator's program holds it against them.
pub const ELSEWHERE: &[Elsewhere] = &[
    Elsewhere { role: "source", kind: "amqp", programs: FULL_PROGRAMS },
    Elsewhere { role: "sink", kind: "amqp", programs: FULL_PROGRAMS },
    Elsewhere { role: "condition", kind: "cel", programs: FULL_PROGRAMS },
    Elsewhere { role: "decoder", kind: "avro_rows", programs: FULL_PROGRAMS },
    Elsewhere { role: "decoder", kind: "delimited", programs: FULL_PROGRAMS },
    Elsewhere { role: "sink", kind: "elasticsearch", programs: FULL_PROGRAMS },
    Elsewhere { role: "sink", kind: "files", programs: FULL_PROGRAMS },
    Elsewhere { role: "source", kind: "fluent_forward", programs: FULL_PROGRAMS },
    Elsewhere { role: "sink", kind: "hbase", programs: FULL_PROGRAMS },
    Elsewhere { role: "source", kind: "hdfs", programs: FULL_PROGRAMS },
    Elsewhere { role: "sink", kind: "hdfs", programs: FULL_PROGRAMS },
    Elsewhere { role: "source", kind: "http_poll", programs: FULL_PROGRAMS },
    Elsewhere { role: "source", kind: "http_stream", programs: FULL_PROGRAMS },
    Elsewhere { role: "source", kind: "kafka", programs: FULL_PROGRAMS },
    Elsewhere { role: "sink", kind: "kafka", programs: FULL_PROGRAMS },
    Elsewhere { role: "channel", kind: "kafka", programs: FULL_PROGRAMS },
    Elsewhere { role: "source", kind: "lumberjack", programs: FULL_PROGRAMS },
    Elsewhere { role: "source", kind: "mqtt", programs: FULL_PROGRAMS },
    Elsewhere { role: "sink", kind: "mqtt", programs: FULL_PROGRAMS },
    Elsewhere { role: "source", kind: "nats", programs: FULL_PROGRAMS },
    Elsewhere { role: "sink", kind: "nats", programs: FULL_PROGRAMS },
    Elsewhere { role: "source", kind: "otlp", programs: FULL_PROGRAMS },
    Elsewhere { role: "sink", kind: "otlp", programs: FULL_PROGRAMS },
    Elsewhere { role: "encoder", kind: "parquet", programs: FULL_PROGRAMS },
    Elsewhere { role: "decoder", kind: "parquet_rows", programs: FULL_PROGRAMS },
    Elsewhere { role: "source", kind: "rabbitmq", programs: FULL_PROGRAMS },
    Elsewhere { role: "sink", kind: "rabbitmq", programs: FULL_PROGRAMS },
    Elsewhere { role: "decoder", kind: "sequence_file", programs: FULL_PROGRAMS },
    Elsewhere { role: "sink", kind: "solr", programs: FULL_PROGRAMS },
    Elsewhere { role: "source", kind: "sql", programs: FULL_PROGRAMS },
    Elsewhere { role: "source", kind: "sql_changes", programs: FULL_PROGRAMS },
    Elsewhere { role: "sink", kind: "sql", programs: FULL_PROGRAMS },
];

const FULL_PROGRAMS: &str = "aqueduct-collector or aqueduct";

/// What a program on a producer knows.
pub const EDGE: Catalogue = Catalogue {
    groups: &[&GROUP, &components_files::GROUP, &components_grpc::GROUP],
    elsewhere: ELSEWHERE,
};

/// The context of a component outside an agent, which knows the components of an edge.
pub fn alone(name: &str, directory: &std::path::Path, env: Env) -> BuildContext {
    BuildContext { catalogue: EDGE, ..BuildContext::alone(name, directory, env) }
}
