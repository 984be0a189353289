//! Components for MQTT, based on the packets of a library.
//!
//! ```text
//!   packets   parses and formats packets of both versions with `rumqttc`
//!   broker    settings of a connection; endpoint: its address
//!   web_socket  a WebSocket as a byte stream
//!   connection  a stream of packets that can be dropped at any wait
//!   topic     filters, patterns and templates
//!   source    session (pure) ◄─ round: one put ─► the channels ─► replies
//!   device    clients that publish like devices, for demonstrations
//!   sink      publishes each batch on its own connection; delivered when all is acknowledged
//! ```
//!
//! The library's event loop is not used: when a connection ends, it forgets which messages of QoS 2
//! it has received, and it acknowledges messages on its own (docs/adr/0052).

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

/// All sources.
static SOURCES: &[Entry<dyn Source>] = &[entry::<source::Config>()];

/// All sinks.
static SINKS: &[Entry<dyn Sink>] = &[entry::<sink::Config>()];

/// All components, for the catalogue of a program.
pub static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    feature: Some("mqtt"),
    sources: SOURCES,
    sinks: SINKS,
    ..Group::EMPTY
};
