//! Who a batch is. A batch gets its identity in the first durable channel it enters and keeps it
//! through every tier and every retry; whoever meets an identity again knows what it has already.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use bytes::{Buf, BufMut};

use crate::intervals::{IntervalSet, MalformedIntervals, get_varint, put_varint};

/// The channel that a batch was born in: 128 random bits made with that channel's directory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin(pub [u8; 16]);

/// One life of an origin: it goes up, durably, at every start of the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// Number of a batch within its origin and epoch, from 0, without gaps, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sequence(pub u64);

/// Names one batch for ever. What it names never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// Where the batch was born.
    pub origin: Origin,
    /// In which life of that channel.
    pub epoch: Epoch,
    /// Which batch of that life.
    pub sequence: Sequence,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Identity {
    /// `origin/epoch/sequence`, as it stands in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.origin, self.epoch.0, self.sequence.0)
    }
}

/// Why text is not an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no identity; one is 32 hexadecimal digits, an epoch and a sequence: `origin/epoch/7`")]
pub struct MalformedIdentity;

impl FromStr for Identity {
    type Err = MalformedIdentity;

    /// Reads what its `Display` writes.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('/');
        let mut next = || parts.next().ok_or(MalformedIdentity);
        let (origin, epoch, sequence) = (next()?, next()?, next()?);
        if origin.len() != 32 || parts.next().is_some() {
            return Err(MalformedIdentity);
        }
        let origin = u128::from_str_radix(origin, 16).map_err(|_| MalformedIdentity)?;
        let number = |text: &str| text.parse().map_err(|_| MalformedIdentity);
        Ok(Self {
            origin: Origin(origin.to_be_bytes()),
            epoch: Epoch(number(epoch)?),
            sequence: Sequence(number(sequence)?),
        })
    }
}

/// A set of identities, as intervals of sequences for each origin and epoch.
///
/// Encoding: varint number of (origin, epoch) pairs; then for each, in order, 16 bytes of origin,
/// varint epoch, and its [`IntervalSet`]. An origin with one run takes about 21 bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeySet {
    by_life: BTreeMap<(Origin, Epoch), IntervalSet>,
}

impl KeySet {
    /// Whether no identity is in the set.
    pub fn is_empty(&self) -> bool {
        self.by_life.is_empty()
    }

    /// How many identities are in the set.
    pub fn count(&self) -> u64 {
        self.by_life.values().map(IntervalSet::count).sum()
    }

    /// Whether `key` is in the set.
    pub fn contains(&self, key: Identity) -> bool {
        self.get(key.origin, key.epoch).is_some_and(|set| set.contains(key.sequence.0))
    }

    /// The sequences of one life of one origin.
    pub fn get(&self, origin: Origin, epoch: Epoch) -> Option<&IntervalSet> {
        self.by_life.get(&(origin, epoch))
    }

    /// Each origin and epoch with its sequences, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Origin, Epoch, &IntervalSet)> {
        self.by_life.iter().map(|((origin, epoch), set)| (*origin, *epoch, set))
    }

    /// Adds `key`; says whether it was new.
    pub fn insert(&mut self, key: Identity) -> bool {
        self.by_life.entry((key.origin, key.epoch)).or_default().insert(key.sequence.0)
    }

    /// Adds the sequences of one life of one origin.
    pub fn insert_set(&mut self, origin: Origin, epoch: Epoch, sequences: &IntervalSet) {
        if !sequences.is_empty() {
            self.by_life.entry((origin, epoch)).or_default().insert_all(sequences);
        }
    }

    /// Adds every identity of `other`.
    pub fn insert_all(&mut self, other: &Self) {
        for (origin, epoch, set) in other.iter() {
            self.insert_set(origin, epoch, set);
        }
    }

    /// Takes `key` out; says whether it was there.
    pub fn remove(&mut self, key: Identity) -> bool {
        let life = (key.origin, key.epoch);
        let Some(set) = self.by_life.get_mut(&life) else { return false };
        let there = set.remove(key.sequence.0);
        if set.is_empty() {
            self.by_life.remove(&life);
        }
        there
    }

    /// Takes every identity of `other` out.
    pub fn remove_all(&mut self, other: &Self) {
        for (life, set) in &other.by_life {
            if let Some(mine) = self.by_life.get_mut(life) {
                mine.remove_all(set);
                if mine.is_empty() {
                    self.by_life.remove(life);
                }
            }
        }
    }

    /// The identities that are in both sets.
    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = Self::default();
        for (life, set) in &self.by_life {
            if let Some(theirs) = other.by_life.get(life) {
                both.insert_set(life.0, life.1, &set.intersection(theirs));
            }
        }
        both
    }

    /// Appends the encoding to `out`.
    pub fn encode(&self, out: &mut impl BufMut) {
        put_varint(out, self.by_life.len() as u64);
        for ((origin, epoch), set) in &self.by_life {
            out.put_slice(&origin.0);
            put_varint(out, epoch.0);
            set.encode(out);
        }
    }

    /// Reads one encoded set from the front of `input`.
    ///
    /// # Errors
    /// The bytes end too early or hold a run that goes beyond `u64`.
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
    use super::*;

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

    #[test]
    fn ten_thousand_origins_of_one_interval_fit_256_kib() {
        let mut keys = KeySet::default();
        for n in 0..10_000u128 {
            keys.insert_set(Origin(n.to_be_bytes()), Epoch(40), &IntervalSet::from(9_000..9_900));
        }
        let mut bytes = Vec::new();
        keys.encode(&mut bytes);
        assert!(bytes.len() <= 256 * 1024, "{} bytes", bytes.len());
        assert_eq!(KeySet::decode(&mut bytes.as_slice()), Ok(keys));
    }
}
