//! The catalogue: every component an agent can be made of.
//!
//! One file is one component, and one line in its role's table makes it known. The two programs
//! differ only in the catalogue they are given.

pub mod codecs;
pub mod decoders;
pub mod encoders;
mod format;
pub mod interceptors;
pub mod processors;
pub mod selectors;
pub mod sinks;
pub mod sources;

use pipeline::{
    Channel, ChannelSelector, Entry, Interceptor, Sink, SinkProcessor, Source, component::entry,
};

/// The components that a program knows, role by role.
pub struct Catalogue {
    /// Where events enter.
    pub sources: &'static [Entry<dyn Source>],
    /// What changes or drops events on their way in.
    pub interceptors: &'static [Entry<dyn Interceptor>],
    /// What decides which channel gets which events.
    pub selectors: &'static [Entry<dyn ChannelSelector>],
    /// What holds events.
    pub channels: &'static [Entry<dyn Channel>],
    /// What decides which sink of a group is next.
    pub processors: &'static [Entry<dyn SinkProcessor>],
    /// Where events leave.
    pub sinks: &'static [Entry<dyn Sink>],
}

/// What holds events.
pub static CHANNELS: &[Entry<dyn Channel>] = &[
    entry::<channel::durable::Config>(),
    entry::<channel::memory::Config>(),
    entry::<channel::spill::Config>(),
];

/// Everything: for aggregation nodes and for the operator's program.
pub static COLLECTOR: Catalogue = Catalogue {
    sources: sources::ALL,
    interceptors: interceptors::ALL,
    selectors: selectors::ALL,
    channels: CHANNELS,
    processors: processors::ALL,
    sinks: sinks::ALL,
};

/// What a producer needs; no store is linked in.
pub static EDGE: Catalogue = Catalogue {
    sources: sources::EDGE,
    interceptors: interceptors::ALL,
    selectors: selectors::ALL,
    channels: CHANNELS,
    processors: processors::ALL,
    sinks: sinks::EDGE,
};
