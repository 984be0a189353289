//! Under which name a channel has a batch that another agent named.
//!
//! A channel has it under the name that it came with, or under that of a part
//! ([`pipeline::PartNames`]). Which of them a new batch gets follows from the configuration, and an
//! earlier one, or an earlier version, may have chosen otherwise. So both names are looked for
//! wherever something is asked, and a batch that comes again keeps the name that the channel knows.
//! Everything behind the channel sees that name alone; whatever sent the batch, the one that it
//! gave.

use pipeline::{Epoch, Floors, Identity, IntervalSet, KeySet, Origin, Sequence};
use support::mutant;

use super::{AgentIntake, Fed};

/// Batches with dead letters that one message names at most.
const LETTERS_MAX: usize = 16 << 10;

impl AgentIntake {
    /// Of these batches, under the names that they came with, those with dead letters here or at
    /// the next agents, and the number of their events there. Where the channels have copies of the
    /// events, those of the channel with the most count.
    pub(super) fn letters_of(&self, committed: &KeySet) -> Vec<(Identity, u64)> {
        let Some(known) = self.dead_letters.with_letters() else { return Vec::new() };
        let mut named = KeySet::default();
        for fed in &self.required {
            named.insert_all(&fed.came_as(&known).intersection(committed));
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

impl Fed {
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

    /// The part of them that every consumer has committed.
    pub(super) fn settled(&self, origin: Origin, epoch: Epoch) -> IntervalSet {
        let mut settled = self.channel.settled(origin, epoch);
        settled.insert_all(&self.channel.settled(self.names.of_origin(origin), epoch));
        settled
    }

    /// The names that these batches of the channel may have come with. What is none of them names
    /// no batch of any agent.
    pub(super) fn came_as(&self, keys: &KeySet) -> KeySet {
        let mut came = keys.clone();
        for (origin, epoch, sequences) in keys.iter() {
            came.insert_set(self.names.original(origin), epoch, sequences);
        }
        came
    }

    /// A sender has declared these floors: they hold for the names that batches get here.
    pub(super) fn close_epochs(&self, floors: &Floors) {
        if !self.splits {
            return self.boards.floors.hear(floors);
        }
        let mut of_parts = Floors::default();
        for (origin, epoch) in floors.iter() {
            of_parts.raise(self.names.of_origin(origin), epoch);
        }
        self.boards.floors.hear(&of_parts);
    }

    /// Whether this batch is of an epoch that is closed, under either name.
    pub(super) fn is_closed(&self, batch: Identity) -> bool {
        let floors = &self.boards.floors;
        floors.is_closed(batch) || floors.is_closed(self.names.of(batch))
    }
}
