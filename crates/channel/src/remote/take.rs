//! Takes of one consumer.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pipeline::{Batch, ChannelError, IntervalSet, TakeTransaction, Taken, Ticket};
use support::notice;
use tracing::warn;

use super::core::Core;
use super::log::cause_of;

/// Pause before a failed read is retried.
const READ_PAUSE: Duration = Duration::from_secs(1);

/// One taker: holds tickets until they are settled.
pub(super) struct Take {
    core: Arc<Core>,
    consumer: Arc<str>,
    held: IntervalSet,
}

/// A picked ticket whose batch is being read. Dropping it returns the ticket.
struct Picked<'a> {
    take: &'a Take,
    ticket: Ticket,
    kept: bool,
}

impl Drop for Picked<'_> {
    fn drop(&mut self) {
        if !self.kept {
            let ticket = IntervalSet::from(self.ticket..self.ticket + 1);
            self.take.core.rollback(&self.take.consumer, &ticket);
        }
    }
}

impl Take {
    /// Creates a take of `consumer` without tickets.
    pub(super) fn new(core: Arc<Core>, consumer: Arc<str>) -> Self {
        Self { core, consumer, held: IntervalSet::EMPTY }
    }

    /// Picks the oldest ready ticket, with its batch if it is in memory.
    async fn pick(&self) -> Result<(Picked<'_>, Option<Batch>), ChannelError> {
        notice::until(&self.core.signals.ready, || {
            let mut state = self.core.state();
            if state.closed || !state.in_flight.knows(&self.consumer) {
                return Some(Err(self.core.closed_error()));
            }
            let ticket = state.in_flight.take(&self.consumer)?;
            let found = state.find(&self.consumer, ticket);
            state.forget_offered();
            Some(Ok((Picked { take: self, ticket, kept: false }, found)))
        })
        .await
    }

    /// Reads the batch of a picked ticket; `None` if it is lost.
    async fn fetch(&self, ticket: Ticket) -> Result<Option<Batch>, ChannelError> {
        loop {
            let (core, consumer) = (self.core.clone(), self.consumer.clone());
            let fetched = self.core.env.offload(move || core.fetch(&consumer, ticket)).await;
            let error = match fetched {
                Ok(batch) => return Ok(batch),
                Err(error) => error,
            };
            if self.core.state().closed {
                return Err(self.core.closed_error());
            }
            warn!(channel = %self.core.name, place = self.core.log.name(),
                error = cause_of(&error),
                    "cannot read stored batches from the Kafka topic of the channel; sinks wait; \
                     retrying; check the brokers");
            tokio::time::sleep(READ_PAUSE).await;
        }
    }
}

#[async_trait]
impl TakeTransaction for Take {
    async fn take(&mut self) -> Result<Taken, ChannelError> {
        let taken = loop {
            let (mut picked, found) = self.pick().await?;
            let ticket = picked.ticket;
            let found = match found {
                Some(batch) => Some(batch),
                None => self.fetch(ticket).await?,
            };
            // A lost batch was struck already; returning its ticket has no effect.
            let Some(batch) = found else { continue };
            picked.kept = true;
            break Taken { ticket, batch };
        };
        self.held.insert(taken.ticket);
        Ok(taken)
    }

    fn commit(&mut self, tickets: &IntervalSet) {
        let mine = tickets.intersection(&self.held);
        self.held.remove_all(&mine);
        self.core.commit(&self.consumer, &mine);
    }

    fn rollback(&mut self, tickets: &IntervalSet) {
        let mine = tickets.intersection(&self.held);
        self.held.remove_all(&mine);
        self.core.rollback(&self.consumer, &mine);
    }

    /// Does nothing: a held batch takes no memory except its line.
    fn park(&mut self, _tickets: &IntervalSet) {}
}

impl Drop for Take {
    fn drop(&mut self) {
        if !self.held.is_empty() {
            self.core.rollback(&self.consumer, &self.held);
        }
    }
}
