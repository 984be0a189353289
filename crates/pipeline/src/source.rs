//! The source: where events enter, and the intake that it hands them to.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::batch::{Batch, BatchSize};
use crate::channel::ChannelError;
use crate::error::{Classify, ErrorClass};
use crate::floors::Floors;
use crate::identity::{Epoch, Identity, KeySet, Origin};
use crate::intervals::IntervalSet;
use crate::ledgers::LedgerState;
use crate::resource::Resource;
use crate::routing::Routing;
use crate::sink::Guarantee;

/// Where events enter the agent.
#[async_trait]
pub trait Source: Send {
    /// Takes what it needs before it can take events in: binds its ports, looks for its files.
    /// Hands over no batch. Called before each [`Source::run`], while no other source of its name
    /// runs; after `Ok` the agent counts it as ready. What was taken is released when the run ends,
    /// when this fails, and when the source is dropped. May be dropped midway.
    ///
    /// # Errors
    /// Nothing is held. The runner tries again with back-off; what a change of the configuration
    /// has added is refused with this error.
    async fn open(&mut self, _cx: &SourceContext) -> Result<(), SourceError> {
        Ok(())
    }

    /// Runs until `cx.stop` is cancelled; the last [`Source::open`] was `Ok`, with the same intake.
    /// A batch counts as read when [`Intake::accept`] said `Ok`, and only then may the source
    /// acknowledge it or go on after it. Returns soon after the stop: no batch is accepted after
    /// it, none that was accepted is left unanswered.
    ///
    /// # Errors
    /// The source cannot go on; the runner restarts it with back-off.
    async fn run(&mut self, cx: SourceContext) -> Result<(), SourceError>;

    /// What it promises of the events that reach it, a dying agent and a lost answer included.
    fn guarantee(&self) -> Guarantee;

    /// What it takes that no other component can have then.
    fn resources(&self) -> Vec<Resource> {
        Vec::new()
    }

    /// About how many bytes its batches have where there is enough to read; 0 where others make
    /// them.
    fn batch_bytes(&self) -> u64 {
        0
    }
}

/// What a running source is given.
#[derive(Clone)]
pub struct SourceContext {
    /// Takes the batches.
    pub intake: Arc<dyn Intake>,
    /// Cancelled when the source is to stop.
    pub stop: CancellationToken,
}

/// The way from a source into its channels: interceptors, selector, one put for each channel.
///
/// Every required channel gets every batch, also one that the interceptors emptied or the selector
/// sent elsewhere: then it gets the identity and the positions without events. So a source's
/// position and a sender's identity are known to all of them or are asked for again.
#[async_trait]
pub trait Intake: Send + Sync {
    /// Hands over a batch; waits while a required channel is full. `Ok` = in every required
    /// channel. Must run to its end once it has been polled: a source that loses interest (its
    /// client is gone) lets it finish in a task of its own.
    ///
    /// # Errors
    /// Some required channel has not stored it.
    async fn accept(&self, batch: Batch) -> Result<(), IntakeError>;

    /// Waits for room for a batch of about `size` in every required channel. Cancel safe: a source
    /// whose client waits for an answer gives up after the time that it allows, and then nothing of
    /// the batch is stored later. Dropping the permit gives the room back.
    ///
    /// # Errors
    /// A required channel is closed, or a batch of this size can never fit.
    async fn reserve(&self, size: BatchSize) -> Result<Box<dyn Permit + '_>, IntakeError>;

    /// As [`Intake::accept`], but only into the channels at these indices: what they lack of what
    /// others have, read again after a crash.
    ///
    /// # Errors
    /// Some of these channels has not stored it.
    async fn accept_into(&self, batch: Batch, channels: &[usize]) -> Result<(), IntakeError>;

    /// What each required channel knows of `source`'s positions: key and value, channel by channel.
    fn positions(&self, source: &str) -> Vec<Vec<(Bytes, Bytes)>>;

    /// Whether every required channel [stores in turn](crate::Channel::stores_in_turn).
    fn stores_in_turn(&self) -> bool {
        false
    }

    /// What all required channels know of one life of an origin.
    fn known(&self, origin: Origin, epoch: Epoch) -> Known;

    /// A sender declares these epochs empty: every batch of them is committed.
    fn close_epochs(&self, floors: &Floors);

    /// Whether a batch is of an epoch that was declared so: a stray copy, to be refused.
    fn is_closed(&self, identity: Identity) -> bool;

    /// Identities as they become committed in every required channel. A receiver that lags, or is
    /// sent an empty set, has missed some and asks [`Intake::known`] instead.
    fn watch_committed(&self) -> broadcast::Receiver<Arc<KeySet>>;

    /// Whether a batch would have to wait now.
    fn is_full(&self) -> bool;

    /// The longest outage of the sinks behind a required channel; `None` while something can leave
    /// each of them.
    fn outage(&self) -> Option<Outage> {
        None
    }

    /// Bytes of the largest encoded batch that every peer behind the required channels takes;
    /// `None` where none is known. A source cuts its batches to it, by `Cut` of `aqueduct-peers`.
    fn batch_bytes_max(&self) -> Option<u64> {
        None
    }

    /// Bytes of the largest encoded batch that some sink behind some required channel takes; `None`
    /// where one may take any. A relay takes no larger ones.
    fn batch_bytes_taken(&self) -> Option<u64> {
        None
    }

    /// The commit ledgers behind the required channels, as far as they are known.
    fn ledgers(&self) -> Vec<LedgerState> {
        Vec::new()
    }

    /// How its batches are sent into datasets; `None` where others decide that.
    fn routing(&self) -> Option<Routing>;
}

/// Nothing leaves a channel, because all sinks of a group behind it fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// The first failure after something had left.
    pub since: Instant,
    /// What the sink that failed last says.
    pub cause: Arc<str>,
}

/// Room in every required channel for one batch.
#[async_trait]
pub trait Permit: Send {
    /// Hands over the batch, as [`Intake::accept`] does, without waiting for room. Must run to its
    /// end once it has been polled.
    ///
    /// # Errors
    /// Some required channel has not stored it.
    async fn commit(self: Box<Self>, batch: Batch) -> Result<(), IntakeError>;
}

/// The permit of an intake that reserves nothing: it waits when the batch is handed over.
#[derive(Debug)]
pub struct Unreserved<'a, I: ?Sized>(pub &'a I);

#[async_trait]
impl<I: Intake + ?Sized> Permit for Unreserved<'_, I> {
    async fn commit(self: Box<Self>, batch: Batch) -> Result<(), IntakeError> {
        self.0.accept(batch).await
    }
}

/// Sequences of one life of an origin, as the required channels know them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// In every required channel, or settled there.
    pub stored: IntervalSet,
    /// Settled in every required channel: every sink has delivered its part.
    pub committed: IntervalSet,
}

/// Why a batch was not accepted.
#[derive(Debug, Error)]
pub enum IntakeError {
    /// A required channel did not store it.
    #[error("batch is not stored")]
    Channel(#[from] ChannelError),
    /// The agent is stopping.
    #[error("the agent is stopping and takes nothing in")]
    Stopping,
}

impl Classify for IntakeError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Channel(error) => error.class(),
            Self::Stopping => ErrorClass::Transient,
        }
    }
}

/// Why a source stopped by itself.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct SourceError {
    /// `Fatal` keeps it stopped until the configuration changes; everything else restarts it.
    pub class: ErrorClass,
    /// What happened, with the thing and its limit.
    pub message: String,
    /// The cause beneath.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}
