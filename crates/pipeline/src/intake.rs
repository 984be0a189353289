//! The intake: the way from a source into its channels, as a source sees it.
//!
//! ```text
//!   Intake            accept, reserve                what every source needs
//!     ├ PositionIntake   positions, accept_into      a source that reads on after a restart
//!     └ RelayIntake      known, is_closed, outage …  a source whose senders have identities
//! ```

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use thiserror::Error;
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::batch::{Batch, BatchSize};
use crate::channel::ChannelError;
use crate::error::{Classify, ErrorClass};
use crate::floors::Floors;
use crate::identity::{Epoch, Identity, KeySet, Origin};
use crate::intervals::IntervalSet;
use crate::ledgers::LedgerState;
use crate::routing::Routing;

/// The way from a source into its channels: interceptors, selector, one put for each channel.
///
/// Every required channel gets every batch, also one that the interceptors emptied or the selector
/// sent elsewhere: then it gets the identity and the positions without events. So a source's
/// position and a sender's identity are known to all of them or are asked for again. Where the
/// selector has a [free choice](crate::FreeChoice), one required channel stands for all of them.
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

    /// Bytes of the largest encoded batch that every peer behind the required channels takes;
    /// `None` where none is known. A source cuts its batches to it, by `Cut` of `aqueduct-peers`.
    fn batch_bytes_max(&self) -> Option<u64>;
}

/// The intake of a source that keeps its positions in the channels, in the same write as the
/// events.
#[async_trait]
pub trait PositionIntake: Intake {
    /// What each required channel knows of `source`'s positions: key and value, channel by channel.
    fn positions(&self, source: &str) -> Vec<Vec<(Bytes, Bytes)>>;

    /// As [`Intake::accept`], but only into the channels at these indices: what they lack of what
    /// others have, read again after a crash.
    ///
    /// # Errors
    /// Some of these channels has not stored it.
    async fn accept_into(&self, batch: Batch, channels: &[usize]) -> Result<(), IntakeError>;

    /// Hands over what is left of a batch that only some channels have stored, without interceptors
    /// and selector, which this default does not have. Must run to its end once it has been polled.
    ///
    /// # Errors
    /// Some of these channels has not stored its part: [`IntakeError::Partly`] with what is left.
    async fn accept_rest(&self, mut rest: Rest) -> Result<(), IntakeError> {
        while let Some((channel, part)) = rest.parts.last() {
            match self.accept_into(part.clone(), &[*channel]).await {
                Ok(()) => drop(rest.parts.pop()),
                Err(IntakeError::Channel(source)) => {
                    return Err(IntakeError::Partly { rest: Box::new(rest), source });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether every required channel [stores in turn](crate::Channel::stores_in_turn).
    fn stores_in_turn(&self) -> bool;
}

/// Held by the put that may ask for room now; the next one may when it is dropped.
pub type Turn = Box<dyn Send>;

/// The intake of a source that relays batches of other agents, which have their identities.
pub trait RelayIntake: Intake {
    /// As [`Intake::accept`], but room is asked for only with a turn, which is waited for before
    /// and given back once there is room: so the source decides which of its batches is next.
    fn accept_in_turn<'a>(
        &'a self,
        batch: Batch,
        turn: BoxFuture<'a, Turn>,
    ) -> BoxFuture<'a, Result<(), IntakeError>> {
        Box::pin(async move {
            let turn = turn.await;
            let stored = self.accept(batch).await;
            drop(turn);
            stored
        })
    }

    /// What all required channels know of one life of an origin.
    fn known(&self, origin: Origin, epoch: Epoch) -> Known;

    /// A sender declares these epochs empty: every batch of them is committed.
    fn close_epochs(&self, floors: &Floors);

    /// Whether a batch is of an epoch that was declared so: a stray copy, to be refused.
    fn is_closed(&self, identity: Identity) -> bool;

    /// Identities as they become committed in every required channel. A receiver that lags, or is
    /// sent an empty set, has missed some and asks [`RelayIntake::known`] instead.
    fn watch_committed(&self) -> broadcast::Receiver<Arc<KeySet>>;

    /// Of these committed batches, those with events among the dead letters of this agent or of the
    /// agents downstream, as far as they are known, with the number of these events.
    fn dead_letters(&self, _committed: &KeySet) -> Vec<(Identity, u64)> {
        Vec::new()
    }

    /// Whether a batch would have to wait now.
    fn is_full(&self) -> bool;

    /// The longest outage of the sinks behind a required channel; `None` while something can leave
    /// each of them.
    fn outage(&self) -> Option<Outage>;

    /// Bytes of the largest encoded batch that some sink behind some required channel takes; `None`
    /// where one may take any. A relay takes no larger ones.
    fn batch_bytes_taken(&self) -> Option<u64>;

    /// The commit ledgers behind the required channels, as far as they are known.
    fn ledgers(&self) -> Vec<LedgerState>;

    /// How its batches are sent into datasets; `None` where others decide that.
    fn routing(&self) -> Option<Routing>;
}

/// Nothing leaves a channel, because all sinks of a group behind it fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// The first failure after something had left.
    pub since: Instant,
    /// The last failure.
    pub cause: Arc<str>,
    /// The agent that has the problem.
    pub agent: AgentLink,
}

/// Where an operator finds an agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentLink {
    /// The address that its upstream agent sends to; `None` for this agent.
    pub address: Option<Arc<str>>,
    /// The URL of its status page, if that page is reachable from other hosts. A URL without a
    /// host, such as `http://:9464/`, is on the host of the agent.
    pub page: Option<Arc<str>>,
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

/// What some required channels lack of a batch, as interceptors and selector have made it.
#[derive(Debug, Clone, Default)]
pub struct Rest {
    /// The index of each of these channels, and its part.
    pub parts: Vec<(usize, Batch)>,
    /// Events and bytes that the source handed over.
    pub given: BatchSize,
    /// Events that the interceptors left.
    pub kept: u64,
    /// Events that the interceptors rejected.
    pub rejected: u64,
    /// Events in the other channels, each copy counted.
    pub stored: u64,
}

/// Why a batch was not accepted.
#[derive(Debug, Error)]
pub enum IntakeError {
    /// A required channel did not store it.
    #[error("batch is not stored")]
    Channel(#[from] ChannelError),
    /// Some of the required channels that the batch was put into stored it, and some did not.
    #[error("batch is not stored in every required channel")]
    Partly {
        /// What they lack.
        rest: Box<Rest>,
        /// The first failure.
        #[source]
        source: ChannelError,
    },
    /// An interceptor rejected events of the batch, and they cannot be stored among the dead
    /// letters; nothing of the batch is in a channel.
    #[error(
        "rejected events cannot be stored among the dead letters: look after those with \
         `aqueduct dlq`, or raise `dead_letters.capacity`"
    )]
    DeadLetters(#[source] ChannelError),
    /// The agent is stopping.
    #[error("the agent is stopping and takes nothing in")]
    Stopping,
}

impl Classify for IntakeError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Channel(source) | Self::Partly { source, .. } => source.class(),
            // Too large for the dead letters: there is no other place, so it waits at its source.
            Self::DeadLetters(_) | Self::Stopping => ErrorClass::Transient,
        }
    }
}
