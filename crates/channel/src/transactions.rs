//! Transactions: puts of a source, and takes of one consumer.

use std::sync::Arc;

use async_trait::async_trait;
use pipeline::{
    Batch, BatchSize, ChannelError, GivenName, IntervalSet, PutTransaction, TakeTransaction, Taken,
    Ticket,
};

/// The core of a channel, from which consumers take batches.
pub(crate) trait Tickets: Send + Sync + 'static {
    /// Takes the oldest ready batch of a consumer. A cancelled call has taken nothing.
    fn take(
        self: &Arc<Self>,
        consumer: &Arc<str>,
    ) -> impl Future<Output = Result<Taken, ChannelError>> + Send;

    /// Settles tickets of a consumer.
    fn commit(&self, consumer: &Arc<str>, tickets: &IntervalSet);

    /// Makes tickets of a consumer ready again.
    fn rollback(&self, consumer: &Arc<str>, tickets: &IntervalSet);
}

/// One taker: holds tickets until they are settled.
pub(crate) struct Take<C: Tickets> {
    core: Arc<C>,
    consumer: Arc<str>,
    held: IntervalSet,
}

impl<C: Tickets> Take<C> {
    /// Creates a take of `consumer` without tickets.
    pub(crate) fn new(core: Arc<C>, consumer: Arc<str>) -> Self {
        Self { core, consumer, held: IntervalSet::EMPTY }
    }

    /// Removes the held ones of these tickets.
    fn release(&mut self, tickets: &IntervalSet) -> IntervalSet {
        let mine = tickets.intersection(&self.held);
        self.held.remove_all(&mine);
        mine
    }
}

#[async_trait]
impl<C: Tickets> TakeTransaction for Take<C> {
    async fn take(&mut self) -> Result<Taken, ChannelError> {
        let taken = self.core.take(&self.consumer).await?;
        self.held.insert(taken.ticket);
        Ok(taken)
    }

    fn commit(&mut self, tickets: &IntervalSet) {
        let mine = self.release(tickets);
        self.core.commit(&self.consumer, &mine);
    }

    fn rollback(&mut self, tickets: &IntervalSet) {
        let mine = self.release(tickets);
        self.core.rollback(&self.consumer, &mine);
    }

    /// Does nothing: a held batch is where it was, in memory or on disk.
    fn park(&mut self, _tickets: &IntervalSet) {}
}

impl<C: Tickets> Drop for Take<C> {
    fn drop(&mut self) {
        if !self.held.is_empty() {
            self.core.rollback(&self.consumer, &self.held);
        }
    }
}

/// A picked ticket whose batch is being read. Dropping it returns the ticket.
pub(crate) struct Picked<'a, C: Tickets> {
    core: &'a C,
    consumer: &'a Arc<str>,
    pub(crate) ticket: Ticket,
    kept: bool,
}

impl<'a, C: Tickets> Picked<'a, C> {
    pub(crate) fn new(core: &'a Arc<C>, consumer: &'a Arc<str>, ticket: Ticket) -> Self {
        Self { core, consumer, ticket, kept: false }
    }

    /// Leaves the ticket to the taker.
    pub(crate) fn keep(&mut self) {
        self.kept = true;
    }
}

impl<C: Tickets> Drop for Picked<'_, C> {
    fn drop(&mut self) {
        if !self.kept {
            let ticket = IntervalSet::from(self.ticket..self.ticket + 1);
            self.core.rollback(self.consumer, &ticket);
        }
    }
}

/// The core of a channel, into which sources put batches.
pub(crate) trait Room: Send + Sync + 'static {
    /// Stores the batches of a put, and sets the name of the first one.
    fn store(
        self: &Arc<Self>,
        put: &mut Put<Self>,
    ) -> impl Future<Output = Result<(), ChannelError>> + Send
    where
        Self: Sized;

    /// Releases room that no put needs.
    fn release(&self, reserved: BatchSize);
}

/// Batches that will be stored together, and their reserved room.
pub(crate) struct Put<C: Room> {
    core: Arc<C>,
    /// Released when the put ends.
    pub(crate) reserved: BatchSize,
    pub(crate) batches: Vec<Batch>,
    /// Receives the name of its batch, if set.
    pub(crate) name: Option<GivenName>,
}

impl<C: Room> Put<C> {
    /// Creates a put with `reserved` room.
    pub(crate) fn new(core: Arc<C>, reserved: BatchSize) -> Self {
        Self { core, reserved, batches: Vec::new(), name: None }
    }
}

#[async_trait]
impl<C: Room> PutTransaction for Put<C> {
    fn put(&mut self, batch: Batch) {
        self.batches.push(batch);
    }

    fn name_into(&mut self, name: GivenName) {
        self.name = Some(name);
    }

    async fn commit(mut self: Box<Self>) -> Result<(), ChannelError> {
        let core = self.core.clone();
        core.store(&mut self).await
    }
}

impl<C: Room> Drop for Put<C> {
    fn drop(&mut self) {
        if self.reserved != BatchSize::default() {
            self.core.release(self.reserved);
        }
    }
}
