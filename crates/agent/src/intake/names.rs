//! The name of a batch from another agent in a channel.
//!
//! A channel has the batch under its original name, or under the name of a part
//! ([`pipeline::PartNames`]). The configuration decides which name a new batch gets, but an earlier
//! configuration or version may have decided otherwise. Therefore every query looks for both names,
//! and a resent batch keeps the name that the channel knows. Everything downstream of the channel
//! uses only that name; the sender uses only the original one.

use pipeline::{Epoch, Floors, Identity, IntervalSet, KeySet, Origin, Reached, Sequence};
use support::mutant;

use super::{AgentIntake, FedChannel};

/// Maximum number of batches with dead letters in one message.
const LETTERS_MAX: usize = 16 << 10;

impl AgentIntake {
    /// Returns the batches, by their original names, that have dead letters here or downstream,
    /// with the number of events. If several channels have copies of the events, the
    /// channel with the most counts.
    pub(super) fn letters_of(&self, committed: &KeySet) -> Vec<(Identity, u64)> {
        let Some(known) = self.dead_letters.with_letters() else { return Vec::new() };
        let mut named = KeySet::default();
        for fed in &self.required {
            named.insert_all(&fed.original_keys(&known).intersection(committed));
        }
        let splits = self.required.iter().any(|fed| fed.splits);
        let batches = named.iter().flat_map(|(origin, epoch, sequences)| {
            let batch = move |sequence| Identity { origin, epoch, sequence: Sequence(sequence) };
            sequences.iter().map(batch)
        });
        let events = |batch: Identity| {
            let channels = self.required.iter();
            let left =
                channels.map(|fed| self.dead_letters.events_of(&fed.name, fed.name_for(batch)));
            let left = if splits { left.sum::<u64>() } else { left.max().unwrap_or_default() };
            left + self.dead_letters.events_of("", batch)
        };
        let letters = batches.map(|batch| (batch, events(batch))).filter(|(_, events)| *events > 0);
        letters.take(LETTERS_MAX).collect()
    }
}

impl FedChannel {
    /// The name under which this channel is to store a batch of another agent.
    pub(super) fn name_for(&self, batch: Identity) -> Identity {
        let part = self.names.of(batch);
        let splits = self.splits && !mutant!("parts_share_a_name");
        let (now, before) = if splits { (part, batch) } else { (batch, part) };
        let known = self.channel.stored(before.origin, before.epoch);
        if known.contains(before.sequence.0) { before } else { now }
    }

    /// Sequences of a life that the channel has stored, under either name.
    pub(super) fn stored(&self, origin: Origin, epoch: Epoch) -> IntervalSet {
        let mut stored = self.channel.stored(origin, epoch);
        stored.insert_all(&self.channel.stored(self.names.of_origin(origin), epoch));
        stored
    }

    /// Returns the part of them that every consumer has committed.
    pub(super) fn settled(&self, origin: Origin, epoch: Epoch) -> IntervalSet {
        let mut settled = self.channel.settled(origin, epoch);
        settled.insert_all(&self.channel.settled(self.names.of_origin(origin), epoch));
        settled
    }

    /// Returns the possible original names of these batches of the channel. A name without an
    /// original names no batch of any agent.
    pub(super) fn original_keys(&self, keys: &KeySet) -> KeySet {
        let mut came = keys.clone();
        for (origin, epoch, sequences) in keys.iter() {
            came.insert_set(self.names.original(origin), epoch, sequences);
        }
        came
    }

    /// Applies a sender's floors to the names of batches here.
    pub(super) fn close_epochs(&self, floors: &Floors) {
        if !self.splits {
            return self.boards.floors.observe(floors);
        }
        let mut of_parts = Floors::default();
        for (origin, epoch) in floors.iter() {
            of_parts.raise(self.names.of_origin(origin), epoch);
        }
        self.boards.floors.observe(&of_parts);
    }

    /// Applies the reports of a sender to both names of batches here.
    pub(super) fn observe_progress(&self, reports: &[(Origin, Reached)]) {
        for (origin, reached) in reports {
            let names = [*origin, self.names.of_origin(*origin)];
            let names = names.into_iter().take(if self.splits { 2 } else { 1 });
            self.boards.progress.observe(names.map(|name| (name, reached.clone())));
        }
    }

    /// Returns `true` if this batch is of a closed epoch, by either name.
    pub(super) fn is_closed(&self, batch: Identity) -> bool {
        let floors = &self.boards.floors;
        floors.is_closed(batch) || floors.is_closed(self.names.of(batch))
    }
}
