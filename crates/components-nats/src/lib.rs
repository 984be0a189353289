//! The components that speak NATS, to its streams by JetStream.
//!
//! ```text
//!   server      the settings of a connection
//!   protocol    bytes ↔ operations of NATS; no network
//!   login       how a client proves itself: a password, a token, an NKey, a file with a JWT
//!   headers     the block of headers of a message; no network
//!   connection  a connection with one subscription, on a stream of ours
//!   jetstream   what is asked of JetStream: requests in JSON
//!   refusal     what a refusal of the server means, and what helps
//!   message     a message → an event
//!   source      a consumer of a stream ─► round: what is put at once ─► the channels
//!   sink        a publisher; a batch is delivered when a stream has acknowledged all of it
//!   fuzzed      any bytes, for the fuzzer
//! ```
//!
//! The client is ours: a text protocol with seven operations, over the streams of `tls`
//! (docs/adr/0098).

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

/// Every source.
static SOURCES: &[Entry<dyn Source>] = &[entry::<source::Config>()];

/// Every sink.
static SINKS: &[Entry<dyn Sink>] = &[entry::<sink::Config>()];

/// All of them, for the catalogue of a program.
pub static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    feature: Some("nats"),
    sources: SOURCES,
    sinks: SINKS,
    ..Group::EMPTY
};
