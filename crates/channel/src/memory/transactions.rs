//! Puts and takes of a memory channel.

use std::sync::Arc;

use pipeline::{BatchSize, ChannelError, IntervalSet, KeySet, Taken};
use support::notice;

use super::channel::Core;
use crate::transactions::{Put, Room, Tickets};

impl Room for Core {
    async fn store(self: &Arc<Self>, put: &mut Put<Self>) -> Result<(), ChannelError> {
        let settled = {
            let mut state = self.state();
            if state.closed {
                drop(state);
                return Err(self.closed_error());
            }
            let batches = std::mem::take(&mut put.batches);
            let named = put.name.as_ref().zip(batches.first());
            if let Some((wanted, name)) = named.and_then(|(to, it)| Some((to, state.name(it)?))) {
                wanted.set(name);
            }
            let settled: KeySet = batches.into_iter().filter_map(|b| state.store(b)).collect();
            state.advance_positions();
            settled
        };
        self.ready.notify_waiters();
        self.dirty.notify_one();
        self.announce(settled);
        Ok(())
    }

    fn release(&self, reserved: BatchSize) {
        self.state().room.release(reserved);
        self.room.notify_waiters();
    }
}

impl Tickets for Core {
    async fn take(self: &Arc<Self>, consumer: &Arc<str>) -> Result<Taken, ChannelError> {
        notice::until(&self.ready, || {
            let mut state = self.state();
            if state.closed || !state.in_flight.knows(consumer) {
                return Some(Err(self.closed_error()));
            }
            let ticket = state.in_flight.take(consumer)?;
            Some(Ok(Taken { ticket, batch: state.held[&ticket].batch.clone() }))
        })
        .await
    }

    fn commit(&self, consumer: &Arc<str>, tickets: &IntervalSet) {
        let keys = {
            let mut state = self.state();
            let (_, settled) = state.in_flight.commit(consumer, tickets);
            state.settle(&settled)
        };
        self.room.notify_waiters();
        self.dirty.notify_one();
        self.announce(keys);
    }

    fn rollback(&self, consumer: &Arc<str>, tickets: &IntervalSet) {
        self.state().in_flight.rollback(consumer, tickets);
        self.ready.notify_waiters();
    }
}
