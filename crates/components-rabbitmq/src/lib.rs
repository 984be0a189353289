//! Components for AMQP 0.9.1, RabbitMQ's own protocol.
//!
//! ```text
//!   broker      settings of a connection
//!   frames      parses and formats methods and messages; no network
//!   tables      checks depth and number of values before the library decodes them
//!   connection  a connection with one channel
//!   refusal     errors of a broker, with advice
//!   message     converts messages and events
//!   source      a consumer of a queue ─► round: one put ─► the channels ─► the broker
//!   sink        a publisher; a batch is delivered when the broker has confirmed all of it
//! ```
//!
//! The library `amq-protocol` defines methods, properties and tables. The connection is part of
//! this crate, so that it works over the streams of `tls`, and so that a message over the limit is
//! never held (docs/adr/0076).

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

/// All sources.
static SOURCES: &[Entry<dyn Source>] = &[entry::<source::Config>()];

/// All sinks.
static SINKS: &[Entry<dyn Sink>] = &[entry::<sink::Config>()];

/// All components, for the catalogue of a program.
pub static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    feature: Some("rabbitmq"),
    sources: SOURCES,
    sinks: SINKS,
    ..Group::EMPTY
};
