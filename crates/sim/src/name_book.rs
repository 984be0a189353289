//! The DNS records of one simulation, and their outages.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};

use crate::dice::Dice;
use crate::world::lock;

/// The DNS records of one simulation.
#[derive(Default)]
pub(crate) struct NameBook {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    agents: Vec<Arc<str>>,
    hidden: BTreeSet<Arc<str>>,
    answer: Answer,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Answer {
    /// All agents that are not hidden.
    #[default]
    Right,
    /// An empty answer.
    Empty,
    /// No answer.
    Silence,
}

impl NameBook {
    /// Registers these agents.
    pub(crate) fn list(&self, agents: Vec<Arc<str>>) {
        lock(&self.state).agents = agents;
    }

    /// Hides some agents, or causes wrong answers.
    pub(crate) fn trouble(&self, dice: &Dice) {
        let mut state = lock(&self.state);
        match dice.below(6) {
            0 => state.answer = Answer::Empty,
            1 => state.answer = Answer::Silence,
            _ => {
                let hidden = state.agents.iter().filter(|_| dice.chance(400)).cloned();
                state.hidden = hidden.collect();
            }
        }
    }

    /// Makes all agents visible.
    pub(crate) fn heal(&self) {
        let mut state = lock(&self.state);
        (state.hidden, state.answer) = (BTreeSet::new(), Answer::Right);
    }

    /// Returns the visible agents of a tier.
    pub(crate) fn tier(&self, tier: &str) -> io::Result<Vec<Arc<str>>> {
        let state = lock(&self.state);
        let is_there = |name: &&Arc<str>| name.starts_with(tier) && !state.hidden.contains(*name);
        match state.answer {
            Answer::Right => Ok(state.agents.iter().filter(is_there).cloned().collect()),
            Answer::Empty => Ok(Vec::new()),
            Answer::Silence => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}
