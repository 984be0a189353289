//! Discovery of the agents of a tier, such as `srv:collector` and `srv:relay`, without the hidden
//! ones. Returns no agent during an outage.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use pipeline::env::{Names, Service};

use crate::dice::Dice;
use crate::machine::Machine;
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

    fn tier(&self, tier: &str) -> io::Result<Vec<Arc<str>>> {
        let state = lock(&self.state);
        let is_there = |name: &&Arc<str>| name.starts_with(tier) && !state.hidden.contains(*name);
        match state.answer {
            Answer::Right => Ok(state.agents.iter().filter(is_there).cloned().collect()),
            Answer::Empty => Ok(Vec::new()),
            Answer::Silence => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Discovery from one machine.
pub(crate) struct SimNames(pub(crate) Arc<Machine>);

#[async_trait]
impl Names for SimNames {
    async fn addresses(&self, host: &str, _: Option<SocketAddr>) -> io::Result<Vec<IpAddr>> {
        Err(io::Error::new(io::ErrorKind::NotFound, host.to_owned()))
    }

    async fn services(&self, name: &str, _: Option<SocketAddr>) -> io::Result<Vec<Service>> {
        self.0.pause_for_names().await;
        let found = self.0.world.names.tier(name);
        self.0.world.note(&self.0.name, format_args!("{name} is {found:?}"));
        let service = |name: &Arc<str>| Service {
            host: name.to_string(),
            port: 4141,
            priority: 0,
            weight: 1,
        };
        Ok(found?.iter().map(service).collect())
    }
}
