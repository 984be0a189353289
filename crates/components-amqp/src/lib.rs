//! Components for AMQP 1.0, based on the connections of a library.
//!
//! ```text
//!   broker      settings of a connection
//!   connection  a session with a broker, on a stream that can be cut
//!   watch       checks depth and number of values before the library decodes them
//!   message     converts messages and events
//!   source      a link from an address ◄─ round: one put ─► the channels ─► accepted
//!   sink        links to addresses; a batch is delivered when the broker has accepted all of it
//! ```
//!
//! The library closes a link when it is dropped, which ends a durable subscription: so an abandoned
//! connection is cut first (docs/adr/0053).

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

/// All sources.
static SOURCES: &[Entry<dyn Source>] = &[entry::<source::Config>()];

/// All sinks.
static SINKS: &[Entry<dyn Sink>] = &[entry::<sink::Config>()];

/// All components, for the catalogue of a program.
pub static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    feature: Some("amqp"),
    sources: SOURCES,
    sinks: SINKS,
    ..Group::EMPTY
};
