//! Where the batches of one segment lie and who they are: what a take, a settlement and a repair
//! look up by ticket.
//!
//! An index is grown as its segment is written. When the segment is sealed it goes to the
//! [`IndexStore`], and memory keeps it only while a consumer is near. It is derived: read anew
//! from the segment's frames when the store does not have it.
//!
//! ```text
//! encoding: u8 version = 1 | first ticket | entries | for each: offset/8, length/8, events, item,
//!           ms since the segment was begun | runs | for each: first entry, entries,
//!           origin 16 B, epoch, first sequence | u32 crc32c of all before it
//! ```

use bytes::{Buf, BufMut, Bytes};
use pipeline::intervals::{get_varint, put_varint};
use pipeline::{Epoch, Identity, IntervalSet, KeySet, Origin, Sequence, Ticket};

const VERSION: u8 = 1;

/// Where one batch lies.
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
    /// Which batch with events of its frame it is, from 0.
    pub(crate) item: u16,
}

/// Neighbours whose identities follow each other.
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
    /// An index without entries, of a segment whose first batch will have ticket `first`.
    pub(crate) fn starting_at(first: Ticket) -> Self {
        Self { first, ..Self::default() }
    }

    /// The ticket behind the last entry.
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

    /// Where the batch with this ticket lies.
    pub(crate) fn get(&self, ticket: Ticket) -> Option<&Entry> {
        self.entries.get(usize::try_from(ticket.checked_sub(self.first)?).ok()?)
    }

    /// Who the batch with this ticket is.
    pub(crate) fn identity(&self, ticket: Ticket) -> Option<Identity> {
        let at = u32::try_from(ticket.checked_sub(self.first)?).ok()?;
        let after = self.runs.partition_point(|run| run.first <= at);
        let run = &self.runs[after.checked_sub(1)?];
        let past = at - run.first;
        let sequence = Sequence(run.identity.sequence.0 + u64::from(past));
        (past < run.count).then_some(Identity { sequence, ..run.identity })
    }

    /// Identities and number of events of these tickets, as far as they lie here.
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

    /// Number of events of these tickets, as far as they lie here.
    pub(crate) fn events_of(&self, tickets: &IntervalSet) -> u64 {
        let mine = tickets.intersection(&IntervalSet::from(self.first..self.end()));
        mine.iter().filter_map(|ticket| self.get(ticket)).map(|entry| u64::from(entry.events)).sum()
    }

    /// The encoding above.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_varint(&mut out, self.first);
        put_varint(&mut out, self.entries.len() as u64);
        for e in &self.entries {
            for number in [e.offset / 8, e.len / 8, e.events, u32::from(e.item), e.after_ms] {
                put_varint(&mut out, u64::from(number));
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
        let crc = crc32c::crc32c(&out);
        out.put_u32_le(crc);
        out
    }

    /// Reads what [`SegmentIndex::encode`] made; `None` if a byte of it is wrong.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (content, crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
        if crc32c::crc32c(content) != u32::from_le_bytes(crc.try_into().ok()?) {
            return None;
        }
        let mut input = Bytes::copy_from_slice(content);
        let input = &mut input;
        if !input.has_remaining() || input.get_u8() != VERSION {
            return None;
        }
        let number = |input: &mut Bytes| u32::try_from(get_varint(input)?).ok();
        let mut index = Self::starting_at(get_varint(input)?);
        for _ in 0..get_varint(input)? {
            index.entries.push(Entry {
                offset: number(input)?.checked_mul(8)?,
                len: number(input)?.checked_mul(8)?,
                events: number(input)?,
                item: u16::try_from(number(input)?).ok()?,
                after_ms: number(input)?,
            });
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

/// Where the indexes of sealed segments are kept. It may lose any of them at any time.
pub(crate) trait IndexStore: Send + Sync {
    /// The index of a segment, if it is there and sound.
    fn load(&self, segment: u64) -> Option<SegmentIndex>;
    /// Keeps an index.
    fn save(&self, segment: u64, index: &SegmentIndex);
    /// Forgets an index.
    fn remove(&self, segment: u64);
    /// Forgets all but these segments'.
    fn retain(&self, live: &[u64]);
    /// Writes out what is kept, before an orderly end.
    fn flush(&self);
}

/// Keeps nothing: each index is read anew from its segment. For a world without a real file system.
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
    fn what_was_put_is_found_by_ticket() {
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
    fn what_is_kept_is_read_back_and_damage_is_seen() {
        let bytes = sample().encode();
        assert_eq!(SegmentIndex::decode(&bytes), Some(sample()));
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            assert_eq!(SegmentIndex::decode(&bad), None, "byte {at}");
        }
        assert_eq!(SegmentIndex::decode(&[]), None);
    }
}
