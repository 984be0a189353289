//! The sink: delivers events.
//!
//! A sink accepts batches one by one and settles them later, many at a time and in any order: a
//! gRPC sink when the answer arrives, an HDFS sink when a file is published.
//!
//! ```text
//!   write(taken) ─► in the sink ─► settled() reports, ticket by ticket:
//!        Stored     the next hop has it, durably; the channel parks it
//!        Delivered  it is delivered; the channel removes it
//!        Again      it is not delivered; the channel offers it again, to any sink of the group
//!        HeldBack   the next hop accepts no batch of this size now; others overtake it
//!        Refused    some or all of its events can never be delivered; they go to the dead letters
//! ```

use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

use crate::batch::Batch;
use crate::channel::{Taken, Ticket};
use crate::error::{Classify, ErrorClass};
use crate::extensions::Extensions;
use crate::intervals::IntervalSet;
use crate::sink_board::SinkBoard;

/// The word of a sink about batches that it had taken over.
#[derive(Debug)]
pub struct Settlement {
    /// The batches; each was written to this sink and is not settled yet, or only `Stored`.
    pub tickets: IntervalSet,
    /// Their result.
    pub outcome: Outcome,
}

/// The result of batches that a sink had accepted.
#[derive(Debug)]
pub enum Outcome {
    /// Stored durably at the next hop, which reports the delivery later.
    Stored,
    /// Delivered permanently.
    Delivered,
    /// The other side works but does not accept this batch, because it is too large for its current
    /// settings. The batch returns to the group: it waits in the channel, others overtake it, and
    /// it is offered to any member that accepts it.
    HeldBack(HeldBack),
    /// Not delivered; the reason is a failure of this sink, or `None` without a failure (it was
    /// moved on purpose, or is offered again because no agent has it).
    Again(Option<SinkError>),
    /// Events of a batch are never deliverable.
    Refused(Box<Letter>),
}

/// A batch that the other side does not accept, because it is too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldBack {
    /// Bytes of its encoding.
    pub bytes: u64,
    /// Its events.
    pub events: u64,
    /// It was refused, although it is within the limit that the other side has announced.
    pub refused: bool,
}

/// Events of one batch that can never be delivered, on their way to the dead letters.
///
/// A letter of a whole batch settles it: the batch leaves the channel once its letter is stored. A
/// letter of a part settles nothing: the sink continues with the rest and settles the ticket by its
/// result; the batch does not leave the channel before its letters are stored.
#[derive(Debug)]
pub struct Letter {
    /// The batch; written to this sink and not settled yet.
    pub ticket: Ticket,
    /// The events, with the identity of their batch.
    pub events: Batch,
    /// True if these are all events of the batch.
    pub whole: bool,
    /// The reason, in snake case: letters are counted and listed by it.
    pub reason: &'static str,
    /// The same for people.
    pub detail: String,
}

impl Settlement {
    /// Events that can never be delivered.
    pub fn refused(letter: Letter) -> Self {
        let tickets = IntervalSet::from(letter.ticket..letter.ticket + 1);
        Self { tickets, outcome: Outcome::Refused(Box::new(letter)) }
    }
}

/// The guarantee of a source, a channel or a sink for events that it has read, stored or reported
/// as delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guarantee {
    /// They may be lost.
    BestEffort,
    /// They are stored, perhaps more than once.
    AtLeastOnce,
    /// They are stored exactly once.
    ExactlyOnce,
}

/// The downstream component that recognises repeated batches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum DedupeScope {
    /// None: repeated batches are stored twice.
    Nothing,
    /// This dataset, or table of a database, by its ledger.
    Dataset(String),
    /// The components downstream of the next agent.
    NextAgent,
}

/// Why a sink failed, with its class; `source` is the sink's own error.
#[derive(Debug, Error)]
#[error("{source}")]
pub struct SinkError {
    /// The class of the failure.
    pub class: ErrorClass,
    /// When to retry, if the other side has named a time.
    pub retry_after: Option<Duration>,
    /// The sink's own error.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl<E: std::error::Error + Classify + Send + Sync + 'static> From<E> for SinkError {
    fn from(error: E) -> Self {
        let (class, retry_after) = (error.class(), error.retry_after());
        Self { class, retry_after, source: Box::new(error) }
    }
}

/// Delivers events out of the agent. One task owns a sink and calls it; work that must continue
/// between calls runs in the sink's own tasks.
#[async_trait]
pub trait Sink: Send {
    /// Prepares the sink: connects, reads the state of the store, finishes the work of a dead
    /// process. Called before the first write and again after a failure, with back-off.
    ///
    /// # Errors
    /// Not ready; no batch was accepted.
    async fn open(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Checks whether its destination can be reached and accepts data: connections, logins, rights.
    /// Leaves nothing there, and is called for a sink that is not open. `None`: it has no
    /// destination, or it cannot be tested without an event.
    ///
    /// # Errors
    /// The reason why it cannot be used.
    async fn probe(&mut self) -> Result<Option<String>, SinkError> {
        Ok(None)
    }

    /// Accepts a batch; waits while the sink has no room for it.
    ///
    /// # Errors
    /// It was not accepted. Batches written before may still settle. Never of the class `Poison`: a
    /// batch that can never be delivered is accepted, and rejected by a settlement.
    async fn write(&mut self, taken: Taken) -> Result<(), SinkError>;

    /// The next settlement; waits for one. Cancel safe. Never an empty set of tickets.
    async fn settled(&mut self) -> Settlement;

    /// Asks the sink to settle all its batches now, without waiting for its roll or its window;
    /// settlements arrive through [`Sink::settled`] as usual. Called when the agent stops, and when
    /// no source fills the channel any more; further batches may follow.
    fn flush(&mut self) {}

    /// Stops: the channel will offer unsettled batches again. Removes staged files, closes
    /// connections, ends tasks. `open` may be called again.
    async fn close(&mut self) {}

    /// Returns the bytes that were accepted and are not stored anywhere yet; `least_loaded`
    /// compares them.
    fn unacknowledged_bytes(&self) -> u64 {
        0
    }

    /// Returns the guarantee of this sink.
    fn guarantee(&self) -> Guarantee;

    /// Returns values shared with its group, by type. A group knows the `Seat`, from which the
    /// address of the sink comes, and the `NextHop`: the state of the downstream agent (both in
    /// `aqueduct-peers`).
    fn extensions(&self) -> Extensions {
        Extensions::default()
    }

    /// Returns its board for status pages. Called once, before it is first opened.
    fn status(&self) -> Option<&SinkBoard> {
        None
    }

    /// Returns its scope of deduplication.
    fn dedupe_scope(&self) -> DedupeScope {
        DedupeScope::Nothing
    }
}

/// A sink that is finished with a batch as soon as it has seen it.
pub trait Observer: Send {
    /// Looks at a batch.
    fn observe(&mut self, batch: &Batch);
}

/// A sink over an [`Observer`], which reports a batch as delivered as soon as it has seen it.
/// Nothing confirms its effect, so it has no guarantee.
#[derive(Debug, Default)]
pub struct ObserverSink<S> {
    observer: S,
    done: IntervalSet,
}

impl<S: Observer> ObserverSink<S> {
    /// A sink that lets `observer` see each batch.
    pub fn new(observer: S) -> Self {
        Self { observer, done: IntervalSet::EMPTY }
    }
}

#[async_trait]
impl<S: Observer> Sink for ObserverSink<S> {
    async fn write(&mut self, taken: Taken) -> Result<(), SinkError> {
        self.observer.observe(&taken.batch);
        self.done.insert(taken.ticket);
        Ok(())
    }

    async fn settled(&mut self) -> Settlement {
        if self.done.is_empty() {
            std::future::pending::<()>().await;
        }
        Settlement { tickets: std::mem::take(&mut self.done), outcome: Outcome::Delivered }
    }

    async fn close(&mut self) {
        self.done = IntervalSet::EMPTY;
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::BestEffort
    }
}
