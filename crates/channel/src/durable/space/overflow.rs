//! Handles puts into a full channel: wait, or drop and count.

use std::io;
use std::sync::Arc;

use pipeline::{BatchSize, IntervalSet};
use tokio::time::Instant;
use tracing::warn;

use crate::durable::core::Core;
use crate::durable::log::records::AckRecord;
use crate::durable::state::State;

/// The channel warns at this fill level, in percent, and again only after it was lower.
const WARN_PERCENT: u64 = 80;
const CALM_PERCENT: u64 = 70;

impl Core {
    /// Warns once each time the channel passes the mark.
    pub(crate) fn watch_fill(&self, state: &mut State) {
        // Relative to the size at which the intake stops; otherwise a small channel would stop
        // without a warning.
        let (bytes, capacity) = (state.tickets.bytes(), state.usable_bytes().max(1));
        state.space.fill_rate.note(Instant::now(), bytes);
        let percent = bytes.saturating_mul(100) / capacity;
        if percent >= WARN_PERCENT && !state.warned {
            state.warned = true;
            warn!(channel = %self.name, bytes, capacity, percent,
                directory = %self.directory.display(),
                    "the channel is filling up, because its sinks are slower than its sources; \
                     check the sinks, or raise `capacity`");
        } else if percent < CALM_PERCENT {
            state.warned = false;
        }
    }

    /// Drops the events of the oldest segment that no consumer holds. Returns whether anything was
    /// dropped.
    ///
    /// # Errors
    /// The segment cannot be read to find the origins of its events.
    pub(crate) fn drop_oldest(self: &Arc<Self>) -> io::Result<bool> {
        let Some(id) = ({
            let state = self.state();
            oldest_droppable(&state)
        }) else {
            return Ok(false);
        };
        let (index, file) = self.index_of(id)?;
        let (settled, events) = {
            let mut state = self.state();
            let Some(segment) = state.tickets.segment_mut(id) else { return Ok(false) };
            segment.index = Some(index);
            segment.file = Some(file);
            let tickets = IntervalSet::from(segment.record.first..segment.end());
            let in_flight = &state.tickets.in_flight;
            // Tickets that were taken just now stay: they free the segment when they are settled.
            let wanted = tickets.difference(&in_flight.acked_by_all(None));
            let dropped = wanted.difference(&in_flight.held());
            let acks = state.tickets.in_flight.acked();
            let acks = acks.map(|(name, acked)| (name.clone(), dropped.difference(acked)));
            let acks = acks.collect();
            let (keys, events) = state.tickets.describe(&dropped);
            state.tickets.in_flight.strike(&dropped);
            let record = AckRecord { acks, settled: keys, events };
            state.tickets.ack(&record);
            state.unwritten.acks.merge(&record);
            state.tickets.trim();
            state.unwritten.flush = true;
            (record.settled, events)
        };
        self.incident("dropped_oldest_event", events);
        warn!(channel = %self.name, events,
            "the channel is full; dropped its oldest events, as `overflow` is set; check its \
             sinks, or raise `capacity`");
        self.announce(settled);
        self.lead();
        Ok(true)
    }

    /// Counts events that were dropped on arrival.
    pub(crate) fn count_dropped(&self, size: BatchSize) {
        self.incident("dropped_newest_event", size.events);
    }
}

/// Returns the oldest segment if dropping its remaining events frees it: it is sealed, and no
/// consumer holds any of its batches.
fn oldest_droppable(state: &State) -> Option<u64> {
    let oldest = state.tickets.segments.front().filter(|_| state.tickets.segments.len() > 1)?;
    let tickets = IntervalSet::from(oldest.record.first..oldest.end());
    let is_held = !state.tickets.in_flight.held().intersection(&tickets).is_empty();
    let is_done = state.tickets.in_flight.all_acked(oldest.record.first, oldest.end());
    (!is_held && !is_done).then_some(oldest.record.id)
}
