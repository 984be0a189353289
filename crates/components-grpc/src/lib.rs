//! The hop between two agents: the source and the sink `grpc`.
//!
//! ```text
//!   edge                                   collector
//!   channel ─► sink ─► wire ─► network ─► wire ─► source ─► channel
//!               └─ delivery::sender        delivery::receiver ─┘
//! ```
//!
//! What may be sent, sent again and forgotten is decided in `delivery`; the messages are those of
//! `wire`: this crate has the connections, their limits, and the settings of both ends.

pub mod sink;
pub mod source;

use pipeline::component::entry;
use pipeline::{Entry, Group, Sink, Source};

/// Every source.
static SOURCES: &[Entry<dyn Source>] = &[entry::<source::Config>()];

/// Every sink.
static SINKS: &[Entry<dyn Sink>] = &[entry::<sink::Config>()];

/// All of them, for the catalogue of a program.
pub static GROUP: Group =
    Group { package: env!("CARGO_PKG_NAME"), sources: SOURCES, sinks: SINKS, ..Group::EMPTY };
