//! The intake: the path from a source into its channels, as a source uses it.
//!
//! ```text
//!   Intake            accept, reserve                for every source
//!     ├ PositionIntake   positions, accept_into      a source that resumes after a restart
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
use crate::env::Moment;
use crate::error::{Classify, ErrorClass};
use crate::floors::Floors;
use crate::identity::{Epoch, Identity, KeySet, Origin};
use crate::intervals::IntervalSet;
use crate::ledgers::LedgerState;
use crate::routing::Routing;
use crate::selector::SelectorError;

/// The path from a source into its channels: interceptors, selector, one put for each channel.
///
/// Every required channel gets every batch, even if the interceptors emptied it or the selector
/// sent it elsewhere: then the channel gets its identity and positions without events. All required
/// channels therefore know a source's position and a sender's identity, or ask for the batch again.
/// If the selector has a [free choice](crate::FreeChoice), one required channel represents all of
/// them.
#[async_trait]
pub trait Intake: Send + Sync {
    /// Accepts a batch; waits while a required channel is full. `Ok` = in every required channel.
    /// Must run to its end once it has been polled: if a source is no longer interested, because
    /// its client is gone, it lets it finish in a separate task.
    ///
    /// # Errors
    /// Some required channel has not stored it.
    async fn accept(&self, batch: Batch) -> Result<(), IntakeError>;

    /// Waits for room for a batch of about `size` in every required channel. Cancel safe: a source
    /// whose client waits for an answer can give up after a timeout, and then nothing of the batch
    /// is stored later. Dropping the permit releases the room. The default reserves nothing.
    ///
    /// # Errors
    /// A required channel is closed, or a batch of this size can never fit.
    async fn reserve(&self, _size: BatchSize) -> Result<Box<dyn Permit + '_>, IntakeError> {
        Ok(Box::new(Unreserved(self)))
    }

    /// Returns the size of the largest encoded batch that every peer downstream of the required
    /// channels accepts; `None` if it is unknown. A source limits its batches to it, by `Cut` of
    /// `aqueduct-peers`.
    fn batch_bytes_max(&self) -> Option<u64> {
        None
    }
}

/// The intake of a source that keeps its positions in the channels, in the same write as the
/// events.
#[async_trait]
pub trait PositionIntake: Intake {
    /// Returns `source`'s positions in each required channel: key and value. The default has one
    /// channel, which keeps none.
    fn positions(&self, _source: &str) -> Vec<Vec<(Bytes, Bytes)>> {
        vec![Vec::new()]
    }

    /// As [`Intake::accept`], but only into the channels at these indices, which lack a batch that
    /// others have, read again after a crash. The default has one channel.
    ///
    /// # Errors
    /// Some of these channels has not stored it.
    async fn accept_into(&self, batch: Batch, _channels: &[usize]) -> Result<(), IntakeError> {
        self.accept(batch).await
    }

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
    fn stores_in_turn(&self) -> bool {
        false
    }

    /// Records that everything that the source could read before this moment is in every required
    /// channel. A source with such knowledge calls it from time to time, also while it is idle;
    /// without it, the agent reports no progress.
    fn stored_before(&self, _moment: Moment) {}
}

/// Held by the put that may request room now; the next put gets it when it is dropped.
pub type Turn = Box<dyn Send>;

/// The intake of a source that relays batches of other agents, which have their identities.
pub trait RelayIntake: Intake {
    /// As [`Intake::accept`], but first waits for a turn, requests room, and releases the turn once
    /// there is room. In this way the source decides which of its batches is next.
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

    /// Returns what all required channels know about one life of an origin.
    fn known(&self, origin: Origin, epoch: Epoch) -> Known;

    /// Records a sender's declaration that these epochs are empty: every batch of them is
    /// committed.
    fn close_epochs(&self, floors: &Floors);

    /// Records how far the sources of other agents got, as a sender reports it.
    fn observe_progress(&self, _reports: &[(Origin, Reached)]) {}

    /// Returns `true` if a batch is of a closed epoch: a stray copy that must be rejected.
    fn is_closed(&self, identity: Identity) -> bool;

    /// Identities as they become committed in every required channel. A receiver that lags, or is
    /// sent an empty set, has missed some and asks [`RelayIntake::known`] instead.
    fn watch_committed(&self) -> broadcast::Receiver<Arc<KeySet>>;

    /// Returns those of these committed batches with known events among the dead letters of this
    /// agent or of downstream agents, with the number of these events.
    fn dead_letters(&self, _committed: &KeySet) -> Vec<(Identity, u64)> {
        Vec::new()
    }

    /// Returns `true` if a batch would have to wait now.
    fn is_full(&self) -> bool {
        false
    }

    /// Returns the longest outage of the sinks of a required channel; `None` while each channel has
    /// a working sink.
    fn outage(&self) -> Option<Outage> {
        None
    }

    /// Returns the size of the largest encoded batch that some sink of some required channel
    /// accepts; `None` if one may accept any. A relay accepts no larger ones.
    fn batch_bytes_taken(&self) -> Option<u64> {
        None
    }

    /// Returns the known commit ledgers downstream of the required channels.
    fn ledgers(&self) -> Vec<LedgerState> {
        Vec::new()
    }

    /// Returns how batches are routed into datasets; `None` if other agents decide that.
    fn routing(&self) -> Option<Routing> {
        None
    }
}

/// How far the sources of an origin got: everything before a time is committed in every store
/// downstream. Reported only after that, so it may overtake batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The host of the agent with the sources.
    pub host: Arc<str>,
    /// The time, in milliseconds since 1970 by the clock of that host; 0 if nothing is known yet.
    pub before: i64,
    /// Sources that cannot report, or that an operator has stopped: the time does not advance
    /// while there is one. Empty if there is none.
    pub held_by: Arc<str>,
}

impl Reached {
    /// Returns whether it replaces another report of its origin, whichever arrived first: the later
    /// time does, and of equal times the one that names more.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        (self.before, &self.held_by) > (other.before, &other.held_by)
    }
}

/// Nothing leaves a channel, because all sinks of one of its groups fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// The first failure after something had left.
    pub since: Instant,
    /// The last failure.
    pub cause: Arc<str>,
    /// The agent that has the problem.
    pub agent: AgentLink,
}

/// The address of an agent for the operator.
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
    #[error("cannot store the batch in its channel")]
    Channel(#[from] ChannelError),
    /// Some of the required channels that the batch was put into stored it, and some did not.
    #[error(
        "not every required channel has stored the batch; the source retries in the others; no \
         event is lost"
    )]
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
        "cannot store rejected events as dead letters, so their batch waits at its source: run \
         `aqueduct dlq replay ADDRESS` or `aqueduct dlq drop ADDRESS --yes` (ADDRESS is \
         `agent.admin`), or raise `dead_letters.capacity`"
    )]
    DeadLetters(#[source] ChannelError),
    /// An interceptor has no result for the batch; nothing of it is in a channel.
    #[error(
        "the interceptor `{kind}` cannot process the batch, which the source retries: {source}"
    )]
    Interceptor {
        /// The type of the interceptor.
        kind: Arc<str>,
        /// Its error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The selector has no result for the batch; nothing of it is in a channel.
    #[error("the selector cannot process the batch, which the source retries: {0}")]
    Selector(SelectorError),
    /// The agent is stopping.
    #[error("the agent is stopping and accepts no events; send them again later")]
    Stopping,
}

impl Classify for IntakeError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Channel(source) | Self::Partly { source, .. } => source.class(),
            // Too large for the dead letters: there is no other place, so it waits at its source.
            Self::DeadLetters(_)
            | Self::Interceptor { .. }
            | Self::Selector(_)
            | Self::Stopping => ErrorClass::Transient,
        }
    }
}
