//! Takes of one consumer.

use std::sync::Arc;

use pipeline::{ChannelError, IntervalSet, Taken, Ticket};
use tokio::time::{sleep, timeout};
use tracing::error;

use super::ahead::{Find, ReadBatch};
use super::wakeups::IDLE_POLL;
use crate::durable::core::Core;
use crate::transactions::{Picked, Tickets};

/// A take of the next batch of a consumer.
struct Next<'a> {
    core: &'a Arc<Core>,
    consumer: &'a Arc<str>,
}

/// A ticket that a take waits for: its batch stays in memory until then.
struct WaitedTicket<'a> {
    core: &'a Core,
    ticket: Ticket,
}

impl Drop for WaitedTicket<'_> {
    fn drop(&mut self) {
        self.core.state().reads.ahead.release(self.ticket);
    }
}

/// A consumer that a put has to wake.
struct SleepingConsumer<'a>(&'a Core);

impl Drop for SleepingConsumer<'_> {
    fn drop(&mut self) {
        self.0.state().reads.wakeups.wake();
    }
}

impl Next<'_> {
    /// Waits until a draining consumer may take more. Runs before the take, so that a cancelled
    /// caller has taken nothing.
    async fn throttle(&self) {
        let pause = || self.core.state().pause(self.consumer, &self.core.limits);
        while let Some(pause) = pause() {
            sleep(pause).await;
        }
    }

    /// Picks the oldest ready ticket, and finds its batch.
    async fn pick(&self) -> Result<(Picked<'_, Core>, Find), ChannelError> {
        let mut has_polled = false;
        loop {
            let ready = self.core.signals.ready.notified();
            tokio::pin!(ready);
            ready.as_mut().enable();
            {
                let mut state = self.core.state();
                if state.closed || !state.tickets.in_flight.knows(self.consumer) {
                    return Err(self.core.closed_error());
                }
                if let Some(ticket) = state.tickets.in_flight.take(self.consumer) {
                    let found = state.find(self.consumer, ticket);
                    let low = state.tickets.in_flight.lowest_cursor();
                    state.reads.tail.forget_below(low);
                    return Ok((Picked::new(self.core, self.consumer, ticket), found));
                }
                state.reads.ahead.leave(self.consumer);
                if has_polled {
                    state.reads.wakeups.sleep();
                }
            }
            if has_polled {
                let _asleep = SleepingConsumer(self.core);
                ready.await;
            } else {
                // Look for batches in either case.
                let _ = timeout(IDLE_POLL, ready).await;
                has_polled = true;
            }
        }
    }

    /// Waits for the batch of a picked ticket from the disk; `None` if it is damaged.
    async fn fetch(&self, ticket: Ticket) -> Result<Option<ReadBatch>, ChannelError> {
        let core = self.core;
        core.state().reads.ahead.wait_for(ticket);
        let _wanted = WaitedTicket { core, ticket };
        loop {
            let arrived = core.signals.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            let mine = {
                let mut state = core.state();
                match state.find(self.consumer, ticket) {
                    Find::Here(batch) => return Ok(Some(batch)),
                    Find::Coming => false,
                    Find::Absent => state.reads.ahead.plan(),
                }
            };
            if mine {
                let reader = core.clone();
                let fetched = core.env.offload(move || reader.fetch(ticket)).await;
                return fetched.map_err(|error| core.disk_error(error));
            }
            arrived.await;
        }
    }

    async fn take(&self) -> Result<Taken, ChannelError> {
        loop {
            self.throttle().await;
            let (mut picked, found) = self.pick().await?;
            let ticket = picked.ticket;
            let stored = match found {
                Find::Here(batch) => Some(batch),
                Find::Coming | Find::Absent => self.fetch(ticket).await?,
            };
            // A damaged batch was struck already; returning its ticket has no effect.
            let Some(stored) = stored else { continue };
            match stored {
                Ok(mut batch) => {
                    self.core.taken(self.consumer, batch.encoded_len());
                    picked.keep();
                    if !self.core.limits.dedupe {
                        batch.envelope.identity = None; // so that no sink knows it again
                    }
                    return Ok(Taken { ticket, batch });
                }
                Err(error) => {
                    error!(channel = %self.core.name, ticket, %error,
                        "cannot decode a stored batch, so it and later batches wait: a newer \
                         version of Aqueduct wrote it; run that version");
                    let io = std::io::Error::new(std::io::ErrorKind::InvalidData, error);
                    return Err(self.core.disk_error(io));
                }
            }
        }
    }
}

impl Tickets for Core {
    async fn take(self: &Arc<Self>, consumer: &Arc<str>) -> Result<Taken, ChannelError> {
        Next { core: self, consumer }.take().await
    }

    fn commit(&self, consumer: &Arc<str>, tickets: &IntervalSet) {
        let settled = {
            let mut state = self.state();
            let record = state.tickets.commit(consumer, tickets);
            state.unwritten.acks.merge(&record);
            record.settled
        };
        self.signals.dirty.notify_one();
        self.announce(settled);
    }

    fn rollback(&self, consumer: &Arc<str>, tickets: &IntervalSet) {
        self.state().tickets.in_flight.rollback(consumer, tickets);
        self.signals.ready.notify_waiters();
    }
}
