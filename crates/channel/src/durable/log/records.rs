//! The envelopes of frames. All numbers are LEB128 varints, text and bytes have their length in
//! front, and sets have the encoding of [`IntervalSet`] and [`KeySet`].
//!
//! ```text
//! PUT        put at (ms) | items | for each: u8 flags (1 identity, 2 events, 4 zstd, 8 LZ4 block),
//!              [origin 16 B | epoch | sequence | u64 0], [events | body bytes],
//!              [bytes before compression], positions
//! ACK        consumers | for each: name, tickets | settled identities | settled events
//! CONSUMERS  consumers | for each: name, tickets committed so far
//! FORGET     tickets | identities | events
//! STATE      since (ms) | epoch | events | consumers, as above | stored identities |
//!              pending identities | positions | segments |
//!              for each: number, first ticket, tickets, end, room, since (ms)
//!              | sealed segments (format 2) | for each: number, key, u32 check of the key
//! ```

use std::borrow::Cow;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use pipeline::intervals::{get_varint, put_varint};
use pipeline::{Epoch, Identity, IntervalSet, KeySet, Origin, Sequence, SourcePosition, Ticket};

use super::seal::KeyMark;
use crate::durable::commit::packing::{Coding, Packed};
use crate::positions::{Positions, get_positions, get_text, put_bytes, put_positions};

const HAS_IDENTITY: u8 = 1;
const HAS_EVENTS: u8 = 2;
const IS_ZSTD: u8 = 4;
const IS_LZ4: u8 = 8;

/// One batch of a PUT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PutItem {
    /// Its identity.
    pub(crate) identity: Option<Identity>,
    /// Number of events; a batch with none has no ticket and no body.
    pub(crate) events: u32,
    /// Bytes in the body: the output of [`pipeline::Batch::encode`], perhaps compressed.
    pub(crate) body_len: u32,
    /// Their compression; `None` if they are not compressed.
    pub(crate) packed: Option<Packed>,
    /// The positions of its source after it.
    pub(crate) positions: Vec<SourcePosition>,
}

/// One put transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PutRecord {
    /// Wall-clock time of the put, milliseconds since 1970.
    pub(crate) at_ms: u64,
    /// Its batches.
    pub(crate) items: Vec<PutItem>,
}

/// Consumers and their commits.
pub(crate) type Acks = Vec<(Arc<str>, IntervalSet)>;

/// Commits of takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AckRecord {
    /// The commits of each consumer.
    pub(crate) acks: Acks,
    /// Identities that every consumer has committed by that.
    pub(crate) settled: KeySet,
    /// Their number of events.
    pub(crate) events: u64,
}

/// Batches that were found damaged, or that are replayed: they may be stored again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ForgetRecord {
    /// Their tickets.
    pub(crate) tickets: IntervalSet,
    /// Their identities.
    pub(crate) keys: KeySet,
    /// Their events.
    pub(crate) events: u64,
}

/// The entry of one live segment in a STATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentRecord {
    /// Its number.
    pub(crate) id: u64,
    /// Ticket of its first batch.
    pub(crate) first: Ticket,
    /// Number of tickets.
    pub(crate) tickets: u64,
    /// The end of its last good group.
    pub(crate) end: u64,
    /// Size of its file.
    pub(crate) room: u64,
    /// When it was begun, milliseconds since 1970.
    pub(crate) since_ms: u64,
    /// The key that its frames are sealed with.
    pub(crate) key: Option<KeyMark>,
}

/// The summary of all earlier segments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StateRecord<'a> {
    /// When the segment was begun, milliseconds since 1970.
    pub(crate) since_ms: u64,
    /// This life of the channel's origin.
    pub(crate) epoch: u64,
    /// Events that some consumer has not committed.
    pub(crate) events: u64,
    /// Consumers and their commits.
    pub(crate) consumers: Acks,
    /// Identities stored at any time.
    pub(crate) stored: KeySet,
    /// Identities that some consumer has not committed.
    pub(crate) pending: KeySet,
    /// Positions of the sources.
    pub(crate) positions: Cow<'a, Positions>,
    /// The segments before this one that are still needed.
    pub(crate) segments: Vec<SegmentRecord>,
}

fn put_acks(out: &mut Vec<u8>, acks: &Acks) {
    put_varint(out, acks.len() as u64);
    for (name, tickets) in acks {
        put_bytes(out, name.as_bytes());
        tickets.encode(out);
    }
}

fn get_acks(input: &mut Bytes) -> Option<Acks> {
    let count = get_varint(input)?;
    let mut acks = Vec::new();
    for _ in 0..count {
        acks.push((get_text(input)?, IntervalSet::decode(input).ok()?));
    }
    Some(acks)
}

fn get_u64(input: &mut Bytes) -> Option<u64> {
    (input.remaining() >= 8).then(|| input.get_u64_le())
}

fn get_u32(input: &mut Bytes) -> Option<u32> {
    u32::try_from(get_varint(input)?).ok()
}

impl PutRecord {
    /// Returns the maximum size of the envelope of these batches, for any identities.
    pub(crate) fn envelope_max<'a>(positions: impl Iterator<Item = &'a [SourcePosition]>) -> usize {
        const VARINT: usize = 10;
        // Flags, identity with its digest, events, body and plain bytes.
        const ITEM: usize = 1 + 16 + 2 * VARINT + 8 + 3 * 5;
        let mut scratch = Vec::new();
        let mut size = 2 * VARINT;
        for positions in positions {
            scratch.clear();
            put_positions(&mut scratch, positions);
            size += ITEM + scratch.len();
        }
        size
    }

    /// The envelope.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 * self.items.len().max(1));
        put_varint(&mut out, self.at_ms);
        put_varint(&mut out, self.items.len() as u64);
        for item in &self.items {
            let identity = if item.identity.is_some() { HAS_IDENTITY } else { 0 };
            let events = if item.events > 0 { HAS_EVENTS } else { 0 };
            let packed = match item.packed.map(|packed| packed.by) {
                None => 0,
                Some(Coding::Zstd) => IS_ZSTD,
                Some(Coding::Lz4) => IS_LZ4,
            };
            out.put_u8(identity | events | packed);
            if let Some(identity) = &item.identity {
                out.put_slice(&identity.origin.0);
                put_varint(&mut out, identity.epoch.0);
                put_varint(&mut out, identity.sequence.0);
                out.put_u64_le(0);
            }
            if item.events > 0 {
                put_varint(&mut out, u64::from(item.events));
                put_varint(&mut out, u64::from(item.body_len));
            }
            if let Some(packed) = item.packed {
                put_varint(&mut out, u64::from(packed.plain_len));
            }
            put_positions(&mut out, &item.positions);
        }
        out
    }

    /// Decodes the output of [`PutRecord::encode`].
    pub(crate) fn decode(mut input: Bytes) -> Option<Self> {
        let input = &mut input;
        let at_ms = get_varint(input)?;
        let count = get_varint(input)?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(Self::item(input)?);
        }
        Some(Self { at_ms, items })
    }

    fn item(input: &mut Bytes) -> Option<PutItem> {
        let flags = input.has_remaining().then(|| input.get_u8())?;
        let identity = if flags & HAS_IDENTITY == 0 {
            None
        } else {
            let origin = (input.remaining() >= 16).then(|| input.split_to(16))?;
            let origin = Origin(origin[..].try_into().ok()?);
            let (epoch, sequence) = (Epoch(get_varint(input)?), Sequence(get_varint(input)?));
            // A digest that was never read stood here.
            get_u64(input)?;
            Some(Identity { origin, epoch, sequence })
        };
        let has_events = flags & HAS_EVENTS != 0;
        let (events, body_len) =
            if has_events { (get_u32(input)?, get_u32(input)?) } else { (0, 0) };
        let by = match flags & (IS_ZSTD | IS_LZ4) {
            0 => None,
            IS_ZSTD => Some(Coding::Zstd),
            IS_LZ4 => Some(Coding::Lz4),
            _ => return None,
        };
        let packed = match by {
            None => None,
            Some(by) => Some(Packed { by, plain_len: get_u32(input)? }),
        };
        Some(PutItem { identity, events, body_len, packed, positions: get_positions(input)? })
    }
}

impl AckRecord {
    /// Returns `true` if it is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.settled.is_empty() && self.acks.iter().all(|(_, tickets)| tickets.is_empty())
    }

    /// Creates a record: these consumers have committed these tickets.
    pub(crate) fn of_all(consumers: &[Arc<str>], tickets: &IntervalSet) -> Self {
        let acks = consumers.iter().map(|consumer| (consumer.clone(), tickets.clone()));
        Self { acks: acks.collect(), ..Self::default() }
    }

    /// Adds commits of one consumer.
    pub(crate) fn add(&mut self, consumer: &Arc<str>, tickets: &IntervalSet) {
        match self.acks.iter_mut().find(|(name, _)| name == consumer) {
            Some((_, mine)) => mine.insert_all(tickets),
            None => self.acks.push((consumer.clone(), tickets.clone())),
        }
    }

    /// Adds the contents of `other`.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (consumer, tickets) in &other.acks {
            self.add(consumer, tickets);
        }
        self.settled.insert_all(&other.settled);
        self.events += other.events;
    }

    /// The envelope.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_acks(&mut out, &self.acks);
        self.settled.encode(&mut out);
        put_varint(&mut out, self.events);
        out
    }

    /// Decodes the output of [`AckRecord::encode`].
    pub(crate) fn decode(mut input: Bytes) -> Option<Self> {
        let acks = get_acks(&mut input)?;
        let settled = KeySet::decode(&mut input).ok()?;
        Some(Self { acks, settled, events: get_varint(&mut input)? })
    }
}

/// The envelope of a CONSUMERS frame.
pub(crate) fn encode_consumers(consumers: &Acks) -> Vec<u8> {
    let mut out = Vec::new();
    put_acks(&mut out, consumers);
    out
}

/// Decodes the output of [`encode_consumers`].
pub(crate) fn decode_consumers(mut input: Bytes) -> Option<Acks> {
    get_acks(&mut input)
}

impl ForgetRecord {
    /// Returns `true` if it is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.tickets.is_empty() && self.keys.is_empty()
    }

    /// Adds the contents of `other`.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.tickets.insert_all(&other.tickets);
        self.keys.insert_all(&other.keys);
        self.events += other.events;
    }

    /// The envelope.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.tickets.encode(&mut out);
        self.keys.encode(&mut out);
        put_varint(&mut out, self.events);
        out
    }

    /// Decodes the output of [`ForgetRecord::encode`].
    pub(crate) fn decode(mut input: Bytes) -> Option<Self> {
        let tickets = IntervalSet::decode(&mut input).ok()?;
        let keys = KeySet::decode(&mut input).ok()?;
        Some(Self { tickets, keys, events: get_varint(&mut input)? })
    }
}

impl StateRecord<'_> {
    /// Decodes which segments are sealed. A STATE of format 1 does not contain it.
    fn decode_keys(&mut self, input: &mut Bytes) -> Option<()> {
        for _ in 0..get_varint(input)? {
            let (segment, id) = (get_varint(input)?, get_u32(input)?);
            let check = (input.remaining() >= 4).then(|| input.get_u32_le())?;
            let found = self.segments.iter_mut().find(|known| known.id == segment)?;
            found.key = Some(KeyMark { id, check });
        }
        Some(())
    }

    /// The envelope.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.since_ms);
        put_varint(&mut out, self.epoch);
        put_varint(&mut out, self.events);
        put_acks(&mut out, &self.consumers);
        self.stored.encode(&mut out);
        self.pending.encode(&mut out);
        self.positions.encode(&mut out);
        put_varint(&mut out, self.segments.len() as u64);
        for s in &self.segments {
            for number in [s.id, s.first, s.tickets, s.end, s.room, s.since_ms] {
                put_varint(&mut out, number);
            }
        }
        let sealed = || self.segments.iter().filter_map(|s| Some((s.id, s.key?)));
        put_varint(&mut out, sealed().count() as u64);
        for (id, key) in sealed() {
            put_varint(&mut out, id);
            put_varint(&mut out, u64::from(key.id));
            out.put_u32_le(key.check);
        }
        out
    }

    /// Decodes the output of [`StateRecord::encode`].
    pub(crate) fn decode(mut input: Bytes) -> Option<Self> {
        let input = &mut input;
        let mut state = Self {
            since_ms: get_varint(input)?,
            epoch: get_varint(input)?,
            events: get_varint(input)?,
            consumers: get_acks(input)?,
            stored: KeySet::decode(input).ok()?,
            pending: KeySet::decode(input).ok()?,
            positions: Cow::Owned(Positions::decode(input)?),
            segments: Vec::new(),
        };
        for _ in 0..get_varint(input)? {
            state.segments.push(SegmentRecord {
                id: get_varint(input)?,
                first: get_varint(input)?,
                tickets: get_varint(input)?,
                end: get_varint(input)?,
                room: get_varint(input)?,
                since_ms: get_varint(input)?,
                key: None,
            });
        }
        if input.has_remaining() {
            state.decode_keys(input)?;
        }
        Some(state)
    }
}
