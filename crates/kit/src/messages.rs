//! Converts a broker's messages to events, and gathers them into rounds.
//!
//! ```text
//!   message ──► Event ──► Weighed ──► Gathered ──► batch
//!                          │             └ names of headers: each is a column of the batch
//!                           └ too many or invalid names: the message is refused
//! ```

use std::collections::BTreeSet;

use bytes::Bytes;
use formats::decoders::{HEADER_NAMES_MAX, check_names};
use peers::limits::{Cut, EVENT_OVERHEAD_BYTES};
use pipeline::{Batch, BatchBuilder};

/// Size of bodies and headers at which a round is full.
pub const ROUND_BYTES: u64 = 1 << 20;

/// Bytes that a header counts for in addition to its value.
const HEADER_BYTES: u64 = 4;

/// Headers and body of an event.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    /// Headers; the last value of a duplicate name counts.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// An event with valid headers, and its size.
#[derive(Debug)]
pub struct Weighed {
    event: Event,
    bytes: u64,
}

impl Event {
    /// Checks its headers and computes its size.
    ///
    /// # Errors
    /// Fails if it has invalid headers; returns a description.
    pub fn weighed(self) -> Result<Weighed, String> {
        let names = self.headers.iter().map(|(name, _)| &**name);
        check_names(names).map_err(|error| error.to_string())?;
        let values = self.headers.iter().map(|(_, value)| value.len() as u64 + HEADER_BYTES);
        let bytes = self.body.len() as u64 + values.sum::<u64>() + EVENT_OVERHEAD_BYTES;
        Ok(Weighed { event: self, bytes })
    }
}

/// Events of a round.
#[derive(Default)]
pub struct Gathered {
    events: BatchBuilder,
    count: usize,
    bytes: u64,
    names: BTreeSet<String>,
}

impl Gathered {
    /// Returns true if there is nothing to put.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns the number of events, also after they were taken.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Returns true if the event fits into this round. `batch_bytes` is the limit of the channels.
    pub fn has_room_for(&self, one: &Weighed, batch_bytes: Option<u64>) -> bool {
        if self.is_empty() {
            return true;
        }
        let cut = batch_bytes.map(Cut::within);
        let most = cut.as_ref().map_or(ROUND_BYTES, |cut| cut.body_bytes.min(ROUND_BYTES));
        let events = cut.as_ref().map_or(u64::MAX, |cut| cut.events);
        let names = one.event.headers.iter().filter(|(name, _)| !self.names.contains(name));
        (self.count as u64) < events
            && self.bytes + one.bytes <= most
            && self.names.len() + names.count() <= HEADER_NAMES_MAX
    }

    /// Adds an event.
    pub fn push(&mut self, one: Weighed) {
        let Weighed { event, bytes } = one;
        let headers: Vec<(&str, &str)> =
            event.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        self.events.push(&event.body, &headers);
        self.names.extend(event.headers.into_iter().map(|(name, _)| name));
        self.bytes += bytes;
        self.count += 1;
    }

    /// Takes the events.
    pub fn batch(&mut self) -> Batch {
        std::mem::take(&mut self.events).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(headers: &[(String, String)], body: usize) -> Weighed {
        Event { headers: headers.to_vec(), body: vec![b'x'; body].into() }.weighed().unwrap()
    }

    fn named(names: std::ops::Range<usize>) -> Vec<(String, String)> {
        names.map(|name| (format!("h{name}"), "1".to_owned())).collect()
    }

    #[test]
    fn a_round_ends_by_bytes_by_names_and_by_what_the_channels_take_and_has_one_event_always() {
        let mut gathered = Gathered::default();
        let large = event(&[], 2 * ROUND_BYTES as usize);
        assert!(gathered.has_room_for(&large, Some(1)), "one event is taken, whatever its size");
        gathered.push(large);
        assert!(!gathered.has_room_for(&event(&[], 0), None));

        let mut gathered = Gathered::default();
        gathered.push(event(&named(0..HEADER_NAMES_MAX - 1), 10));
        assert!(gathered.has_room_for(&event(&named(0..HEADER_NAMES_MAX), 10), None));
        assert!(!gathered.has_room_for(&event(&named(990..HEADER_NAMES_MAX + 1), 10), None));

        let mut gathered = Gathered::default();
        gathered.push(event(&[], 10));
        assert!(gathered.has_room_for(&event(&[], 10), Some(64 << 10)));
        assert!(!gathered.has_room_for(&event(&[], 64 << 10), Some(64 << 10)));
        assert_eq!((gathered.batch().len(), gathered.len()), (1, 1));
    }

    #[test]
    fn an_event_with_headers_that_none_has_is_refused() {
        let event = Event { headers: named(0..HEADER_NAMES_MAX + 1), body: Bytes::new() };
        assert!(event.weighed().unwrap_err().contains("names of headers"));
    }
}
