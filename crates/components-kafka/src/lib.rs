//! The components that use the Kafka client: the source, the channel and the sink `kafka`. They
//! share `client`, `token` (OAuth) and `kerberos`. The interceptor `avro_rows` converts messages to
//! typed rows, by the schemas of a registry.

pub mod avro_rows;
pub mod channel;
mod client;
mod kerberos;
pub mod sink;
pub mod source;
mod token;

use pipeline::component::entry;
use pipeline::{Channel, Entry, Group, Interceptor, Sink, Source};

/// Every source.
static SOURCES: &[Entry<dyn Source>] = &[entry::<source::Config>()];

/// Every interceptor.
static INTERCEPTORS: &[Entry<dyn Interceptor>] = &[entry::<avro_rows::Config>()];

/// Every channel.
static CHANNELS: &[Entry<dyn Channel>] = &[entry::<channel::Config>()];

/// Every sink.
static SINKS: &[Entry<dyn Sink>] = &[entry::<sink::Config>()];

/// All components, for a program's catalogue.
pub static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    feature: Some("kafka"),
    sources: SOURCES,
    interceptors: INTERCEPTORS,
    channels: CHANNELS,
    sinks: SINKS,
    ..Group::EMPTY
};
