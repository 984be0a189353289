//! The letters of a running agent, in memory: their keys, and the number of events of each batch.
//!
//! Includes letters that downstream agents have reported: they are counted, and reported to the
//! agent that sent the batch. They are forgotten when the agent stops.

use std::collections::BTreeMap;

use peers::DeadLettered;
use pipeline::{Identity, KeySet, LetterCounts};

use super::Label;

/// Batches of one group with letters at the next agents that are remembered.
const DOWNSTREAM_MAX: usize = 16 << 10;

/// A channel and a group that takes from it; both empty for events that an interceptor rejected.
type Place = (String, String);

/// The letters that are known.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Keys of letters, and whether this life of the agent has written or confirmed them. The batch
    /// of such a letter has left its channel, or is about to.
    keys: BTreeMap<String, bool>,
    identities: KeySet,
    counts: BTreeMap<Place, LetterCounts>,
    downstream: BTreeMap<Place, BTreeMap<Identity, u64>>,
}

impl Known {
    /// A letter with this many events was found on disk.
    pub(super) fn found(&mut self, label: &Label, events: u64) {
        if let Some(identity) = label.identity {
            self.identities.insert(identity);
        }
        if !label.key.is_empty() {
            self.keys.entry(label.key.clone()).or_default();
        }
        let place = (label.channel.clone(), label.group.clone());
        self.counts.entry(place).or_default().add(label.count(events));
    }

    /// A letter was written now.
    pub(super) fn written(&mut self, label: &Label, events: u64) {
        self.found(label, events);
        self.confirm(label);
    }

    /// Returns `true` if the same letter exists, and confirms it: the batch was refused again.
    pub(super) fn confirm(&mut self, label: &Label) -> bool {
        match self.keys.get_mut(&label.key) {
            Some(confirmed) => {
                *confirmed = true;
                true
            }
            None => false,
        }
    }

    /// Returns `true` if this life of the agent has written or confirmed the letter.
    pub(super) fn is_confirmed(&self, label: &Label) -> bool {
        label.key.is_empty() || self.keys.get(&label.key).copied().unwrap_or_default()
    }

    /// The letter was taken out.
    pub(super) fn removed(&mut self, label: &Label, events: u64) {
        self.keys.remove(&label.key);
        let place = (label.channel.clone(), label.group.clone());
        if let Some(counts) = self.counts.get_mut(&place) {
            counts.remove(label.count(events));
            if counts.is_empty() {
                self.counts.remove(&place);
            }
        }
        let Some(identity) = label.identity else { return };
        if self.counts.values().all(|counts| counts.events_of(identity) == 0) {
            self.identities.remove(identity);
        }
    }

    /// Returns the batches with events in letters.
    pub(super) fn identities(&self) -> &KeySet {
        &self.identities
    }

    /// Returns the letters by channel; letters of interceptors have an empty name.
    pub(super) fn by_channel(&self) -> BTreeMap<String, LetterCounts> {
        let mut channels: BTreeMap<String, LetterCounts> = BTreeMap::new();
        for ((channel, _), counts) in &self.counts {
            channels.entry(channel.clone()).or_default().add_all(counts);
        }
        channels
    }

    /// The next agents have reported letters of a batch that `group` took from `channel`.
    pub(super) fn reported(&mut self, channel: &str, group: &str, letters: DeadLettered) {
        let place = (channel.to_owned(), group.to_owned());
        let batches = self.downstream.entry(place).or_default();
        batches.insert(letters.identity, letters.events);
        if batches.len() > DOWNSTREAM_MAX {
            batches.pop_first();
        }
    }

    /// Returns the events of a batch in letters, here or at downstream agents, after it left
    /// `channel`. With several groups, returns the number of the group with the most.
    pub(super) fn events_of(&self, channel: &str, batch: Identity) -> u64 {
        let mut groups: BTreeMap<&str, u64> = BTreeMap::new();
        for ((of, group), counts) in self.counts.iter().filter(|((of, _), _)| of == channel) {
            debug_assert_eq!(of, channel);
            *groups.entry(group).or_default() += counts.events_of(batch);
        }
        for ((_, group), batches) in self.downstream.iter().filter(|((of, _), _)| of == channel) {
            *groups.entry(group).or_default() += batches.get(&batch).copied().unwrap_or_default();
        }
        groups.into_values().max().unwrap_or_default()
    }

    /// Batches that are known to have letters, here or at the next agents.
    pub(super) fn batches(&self) -> KeySet {
        let mut batches = self.identities.clone();
        let downstream = self.downstream.values().flat_map(BTreeMap::keys);
        batches.insert_all(&downstream.copied().collect());
        batches
    }

    /// Returns `true` if no batch has letters, here or at downstream agents.
    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.downstream.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use pipeline::{Epoch, Origin, Sequence};

    use super::*;

    fn batch(sequence: u64) -> Identity {
        Identity { origin: Origin([3; 16]), epoch: Epoch(1), sequence: Sequence(sequence) }
    }

    fn label(key: &str, group: &str, sequence: u64) -> Label {
        Label {
            key: key.into(),
            reason: "refused".into(),
            detail: String::new(),
            at_ms: 1,
            channel: "main".into(),
            group: group.into(),
            sink: group.into(),
            source: String::new(),
            interceptor: String::new(),
            identity: Some(batch(sequence)),
            whole: false,
        }
    }

    #[test]
    fn events_of_a_batch_are_those_of_the_group_with_the_most() {
        let mut known = Known::default();
        known.written(&label("a", "one", 1), 2);
        known.written(&label("b", "one", 1), 3);
        known.written(&label("c", "other", 1), 4);
        assert_eq!(known.events_of("main", batch(1)), 5);
        known.reported("main", "other", DeadLettered { ticket: 9, identity: batch(1), events: 6 });
        assert_eq!(known.events_of("main", batch(1)), 10);
        assert_eq!((known.events_of("main", batch(2)), known.events_of("", batch(1))), (0, 0));
    }

    #[test]
    fn a_batch_is_known_until_its_last_letter_is_removed() {
        let mut known = Known::default();
        known.found(&label("a", "one", 1), 2);
        known.written(&label("b", "other", 1), 3);
        assert!(!known.is_confirmed(&label("a", "one", 1)), "it is of an earlier life");
        assert!(known.is_confirmed(&label("b", "other", 1)));
        assert!(known.confirm(&label("a", "one", 1)) && !known.confirm(&label("x", "one", 1)));
        assert!(known.is_confirmed(&label("a", "one", 1)), "its batch was refused again");
        known.removed(&label("b", "other", 1), 3);
        assert_eq!(known.identities().count(), 1);
        known.removed(&label("a", "one", 1), 2);
        assert!(known.is_empty() && known.identities().is_empty());
    }

    #[test]
    fn only_so_many_reports_are_remembered() {
        let mut known = Known::default();
        for sequence in 0..DOWNSTREAM_MAX as u64 + 5 {
            let letters = DeadLettered { ticket: 0, identity: batch(sequence), events: 1 };
            known.reported("main", "next", letters);
        }
        assert_eq!(known.downstream.values().map(BTreeMap::len).sum::<usize>(), DOWNSTREAM_MAX);
        assert_eq!((known.events_of("main", batch(0)), known.events_of("main", batch(9))), (0, 1));
    }
}
