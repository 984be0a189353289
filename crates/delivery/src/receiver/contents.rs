//! Whether an identity comes with the content that it came with before.
//!
//! An identity names one content for ever: it is stored with it before it is sent, and every life
//! of a channel has an epoch of its own. What breaks that is a copy of a directory that still draws
//! the same epoch, an older relay whose routes split a batch and lead to the same collector, or a
//! damaged disk. Then the second content would count as stored because the first one is, and be
//! lost without a word. So what came lately is remembered, and another content is refused.

use std::collections::{HashMap, VecDeque};

use pipeline::Identity;

/// The fingerprints of the contents that came last.
#[derive(Debug)]
pub struct Contents {
    known: HashMap<Identity, u64>,
    /// In the order in which they came first.
    order: VecDeque<Identity>,
    limit: usize,
}

impl Contents {
    /// Remembers `limit` identities, at about 100 bytes each.
    pub fn new(limit: usize) -> Self {
        Self { known: HashMap::new(), order: VecDeque::new(), limit }
    }

    /// A batch came with this [fingerprint](pipeline::Events::fingerprint). `false`: it came with
    /// another one before, which stays the one that is known.
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
        /// In any order: the first content counts as long as it is remembered, which it is until
        /// `limit` younger identities have come; and never more than `limit` are.
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
