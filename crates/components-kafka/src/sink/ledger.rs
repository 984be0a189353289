//! The state of one origin on the brokers: its delivered batches, and their rejected events. Pure.
//!
//! It is the metadata of an offset, written in the transaction of the messages. Its base64 content:
//!
//! ```text
//!   version   one byte, 1
//!   floor     varint                  epochs below are closed
//!   batches   KeySet                  those above, as intervals of sequences
//!   refused   varint, that many:      epoch, sequence (varints), reason (a byte), places
//! ```
//!
//! # Invariants
//!
//! 1. An added batch is known until its epoch is closed. If the text would be too long, encoding
//!    fails instead of dropping a batch.
//! 2. Rejected events of the latest batches are kept in up to half of the space.

use std::collections::VecDeque;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use kit::record::{Known, Record};
use pipeline::deliver::Delivered;
use pipeline::intervals::{IntervalSet, get_varint, put_varint};
use pipeline::{Floors, Identity, KeySet};
use thiserror::Error;

use super::reasons::REASONS;

const VERSION: u8 = 1;
/// Detail of the dead letters of a batch that was delivered before.
const BEFORE: &str = "the brokers rejected the message when its batch was first delivered";

/// The metadata does not belong to this sink, or has a later version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "the metadata of the consumer group's offset is not a ledger of this sink; set `ledger.name` \
     to another name"
)]
pub(super) struct Malformed;

/// The delivered batches form too many intervals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the ledger needs {bytes} bytes, over the limit of {bytes_max}; raise `ledger.bytes_max`")]
pub(super) struct Full {
    bytes: usize,
    bytes_max: usize,
}

/// Rejected events of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal {
    epoch: u64,
    sequence: u64,
    /// Index in [`REASONS`].
    reason: u8,
    places: IntervalSet,
}

/// The state of one origin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    record: Record,
    /// Latest last.
    refused: VecDeque<Refusal>,
}

impl Ledger {
    /// Parses the metadata from the brokers.
    ///
    /// # Errors
    /// Another program wrote it.
    pub(super) fn read(text: &str) -> Result<Self, Malformed> {
        let bytes = STANDARD_NO_PAD.decode(text).map_err(|_| Malformed)?;
        let (version, mut input) = bytes.split_first().ok_or(Malformed)?;
        let floor = get_varint(&mut input).filter(|_| *version == VERSION).ok_or(Malformed)?;
        let batches = KeySet::decode(&mut input).map_err(|_| Malformed)?;
        let mut refused = VecDeque::new();
        for _ in 0..get_varint(&mut input).ok_or(Malformed)? {
            let epoch = get_varint(&mut input).ok_or(Malformed)?;
            let sequence = get_varint(&mut input).ok_or(Malformed)?;
            let (reason, rest) = input.split_first().ok_or(Malformed)?;
            input = rest;
            let places = IntervalSet::decode(&mut input).map_err(|_| Malformed)?;
            refused.push_back(Refusal { epoch, sequence, reason: *reason, places });
        }
        Ok(Self { record: Record::of(floor, batches), refused })
    }

    /// Encodes the metadata, in at most `bytes_max` bytes.
    ///
    /// # Errors
    /// The batches do not fit.
    pub(super) fn text(&self, bytes_max: usize) -> Result<String, Full> {
        let mut bytes = vec![VERSION];
        put_varint(&mut bytes, self.record.floor());
        bytes.extend(self.record.bytes());
        let (mut kept, mut size) = (VecDeque::new(), 0);
        for refusal in self.refused.iter().rev() {
            let encoded = refusal.bytes();
            size += encoded.len();
            // Base64 has four characters for three bytes.
            if size * 4 / 3 > bytes_max / 2 {
                break;
            }
            kept.push_front(encoded);
        }
        put_varint(&mut bytes, kept.len() as u64);
        bytes.extend(kept.into_iter().flatten());
        let text = STANDARD_NO_PAD.encode(bytes);
        let bytes = text.len();
        if bytes > bytes_max { Err(Full { bytes, bytes_max }) } else { Ok(text) }
    }

    /// Returns whether a batch is new, delivered or closed.
    pub(super) fn status(&self, batch: Identity) -> Known {
        self.record.knows(batch)
    }

    /// Returns whether it contains batches of epochs that may be closed.
    pub(super) fn can_forget(&self, batch: Identity) -> bool {
        self.record.can_forget(batch)
    }

    /// Returns the result of a delivered batch: the same dead letters as the first time.
    pub(super) fn delivered(&self, batch: Identity) -> Delivered {
        let is_of = |one: &&Refusal| (one.epoch, one.sequence) == (batch.epoch.0, batch.sequence.0);
        let Some(refusal) = self.refused.iter().find(is_of) else { return Delivered::All };
        let places = refusal.places.iter().filter_map(|place| usize::try_from(place).ok());
        let reason = REASONS.get(usize::from(refusal.reason)).unwrap_or(&REASONS[0]);
        Delivered::Except { events: places.collect(), reason, detail: BEFORE.to_owned() }
    }

    /// Adds a delivered batch, and the closed epochs of its origin.
    pub(super) fn add(&mut self, batch: Identity, floors: &Floors, delivered: &Delivered) {
        self.record.add(batch, floors);
        let floor = self.record.floor();
        self.refused.retain(|refusal| refusal.epoch >= floor);
        if let Delivered::Except { events, reason, .. } = delivered {
            let reason = REASONS.iter().position(|known| known == reason).unwrap_or(0) as u8;
            let places = events.iter().map(|place| *place as u64).collect();
            let (epoch, sequence) = (batch.epoch.0, batch.sequence.0);
            self.refused.push_back(Refusal { epoch, sequence, reason, places });
        }
        self.refused.drain(..self.refused.len().saturating_sub(REFUSED_MAX));
    }
}

/// Maximum number of batches with remembered rejections; fewer if they need much space.
const REFUSED_MAX: usize = 64;

impl Refusal {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, self.epoch);
        put_varint(&mut bytes, self.sequence);
        bytes.push(self.reason);
        self.places.encode(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use pipeline::{Epoch, Origin, Sequence};

    use super::*;

    fn batch(epoch: u64, sequence: u64) -> Identity {
        Identity { origin: Origin([7; 16]), epoch: Epoch(epoch), sequence: Sequence(sequence) }
    }

    fn refused(events: &[usize]) -> Delivered {
        let detail = BEFORE.to_owned();
        Delivered::Except { events: events.to_vec(), reason: "too_large", detail }
    }

    #[test]
    fn knows_added_batches_and_their_refusals_after_reading_them_back() {
        let (mut ledger, none) = (Ledger::default(), Floors::default());
        for sequence in 0..100 {
            ledger.add(batch(3, sequence), &none, &Delivered::All);
        }
        ledger.add(batch(3, 100), &none, &refused(&[2, 3, 9]));
        ledger.add(batch(4, 0), &none, &Delivered::All);
        let read = Ledger::read(&ledger.text(4096).unwrap()).unwrap();
        assert_eq!(read, ledger);
        assert_eq!(read.status(batch(3, 99)), Known::Applied);
        assert_eq!(read.status(batch(3, 101)), Known::New);
        assert_eq!(read.delivered(batch(3, 99)), Delivered::All);
        assert_eq!(read.delivered(batch(3, 100)), refused(&[2, 3, 9]));
    }

    #[test]
    fn forgets_the_oldest_refusals_first_and_no_batches_to_stay_short() {
        let (mut ledger, none) = (Ledger::default(), Floors::default());
        let all: Vec<usize> = (0..200).map(|place| place * 3).collect();
        for sequence in 0..10 {
            ledger.add(batch(3, sequence), &none, &refused(&all));
        }
        let text = ledger.text(4096).unwrap();
        assert!(text.len() <= 4096);
        let read = Ledger::read(&text).unwrap();
        assert!((0..10).all(|sequence| read.status(batch(3, sequence)) == Known::Applied));
        assert_eq!(read.delivered(batch(3, 0)), Delivered::All);
        assert_eq!(read.delivered(batch(3, 9)), refused(&all));

        (20..4000).step_by(2).for_each(|n| ledger.add(batch(3, n), &none, &Delivered::All));
        let full = ledger.text(4096).unwrap_err();
        assert!(full.bytes > 4096, "{full}");
    }

    #[test]
    fn a_closed_epoch_takes_what_was_refused_with_it() {
        let (mut ledger, mut floors) = (Ledger::default(), Floors::default());
        ledger.add(batch(3, 0), &floors, &refused(&[1]));
        floors.raise(Origin([7; 16]), Epoch(5));
        ledger.add(batch(5, 0), &floors, &Delivered::All);
        assert_eq!(ledger.status(batch(3, 0)), Known::Closed);
        assert!(ledger.refused.is_empty());
    }

    #[test]
    fn text_of_something_else_is_refused() {
        let good = Ledger::default().text(4096).unwrap();
        assert_eq!(Ledger::read(&good), Ok(Ledger::default()));
        let later = STANDARD_NO_PAD.encode([2, 0, 0, 0]);
        let lying = STANDARD_NO_PAD.encode([VERSION, 0, 0, 200]);
        for text in ["", "offset of a consumer", &good[..good.len() - 2], &later, &lying] {
            assert_eq!(Ledger::read(text), Err(Malformed), "{text}");
        }
    }
}
