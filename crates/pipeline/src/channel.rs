//! The channel: a buffer between sources and sinks, transactional on both sides.
//!
//! ```text
//!              begin_put ─► put … ─► commit: all of it is in the channel, or nothing
//!   accepted ──────────────────────────────────────────────┐
//!                                                           ▼
//!   READY ──take──► TAKEN ──park──► PARKED (the next hop has stored it; no memory but its ticket)
//!     ▲               │  │             │ │
//!     └───rollback────┘  └──commit──┐  │ └──rollback: no consumer has it
//!     ▲                             ▼  ▼
//!     └── crash, drop of the take   done, for this consumer
//! ```
//!
//! # Rules of every channel, checked by the conformance suite
//!
//! 1. A put is atomic: its events, its identity and its source positions appear together, or not at
//!    all. After `commit` returned `Ok` they survive whatever the channel promises to survive
//!    (`Durable`: crash and power loss; `Memory`: nothing).
//! 2. The first channel that a batch enters without an identity assigns one. A batch whose identity
//!    is known is accepted again and not stored twice.
//! 3. Each consumer gets each batch; the takes of one consumer share them, so that each batch is
//!    with one take at a time. The oldest batches come first; a rolled back one comes before newer
//!    ones.
//! 4. A batch leaves when every consumer has committed it. A commit of a take need not be durable
//!    immediately: a crash may offer the batch again.
//! 5. A full channel makes `begin_put` wait; it revokes nothing and drops nothing.
//! 6. A batch without events is never taken: its identity counts as settled once it is stored.
//! 7. A channel that [stores in turn](Channel::stores_in_turn) rejects a put with a position that
//!    must come [after](SourcePosition::after) another one, unless its key has that value. A source
//!    may therefore put its next batch before it has the answer for the last one: if that is not
//!    stored, the next one is not either, and no position gets ahead of earlier data.

mod error;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::broadcast;

use crate::account::Account;
use crate::batch::{Batch, BatchSize};
use crate::identity::{Epoch, Identity, KeySet, Origin};
use crate::intervals::IntervalSet;
use crate::sink::Guarantee;
use crate::traces::GivenName;

pub use error::ChannelError;

/// Place of a batch in one channel: rises with every put, also over restarts. Not its identity.
pub type Ticket = u64;

/// A position of a source: one of its keys (a file, a partition) with the position after a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePosition {
    /// Name of the source in the configuration.
    pub source: Arc<str>,
    /// The object of the position, in the source's own encoding; at most 4 KiB.
    pub key: Bytes,
    /// The position in the source's own encoding, at most 4 KiB; `None` forgets the key.
    pub value: Option<Bytes>,
    /// The required value of the key when the batch is stored; `None` for no requirement. Not
    /// stored. Only for a channel that [stores in turn](Channel::stores_in_turn).
    pub after: Option<Bytes>,
}

/// A batch handed out, under the ticket that settles it.
#[derive(Debug, Clone)]
pub struct Taken {
    /// Identifies the batch for commit, rollback and park.
    pub ticket: Ticket,
    /// The batch, with its identity.
    pub batch: Batch,
}

/// The state of a channel, for pages, metrics and readiness.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChannelStatus {
    /// Events that some consumer has not committed.
    pub events: u64,
    /// Bytes that the channel occupies of its capacity.
    pub bytes: u64,
    /// The size at which its intake currently stops: the capacity, or the limit of the disk,
    /// without the reserve.
    pub capacity_bytes: u64,
    /// Bytes that it keeps free beyond that for its own files.
    pub reserve_bytes: u64,
    /// Time until it is full at the rate of the last minutes; `None` if it does not fill, or the
    /// rate is unknown.
    pub until_full: Option<Duration>,
    /// Events taken or parked, not yet committed.
    pub unsettled_events: u64,
    /// Age of the oldest uncommitted batch.
    pub oldest_uncommitted: Option<Duration>,
    /// True if puts wait now: full, disk full, or closing.
    pub intake_stopped: bool,
}

/// Uncommitted batches of a consumer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Batches that no take of it holds.
    pub ready: u64,
    /// Batches that its takes hold, including parked ones.
    pub held: u64,
}

/// A channel. See the [module page](self) for the rules.
#[async_trait]
pub trait Channel: Send + Sync {
    /// Opens the channel; recovers the state of a dead process. Must be called before everything
    /// else. It may be called again only after [`ChannelError::NoRoom`], when the channel has no
    /// data yet, and after [`ChannelError::Remote`], when its storage could not be reached.
    ///
    /// # Errors
    /// The disk has no room to create the channel. Its storage does not answer. The directory
    /// cannot be used: another process uses it, its format is newer, or recovery cannot repair its
    /// damage.
    async fn open(&self) -> Result<(), ChannelError>;

    /// Checks whether its storage on other hosts can be reached and is configured correctly:
    /// logins, rights, settings. Creates nothing there and takes nothing from another owner. Called
    /// for a channel that is not open. `None`: the storage is on this host.
    ///
    /// # Errors
    /// The reason why it cannot be used.
    async fn probe(&self) -> Result<Option<String>, ChannelError> {
        Ok(None)
    }

    /// Sets the consumers by name: before the first put is accepted, and at any time after it, even
    /// while puts and takes are in progress. A batch is kept until each of them has committed it.
    ///
    /// A new consumer gets all batches that are put from then on, and all batches that some earlier
    /// consumer has not committed. A consumer that is named again keeps its position and its held
    /// batches. A consumer that is not named any more is removed with its backlog, and its takes
    /// end with [`ChannelError::Closed`]. Its uncommitted batches are lost to it, unless another
    /// consumer joins in the same call.
    ///
    /// # Errors
    /// The disk failed.
    async fn register(&self, consumers: &[Arc<str>]) -> Result<(), ChannelError>;

    /// Returns its guarantee for the events that are put into it, including a dying agent and a
    /// full channel.
    fn guarantee(&self) -> Guarantee;

    /// Returns the size of the largest batch that it ever accepts, open or not.
    fn batch_max(&self) -> u64 {
        u64::MAX
    }

    /// Returns warnings about settings that do not suit its location. Each one names the channel,
    /// the directory and the remedy. May be called before it is opened; only checks the size and
    /// the free space of the file system.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// Begins a put of about `size`, and waits for room. May be dropped midway.
    ///
    /// # Errors
    /// The channel is closed, or the put can never fit.
    async fn begin_put(&self, size: BatchSize) -> Result<Box<dyn PutTransaction>, ChannelError>;

    /// Replays a batch that had left the channel for the dead letters: `consumer` gets it again,
    /// and every other consumer counts as having committed it. The batch keeps its identity,
    /// although the channel knows it. Does not wait for room.
    ///
    /// # Errors
    /// There is no room, the consumer is unknown, the disk failed, or the channel does not support
    /// it.
    async fn replay(&self, _batch: Batch, _consumer: &str) -> Result<(), ChannelError> {
        Err(ChannelError::NoPutBack)
    }

    /// The batches of `keys` that `consumer` has not committed. Reads the disk.
    ///
    /// # Errors
    /// The disk could not be read, or the channel has no way to do it.
    async fn uncommitted(&self, _consumer: &str, _keys: &KeySet) -> Result<KeySet, ChannelError> {
        Err(ChannelError::NoPutBack)
    }

    /// Returns the uncommitted batches of this consumer; empty if it is not registered.
    fn backlog(&self, consumer: &str) -> Backlog;

    /// Begins a take for a registered consumer.
    fn begin_take(&self, consumer: &str) -> Box<dyn TakeTransaction>;

    /// Every key of `source` with its position, as of the last put.
    fn positions(&self, source: &str) -> Vec<(Bytes, Bytes)>;

    /// Returns `true` if it checks `after` of positions: rule 7.
    fn stores_in_turn(&self) -> bool {
        false
    }

    /// Sequences of one life of an origin that this channel has stored at any time.
    fn stored(&self, origin: Origin, epoch: Epoch) -> IntervalSet;

    /// The part of [`Channel::stored`] that every consumer has committed.
    fn settled(&self, origin: Origin, epoch: Epoch) -> IntervalSet;

    /// Returns the origin and the life of batches that arrive without an identity; `None` if none
    /// of it would survive a restart.
    fn own_epoch(&self) -> Option<(Origin, Epoch)> {
        None
    }

    /// Returns the outside name of a batch that was created here, if it was renamed.
    fn renamed(&self, _key: Identity) -> Option<Identity> {
        None
    }

    /// Renames the batches of this life, except the sequences in `kept`, to another origin, for
    /// this and every later life: a copy of this directory has closed the life. Durable when it
    /// returns; blocks. A repeated call leaves fewer sequences out, and keeps the new origin.
    ///
    /// # Errors
    /// The disk failed; the names are unchanged. Never without an [own epoch](Channel::own_epoch).
    fn rename(&self, _kept: &IntervalSet) -> Result<(), ChannelError> {
        Ok(())
    }

    /// Returns its account without the dead letters; `None` if none of it would survive a restart.
    fn account(&self) -> Option<Account> {
        None
    }

    /// Returns the lowest epoch of `origin` with a batch that some consumer still needs.
    fn lowest_unsettled(&self, origin: Origin) -> Option<Epoch>;

    /// Identities as they become settled. A receiver that lags asks [`Channel::settled`] instead.
    fn watch_settled(&self) -> broadcast::Receiver<Arc<KeySet>>;

    /// Returns the current state of the channel. Takes time proportional to the unsettled batches:
    /// for pages, not for hot paths.
    fn status(&self) -> ChannelStatus;

    /// Returns [`ChannelStatus::intake_stopped`], at no cost.
    fn is_full(&self) -> bool;

    /// Waits until everything that was acknowledged and committed is on disk, then rejects further
    /// work.
    ///
    /// # Errors
    /// The disk failed; everything that was acknowledged before is still safe.
    async fn close(&self) -> Result<(), ChannelError>;
}

/// A put in progress. Dropping it rolls it back and releases its room.
#[async_trait]
pub trait PutTransaction: Send {
    /// Adds a batch; nothing is visible yet.
    fn put(&mut self, batch: Batch);

    /// Announces that the task that commits this put commits others concurrently, so that it must
    /// not be blocked while this one is stored.
    fn concurrent(&mut self) {}

    /// Asks for the name of the next batch: if the channel assigns one, it is in `name` once the
    /// put is committed. Used only if batches are traced.
    fn name_into(&mut self, _name: GivenName) {}

    /// Stores all batches of the transaction, atomically. Once polled it must run to its end.
    ///
    /// # Errors
    /// Nothing of it is stored.
    async fn commit(self: Box<Self>) -> Result<(), ChannelError>;

    /// Stores nothing; the same as dropping it, for the reader.
    fn rollback(self: Box<Self>) {}
}

/// One taker of a consumer. It may hold many batches at a time and settles them by ticket, in any
/// order. Dropping it rolls back every batch that it holds, including parked ones.
#[async_trait]
pub trait TakeTransaction: Send {
    /// Returns the oldest ready batch; waits for one. Cancel safe.
    ///
    /// # Errors
    /// The channel is closed, the consumer is not registered any more, or the disk could not be
    /// read.
    async fn take(&mut self) -> Result<Taken, ChannelError>;

    /// Commits these batches as delivered; ignores tickets that this take does not hold.
    fn commit(&mut self, tickets: &IntervalSet);

    /// Offers these batches again, before newer ones.
    fn rollback(&mut self, tickets: &IntervalSet);

    /// Parks batches that the next hop has stored: they are kept, without memory, until commit or
    /// rollback.
    fn park(&mut self, tickets: &IntervalSet);
}
