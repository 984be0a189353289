//! Built components that are not started: the contents of a topology.

use std::collections::BTreeSet;
use std::sync::Arc;

use peers::{RefusalBoard, SenderBoard, TenantBoard};
use pipeline::{Channel, ChannelSelector, FileBoard, Routing, SinkProcessor, Source};

use crate::boards::Boards;
use crate::group::NamedSink;
use crate::intake::BuiltInterceptor;

/// A channel.
pub struct BuiltChannel {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Its type.
    pub kind: String,
    /// Of its configuration.
    pub digest: u64,
    /// Values shared along it.
    pub boards: Boards,
    /// Names of the groups that take from it.
    pub consumers: Vec<Arc<str>>,
    /// The channel.
    pub channel: Arc<dyn Channel>,
}

/// A source.
pub struct BuiltSource {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Its type.
    pub kind: String,
    /// Of its configuration, with interceptors, selector and channels.
    pub digest: u64,
    /// The source.
    pub source: Box<dyn Source>,
    pub(crate) interceptors: Vec<BuiltInterceptor>,
    /// Selects the channels of an event.
    pub selector: Box<dyn ChannelSelector>,
    /// The agents that send to it.
    pub senders: SenderBoard,
    /// The files that it follows.
    pub files: FileBoard,
    /// The tenants that share it.
    pub tenants: TenantBoard,
    /// Peers that it refuses.
    pub refusals: RefusalBoard,
    /// Channels that must store each batch.
    pub required: Vec<String>,
    /// Channels that store a batch if they have room.
    pub optional: Vec<String>,
    /// Channels of both kinds that rename their parts of a batch.
    pub naming: BTreeSet<String>,
    /// How its batches are routed into datasets.
    pub routing: Option<Routing>,
}

/// A group of sinks.
pub struct BuiltGroup {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Of its configuration, with processor and sinks.
    pub digest: u64,
    /// The processor's type.
    pub kind: String,
    /// Selects the sink of a batch.
    pub processor: Box<dyn SinkProcessor>,
    /// The channel that it takes from.
    pub channel: String,
    pub(crate) sinks: Vec<NamedSink>,
}
