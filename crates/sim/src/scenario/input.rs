//! What an edge reads.

use pipeline::IntervalSet;

use crate::dice::Dice;
use crate::machine::Machine;

/// Where the events of an edge come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    /// Files that an application writes and rotates.
    Files,
    /// Numbers that the edge makes.
    Numbers,
    /// A sender that sends each event once.
    Client,
}

/// What an edge reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input {
    /// Where the events come from.
    pub(crate) reads: Reads,
    /// Events in all.
    pub(crate) events: u64,
    /// Milliseconds between two writes of the application, or the sender, if there is one.
    pub(crate) pause_millis: u64,
}

impl Input {
    /// The events that have to be in the store at the end, or among dead letters.
    pub(crate) fn accepted(&self, machine: &Machine) -> IntervalSet {
        match self.reads {
            Reads::Files | Reads::Numbers => IntervalSet::from(0..self.events),
            // The others may be stored, or not: the sender has no answer.
            Reads::Client => machine.sent().1,
        }
    }

    /// Drawn anew for each edge.
    pub(super) fn draw(dice: &Dice) -> Self {
        let events = dice.between(300, 2_500);
        // The last line is written before the faults end.
        let pause_millis = 45_000 / events.div_ceil(7);
        let reads = *dice.pick(&[Reads::Files, Reads::Files, Reads::Numbers, Reads::Client]);
        Self { reads, events, pause_millis }
    }
}
