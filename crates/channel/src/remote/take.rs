//! Takes of one consumer.

use std::sync::Arc;
use std::time::Duration;

use pipeline::{Batch, ChannelError, IntervalSet, Taken, Ticket};
use support::notice;
use tracing::warn;

use super::core::Core;
use super::log::cause_of;
use crate::transactions::{Picked, Tickets};

/// Pause before a failed read is retried.
const READ_PAUSE: Duration = Duration::from_secs(1);

/// A take of the next batch of a consumer.
struct Next<'a> {
    core: &'a Arc<Core>,
    consumer: &'a Arc<str>,
}

impl Next<'_> {
    /// Picks the oldest ready ticket, with its batch if it is in memory.
    async fn pick(&self) -> Result<(Picked<'_, Core>, Option<Batch>), ChannelError> {
        notice::until(&self.core.signals.ready, || {
            let mut state = self.core.state();
            if state.closed || !state.in_flight.knows(self.consumer) {
                return Some(Err(self.core.closed_error()));
            }
            let ticket = state.in_flight.take(self.consumer)?;
            let found = state.find(self.consumer, ticket);
            state.forget_offered();
            Some(Ok((Picked::new(self.core, self.consumer, ticket), found)))
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

    async fn take(&self) -> Result<Taken, ChannelError> {
        loop {
            let (mut picked, found) = self.pick().await?;
            let ticket = picked.ticket;
            let found = match found {
                Some(batch) => Some(batch),
                None => self.fetch(ticket).await?,
            };
            // A lost batch was struck already; returning its ticket has no effect.
            let Some(batch) = found else { continue };
            picked.keep();
            return Ok(Taken { ticket, batch });
        }
    }
}

impl Tickets for Core {
    async fn take(self: &Arc<Self>, consumer: &Arc<str>) -> Result<Taken, ChannelError> {
        Next { core: self, consumer }.take().await
    }

    fn commit(&self, consumer: &Arc<str>, tickets: &IntervalSet) {
        let settled = self.state().commit(consumer, tickets);
        self.signals.dirty.notify_one();
        self.announce(settled);
    }

    fn rollback(&self, consumer: &Arc<str>, tickets: &IntervalSet) {
        self.state().rollback(consumer, tickets);
        self.signals.ready.notify_waiters();
    }
}
