//! A sink over a [`Deliver`]: manages requests in flight, waiting batches, and failures.
//!
//! ```text
//!   write ─► waiting (only in order) ─► in flight, at most `in_flight_max` ─► settled
//!                    ▲                        │ failed: transient, indeterminate, fatal
//!                    └── next of the origin ◄─┤      the batch returns to the channel
//!                        up to `together_max` └ rejected permanently: to the dead letters
//! ```
//!
//! # Invariants
//!
//! 1. A written ticket is in flight, waits for an earlier one of its origin, or has a settlement.
//! 2. With [`Options::in_order`] at most one request of an origin is in flight. None is started
//!    after a failed one: waiting batches return to the channel with it.
//! 3. `in_flight_max` bounds the number of batches in flight or waiting, and therefore the memory.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use support::mutant;
use thiserror::Error;
use tokio::time::timeout;

use super::{Deliver, Delivered};
use crate::batch::Batch;
use crate::channel::{Taken, Ticket};
use crate::error::{Classify, ErrorClass};
use crate::identity::Origin;
use crate::intervals::IntervalSet;
use crate::sink::{DedupeScope, Guarantee, Letter, Outcome, Settlement, Sink, SinkError};
use crate::sink_board::SinkBoard;

/// Settings of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Maximum number of batches in flight; at least 1.
    pub in_flight_max: usize,
    /// True if batches of one origin are delivered one after the other, in the order of the
    /// channel.
    pub in_order: bool,
    /// Timeout of one request. After that it is unknown whether it was applied.
    pub timeout: Duration,
}

/// A request took too long.
#[derive(Debug, Error)]
#[error(
    "no response to a request within {limit:?}; its events are resent, and may be stored twice; \
     check the server and the network"
)]
struct TimedOut {
    limit: Duration,
}

impl Classify for TimedOut {
    fn class(&self) -> ErrorClass {
        ErrorClass::Indeterminate
    }
}

/// A request that has ended.
struct Ended {
    /// Its batches, all of one origin.
    taken: Vec<Taken>,
    /// Of the first of them.
    delivered: Vec<Delivered>,
    /// The error that stopped the next one.
    failed: Option<SinkError>,
}

type Request = Pin<Box<dyn Future<Output = Ended> + Send>>;

/// The [`Sink`] over a [`Deliver`].
pub struct Requests<D> {
    deliver: Arc<D>,
    options: Options,
    in_flight: FuturesUnordered<Request>,
    /// In order only: per origin in flight, the batches that wait for it.
    waiting: BTreeMap<Option<Origin>, VecDeque<Taken>>,
    settlements: VecDeque<Settlement>,
    /// Batches that are in flight or wait, and their bytes.
    held: usize,
    bytes: u64,
}

impl<D: Deliver> Requests<D> {
    /// A sink that delivers by `deliver`.
    pub fn new(deliver: D, options: Options) -> Self {
        Self {
            deliver: Arc::new(deliver),
            options,
            in_flight: FuturesUnordered::new(),
            waiting: BTreeMap::new(),
            settlements: VecDeque::new(),
            held: 0,
            bytes: 0,
        }
    }

    /// Stops holding a batch whose result is known.
    fn release(&mut self, taken: &Taken) {
        self.held -= 1;
        self.bytes -= taken.batch.encoded_len() as u64;
    }

    fn start(&self, taken: Vec<Taken>) {
        let (deliver, limit) = (self.deliver.clone(), self.options.timeout);
        self.in_flight.push(Box::pin(async move {
            let batches: Vec<&Batch> = taken.iter().map(|taken| &taken.batch).collect();
            let (delivered, failed) = match timeout(limit, deliver_all(&*deliver, &batches)).await {
                Ok((delivered, failed)) => (delivered, failed.map(SinkError::from)),
                Err(_) => (Vec::new(), Some(TimedOut { limit }.into())),
            };
            Ended { taken, delivered, failed }
        }));
    }

    /// Processes the result of a request.
    fn ended(&mut self, Ended { taken, delivered, failed }: Ended) {
        let origin = taken.first().and_then(origin_of);
        let mut taken = taken.into_iter();
        for (delivered, taken) in delivered.into_iter().zip(taken.by_ref()) {
            self.release(&taken);
            match delivered {
                Delivered::All => self.settle(taken.ticket, Outcome::Delivered),
                Delivered::Except { events, reason, detail } => {
                    self.refuse(taken, Some(&events), reason, detail);
                }
            }
        }
        let mut has_failed = false;
        if let (Some(error), Some(next)) = (failed, taken.next()) {
            self.release(&next);
            if error.class == ErrorClass::Poison {
                self.refuse(next, None, "refused", error.to_string());
            } else {
                has_failed = true;
                self.settle(next.ticket, Outcome::Again(Some(error)));
            }
        }
        // Untried batches keep their place after the failed or rejected one.
        has_failed |= self.return_batches(taken) > 0;
        self.next_attempt(origin, has_failed);
    }

    /// Starts the next waiting batches of this origin, or returns them to the channel.
    fn next_attempt(&mut self, origin: Option<Origin>, failed: bool) {
        let Some(mut waiting) = self.waiting.remove(&origin) else { return };
        if failed {
            self.return_batches(waiting);
        } else if !waiting.is_empty() {
            let next = waiting.len().min(self.deliver.together_max().max(1));
            let next = waiting.drain(..next).collect();
            self.waiting.insert(origin, waiting);
            self.start(next);
        }
    }

    /// Batches that were not tried go back to the channel. Answers how many.
    fn return_batches(&mut self, batches: impl IntoIterator<Item = Taken>) -> usize {
        let mut given = 0;
        for taken in batches {
            self.release(&taken);
            self.settle(taken.ticket, Outcome::Again(None));
            given += 1;
        }
        given
    }

    /// Moves events of a batch to the dead letters; without `events` all of them.
    fn refuse(
        &mut self,
        Taken { ticket, batch }: Taken,
        events: Option<&[usize]>,
        reason: &'static str,
        detail: String,
    ) {
        let mut refused = batch;
        let all = refused.len();
        if let Some(events) = events {
            refused.retain(|event| events.binary_search(&event.index()).is_ok());
        }
        let whole = refused.len() == all;
        let marked = whole || mutant!("letter_of_part_whole");
        let letter = Letter { ticket, events: refused, whole: marked, reason, detail };
        self.settlements.push_back(Settlement::refused(letter));
        if !whole || mutant!("refused_and_delivered") {
            self.settle(ticket, Outcome::Delivered);
        }
    }

    fn settle(&mut self, ticket: Ticket, outcome: Outcome) {
        let tickets = IntervalSet::from(ticket..ticket + 1);
        self.settlements.push_back(Settlement { tickets, outcome });
    }
}

/// Delivers batches in this order. Returns the results of the delivered ones, which are the first
/// ones, and the error that stopped the next one.
async fn deliver_all<D: Deliver>(
    deliver: &D,
    batches: &[&Batch],
) -> (Vec<Delivered>, Option<D::Error>) {
    let together = match batches.len() {
        0 | 1 => None,
        _ => deliver.deliver_together(batches).await,
    };
    let mut all = together.unwrap_or_default();
    for batch in &batches[all.len()..] {
        match deliver.deliver(batch).await {
            Ok(delivered) => all.push(delivered),
            Err(error) => return (all, Some(error)),
        }
    }
    (all, None)
}

fn origin_of(taken: &Taken) -> Option<Origin> {
    taken.batch.envelope.identity.map(|identity| identity.origin)
}

#[async_trait]
impl<D: Deliver> Sink for Requests<D> {
    async fn open(&mut self) -> Result<(), SinkError> {
        Ok(self.deliver.open().await?)
    }

    async fn probe(&mut self) -> Result<Option<String>, SinkError> {
        Ok(self.deliver.probe().await?)
    }

    async fn write(&mut self, taken: Taken) -> Result<(), SinkError> {
        while self.held >= self.options.in_flight_max.max(1) {
            let ended =
                self.in_flight.next().await.expect("what waits, waits behind one in flight");
            self.ended(ended);
        }
        self.held += 1;
        self.bytes += taken.batch.encoded_len() as u64;
        if !self.options.in_order {
            self.start(vec![taken]);
            return Ok(());
        }
        let origin = origin_of(&taken);
        match self.waiting.get_mut(&origin) {
            Some(waiting) => waiting.push_back(taken),
            None => {
                self.waiting.insert(origin, VecDeque::new());
                self.start(vec![taken]);
            }
        }
        Ok(())
    }

    async fn settled(&mut self) -> Settlement {
        loop {
            if let Some(settlement) = self.settlements.pop_front() {
                return settlement;
            }
            match self.in_flight.next().await {
                Some(ended) => self.ended(ended),
                None => std::future::pending().await,
            }
        }
    }

    /// Nothing is held back here, so there is nothing to flush.
    async fn close(&mut self) {
        self.in_flight.clear();
        self.waiting.clear();
        self.settlements.clear();
        (self.held, self.bytes) = (0, 0);
        self.deliver.close().await;
    }

    fn unacknowledged_bytes(&self) -> u64 {
        self.bytes
    }

    fn status(&self) -> Option<&SinkBoard> {
        self.deliver.status()
    }

    fn guarantee(&self) -> Guarantee {
        self.deliver.guarantee()
    }

    fn dedupe_scope(&self) -> DedupeScope {
        self.deliver.dedupe_scope()
    }
}

#[cfg(all(test, feature = "mutants"))]
mod planted;
#[cfg(test)]
mod tests;
