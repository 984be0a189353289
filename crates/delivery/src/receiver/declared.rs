//! Decides which floors of a Hello take effect: floors of origins whose batches arrive on the same
//! stream.
//!
//! ```text
//!   Hello: floors of p, q, x ─► wait ─► a batch of p is stored here ─► the floor of p takes effect
//!                                       the stream ends              ─► floors of q, x are dropped
//! ```
//!
//! A floor makes agents reject old copies of an origin's batches. Only the origin's own sender, or
//! a relay that carries its batches, can know the floor; floors of other origins are ignored. A
//! sender repeats its floors in each Hello, so a floor that is not kept here arrives again.

use std::collections::BTreeSet;

use pipeline::{Floors, Origin};

/// Origins of one stream that are remembered, and floors that wait.
const ORIGINS_MAX: usize = 1 << 14;

/// The floors that one stream has declared, and the origins that are its own.
#[derive(Debug, Default)]
pub(super) struct Declared {
    waiting: Floors,
    own: BTreeSet<Origin>,
}

impl Declared {
    /// Records the floors that the sender declares; returns the floors that take effect now.
    pub(super) fn declare(&mut self, floors: &Floors) -> Floors {
        let (mut counting, mut waiting) = (Floors::default(), self.waiting.iter().count());
        for (origin, epoch) in floors.iter() {
            if self.own.contains(&origin) {
                counting.raise(origin, epoch);
            } else if waiting < ORIGINS_MAX {
                self.waiting.raise(origin, epoch);
                waiting += 1;
            }
        }
        counting
    }

    /// Records that a batch of `origin` from this stream is stored; returns its floor if one was
    /// waiting.
    pub(super) fn carried(&mut self, origin: Origin) -> Option<Floors> {
        if self.own.len() < ORIGINS_MAX {
            self.own.insert(origin);
        }
        let epoch = self.waiting.take(origin)?;
        let mut counting = Floors::default();
        counting.raise(origin, epoch);
        Some(counting)
    }
}

#[cfg(test)]
mod tests {
    use pipeline::Epoch;

    use super::*;

    fn floors(origins: impl IntoIterator<Item = u32>) -> Floors {
        let mut floors = Floors::default();
        for n in origins {
            let mut origin = [0; 16];
            origin[..4].copy_from_slice(&n.to_be_bytes());
            floors.raise(Origin(origin), Epoch(9));
        }
        floors
    }

    fn origin(n: u32) -> Origin {
        floors([n]).iter().next().unwrap().0
    }

    #[test]
    fn a_floor_counts_once_a_batch_of_its_origin_has_come_on_the_same_stream() {
        let mut declared = Declared::default();
        assert!(declared.declare(&floors([1, 2])).is_empty());
        assert_eq!(declared.carried(origin(1)), Some(floors([1])));
        assert_eq!(declared.carried(origin(1)), None, "it counts already");
        assert_eq!(declared.carried(origin(3)), None, "nothing was said of it");
        assert_eq!(declared.declare(&floors([1, 2, 3])), floors([1, 3]));
    }

    #[test]
    fn floors_of_unknown_origins_wait_only_so_many() {
        let mut declared = Declared::default();
        for _ in 0..3 {
            assert!(declared.declare(&floors(0..2 * ORIGINS_MAX as u32)).is_empty());
        }
        assert!(declared.waiting.iter().count() <= ORIGINS_MAX);
        assert_eq!(declared.carried(origin(5)), Some(floors([5])));
    }
}
