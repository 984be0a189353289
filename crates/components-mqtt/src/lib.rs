//! The components that speak MQTT, with the library that has its packets.
//!
//! ```text
//!   packets   bytes ↔ packets of both versions, by `rumqttc`; above it there is one version
//!   broker    the settings of a connection; endpoint: where it leads
//!   web_socket  a WebSocket as a stream of bytes, for brokers that are reached by it
//!   connection  a stream of packets that can be dropped at any wait
//!   topic     filters, patterns and templates
//!   source    session (pure) ◄─ round: what is put at once ─► the channels ─► answers
//!   device    clients that publish as devices do, for demonstrations
//!   sink      a batch on a connection of its own, delivered when all is acknowledged
//! ```
//!
//! The library's own event loop is not used: it forgets which messages of QoS 2 it has received
//! when a connection ends, and acknowledges by itself what a broker asks about (docs/adr/0052).

mod broker;
mod connection;
pub mod device;
mod endpoint;
mod packets;
pub mod sink;
pub mod source;
mod topic;
mod web_socket;

use pipeline::component::entry;
use pipeline::{Entry, Group, Sink, Source};

/// Every source.
static SOURCES: &[Entry<dyn Source>] = &[entry::<source::Config>()];

/// Every sink.
static SINKS: &[Entry<dyn Sink>] = &[entry::<sink::Config>()];

/// All of them, for the catalogue of a program.
pub static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    feature: Some("mqtt"),
    sources: SOURCES,
    sinks: SINKS,
    ..Group::EMPTY
};
