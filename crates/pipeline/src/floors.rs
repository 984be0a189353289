//! Floors: for each origin, the epoch below which every batch is committed.
//!
//! ```text
//!  epochs of one origin    0   1   2   3   4   5 ─► time
//!                          every batch committed │   still needed
//!                                     floor = 3 ─┘
//! ```
//!
//! An agent that has an origin's batches declares an epoch closed once each of its batches is
//! committed. From then on its intervals need not be kept: an identity below the floor is
//! delivered, and a later copy of it is a stray one. A floor never decreases.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, BufMut};

use crate::identity::{Epoch, Identity, KeySet, Origin};
use crate::intervals::{MalformedIntervals, get_varint, put_varint};

/// For each origin, the epoch below which every batch is committed.
///
/// A clone shares the memory until one of them is changed: a ledger makes one for each commit.
///
/// Encoding: varint number of origins; then for each, in order, 16 bytes of origin, varint epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Floors {
    by_origin: Arc<BTreeMap<Origin, Epoch>>,
}

impl Floors {
    /// Returns `true` if no epoch is closed.
    pub fn is_empty(&self) -> bool {
        self.by_origin.is_empty()
    }

    /// Of how many origins epochs are closed.
    pub fn len(&self) -> usize {
        self.by_origin.len()
    }

    /// Returns the lowest open epoch of `origin`; `Epoch(0)` if no epoch is closed.
    pub fn of(&self, origin: Origin) -> Epoch {
        self.by_origin.get(&origin).copied().unwrap_or(Epoch(0))
    }

    /// Returns `true` if this identity is of a closed epoch.
    pub fn is_closed(&self, key: Identity) -> bool {
        key.epoch < self.of(key.origin)
    }

    /// Closes the epochs of `origin` below `epoch`; a lower one than before changes nothing.
    pub fn raise(&mut self, origin: Origin, epoch: Epoch) {
        if epoch > self.of(origin) {
            Arc::make_mut(&mut self.by_origin).insert(origin, epoch);
        }
    }

    /// Takes the floor of `origin` out.
    pub fn take(&mut self, origin: Origin) -> Option<Epoch> {
        Arc::make_mut(&mut self.by_origin).remove(&origin)
    }

    /// Closes all epochs that `other` closes. Repeating it costs nothing.
    pub fn raise_all(&mut self, other: &Self) {
        if Arc::ptr_eq(&self.by_origin, &other.by_origin) {
            return;
        }
        if self.iter().all(|(origin, epoch)| other.of(origin) >= epoch) {
            *self = other.clone();
            return;
        }
        other.iter().for_each(|(origin, epoch)| self.raise(origin, epoch));
    }

    /// Each origin with its floor, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Origin, Epoch)> {
        self.by_origin.iter().map(|(origin, epoch)| (*origin, *epoch))
    }

    /// Returns the `keys` of closed epochs.
    pub fn closed_of(&self, keys: &KeySet) -> KeySet {
        let mut closed = KeySet::default();
        for (origin, epoch, sequences) in keys.iter() {
            if epoch < self.of(origin) {
                closed.insert_set(origin, epoch, sequences);
            }
        }
        closed
    }

    /// Appends the encoding to `out`.
    pub fn encode(&self, out: &mut impl BufMut) {
        put_varint(out, self.by_origin.len() as u64);
        for (origin, epoch) in self.iter() {
            out.put_slice(&origin.0);
            put_varint(out, epoch.0);
        }
    }

    /// Reads encoded floors from the front of `input`.
    ///
    /// # Errors
    /// The bytes end too early.
    pub fn decode(input: &mut impl Buf) -> Result<Self, MalformedIntervals> {
        let mut floors = Self::default();
        for _ in 0..get_varint(input).ok_or(MalformedIntervals)? {
            let mut origin = [0; 16];
            if input.remaining() < origin.len() {
                return Err(MalformedIntervals);
            }
            input.copy_to_slice(&mut origin);
            floors.raise(Origin(origin), Epoch(get_varint(input).ok_or(MalformedIntervals)?));
        }
        Ok(floors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Sequence;

    const ORIGIN: Origin = Origin([1; 16]);

    fn key(epoch: u64) -> Identity {
        Identity { origin: ORIGIN, epoch: Epoch(epoch), sequence: Sequence(0) }
    }

    #[test]
    fn a_floor_never_falls_and_closes_only_what_is_below_it() {
        let mut floors = Floors::default();
        assert!(!floors.is_closed(key(0)));
        floors.raise(ORIGIN, Epoch(3));
        floors.raise(ORIGIN, Epoch(2));
        assert!(floors.is_closed(key(2)) && !floors.is_closed(key(3)));
        let other = Identity { origin: Origin([2; 16]), ..key(0) };
        assert!(!floors.is_closed(other));
        let keys: KeySet = [key(2), key(3), other].into_iter().collect();
        assert_eq!(floors.closed_of(&keys), [key(2)].into_iter().collect());
    }

    #[test]
    fn raising_empty_floors_shares_memory() {
        let (mut one, mut other, mut taken) =
            (Floors::default(), Floors::default(), Floors::default());
        one.raise(ORIGIN, Epoch(3));
        taken.raise_all(&one);
        assert!(Arc::ptr_eq(&taken.by_origin, &one.by_origin));
        other.raise(ORIGIN, Epoch(2));
        other.raise(Origin([2; 16]), Epoch(5));
        one.raise_all(&other);
        assert_eq!((one.of(ORIGIN), one.of(Origin([2; 16]))), (Epoch(3), Epoch(5)));
        assert_eq!(other.of(ORIGIN), Epoch(2), "the other one stays as it is");
    }

    #[test]
    fn floors_read_back_as_they_were_and_a_cut_is_refused() {
        let mut floors = Floors::default();
        (1..4).for_each(|n| floors.raise(Origin([n; 16]), Epoch(u64::from(n) << 40)));
        let mut bytes = Vec::new();
        floors.encode(&mut bytes);
        assert_eq!(Floors::decode(&mut bytes.as_slice()), Ok(floors));
        assert!((0..bytes.len()).all(|end| Floors::decode(&mut &bytes[..end]).is_err()));
    }
}
