//! Detects an identity that arrives again with different content.
//!
//! An identity names one content forever: the content is stored before it is sent, and each life of
//! a channel has its own epoch. Three things break this rule: a copied directory that draws the
//! same epoch, an older relay that splits a batch over two routes to the same collector, and a
//! damaged disk. The second content would then count as stored because the first one is, and would
//! be lost silently. Therefore [`Contents`] remembers recent fingerprints and rejects a different
//! content.

use std::collections::{HashMap, VecDeque};

use pipeline::Identity;

/// The fingerprints of the most recent contents.
#[derive(Debug)]
pub struct Contents {
    known: HashMap<Identity, u64>,
    /// Identities, oldest first.
    order: VecDeque<Identity>,
    limit: usize,
}

impl Contents {
    /// Remembers `limit` identities, at about 100 bytes each.
    pub fn new(limit: usize) -> Self {
        Self { known: HashMap::new(), order: VecDeque::new(), limit }
    }

    /// Records a batch with this [fingerprint](pipeline::Events::fingerprint). Returns `false` if
    /// the identity is known with another fingerprint; the known one is kept.
    pub fn admit(&mut self, identity: Identity, fingerprint: u64) -> bool {
        if let Some(known) = self.known.get(&identity) {
            return *known == fingerprint;
        }
        if self.order.len() >= self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.known.insert(identity, fingerprint);
        self.order.push_back(identity);
        true
    }
}

#[cfg(test)]
mod tests {
    use pipeline::{Epoch, Origin, Sequence};
    use proptest::prelude::*;

    use super::*;

    fn key(sequence: u64) -> Identity {
        Identity { origin: Origin([7; 16]), epoch: Epoch(1), sequence: Sequence(sequence) }
    }

    proptest! {
        /// In any order, the first content counts while it is remembered, which is until `limit`
        /// newer identities arrive. At most `limit` identities are remembered.
        #[test]
        fn another_content_is_told_as_long_as_the_first_is_remembered(
            puts in prop::collection::vec((0..12_u64, 0..3_u64), 0..80),
            limit in 1..8_usize,
        ) {
            let mut contents = Contents::new(limit);
            let mut model: Vec<(u64, u64)> = Vec::new();
            for (sequence, fingerprint) in puts {
                let first = model.iter().find(|(known, _)| *known == sequence);
                let same = first.is_none_or(|(_, known)| *known == fingerprint);
                prop_assert_eq!(contents.admit(key(sequence), fingerprint), same);
                if first.is_none() {
                    model.push((sequence, fingerprint));
                    model.drain(..model.len().saturating_sub(limit));
                }
                prop_assert_eq!(contents.known.len(), model.len());
                prop_assert_eq!(contents.order.len(), model.len());
            }
        }
    }
}
