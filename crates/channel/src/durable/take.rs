//! Takes of one consumer.

use std::sync::Arc;

use async_trait::async_trait;
use pipeline::{ChannelError, IntervalSet, TakeTransaction, Taken, Ticket};
use tracing::error;

use super::core::Core;
use super::fetch::Fetched;
use super::tail::StoredBatch;

/// One taker: holds tickets until they are settled.
pub(crate) struct Take {
    core: Arc<Core>,
    consumer: Arc<str>,
    held: IntervalSet,
    /// One read at a time for a consumer: what it reads ahead serves the others.
    reading: Arc<tokio::sync::Mutex<()>>,
}

/// A ticket that was picked and whose batch is on its way. Dropping it gives it back.
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
    /// A take of `consumer` that holds nothing.
    pub(crate) fn new(
        core: Arc<Core>,
        consumer: Arc<str>,
        reading: Arc<tokio::sync::Mutex<()>>,
    ) -> Self {
        Self { core, consumer, held: IntervalSet::EMPTY, reading }
    }

    /// The oldest ready ticket, and its batch if that is in memory.
    async fn pick(&self) -> Result<(Picked<'_>, Option<StoredBatch>), ChannelError> {
        loop {
            let ready = self.core.ready.notified();
            tokio::pin!(ready);
            ready.as_mut().enable();
            {
                let mut state = self.core.state();
                if state.closed {
                    return Err(self.core.closed_error());
                }
                if let Some(ticket) = state.book.in_flight.take(&self.consumer) {
                    let batch = state.in_memory(&self.consumer, ticket);
                    let low = state.book.in_flight.lowest_cursor();
                    state.tail.forget_below(low);
                    return Ok((Picked { take: self, ticket, kept: false }, batch));
                }
            }
            ready.await;
        }
    }

    /// The batch of a picked ticket, from the disk; `None` if it is damaged.
    async fn fetch(&self, ticket: Ticket) -> Result<Option<StoredBatch>, ChannelError> {
        let _turn = self.reading.lock().await;
        let (core, consumer) = (self.core.clone(), self.consumer.clone());
        let fetched = self.core.env.offload(move || core.fetch(&consumer, ticket)).await;
        match fetched.map_err(|error| self.core.disk_error(error))? {
            Fetched::Batch(batch) => Ok(Some(batch)),
            Fetched::Damaged => Ok(None),
        }
    }
}

#[async_trait]
impl TakeTransaction for Take {
    async fn take(&mut self) -> Result<Taken, ChannelError> {
        let taken = loop {
            let (mut picked, in_memory) = self.pick().await?;
            let ticket = picked.ticket;
            let stored = match in_memory {
                Some(batch) => Some(batch),
                None => self.fetch(ticket).await?,
            };
            // A damaged one is struck off by now; giving it back changes nothing.
            let Some(stored) = stored else { continue };
            match stored.open() {
                Ok(mut batch) => {
                    picked.kept = true;
                    if !self.core.limits.dedupe {
                        batch.identity = None; // so that no sink knows it again
                    }
                    break Taken { ticket, batch };
                }
                Err(error) => {
                    error!(channel = %self.core.name, ticket, %error,
                        "a stored batch is of a layout that this program does not read");
                    let io = std::io::Error::new(std::io::ErrorKind::InvalidData, error);
                    return Err(self.core.disk_error(io));
                }
            }
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

    /// Nothing to do: a held batch takes no memory but its ticket anyway.
    fn park(&mut self, _tickets: &IntervalSet) {}
}

impl Drop for Take {
    fn drop(&mut self) {
        if !self.held.is_empty() {
            self.core.rollback(&self.consumer, &self.held);
        }
    }
}
