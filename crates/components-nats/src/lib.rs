//! Components for NATS: JetStream streams.
//!
//! ```text
//!   server      settings of a connection
//!   protocol    parses and formats NATS operations; no network
//!   login       authentication: a password, a token, an NKey, a file with a JWT
//!   headers     headers of a message; no network
//!   connection  a connection with one subscription
//!   jetstream   JetStream requests in JSON
//!   refusal     errors of the server, with advice
//!   message     converts a message to an event
//!   source      a consumer of a stream ─► round: one put ─► the channels
//!   sink        a publisher; a batch is delivered when a stream has acknowledged all of it
//!   fuzzed      entry point for the fuzzer
//! ```
//!
//! The client is part of this crate: a text protocol with seven operations, over the streams of
//! `tls` (docs/adr/0098).

mod connection;
#[cfg(feature = "testkit")]
pub mod fuzzed;
mod headers;
mod jetstream;
mod login;
mod message;
mod protocol;
mod refusal;
mod server;
pub mod sink;
pub mod source;

use pipeline::component::entry;
use pipeline::{Entry, Group, Sink, Source};

/// All sources.
static SOURCES: &[Entry<dyn Source>] = &[entry::<source::Config>()];

/// All sinks.
static SINKS: &[Entry<dyn Sink>] = &[entry::<sink::Config>()];

/// All components, for the catalogue of a program.
pub static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    feature: Some("nats"),
    sources: SOURCES,
    sinks: SINKS,
    ..Group::EMPTY
};
