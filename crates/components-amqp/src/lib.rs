//! The components that speak AMQP 1.0, with the library that has its connections.
//!
//! ```text
//!   broker      the settings of a connection
//!   connection  a session with a broker, on a stream of ours that can be cut
//!   watch       depth and number of values, checked before the library decodes them
//!   message     a message ↔ an event
//!   source      a link from an address ◄─ round: what is put at once ─► the channels ─► accepted
//!   sink        links to addresses; a batch is delivered when the broker has accepted all of it
//! ```
//!
//! The library closes a link by itself when it is dropped, which ends a durable subscription: so a
//! connection that is given up is cut first (docs/adr/0053).

mod broker;
mod connection;
#[cfg(feature = "testkit")]
pub mod fuzzed;
mod message;
pub mod sink;
pub mod source;
mod watch;

use pipeline::component::entry;
use pipeline::{Entry, Group, Sink, Source};

/// Every source.
static SOURCES: &[Entry<dyn Source>] = &[entry::<source::Config>()];

/// Every sink.
static SINKS: &[Entry<dyn Sink>] = &[entry::<sink::Config>()];

/// All of them, for the catalogue of a program.
pub static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    feature: Some("amqp"),
    sources: SOURCES,
    sinks: SINKS,
    ..Group::EMPTY
};
