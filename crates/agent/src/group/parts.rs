//! The parts of a group.

use std::sync::Arc;

use metrics::Metrics;
use peers::{OutletBoard, Seat};
use pipeline::{Channel, Sink, SinkProcessor, Traces};
use tokio::sync::{Notify, mpsc};

use super::view::{Passed, Question};
use crate::dead_letters::DeadLetters;
use crate::health::Health;
use crate::tap::Point;

/// A sink with its name in the configuration.
pub(crate) struct NamedSink {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// Its type.
    pub(crate) kind: String,
    /// The reasons of its dead letters.
    pub(crate) letters: &'static [&'static str],
    /// The sink.
    pub(crate) sink: Box<dyn Sink>,
}

impl NamedSink {
    /// The seat that its address comes from, where that is looked up.
    pub(crate) fn seat(&self) -> Option<Seat> {
        self.sink.extensions().find()
    }
}

/// What a group is made of.
pub(crate) struct GroupParts {
    /// Name of the group: the consumer's name at the channel.
    pub(crate) name: Arc<str>,
    /// The channel that it takes from.
    pub(crate) channel: Arc<dyn Channel>,
    /// Selects the member for the next batch.
    pub(crate) processor: Box<dyn SinkProcessor>,
    /// The members, by index as the processor knows them.
    pub(crate) sinks: Vec<NamedSink>,
    /// Shows the sources of that channel whether this group works.
    pub(crate) outlet: OutletBoard,
    /// Name of that channel.
    pub(crate) channel_name: Arc<str>,
    /// Stores events that can never be delivered.
    pub(crate) dead_letters: Arc<DeadLetters>,
    /// Its metrics.
    pub(crate) metrics: Metrics,
    /// Randomness for back-off.
    pub(crate) env: pipeline::Env,
    /// Shows whether the sinks work.
    pub(crate) health: Health,
    /// Totals of batches that left the channel by this consumer, across restarts of the group.
    pub(crate) passed: Arc<Passed>,
    /// The tap of batches that its members get.
    pub(crate) tap: Point,
    /// Records steps of sampled batches.
    pub(crate) traces: Traces,
    /// Queries about its state.
    pub(crate) questions: mpsc::Receiver<Question>,
    /// Asks its sinks to settle the batches that they hold.
    pub(crate) flush: Arc<Notify>,
}
