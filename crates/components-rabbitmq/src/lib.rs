//! The components that speak AMQP 0.9.1, RabbitMQ's own protocol.
//!
//! ```text
//!   broker      the settings of a connection
//!   frames      bytes ↔ methods and messages; no network
//!   tables      depth and number of values, checked before the library decodes them
//!   connection  a connection with one channel, on a stream of ours
//!   refusal     what a broker's refusal means, and what helps
//!   message     a message ↔ an event
//!   source      a consumer of a queue ─► round: what is put at once ─► the channels ─► the broker
//!   sink        a publisher; a batch is delivered when the broker has confirmed all of it
//! ```
//!
//! The library `amq-protocol` has the form of methods, properties and tables. The connection is
//! ours, so that it runs over the streams of `tls`, and a message over the limit is never held
//! (docs/adr/0076).

mod broker;
mod connection;
mod frames;
#[cfg(feature = "testkit")]
pub mod fuzzed;
mod message;
mod refusal;
pub mod sink;
pub mod source;
mod tables;

use pipeline::component::entry;
use pipeline::{Entry, Group, Sink, Source};

/// Every source.
static SOURCES: &[Entry<dyn Source>] = &[entry::<source::Config>()];

/// Every sink.
static SINKS: &[Entry<dyn Sink>] = &[entry::<sink::Config>()];

/// All of them, for the catalogue of a program.
pub static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    feature: Some("rabbitmq"),
    sources: SOURCES,
    sinks: SINKS,
    ..Group::EMPTY
};
