//! The sink: where events leave.
//!
//! A sink takes batches over one by one and settles them later, many at a time and in any order:
//! a gRPC sink when the answer comes, an HDFS sink when a file is published.
//!
//! ```text
//!   write(taken) ─► in the sink ─► settled() says, ticket by ticket:
//!        Stored     the next hop has it, durably; the channel parks it
//!        Delivered  it is where it belongs; the channel lets it go
//!        Again      it is not; the channel offers it again, to any sink of the group
//!        HeldBack   the next hop takes no batch of this size now; others pass it
//!        Refused    some or all of its events can never be; they go to the dead letters
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
    /// What became of them.
    pub outcome: Outcome,
}

/// What became of batches that a sink had taken over.
#[derive(Debug)]
pub enum Outcome {
    /// Stored durably at the next hop, which will say later that it is delivered.
    Stored,
    /// Where it belongs, for good.
    Delivered,
    /// The other side works and does not take this one batch, because it is too large as the other
    /// side is set up now. The batch is the group's again: it waits in the channel, others pass it,
    /// and it is offered to whichever member takes it.
    HeldBack(HeldBack),
    /// Not delivered; the reason is a failure of this sink, or `None` when nothing failed (it was
    /// moved on purpose, or is offered again because no agent has it).
    Again(Option<SinkError>),
    /// Events of a batch are never deliverable.
    Refused(Box<Letter>),
}

/// A batch that the other side does not take, because it is too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldBack {
    /// Bytes of its encoding.
    pub bytes: u64,
    /// Its events.
    pub events: u64,
    /// It was refused, though it is within the limit that the other side has named.
    pub refused: bool,
}

/// Events of one batch that can never be delivered, on their way to the dead letters.
///
/// A letter of a whole batch settles it: the batch leaves the channel once its letter is stored. A
/// letter of a part settles nothing: the sink goes on with the rest and settles the ticket by what
/// becomes of that; the batch does not leave the channel before its letters are stored.
#[derive(Debug)]
pub struct Letter {
    /// The batch; written to this sink and not settled yet.
    pub ticket: Ticket,
    /// The events, with the identity of their batch.
    pub events: Batch,
    /// Whether these are all events of the batch.
    pub whole: bool,
    /// Why, in snake case: what letters are counted and listed by.
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

/// What a source, a channel or a sink promises about an event that it has taken over: what it read,
/// what it stored, what it says is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guarantee {
    /// It may be lost.
    BestEffort,
    /// It is there, perhaps more than once.
    AtLeastOnce,
    /// It is there exactly once.
    ExactlyOnce,
}

/// What knows, behind a sink, which batches it has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum DedupeScope {
    /// Nothing: what is repeated is there twice.
    Nothing,
    /// This dataset, or table of a database, by its ledger.
    Dataset(String),
    /// Whatever lies behind the next agent.
    NextAgent,
}

/// Why a sink failed, with its class; `source` is the sink's own error.
#[derive(Debug, Error)]
#[error("{source}")]
pub struct SinkError {
    /// What the failure says about the batch.
    pub class: ErrorClass,
    /// When to come again, where the other side has said so.
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

/// Where events leave the agent. One task owns a sink and calls it; work that must go on meanwhile
/// runs in the sink's own tasks.
#[async_trait]
pub trait Sink: Send {
    /// Makes ready: connects, reads what the store already holds, finishes what a dead process
    /// began. Called before the first write and again after a failure, with back-off between.
    ///
    /// # Errors
    /// Not ready; nothing was taken over.
    async fn open(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Tries whether what lies behind it can be reached and takes something in: connections,
    /// logins, rights. It leaves nothing there, and is called of a sink that is not open. `None`:
    /// nothing lies behind it, or it cannot be tried without an event.
    ///
    /// # Errors
    /// It cannot, and why.
    async fn probe(&mut self) -> Result<Option<String>, SinkError> {
        Ok(None)
    }

    /// Takes a batch over; waits while the sink has no room for it.
    ///
    /// # Errors
    /// It was not taken over. Batches written before may still settle. Never of the class `Poison`:
    /// what can never be delivered is taken over, and refused by a settlement.
    async fn write(&mut self, taken: Taken) -> Result<(), SinkError>;

    /// The next settlement; waits for one. Cancel safe. Never an empty set of tickets.
    async fn settled(&mut self) -> Settlement;

    /// Asks the sink to settle all that it holds, now and without waiting for its roll or its
    /// window; the settlements come through [`Sink::settled`] as ever. Called when the agent stops.
    fn flush(&mut self);

    /// Lets go: what is not settled will be offered again by the channel. Staged files are removed,
    /// connections closed, tasks ended. `open` may be called again.
    async fn close(&mut self);

    /// Bytes taken over and not yet stored anywhere: what `least_loaded` compares.
    fn unacknowledged_bytes(&self) -> u64 {
        0
    }

    /// What this sink promises.
    fn guarantee(&self) -> Guarantee;

    /// What it shares with its group, by type. A group knows the `Seat` that the address of the
    /// sink comes from, and the `NextHop`: the state of the agent behind it (both in
    /// `aqueduct-peers`).
    fn extensions(&self) -> Extensions {
        Extensions::default()
    }

    /// What it shows of itself on status pages. Asked once, before it is opened first.
    fn status(&self) -> Option<&SinkBoard> {
        None
    }

    /// What knows which batches it has.
    fn dedupe_scope(&self) -> DedupeScope {
        DedupeScope::Nothing
    }
}

/// What a sink does that is done with a batch as soon as it has seen it.
pub trait Observer: Send {
    /// Looks at a batch.
    fn observe(&mut self, batch: &Batch);
}

/// A sink that is done with a batch as soon as it has seen it, and says so when it is asked. No
/// task confirms what it does, so it promises nothing.
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

    fn flush(&mut self) {}

    async fn close(&mut self) {
        self.done = IntervalSet::EMPTY;
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::BestEffort
    }
}
