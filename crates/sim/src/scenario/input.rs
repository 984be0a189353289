//! The input of an edge.

use pipeline::IntervalSet;

use crate::dice::Dice;
use crate::machine::Machine;

/// Source of an edge's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    /// Files that an application writes and rotates.
    Files,
    /// Numbers that the edge generates.
    Numbers,
    /// A sender that sends each event once.
    Client,
}

/// The input of an edge.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input {
    pub(crate) reads: Reads,
    /// Total number of events.
    pub(crate) events: u64,
    /// Milliseconds between two writes of the application or the sender, if any.
    pub(crate) pause_millis: u64,
}

impl Input {
    /// Returns the events that must be in the store or in dead letters at the end.
    pub(crate) fn accepted(&self, machine: &Machine) -> IntervalSet {
        match self.reads {
            Reads::Files | Reads::Numbers => IntervalSet::from(0..self.events),
            // Events without a response may be stored or not.
            Reads::Client => machine.sent().1,
        }
    }

    /// Draws the input of an edge.
    pub(super) fn draw(dice: &Dice) -> Self {
        let events = dice.between(300, 2_500);
        // The last line is written before the faults end.
        let pause_millis = 45_000 / events.div_ceil(7);
        let reads = *dice.pick(&[Reads::Files, Reads::Files, Reads::Numbers, Reads::Client]);
        Self { reads, events, pause_millis }
    }
}
