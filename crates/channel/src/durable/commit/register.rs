//! A change of the consumers. A consumer that leaves may have been the last to need some batches:
//! they are settled then, which needs their identities, and therefore the indexes of their
//! segments.

use std::sync::Arc;

use pipeline::{IntervalSet, KeySet, Ticket};

use crate::durable::core::Core;
use crate::durable::log::frame::Frame;
use crate::durable::log::records::encode_consumers;
use crate::durable::log::segment::Kind;
use crate::durable::state::State;

/// The new consumers, and the tickets that the change settles.
pub(crate) struct Change {
    names: Vec<Arc<str>>,
    settles: IntervalSet,
    keys: KeySet,
    events: u64,
}

impl Change {
    /// Plans the change to `names`, and the frame that records it.
    pub(crate) fn plan(state: &State, names: Vec<Arc<str>>, ticket: Ticket) -> (Self, Frame) {
        let mut then = state.tickets.in_flight.clone();
        let before = then.acked_by_all(None);
        then.register(&names);
        let settles = then.acked_by_all(None).difference(&before);
        let acks = then.acked().map(|(name, set)| (name.clone(), set.clone()));
        let envelope = encode_consumers(&acks.collect());
        let change = Self { names, settles, keys: KeySet::default(), events: 0 };
        (change, Frame::plain(Kind::Consumers, ticket, envelope))
    }

    /// Finds the identities that it settles. Reads indexes: not under the lock.
    pub(crate) fn look_up(&mut self, core: &Core) {
        let (Some(first), Some(last)) = (self.settles.first(), self.settles.last()) else { return };
        let segments: Vec<u64> = {
            let state = core.state();
            let segments = state.tickets.segments.iter();
            let touched = segments.filter(|s| s.end() > first && s.record.first <= last);
            touched.map(|segment| segment.record.id).collect()
        };
        for id in segments {
            if let Ok((index, _)) = core.index_of(id) {
                let (keys, events) = index.describe(&self.settles);
                self.keys.insert_all(&keys);
                self.events += events;
            }
        }
    }

    /// Makes the change; answers the identities that it settles.
    pub(crate) fn apply(&self, state: &mut State) -> KeySet {
        let before = state.tickets.in_flight.acked_by_all(None);
        state.tickets.in_flight.register(&self.names);
        let after = state.tickets.in_flight.acked_by_all(None);
        // Tickets committed since the plan were held until now, so their index is in memory.
        let late = after.difference(&before).difference(&self.settles);
        let (mut keys, mut events) = state.tickets.describe(&late);
        keys.insert_all(&self.keys);
        events += self.events;
        state.tickets.window.settle(&keys);
        state.tickets.events = state.tickets.events.saturating_sub(events);
        state.unwritten.acks.settled.insert_all(&keys);
        state.unwritten.acks.events += events;
        keys
    }
}
