//! Maps stored batches to tickets: one entry for each run of sequences under consecutive tickets.

use std::collections::BTreeMap;

use pipeline::{Epoch, Identity, IntervalSet, KeySet, Origin, Ticket};

/// Batches that the peer has stored and not committed yet.
#[derive(Debug, Default)]
pub(super) struct Parked {
    /// Runs of each life by their first sequence; they do not overlap.
    lives: BTreeMap<(Origin, Epoch), BTreeMap<u64, Run>>,
}

/// `length` sequences in a row, under as many tickets in a row from `ticket`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    ticket: Ticket,
    length: u64,
}

impl Parked {
    pub(super) fn is_empty(&self) -> bool {
        self.lives.is_empty()
    }

    /// Adds a batch that is not in it.
    pub(super) fn insert(&mut self, identity: Identity, ticket: Ticket) {
        let runs = self.lives.entry((identity.origin, identity.epoch)).or_default();
        let sequence = identity.sequence.0;
        let mut run = Run { ticket, length: 1 };
        if let Some(next) = runs.get(&(sequence + 1)).copied()
            && next.ticket == ticket + 1
        {
            runs.remove(&(sequence + 1));
            run.length += next.length;
        }
        match runs.range_mut(..sequence).next_back() {
            Some((start, before))
                if start + before.length == sequence && before.ticket + before.length == ticket =>
            {
                before.length += run.length;
            }
            _ => {
                runs.insert(sequence, run);
            }
        }
    }

    /// Takes the batches out that are in `keys`, and returns their tickets.
    pub(super) fn take(&mut self, keys: &KeySet) -> IntervalSet {
        let mut tickets = IntervalSet::EMPTY;
        self.lives.retain(|(origin, epoch), runs| {
            for range in keys.get(*origin, *epoch).map_or(&[][..], IntervalSet::runs) {
                take_range(runs, range.start, range.end, &mut tickets);
            }
            !runs.is_empty()
        });
        tickets
    }

    /// Removes all of them, and returns their tickets.
    pub(super) fn take_all(&mut self) -> IntervalSet {
        let mut tickets = IntervalSet::EMPTY;
        for run in std::mem::take(&mut self.lives).values().flat_map(BTreeMap::values) {
            tickets.insert_range(run.ticket..run.ticket + run.length);
        }
        tickets
    }

    /// Returns the ticket of one of them.
    pub(super) fn ticket(&self, identity: Identity) -> Option<Ticket> {
        let runs = self.lives.get(&(identity.origin, identity.epoch))?;
        let (start, run) = runs.range(..=identity.sequence.0).next_back()?;
        let offset = identity.sequence.0 - start;
        (offset < run.length).then_some(run.ticket + offset)
    }

    /// All of them.
    pub(super) fn keys(&self) -> KeySet {
        let mut keys = KeySet::default();
        for ((origin, epoch), runs) in &self.lives {
            let mut sequences = IntervalSet::EMPTY;
            for (start, run) in runs {
                sequences.insert_range(*start..start + run.length);
            }
            keys.insert_set(*origin, *epoch, &sequences);
        }
        keys
    }

    #[cfg(test)]
    pub(super) fn runs(&self) -> usize {
        self.lives.values().map(BTreeMap::len).sum()
    }
}

/// Cuts `start..end` out of `runs`.
fn take_range(runs: &mut BTreeMap<u64, Run>, start: u64, end: u64, tickets: &mut IntervalSet) {
    // A run that begins before the range may reach into it.
    let reaching = runs.range(..start).next_back().filter(|(at, run)| *at + run.length > start);
    let mut touched: Vec<(u64, Run)> = reaching.into_iter().map(|(at, run)| (*at, *run)).collect();
    touched.extend(runs.range(start..end).map(|(at, run)| (*at, *run)));
    for (at, run) in touched {
        runs.remove(&at);
        let (low, high) = (start.max(at), end.min(at + run.length));
        tickets.insert_range(run.ticket + (low - at)..run.ticket + (high - at));
        if at < low {
            runs.insert(at, Run { ticket: run.ticket, length: low - at });
        }
        if high < at + run.length {
            let length = at + run.length - high;
            runs.insert(high, Run { ticket: run.ticket + (high - at), length });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pipeline::Sequence;
    use proptest::prelude::*;

    use super::*;

    fn key(epoch: u64, sequence: u64) -> Identity {
        Identity { origin: Origin([1; 16]), epoch: Epoch(epoch), sequence: Sequence(sequence) }
    }

    #[test]
    fn a_million_batches_in_order_are_one_run() {
        let mut parked = Parked::default();
        for n in 0..1_000_000 {
            parked.insert(key(1, n), n + 77);
        }
        assert_eq!(parked.runs(), 1);
        assert_eq!(parked.take_all(), IntervalSet::from(77..1_000_077));
        assert!(parked.is_empty());
    }

    proptest! {
        /// Method: every operation is done on a plain map as well. Tickets follow the sequences
        /// with a jump in between, so that runs must not join over it.
        #[test]
        fn behaves_as_a_plain_map(
            ops in prop::collection::vec((any::<bool>(), 0u64..2, 0u64..40, 1u64..9), 0..60),
        ) {
            let (mut parked, mut model) = (Parked::default(), BTreeMap::new());
            for (insert, epoch, sequence, length) in ops {
                if insert {
                    let ticket = sequence + if sequence > 20 { 500 } else { 100 } * (epoch + 1);
                    if model.insert(key(epoch, sequence), ticket).is_none() {
                        parked.insert(key(epoch, sequence), ticket);
                    }
                } else {
                    let sequences = sequence..sequence + length;
                    let keys: KeySet = sequences.map(|s| key(epoch, s)).collect();
                    let expected: IntervalSet =
                        model.iter().filter(|(k, _)| keys.contains(**k)).map(|(_, t)| *t).collect();
                    model.retain(|k, _| !keys.contains(*k));
                    prop_assert_eq!(parked.take(&keys), expected);
                }
                prop_assert_eq!(parked.keys(), model.keys().copied().collect());
                prop_assert_eq!(parked.is_empty(), model.is_empty());
            }
            prop_assert_eq!(parked.take_all(), model.values().copied().collect());
        }
    }
}
