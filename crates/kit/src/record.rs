//! Ledger entry of one origin: which of its batches are applied. Pure.
//!
//! ```text
//!   floor      lower epochs are closed: a batch of one is a late copy
//!   applied    sequence numbers of the other epochs, as intervals
//! ```
//!
//! A sink stores it next to its events: the floor as a number, the rest as the bytes of a
//! [`KeySet`]. Batches in order form one interval, whatever their number.

use pipeline::deliver::Delivered;
use pipeline::intervals::MalformedIntervals;
use pipeline::{Batch, Epoch, Floors, Identity, KeySet};

/// Dead letter reason of a batch whose epoch is closed.
const CLOSED: &str = "epoch_closed";

/// Sends a late copy of a batch to the dead letters instead of dropping it silently.
pub fn closed(batch: &Batch, key: Identity) -> Delivered {
    let events = batch.iter().map(|event| event.index()).collect();
    let detail = format!(
        "late copy of batch {key}, which was applied before its sender closed the epoch; no event \
         is lost unless two agents use copies of one data directory"
    );
    Delivered::Except { events, reason: CLOSED, detail }
}

/// Applied batches of one origin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    floor: u64,
    applied: KeySet,
}

/// State of a batch in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It is not applied.
    New,
    /// It is applied.
    Applied,
    /// Its epoch is closed: all batches of the epoch were settled.
    Closed,
}

impl Record {
    /// Decodes the stored parts.
    ///
    /// # Errors
    /// Fails if the bytes are not a set of identities.
    pub fn read(floor: u64, mut applied: &[u8]) -> Result<Self, MalformedIntervals> {
        Ok(Self::of(floor, KeySet::decode(&mut applied)?))
    }

    /// Creates a record from both parts.
    pub fn of(floor: u64, applied: KeySet) -> Self {
        Self { floor, applied }
    }

    /// Returns the epoch below which all are closed.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// Returns the encoded rest, for storage.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.applied.encode(&mut bytes);
        bytes
    }

    /// Returns true if it has batches of epochs lower than the batch's epoch: these may be closed.
    pub fn can_forget(&self, batch: Identity) -> bool {
        let is_below = |epoch: Epoch| epoch < batch.epoch;
        self.applied.iter().any(|(origin, epoch, _)| origin == batch.origin && is_below(epoch))
    }

    /// Returns the state of this batch.
    pub fn knows(&self, batch: Identity) -> Known {
        if batch.epoch.0 < self.floor {
            Known::Closed
        } else if self.applied.contains(batch) {
            Known::Applied
        } else {
            Known::New
        }
    }

    /// Adds an applied batch, and closes these epochs of its origin.
    pub fn add(&mut self, batch: Identity, floors: &Floors) {
        self.applied.insert(batch);
        // The epoch of the applied batch itself stays open.
        let floor = floors.of(batch.origin).min(batch.epoch);
        if floor > Epoch(self.floor) {
            self.floor = floor.0;
            let mut closing = Floors::default();
            closing.raise(batch.origin, floor);
            let closed = closing.closed_of(&self.applied);
            self.applied.remove_all(&closed);
        }
    }
}

#[cfg(test)]
mod tests {
    use pipeline::{Origin, Sequence};

    use super::*;

    const ORIGIN: Origin = Origin([3; 16]);

    fn batch(epoch: u64, sequence: u64) -> Identity {
        Identity { origin: ORIGIN, epoch: Epoch(epoch), sequence: Sequence(sequence) }
    }

    #[test]
    fn what_was_added_is_known_also_after_it_was_written_and_read() {
        let mut record = Record::default();
        let none = Floors::default();
        for sequence in [0, 2, 1, 7] {
            assert_eq!(record.knows(batch(5, sequence)), Known::New);
            record.add(batch(5, sequence), &none);
        }
        let read = Record::read(record.floor(), &record.bytes()).unwrap();
        assert_eq!(read, record);
        assert_eq!(read.knows(batch(5, 7)), Known::Applied);
        assert_eq!(read.knows(batch(5, 6)), Known::New);
        assert_eq!(read.knows(batch(6, 7)), Known::New);
    }

    #[test]
    fn a_million_batches_in_their_order_take_no_more_room_than_one() {
        let (mut record, none) = (Record::default(), Floors::default());
        record.add(batch(5 << 20, 0), &none);
        let one = record.bytes().len();
        (1..1_000_000).for_each(|sequence| record.add(batch(5 << 20, sequence), &none));
        assert!(record.bytes().len() <= one + 3, "{} bytes", record.bytes().len());
    }

    #[test]
    fn a_closed_epoch_is_forgotten_and_its_copies_are_known_as_such() {
        let (mut record, mut floors) = (Record::default(), Floors::default());
        record.add(batch(5, 0), &floors);
        floors.raise(ORIGIN, Epoch(9));
        record.add(batch(7, 0), &floors);
        assert_eq!(record.knows(batch(5, 0)), Known::Closed);
        assert_eq!(record.knows(batch(5, 1)), Known::Closed);
        assert_eq!(record.knows(batch(7, 0)), Known::Applied, "it is applied right now");
        assert_eq!(record.knows(batch(7, 1)), Known::New);
        assert_eq!(record.floor(), 7);
    }
}
