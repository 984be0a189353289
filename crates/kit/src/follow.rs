//! The adapter for sources that follow positions of their peer: offsets, cursors, row keys.
//!
//! ```text
//!               open at the earliest position               nothing is being stored
//!   channels ──────────────────────────────► peer ─► batch ────────────────────────► put under way
//!      ▲                                      ▲  └ the next batch is read meanwhile       │
//!      │                                      │                                           │
//!      ├── stored, with its position ◄────────│── every required channel has it ◄─────────┤
//!      │                                      │   some lack it: pause, put into those ◄───┤
//!      │                  open again ◄────────┴── a channel refuses it: the run fails ◄───┘
//!      │
//!      └── a channel is behind: read the events that it lacks, into it only, then open again
//! ```
//!
//! [`Follow`] is one protocol: how to open at a position, and how to read from there. It hands
//! batches with the position after them to [`Puts`]. [`Followed`] is the source around it: the put,
//! retries, stop and drain, and the channels that lack a batch. The runner of the agent opens a
//! failed source again, with back-off.
//!
//! A reader is one asynchronous function, not a state machine of single steps: it may loop over
//! pages, rows and files, and waits in [`Puts::put`] while an earlier batch is stored.
//!
//! # Invariants
//!
//! 1. A position is in a channel only with the events before it: both are one write.
//! 2. At most one put is under way. The next batch fills in the meantime. So a source holds at most
//!    two batches, and each channel has all batches or all but the last one.
//! 3. Batches are stored in the order in which they were read. A put of an earlier run ends before
//!    the next run asks the channels for their positions.
//! 4. A batch that only some channels have stored is retried in the others only. Their positions
//!    decide. After a restart, [`CatchUp`] decides.
//! 5. [`Puts::stored`] returns only after every required channel has stored all batches. Only then
//!    may a source tell its peer that it may delete them.
//! 6. A put that has begun runs to its end in its own task. A stop cancels a put that waits for
//!    room, after [`Follow::drain`], and that put stores nothing later.
//! 7. A batch that a channel refuses permanently blocks the source: the events after it are not
//!    stored before it.
//!
//! # Limits
//!
//! - A channel that fails *indeterminately* may have stored a batch. Its position tells.
//! - Channels catch up one after the other. If the channel with the latest position is removed in
//!   the middle of that, the order of the others is unknown, and the source stops with an error.
//! - Events read again must be the same events in the same order. If the peer cannot do that, the
//!   source states [`CatchUp::Repeat`] or [`CatchUp::OneChannel`].
//!
//! Sources with several positions at a time, such as partitions and files, have loops of their own
//! and use only [`Store`].

mod followed;
mod puts;
mod start;
mod store;

use std::time::Duration;

use bytes::Bytes;
use peers::limits::Cut;
use pipeline::{Guarantee, Intake, PieceLimits, SourceContext, SourceError};

pub use followed::Followed;
pub use puts::Puts;
pub use start::{CatchUp, Known, Start, only_channel, stored_number};
pub use store::{Refused, Store};

/// A peer with positions.
pub trait Follow: Send + 'static {
    /// The kind of the source, for errors.
    const KIND: &'static str;

    /// The peer, opened at a position.
    type Link: Send;

    /// As [`pipeline::Source::guarantee`].
    fn guarantee(&self) -> Guarantee;

    /// As [`pipeline::Source::batch_bytes`].
    fn batch_bytes(&self) -> u64;

    /// As [`pipeline::Source::retry_after`].
    fn retry_after(&self) -> Option<Duration> {
        None
    }

    /// How the source continues when its channels have different positions.
    fn catch_up(&self) -> CatchUp;

    /// Returns a number that grows with the position; `None` without a position. The default is the
    /// number of the last put, which the adapter stores.
    fn number(&self, known: &[(Bytes, Bytes)]) -> Option<u64> {
        (!known.is_empty()).then(|| stored_number(known))
    }

    /// How long a stop waits for room for the last batches. For a peer that may not send them
    /// again.
    fn drain(&self) -> Duration {
        Duration::ZERO
    }

    /// Opens the peer at a position. May be dropped midway.
    ///
    /// # Errors
    /// The peer cannot be reached, or has no such position.
    fn open(
        &mut self,
        start: &Start,
        cx: &SourceContext,
    ) -> impl Future<Output = Result<Self::Link, SourceError>> + Send;

    /// Reads up to the end of the peer, or up to [`Start::until`]. Each batch carries the position
    /// after it. Dropped at any await when the source stops, or when a batch cannot be stored.
    ///
    /// # Errors
    /// The peer has failed. The batches so far are stored.
    fn read(
        &mut self,
        link: &mut Self::Link,
        puts: &mut Puts,
    ) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// Hands over the events that were read before a stop. May be dropped at any await.
    fn flush(
        &mut self,
        _link: &mut Self::Link,
        _puts: &mut Puts,
    ) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// Closes the peer after a stop, an error, or the end.
    fn close(&mut self, _link: Self::Link) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// Returns the limits of a batch: these, or lower ones of the downstream agents.
pub fn limits(intake: &(impl Intake + ?Sized), bytes: usize, events: usize) -> PieceLimits {
    let Some(cut) = intake.batch_bytes_max().map(Cut::within) else {
        return PieceLimits { bytes, events };
    };
    let lower = |set: usize, cut: u64| set.min(usize::try_from(cut).unwrap_or(usize::MAX));
    PieceLimits { bytes: lower(bytes, cut.body_bytes), events: lower(events, cut.events) }
}
