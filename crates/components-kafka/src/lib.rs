//! The components that bring the client of Kafka with them: the source, the channel and the sink
//! `kafka`. What they have of the client is in `client`, its token for OAuth in `token`, its
//! tickets of Kerberos in `kerberos`.

pub mod channel;
mod client;
mod kerberos;
pub mod sink;
pub mod source;
mod token;

use pipeline::component::entry;
use pipeline::{Channel, Entry, Group, Sink, Source};

/// Every source.
static SOURCES: &[Entry<dyn Source>] = &[entry::<source::Config>()];

/// Every channel.
static CHANNELS: &[Entry<dyn Channel>] = &[entry::<channel::Config>()];

/// Every sink.
static SINKS: &[Entry<dyn Sink>] = &[entry::<sink::Config>()];

/// All of them, for the catalogue of a program.
pub static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    feature: Some("kafka"),
    sources: SOURCES,
    channels: CHANNELS,
    sinks: SINKS,
    ..Group::EMPTY
};
