//! The channel: what stands between sources and sinks, transactional on both sides.
//!
//! ```text
//!              begin_put ─► put … ─► commit: all of it is in the channel, or nothing
//!   accepted ──────────────────────────────────────────────┐
//!                                                           ▼
//!   READY ──take──► TAKEN ──park──► PARKED (the next hop has stored it; no memory but its ticket)
//!     ▲               │  │             │ │
//!     └───rollback────┘  └──commit──┐  │ └──rollback: no consumer has it
//!     ▲                             ▼  ▼
//!     └── crash, drop of the take   gone, for this consumer
//! ```
//!
//! # Rules that every channel keeps, and the conformance suite asserts
//!
//! 1. A put is atomic: its events, its identity and its source positions appear together, or none
//!    of them does. After `commit` returned `Ok` they survive whatever the channel promises to
//!    survive (`Durable`: process and power; `Memory`: nothing).
//! 2. The first channel that a batch enters without an identity gives it one. A batch whose
//!    identity was seen before is accepted again and not stored twice.
//! 3. Each consumer gets each batch; the takes of one consumer share them, so each batch is with
//!    one take at a time. Batches come oldest first; a rolled back one comes before newer ones.
//! 4. A batch leaves when every consumer has committed it. A commit of a take need not be durable
//!    at once: a crash may offer the batch again.
//! 5. A full channel makes `begin_put` wait; it takes nothing back and drops nothing.
//! 6. A batch without events is never taken: its identity counts as settled once it is stored.
//! 7. In a channel that [stores in turn](Channel::stores_in_turn), a put with a position that is to
//!    come [after](SourcePosition::after) another one is refused unless its key stands at that one.
//!    So a source may put its next batch before it has the answer for the last one: when that is
//!    not stored, the next one is not either, and no position gets ahead of what lies before it.

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

/// Where a source stands: one of its keys (a file, a partition) with the position behind a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePosition {
    /// Name of the source in the configuration.
    pub source: Arc<str>,
    /// What the position is of, in the source's own encoding; at most 4 KiB.
    pub key: Bytes,
    /// The position in the source's own encoding, at most 4 KiB; `None` forgets the key.
    pub value: Option<Bytes>,
    /// What the key has to stand at when the batch is stored; `None` asks for nothing. Not stored.
    /// Only for a channel that [stores in turn](Channel::stores_in_turn).
    pub after: Option<Bytes>,
}

/// A batch handed out, under the ticket that settles it.
#[derive(Debug, Clone)]
pub struct Taken {
    /// What commit, rollback and park name.
    pub ticket: Ticket,
    /// The batch, with its identity.
    pub batch: Batch,
}

/// What a channel holds, for pages, metrics and readiness.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChannelStatus {
    /// Events that some consumer has not committed.
    pub events: u64,
    /// Bytes that the channel occupies of its capacity.
    pub bytes: u64,
    /// Bytes at which its intake stops, as it is in force now: the capacity, or what the disk
    /// allows, without the reserve.
    pub capacity_bytes: u64,
    /// Bytes that it keeps free beyond that for its own files.
    pub reserve_bytes: u64,
    /// How long until it is full if it goes on filling as in the last minutes; nothing if it does
    /// not fill, or is not known to.
    pub until_full: Option<Duration>,
    /// Events taken or parked, not yet committed.
    pub unsettled_events: u64,
    /// How long ago the oldest uncommitted batch was put.
    pub oldest_uncommitted: Option<Duration>,
    /// Whether puts wait now: full, disk full, or closing.
    pub intake_stopped: bool,
}

/// What a consumer has not committed, in batches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Those that no take of it holds.
    pub ready: u64,
    /// Those that are with its takes, parked ones too.
    pub held: u64,
}

/// A channel. See the [module page](self) for the rules.
#[async_trait]
pub trait Channel: Send + Sync {
    /// Makes the channel usable; recovers what a dead process left. Called before all else, and
    /// again only after [`ChannelError::NoRoom`], when it holds nothing yet, and after
    /// [`ChannelError::Remote`], when what holds it could not be reached.
    ///
    /// # Errors
    /// The disk has no room to make the channel. What holds it does not answer. The directory
    /// cannot be used: taken by another process, of a newer format, damaged beyond what recovery
    /// mends.
    async fn open(&self) -> Result<(), ChannelError>;

    /// Tries whether what holds it, on other hosts, can be reached and is as it has to be: logins,
    /// rights, settings. It makes nothing there and takes nothing from another owner, and is called
    /// of a channel that is not open. `None`: it is on this host.
    ///
    /// # Errors
    /// It cannot, and why.
    async fn probe(&self) -> Result<Option<String>, ChannelError> {
        Ok(None)
    }

    /// Makes these the consumers, by name: before the first put is accepted, and at any time after
    /// it, also while puts and takes are under way. A batch is kept until each of them has
    /// committed it.
    ///
    /// A consumer that joins gets what is put from then on, and what some consumer before it has
    /// not committed. One that is named again keeps its place and what its takes hold. One that is
    /// not named any more is forgotten with its backlog, and its takes end with
    /// [`ChannelError::Closed`]; so what it has not committed is lost to it, unless another one
    /// joins in the same call.
    ///
    /// # Errors
    /// The disk refused.
    async fn register(&self, consumers: &[Arc<str>]) -> Result<(), ChannelError>;

    /// What it promises of the events that are put into it, a dying agent and a full channel
    /// included.
    fn guarantee(&self) -> Guarantee;

    /// Bytes of the largest batch that it ever takes, open or not.
    fn batch_max(&self) -> u64 {
        u64::MAX
    }

    /// What of its settings does not suit the place where it is to be, in sentences that name the
    /// channel, the directory and what helps. It may be asked before it is opened, and looks at
    /// nothing but the size and the free space of the file system.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// Begins a put of about `size`, and waits for room. May be dropped midway.
    ///
    /// # Errors
    /// The channel is closed, or the put can never fit.
    async fn begin_put(&self, size: BatchSize) -> Result<Box<dyn PutTransaction>, ChannelError>;

    /// Puts a batch back that had left the channel for the dead letters: `consumer` gets it again,
    /// every other consumer counts as having committed it. The batch keeps its identity, though the
    /// channel knows it. Does not wait for room.
    ///
    /// # Errors
    /// There is no room, the consumer is not known, the disk refused, or the channel has no
    /// way to do it.
    async fn put_back(&self, _batch: Batch, _consumer: &str) -> Result<(), ChannelError> {
        Err(ChannelError::NoPutBack)
    }

    /// The batches of `keys` that `consumer` has not committed. Reads the disk.
    ///
    /// # Errors
    /// The disk could not be read, or the channel has no way to do it.
    async fn waiting_for(&self, _consumer: &str, _keys: &KeySet) -> Result<KeySet, ChannelError> {
        Err(ChannelError::NoPutBack)
    }

    /// What this consumer has not committed; nothing for one that is not registered.
    fn backlog(&self, consumer: &str) -> Backlog;

    /// Begins a take for a registered consumer.
    fn begin_take(&self, consumer: &str) -> Box<dyn TakeTransaction>;

    /// Every key of `source` with its position, as of the last put.
    fn positions(&self, source: &str) -> Vec<(Bytes, Bytes)>;

    /// Whether it looks at what positions are to come after: rule 7.
    fn stores_in_turn(&self) -> bool {
        false
    }

    /// Sequences of one life of an origin that this channel has stored at any time.
    fn stored(&self, origin: Origin, epoch: Epoch) -> IntervalSet;

    /// The part of [`Channel::stored`] that every consumer has committed.
    fn settled(&self, origin: Origin, epoch: Epoch) -> IntervalSet;

    /// The origin and the life that batches get here which come without an identity; `None` where
    /// none of it would survive a start.
    fn birthplace(&self) -> Option<(Origin, Epoch)> {
        None
    }

    /// The name outside of a batch that was born here, where it got another one.
    fn renamed(&self, _key: Identity) -> Option<Identity> {
        None
    }

    /// Gives the batches of this life, but for the sequences in `kept`, the name of another origin,
    /// and so does every later life: a copy of this directory has closed the life. Durable when it
    /// returns; blocks. Called again it leaves less out, and keeps the new origin.
    ///
    /// # Errors
    /// The disk refused; the names are as they were. Never where there is no
    /// [birthplace](Channel::birthplace).
    fn rename(&self, _kept: &IntervalSet) -> Result<(), ChannelError> {
        Ok(())
    }

    /// What it answers for, but for the dead letters; `None` where none of it would survive a
    /// start.
    fn account(&self) -> Option<Account> {
        None
    }

    /// The lowest epoch of `origin` of which some consumer still wants a batch.
    fn lowest_unsettled(&self, origin: Origin) -> Option<Epoch>;

    /// Identities as they become settled. A receiver that lags asks [`Channel::settled`] instead.
    fn watch_settled(&self) -> broadcast::Receiver<Arc<KeySet>>;

    /// What the channel holds now. Costs time with what is unsettled: for pages, not for paths.
    fn status(&self) -> ChannelStatus;

    /// Whether puts wait now: [`ChannelStatus::intake_stopped`], at no cost.
    fn is_full(&self) -> bool;

    /// Waits until all that was acknowledged and committed is on disk, then refuses further work.
    ///
    /// # Errors
    /// The disk refused; what was acknowledged before is safe all the same.
    async fn close(&self) -> Result<(), ChannelError>;
}

/// A put under way. Dropping it rolls it back and gives the room back.
#[async_trait]
pub trait PutTransaction: Send {
    /// Adds a batch; nothing is visible yet.
    fn put(&mut self, batch: Batch);

    /// Says that the task that commits this one commits others at the same time, so that it must
    /// not be held up while this one is stored.
    fn beside_others(&mut self) {}

    /// Asks for the name of the batch, which is put next: where the channel gives it one, it is in
    /// `name` once the put is committed. Not asked for unless batches are traced.
    fn name_into(&mut self, _name: GivenName) {}

    /// Stores all batches of the transaction, atomically. Once polled it must run to its end.
    ///
    /// # Errors
    /// Nothing of it is stored.
    async fn commit(self: Box<Self>) -> Result<(), ChannelError>;

    /// Stores nothing; the same as dropping it, for the reader.
    fn rollback(self: Box<Self>) {}
}

/// One taker of a consumer. It may hold many batches at once and settles them by ticket, in any
/// order. Dropping it rolls back every batch that it holds, parked ones too.
#[async_trait]
pub trait TakeTransaction: Send {
    /// The oldest ready batch; waits for one. Cancel safe.
    ///
    /// # Errors
    /// The channel is closed, the consumer is not registered any more, or the disk could not be
    /// read.
    async fn take(&mut self) -> Result<Taken, ChannelError>;

    /// These batches are where they belong; tickets that this take does not hold are passed over.
    fn commit(&mut self, tickets: &IntervalSet);

    /// These batches are offered again, before newer ones.
    fn rollback(&mut self, tickets: &IntervalSet);

    /// The next hop has stored these batches: they are kept, without memory, until commit or
    /// rollback.
    fn park(&mut self, tickets: &IntervalSet);
}
