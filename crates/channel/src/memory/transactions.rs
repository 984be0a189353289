//! Puts and takes of a memory channel.

use std::sync::Arc;

use async_trait::async_trait;
use pipeline::{
    Batch, BatchSize, ChannelError, GivenName, IntervalSet, KeySet, PutTransaction,
    TakeTransaction, Taken,
};
use support::notice;

use super::channel::Core;

/// Batches that will be stored together, and their reserved room.
pub(super) struct Put {
    core: Arc<Core>,
    reserved: BatchSize,
    batches: Vec<Batch>,
    /// Receives the name of its batch, if set.
    name: Option<GivenName>,
}

impl Put {
    /// Creates a put with `reserved` room.
    pub(super) fn new(core: Arc<Core>, reserved: BatchSize) -> Self {
        Self { core, reserved, batches: Vec::new(), name: None }
    }
}

#[async_trait]
impl PutTransaction for Put {
    fn put(&mut self, batch: Batch) {
        self.batches.push(batch);
    }

    fn name_into(&mut self, name: GivenName) {
        self.name = Some(name);
    }

    async fn commit(mut self: Box<Self>) -> Result<(), ChannelError> {
        let settled = {
            let mut state = self.core.state();
            if state.closed {
                drop(state);
                return Err(self.core.closed_error());
            }
            let batches = std::mem::take(&mut self.batches);
            let named = self.name.as_ref().zip(batches.first());
            if let Some((wanted, name)) = named.and_then(|(to, it)| Some((to, state.name(it)?))) {
                wanted.set(name);
            }
            let settled: KeySet = batches.into_iter().filter_map(|b| state.store(b)).collect();
            state.advance_positions();
            settled
        };
        self.core.ready.notify_waiters();
        self.core.dirty.notify_one();
        self.core.announce(settled);
        Ok(())
    }
}

impl Drop for Put {
    fn drop(&mut self) {
        self.core.state().unreserve(self.reserved);
        self.core.room.notify_waiters();
    }
}

/// One taker: holds tickets until they are settled.
pub(super) struct Take {
    core: Arc<Core>,
    consumer: Arc<str>,
    held: IntervalSet,
}

impl Take {
    /// Creates a take of `consumer` without tickets.
    pub(super) fn new(core: Arc<Core>, consumer: Arc<str>) -> Self {
        Self { core, consumer, held: IntervalSet::EMPTY }
    }
}

#[async_trait]
impl TakeTransaction for Take {
    async fn take(&mut self) -> Result<Taken, ChannelError> {
        let Self { core, consumer, held } = self;
        notice::until(&core.ready, || {
            let mut state = core.state();
            if state.closed || !state.in_flight.knows(consumer) {
                return Some(Err(core.closed_error()));
            }
            let ticket = state.in_flight.take(consumer)?;
            held.insert(ticket);
            Some(Ok(Taken { ticket, batch: state.held[&ticket].batch.clone() }))
        })
        .await
    }

    fn commit(&mut self, tickets: &IntervalSet) {
        let mine = tickets.intersection(&self.held);
        self.held.remove_all(&mine);
        let keys = {
            let mut state = self.core.state();
            let (_, settled) = state.in_flight.commit(&self.consumer, &mine);
            state.settle(&settled)
        };
        self.core.room.notify_waiters();
        self.core.dirty.notify_one();
        self.core.announce(keys);
    }

    fn rollback(&mut self, tickets: &IntervalSet) {
        let mine = tickets.intersection(&self.held);
        self.held.remove_all(&mine);
        self.core.state().in_flight.rollback(&self.consumer, &mine);
        self.core.ready.notify_waiters();
    }

    /// Does nothing: the batch stays in the channel's memory until it is settled.
    fn park(&mut self, _tickets: &IntervalSet) {}
}

impl Drop for Take {
    fn drop(&mut self) {
        if !self.held.is_empty() {
            self.core.state().in_flight.rollback(&self.consumer, &self.held);
            self.core.ready.notify_waiters();
        }
    }
}
