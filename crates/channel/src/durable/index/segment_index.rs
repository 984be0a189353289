//! Locations and identities of the batches of one segment: takes, settlements and repairs look them
//! up by ticket.
//!
//! An index grows while its segment is written. When the segment is sealed, the index goes to the
//! [`IndexStore`], and stays in memory only while a consumer is near. It can be read again from the
//! segment's frames if the store does not have it.
//!
//! ```text
//! encoding: u8 version = 2 | bytes of the content | content as one LZ4 block | u32 crc32c of all
//!           before it
//! content:  first ticket | entries | five columns, each with a number for every entry: length/8,
//!           offset/8 since the end of the entry before, events, item, ms since the segment was
//!           begun; all but the offset since the entry before, zigzag
//!           | runs | for each: first entry, entries, origin 16 B, epoch, first sequence
//! ```
//!
//! The columns reduce the memory that sled needs: neighbours are similar, so they compress well.
//! Version 1 had neither columns nor LZ4; an index of version 1 counts as missing, like a damaged
//! one.

use bytes::{Buf, BufMut, Bytes};
use pipeline::intervals::{get_varint, put_varint};
use pipeline::{Epoch, Identity, IntervalSet, KeySet, Origin, Sequence, Ticket};

use crate::durable::commit::packing::{Coding, Packed};

const VERSION: u8 = 2;

/// The location of one batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Offset of its frame in the segment.
    pub(crate) offset: u32,
    /// Bytes of its frame; 0 if the batch is lost.
    pub(crate) len: u32,
    /// Number of events.
    pub(crate) events: u32,
    /// When it was put, milliseconds after its segment was begun.
    pub(crate) after_ms: u32,
    /// Its number among the batches with events of its frame, from 0.
    pub(crate) item: u16,
}

/// Access to one number of an entry; each is 0 in an entry by default.
struct Column {
    /// The number, and its expected value in the next entry.
    get: fn(&Entry) -> u32,
    expect: fn(&Entry) -> u32,
    /// `None` if an entry cannot have this number.
    set: fn(&mut Entry, u32) -> Option<()>,
}

/// The columns in order: the length comes before the offset that depends on it.
const COLUMNS: [Column; 5] = [
    Column {
        get: |e| e.len / 8,
        expect: |e| e.len / 8,
        set: |e, n| n.checked_mul(8).map(|len| e.len = len),
    },
    Column {
        get: |e| e.offset / 8,
        expect: |e| e.offset / 8 + e.len / 8,
        set: |e, n| n.checked_mul(8).map(|offset| e.offset = offset),
    },
    Column {
        get: |e| e.events,
        expect: |e| e.events,
        set: |e, n| {
            e.events = n;
            Some(())
        },
    },
    Column {
        get: |e| u32::from(e.item),
        expect: |e| u32::from(e.item),
        set: |e, n| u16::try_from(n).ok().map(|item| e.item = item),
    },
    Column {
        get: |e| e.after_ms,
        expect: |e| e.after_ms,
        set: |e, n| {
            e.after_ms = n;
            Some(())
        },
    },
];

/// Small for a small difference to either side.
fn zigzag(difference: u32) -> u32 {
    (difference << 1) ^ ((difference as i32) >> 31) as u32
}

/// The difference of [`zigzag`].
fn unzigzag(number: u32) -> u32 {
    (number >> 1) ^ (number & 1).wrapping_neg()
}

/// Neighbours with consecutive identities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    first: u32,
    count: u32,
    identity: Identity,
}

/// Index of one segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SegmentIndex {
    first: Ticket,
    entries: Vec<Entry>,
    runs: Vec<Run>,
}

impl SegmentIndex {
    /// Creates an index without entries for a segment whose first batch will have ticket `first`.
    pub(crate) fn starting_at(first: Ticket) -> Self {
        Self { first, ..Self::default() }
    }

    /// The ticket after the last entry.
    pub(crate) fn end(&self) -> Ticket {
        self.first + self.entries.len() as u64
    }

    /// Adds the batch with the next ticket.
    pub(crate) fn push(&mut self, entry: Entry, identity: Option<Identity>) {
        let at = self.entries.len() as u32;
        self.entries.push(entry);
        let Some(identity) = identity else { return };
        if let Some(run) = self.runs.last_mut() {
            let next = Sequence(run.identity.sequence.0.wrapping_add(u64::from(run.count)));
            let follows = run.first + run.count == at;
            if follows && identity == (Identity { sequence: next, ..run.identity }) {
                run.count += 1;
                return;
            }
        }
        self.runs.push(Run { first: at, count: 1, identity });
    }

    /// Adds lost batches up to `ticket`, so that later ones keep their place.
    pub(crate) fn skip_to(&mut self, ticket: Ticket) {
        while self.end() < ticket {
            self.entries.push(Entry::default());
        }
    }

    /// Returns the location of the batch with this ticket.
    pub(crate) fn get(&self, ticket: Ticket) -> Option<&Entry> {
        self.entries.get(usize::try_from(ticket.checked_sub(self.first)?).ok()?)
    }

    /// Identity of the batch with this ticket.
    pub(crate) fn identity(&self, ticket: Ticket) -> Option<Identity> {
        let at = u32::try_from(ticket.checked_sub(self.first)?).ok()?;
        let after = self.runs.partition_point(|run| run.first <= at);
        let run = &self.runs[after.checked_sub(1)?];
        let past = at - run.first;
        let sequence = Sequence(run.identity.sequence.0 + u64::from(past));
        (past < run.count).then_some(Identity { sequence, ..run.identity })
    }

    /// Returns identities and number of events of those of these tickets that are in this segment.
    pub(crate) fn describe(&self, tickets: &IntervalSet) -> (KeySet, u64) {
        let (mut keys, mut events) = (KeySet::default(), 0);
        let mine = tickets.intersection(&IntervalSet::from(self.first..self.end()));
        for ticket in mine.iter() {
            if let Some(identity) = self.identity(ticket) {
                keys.insert(identity);
            }
            events += self.get(ticket).map_or(0, |entry| u64::from(entry.events));
        }
        (keys, events)
    }

    /// Returns the number of events of those of these tickets that are in this segment.
    pub(crate) fn events_of(&self, tickets: &IntervalSet) -> u64 {
        let mine = tickets.intersection(&IntervalSet::from(self.first..self.end()));
        mine.iter().filter_map(|ticket| self.get(ticket)).map(|entry| u64::from(entry.events)).sum()
    }

    /// The encoding above.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.first);
        put_varint(&mut out, self.entries.len() as u64);
        for column in &COLUMNS {
            let mut before = Entry::default();
            for entry in &self.entries {
                let difference = (column.get)(entry).wrapping_sub((column.expect)(&before));
                put_varint(&mut out, u64::from(zigzag(difference)));
                before = *entry;
            }
        }
        put_varint(&mut out, self.runs.len() as u64);
        for run in &self.runs {
            put_varint(&mut out, u64::from(run.first));
            put_varint(&mut out, u64::from(run.count));
            out.put_slice(&run.identity.origin.0);
            put_varint(&mut out, run.identity.epoch.0);
            put_varint(&mut out, run.identity.sequence.0);
        }
        let content = out;
        let mut out = vec![VERSION];
        put_varint(&mut out, content.len() as u64);
        out.extend(lz4_flex::block::compress(&content));
        let crc = crc32c::crc32c(&out);
        out.put_u32_le(crc);
        out
    }

    /// Decodes the output of [`SegmentIndex::encode`]; `None` if any byte is wrong.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (mut packed, crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
        if crc32c::crc32c(packed) != u32::from_le_bytes(crc.try_into().ok()?) {
            return None;
        }
        if !packed.has_remaining() || packed.get_u8() != VERSION {
            return None;
        }
        let plain_len = u32::try_from(get_varint(&mut packed)?).ok()?;
        let input = &mut Packed { by: Coding::Lz4, plain_len }.unpack(packed)?;
        let number = |input: &mut Bytes| u32::try_from(get_varint(input)?).ok();
        let mut index = Self::starting_at(get_varint(input)?);
        let count = usize::try_from(get_varint(input)?).ok()?;
        // Every entry has a byte in each column.
        index.entries = (count <= input.len()).then(|| vec![Entry::default(); count])?;
        for column in &COLUMNS {
            let mut before = Entry::default();
            for entry in &mut index.entries {
                let difference = unzigzag(number(input)?);
                (column.set)(entry, (column.expect)(&before).wrapping_add(difference))?;
                before = *entry;
            }
        }
        for _ in 0..get_varint(input)? {
            let (first, count) = (number(input)?, number(input)?);
            let origin = (input.remaining() >= 16).then(|| input.split_to(16))?;
            let origin = Origin(origin[..].try_into().ok()?);
            let (epoch, sequence) = (Epoch(get_varint(input)?), Sequence(get_varint(input)?));
            index.runs.push(Run { first, count, identity: Identity { origin, epoch, sequence } });
        }
        Some(index)
    }
}

/// Stores the indexes of sealed segments. It may lose any of them at any time.
pub(crate) trait IndexStore: Send + Sync {
    /// Returns the index of a segment, if it exists and is sound.
    fn load(&self, segment: u64) -> Option<SegmentIndex>;
    /// Keeps an index.
    fn save(&self, segment: u64, index: &SegmentIndex);
    /// Forgets an index.
    fn remove(&self, segment: u64);
    /// Forgets all but these segments'.
    fn retain(&self, live: &[u64]);
    /// Writes all indexes to the disk, before an orderly shutdown.
    fn flush(&self);
}

/// A store that keeps nothing: each index is read again from its segment. For a world without a
/// real file system.
pub(crate) struct NoStore;

impl IndexStore for NoStore {
    fn load(&self, _segment: u64) -> Option<SegmentIndex> {
        None
    }
    fn save(&self, _segment: u64, _index: &SegmentIndex) {}
    fn remove(&self, _segment: u64) {}
    fn retain(&self, _live: &[u64]) {}
    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(origin: u8, sequence: u64) -> Identity {
        Identity { origin: Origin([origin; 16]), epoch: Epoch(2), sequence: Sequence(sequence) }
    }

    fn sample() -> SegmentIndex {
        let mut index = SegmentIndex::starting_at(100);
        for n in 0..10u32 {
            let entry = Entry {
                offset: 4096 * n,
                len: 800,
                events: n + 1,
                after_ms: n,
                item: n as u16 % 2,
            };
            index.push(entry, (n != 4).then(|| key((n / 6) as u8, u64::from(n))));
        }
        index.skip_to(112);
        index
    }

    #[test]
    fn finds_puts_by_ticket() {
        let index = sample();
        assert_eq!(index.get(103).unwrap().events, 4);
        assert_eq!(index.identity(103), Some(key(0, 3)));
        assert_eq!((index.identity(104), index.identity(105)), (None, Some(key(0, 5))));
        assert_eq!(index.identity(106), Some(key(1, 6)));
        assert_eq!((index.get(111).unwrap().len, index.identity(111)), (0, None));
        assert!(index.get(99).is_none() && index.get(112).is_none());
        let (keys, events) = index.describe(&IntervalSet::from(90..102));
        assert_eq!((keys, events), ([key(0, 0), key(0, 1)].into_iter().collect(), 3));
    }

    #[test]
    fn reads_a_kept_index_and_detects_damage() {
        let bytes = sample().encode();
        assert_eq!(SegmentIndex::decode(&bytes), Some(sample()));
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            assert_eq!(SegmentIndex::decode(&bad), None, "byte {at}");
        }
        assert_eq!(SegmentIndex::decode(&[]), None);
    }

    #[test]
    fn extremes_of_every_number_come_back() {
        let mut index = SegmentIndex::starting_at(u64::MAX / 2);
        for n in 0..6u32 {
            let (most, item) = (if n % 2 == 0 { u32::MAX } else { n }, (n % 2) as u16);
            let entry = Entry {
                offset: most & !7,
                len: most & !7,
                events: most,
                after_ms: most,
                item: item.wrapping_neg(),
            };
            index.push(entry, None);
        }
        assert_eq!(SegmentIndex::decode(&index.encode()), Some(index));
    }

    #[test]
    fn groups_that_are_alike_take_three_bytes_each_at_most() {
        let mut index = SegmentIndex::starting_at(0);
        for n in 0..560u32 {
            // Groups of up to 8 batches, and pauses of up to 7 ms.
            let blocks = 57_400 * n + n / (1 + n * n * 31 % 8) * 8 % 4096;
            let offset = blocks.next_multiple_of(8);
            let after_ms = 3 * n + n * n * 13 % 5;
            let entry = Entry { offset, len: 57_400, events: 100, after_ms, item: 0 };
            index.push(entry, Some(key(1, u64::from(n))));
        }
        let bytes = index.encode();
        assert!(bytes.len() < 3 * 560, "{} bytes", bytes.len());
        assert_eq!(SegmentIndex::decode(&bytes), Some(index));
    }

    /// The encoding by version 1 of an index without entries.
    #[test]
    fn an_index_of_another_version_counts_as_not_there() {
        let mut old = vec![1, 5, 0, 0];
        old.put_u32_le(crc32c::crc32c(&old.clone()));
        assert_eq!(SegmentIndex::decode(&old), None);
        let mut newer = SegmentIndex::starting_at(5).encode();
        newer.truncate(newer.len() - 4);
        newer[0] += 1;
        newer.put_u32_le(crc32c::crc32c(&newer.clone()));
        assert_eq!(SegmentIndex::decode(&newer), None);
    }
}
