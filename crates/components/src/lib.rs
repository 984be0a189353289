//! Components that every program has: no stores, and no heavy dependencies.
//!
//! Each file contains one component, which has one line in the table of its role. A component with
//! heavy dependencies is in a separate crate, with its own group.

pub mod avro;
pub mod bounds;
mod charset;
pub mod codecs;
pub mod compression;
mod container_log;
pub mod csv;
pub mod decoders;
pub mod encoders;
pub mod format;
pub mod framings;
pub mod interceptors;
pub mod json;
pub mod pieces;
pub mod processors;
pub mod rows;
pub mod selectors;
pub mod sequence;
pub mod sinks;
pub mod sources;
pub mod template;
pub mod thrift;

use pipeline::component::entry;
use pipeline::{BuildContext, Catalogue, Channel, Elsewhere, Entry, Env, Group};

/// All channels.
pub static CHANNELS: &[Entry<dyn Channel>] = &[
    entry::<channel::durable::Config>(),
    entry::<channel::memory::Config>(),
    entry::<channel::spill::Config>(),
];

/// All components, for the catalogue of a program.
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
    encoders: encoders::ALL,
    codecs: codecs::ALL,
    decoders: decoders::ALL,
    framings: framings::ALL,
};

/// Components of the full programs only. A test of the operator's program checks the list.
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

/// Catalogue of a program on a producer.
pub const EDGE: Catalogue = Catalogue { groups: &[&GROUP], elsewhere: ELSEWHERE };

/// Returns the context of a component outside of an agent, with the components of this crate.
pub fn alone(name: &str, directory: &std::path::Path, env: Env) -> BuildContext {
    BuildContext { catalogue: EDGE, ..BuildContext::alone(name, directory, env) }
}
