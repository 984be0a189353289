//! Sets of identities.

use std::fmt;

use bytes::{Buf, BufMut};

use super::{Epoch, Identity, Origin};
use crate::intervals::{IntervalSet, MalformedIntervals, get_varint, put_varint};

/// A set of identities, as intervals of sequences for each origin and epoch.
///
/// Stored in memory as sorted, dense chunks, because a collector keeps one entry for each life of
/// each edge, forever: an origin with one run takes about 50 bytes.
///
/// Encoding: varint number of (origin, epoch) pairs; then for each, in order, 16 bytes of origin,
/// varint epoch, and its [`IntervalSet`]. An origin with one run takes about 21 bytes.
#[derive(Clone, Default)]
pub struct KeySet {
    /// Sorted, none of them empty.
    chunks: Vec<Vec<Life>>,
}

/// Lives in one chunk: bounds the move when one is inserted.
const CHUNK_MAX: usize = 128;

#[derive(Clone, PartialEq)]
struct Life {
    origin: Origin,
    epoch: Epoch,
    sequences: IntervalSet,
}

impl Life {
    fn key(&self) -> (Origin, Epoch) {
        (self.origin, self.epoch)
    }
}

impl KeySet {
    /// Returns the place of a life, or the place to insert it.
    fn find(&self, life: (Origin, Epoch)) -> Result<(usize, usize), (usize, usize)> {
        let ends_before = |chunk: &Vec<Life>| chunk.last().is_some_and(|last| last.key() < life);
        let at = self.chunks.partition_point(ends_before);
        let Some(chunk) = self.chunks.get(at) else {
            // After all others: append to the last chunk.
            let last = self.chunks.len().saturating_sub(1);
            return Err((last, self.chunks.last().map_or(0, Vec::len)));
        };
        match chunk.binary_search_by_key(&life, Life::key) {
            Ok(place) => Ok((at, place)),
            Err(place) => Err((at, place)),
        }
    }

    /// Returns the sequences of a life, and adds the life if necessary; they must not stay empty.
    fn entry(&mut self, origin: Origin, epoch: Epoch) -> &mut IntervalSet {
        let (mut at, mut place) = match self.find((origin, epoch)) {
            Ok((at, place)) => return &mut self.chunks[at][place].sequences,
            Err(found) => found,
        };
        if self.chunks.is_empty() {
            self.chunks.push(Vec::with_capacity(1));
        }
        if self.chunks[at].len() == CHUNK_MAX {
            let right = self.chunks[at].split_off(CHUNK_MAX / 2);
            self.chunks[at].shrink_to_fit();
            self.chunks.insert(at + 1, right);
            if place > CHUNK_MAX / 2 {
                (at, place) = (at + 1, place - CHUNK_MAX / 2);
            }
        }
        let chunk = &mut self.chunks[at];
        if chunk.len() == chunk.capacity() {
            // Doubling would leave a third of all memory unused.
            chunk.reserve_exact(chunk.len() / 8 + 1);
        }
        chunk.insert(place, Life { origin, epoch, sequences: IntervalSet::EMPTY });
        &mut chunk[place].sequences
    }

    /// Changes the sequences of an existing life.
    fn change<T: Default>(
        &mut self,
        life: (Origin, Epoch),
        change: impl FnOnce(&mut IntervalSet) -> T,
    ) -> T {
        let Ok((at, place)) = self.find(life) else { return T::default() };
        let sequences = &mut self.chunks[at][place].sequences;
        let result = change(sequences);
        if sequences.is_empty() {
            self.chunks[at].remove(place);
            if self.chunks[at].is_empty() {
                self.chunks.remove(at);
            }
        }
        result
    }

    /// Returns `true` if the set is empty.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Returns the number of identities in the set.
    pub fn count(&self) -> u64 {
        self.iter().map(|(_, _, sequences)| sequences.count()).sum()
    }

    /// Returns `true` if `key` is in the set.
    pub fn contains(&self, key: Identity) -> bool {
        self.get(key.origin, key.epoch).is_some_and(|set| set.contains(key.sequence.0))
    }

    /// The sequences of one life of one origin.
    pub fn get(&self, origin: Origin, epoch: Epoch) -> Option<&IntervalSet> {
        let (at, place) = self.find((origin, epoch)).ok()?;
        Some(&self.chunks[at][place].sequences)
    }

    /// Each origin and epoch with its sequences, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Origin, Epoch, &IntervalSet)> {
        self.chunks.iter().flatten().map(|life| (life.origin, life.epoch, &life.sequences))
    }

    /// Returns the lowest epoch of `origin` with an identity in the set.
    pub fn lowest_epoch(&self, origin: Origin) -> Option<Epoch> {
        self.iter().find(|(of, ..)| *of == origin).map(|(_, epoch, _)| epoch)
    }

    /// Adds `key`; returns whether it was new.
    pub fn insert(&mut self, key: Identity) -> bool {
        self.entry(key.origin, key.epoch).insert(key.sequence.0)
    }

    /// Adds the sequences of one life of one origin.
    pub fn insert_set(&mut self, origin: Origin, epoch: Epoch, sequences: &IntervalSet) {
        if !sequences.is_empty() {
            self.entry(origin, epoch).insert_all(sequences);
        }
    }

    /// Adds every identity of `other`.
    pub fn insert_all(&mut self, other: &Self) {
        for (origin, epoch, set) in other.iter() {
            self.insert_set(origin, epoch, set);
        }
    }

    /// Removes `key`; returns whether it was in the set.
    pub fn remove(&mut self, key: Identity) -> bool {
        self.change((key.origin, key.epoch), |set| set.remove(key.sequence.0))
    }

    /// Removes every identity of `other`.
    pub fn remove_all(&mut self, other: &Self) {
        for (origin, epoch, theirs) in other.iter() {
            self.change((origin, epoch), |set| set.remove_all(theirs));
        }
    }

    /// The identities that are in both sets.
    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = Self::default();
        for (origin, epoch, set) in self.iter() {
            if let Some(theirs) = other.get(origin, epoch) {
                both.insert_set(origin, epoch, &set.intersection(theirs));
            }
        }
        both
    }

    /// Appends the encoding to `out`.
    pub fn encode(&self, out: &mut impl BufMut) {
        put_varint(out, self.chunks.iter().map(Vec::len).sum::<usize>() as u64);
        for (origin, epoch, set) in self.iter() {
            out.put_slice(&origin.0);
            put_varint(out, epoch.0);
            set.encode(out);
        }
    }

    /// Decodes one set from the front of `input`.
    ///
    /// # Errors
    /// The bytes end too early or contain a run beyond `u64`.
    pub fn decode(input: &mut impl Buf) -> Result<Self, MalformedIntervals> {
        let lives = get_varint(input).ok_or(MalformedIntervals)?;
        let mut keys = Self::default();
        for _ in 0..lives {
            let mut origin = [0; 16];
            if input.remaining() < origin.len() {
                return Err(MalformedIntervals);
            }
            input.copy_to_slice(&mut origin);
            let epoch = Epoch(get_varint(input).ok_or(MalformedIntervals)?);
            keys.insert_set(Origin(origin), epoch, &IntervalSet::decode(input)?);
        }
        Ok(keys)
    }
}

/// The division into chunks does not matter.
impl PartialEq for KeySet {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for KeySet {}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl FromIterator<Identity> for KeySet {
    fn from_iter<I: IntoIterator<Item = Identity>>(keys: I) -> Self {
        let mut set = Self::default();
        for key in keys {
            set.insert(key);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::identity::Sequence;

    fn key(origin: u8, epoch: u64, sequence: u64) -> Identity {
        Identity { origin: Origin([origin; 16]), epoch: Epoch(epoch), sequence: Sequence(sequence) }
    }

    #[test]
    fn keys_of_other_epochs_and_origins_stay_apart() {
        let mut keys: KeySet = [key(1, 1, 5), key(1, 2, 5), key(2, 1, 5)].into_iter().collect();
        assert!(keys.remove(key(1, 2, 5)));
        assert!(!keys.contains(key(1, 2, 5)));
        assert!(keys.contains(key(1, 1, 5)) && keys.contains(key(2, 1, 5)));
        assert_eq!(keys.count(), 2);
    }

    proptest! {
        /// Method: every operation is also applied to a plain set, with so many lives that chunks
        /// split and vanish.
        #[test]
        fn behaves_as_a_plain_set(
            seeds in prop::collection::vec((0u8..3, any::<u16>(), 0u64..4), 0..40),
        ) {
            let (mut keys, mut model) = (KeySet::default(), BTreeSet::new());
            for (what, seed, sequence) in seeds {
                // A stride, so that one step touches many lives.
                let lives = (0..40u64).map(|n| (u64::from(seed) + n * 131) % 700);
                let some: Vec<Identity> =
                    lives.map(|life| key((life % 5) as u8, life / 5, sequence)).collect();
                let set: KeySet = some.iter().copied().collect();
                match what {
                    0 | 1 => {
                        keys.insert_all(&set);
                        model.extend(some);
                    }
                    _ => {
                        keys.remove_all(&set);
                        model.retain(|key| !set.contains(*key));
                    }
                }
                let all = keys.iter().flat_map(|(origin, epoch, set)| {
                    set.iter().map(move |n| Identity { origin, epoch, sequence: Sequence(n) })
                });
                prop_assert!(all.eq(model.iter().copied()));
                prop_assert_eq!(keys.is_empty(), model.is_empty());
            }
            let mut bytes = Vec::new();
            keys.encode(&mut bytes);
            prop_assert_eq!(KeySet::decode(&mut bytes.as_slice()), Ok(keys));
        }
    }

    #[test]
    fn an_origin_with_one_run_takes_at_most_64_bytes_in_any_order() {
        for step in [1, 7919] {
            let mut keys = KeySet::default();
            for n in 0..10_000u128 {
                let origin = Origin((n * step % 10_007).to_be_bytes());
                keys.insert(Identity { origin, epoch: Epoch(40), sequence: Sequence(1) });
            }
            // Allocators round up and keep a word.
            let chunk = |chunk: &Vec<Life>| chunk.capacity() * size_of::<Life>() + 24;
            let bytes: usize = keys.chunks.iter().map(chunk).sum::<usize>()
                + keys.chunks.capacity() * size_of::<Vec<Life>>();
            assert!(bytes <= 64 * 10_000, "{bytes} bytes");
        }
    }

    #[test]
    fn ten_thousand_origins_of_one_interval_fit_256_kib() {
        let (mut keys, epoch) = (KeySet::default(), Epoch(500 << Epoch::RANDOM_BITS).next(7));
        for n in 0..10_000u128 {
            keys.insert_set(Origin(n.to_be_bytes()), epoch, &IntervalSet::from(9_000..9_900));
        }
        let mut bytes = Vec::new();
        keys.encode(&mut bytes);
        assert!(bytes.len() <= 256 * 1024, "{} bytes", bytes.len());
        assert_eq!(KeySet::decode(&mut bytes.as_slice()), Ok(keys));
    }
}
