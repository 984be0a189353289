//! Connections between agents and stores, from the reports of the agents. Pure.
//!
//! ```text
//!   report of an edge:      sink collector ─► address, incarnation i, delivered events
//!   report of a collector:  source edges, incarnation i; sink store ─► URL, delivered events
//!                                         └─► edge ─► collector ─► store, with rates
//! ```
//!
//! A source for agents announces a random number to its senders, its *incarnation*. Both sides
//! report it, so that names, addresses and proxies do not matter. An incarnation that no agent of
//! the fleet reports, or that several report, leads to an address.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::agents::Agent;
use crate::gate::Level;

/// Minimum time between the two counts of a rate. Sinks that commit in intervals deliver nothing in
/// between.
const WINDOW_MS: u64 = 60_000;

/// The type of sinks whose servers are agents.
const AGENT_KIND: &str = "grpc";

/// A sink of an agent, and where it sends to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// Its name.
    pub sink: String,
    /// Its type.
    pub kind: String,
    /// Address, URL or directory; empty if it has none.
    pub address: String,
    /// Incarnation of the agent's source at the address; 0 if it is unknown.
    pub incarnation: u64,
    /// Delivered events.
    pub delivered: u64,
}

/// A source of an agent for other agents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receiver {
    /// Its name.
    pub source: String,
    /// The incarnation that it announces.
    pub incarnation: u64,
    /// Agents that are connected.
    pub senders: u32,
}

/// A sink over several reports.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Measured {
    last: Destination,
    /// Earlier counts: time and delivered events. Each is replaced by the next one after
    /// [`WINDOW_MS`].
    marks: [(u64, u64); 2],
}

impl Measured {
    fn new(now_ms: u64, last: Destination) -> Self {
        let mark = (now_ms, last.delivered);
        Self { last, marks: [mark; 2] }
    }

    fn update(&mut self, now_ms: u64, next: Destination) {
        let moved = next.address != self.last.address;
        if moved || next.delivered < self.last.delivered {
            *self = Self::new(now_ms, next);
            return;
        }
        // It is unknown while a new process has not connected.
        let known = self.last.incarnation;
        self.last = next;
        if self.last.incarnation == 0 {
            self.last.incarnation = known;
        }
        if now_ms.saturating_sub(self.marks[1].0) >= WINDOW_MS {
            self.marks = [self.marks[1], (now_ms, self.last.delivered)];
        }
    }

    /// Delivered events per second up to the report at `last_ms`; `None` after the first one.
    fn rate(&self, last_ms: u64) -> Option<f32> {
        let (at_ms, delivered) = self.marks[0];
        let millis = last_ms.checked_sub(at_ms).filter(|it| *it > 0)?;
        let events = self.last.delivered.saturating_sub(delivered);
        Some((events as f64 * 1e3 / millis as f64) as f32)
    }
}

/// The sinks of an agent, and its sources for other agents.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Links {
    #[serde(default)]
    sinks: Vec<Measured>,
    #[serde(default)]
    receivers: Vec<Receiver>,
}

impl Links {
    fn is_empty(&self) -> bool {
        self.sinks.is_empty() && self.receivers.is_empty()
    }

    /// Applies a report.
    pub(crate) fn update(
        &mut self,
        now_ms: u64,
        (destinations, receivers): (Vec<Destination>, Vec<Receiver>),
    ) {
        let mut earlier = std::mem::take(&mut self.sinks);
        let sinks = destinations.into_iter().map(|next| {
            match earlier.iter_mut().find(|it| it.last.sink == next.sink) {
                Some(known) => {
                    known.update(now_ms, next);
                    std::mem::take(known)
                }
                None => Measured::new(now_ms, next),
            }
        });
        self.sinks = sinks.collect();
        self.receivers = receivers;
    }
}

/// All connections.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Topology {
    /// Agents with a connection, addresses of unknown agents, and stores, by id.
    pub nodes: Vec<Node>,
    /// The connections, by sender.
    pub edges: Vec<Edge>,
}

/// The kind of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// An agent of this fleet.
    Agent,
    /// The address of an agent that the fleet does not know.
    Address,
    /// The server or the directory of any other sink.
    Store,
}

/// A place that sends or receives events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    /// The uid of an agent; otherwise the kind, and the address.
    pub id: String,
    /// Its kind.
    pub kind: NodeKind,
    /// The name of the agent, or the address.
    pub name: String,
    /// The worst finding of an agent.
    pub level: Option<Level>,
    /// True if it is an agent that does not report.
    pub silent: bool,
    /// Agents that are connected to its sources; `null` if it has none. It may be more than its
    /// senders in this fleet.
    pub connected: Option<u32>,
}

/// A connection of a sink.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Edge {
    /// The uid of the agent.
    pub from: String,
    /// The id of the other node.
    pub to: String,
    /// The sink.
    pub sink: String,
    /// Its type.
    pub kind: String,
    /// Delivered events per second, over one to two minutes; `null` if the agent does not report,
    /// or has reported only once.
    pub events_per_second: Option<f32>,
    /// Events that the sink has delivered since it was started.
    pub delivered_events: u64,
}

/// The agents by the incarnations of their sources; `None` for an incarnation of several agents.
fn by_incarnation(agents: &BTreeMap<String, Agent>) -> BTreeMap<u64, Option<&str>> {
    let mut found = BTreeMap::new();
    for (uid, agent) in agents {
        for receiver in agent.links.receivers.iter().filter(|it| it.incarnation != 0) {
            let owner = found.entry(receiver.incarnation).or_insert(Some(uid.as_str()));
            if *owner != Some(uid.as_str()) {
                *owner = None;
            }
        }
    }
    found
}

/// Returns the node that is not an agent of the fleet.
fn outside(uid: &str, agent: &Agent, it: &Destination) -> Node {
    let (kind, place) = match it.kind == AGENT_KIND {
        true => (NodeKind::Address, "address"),
        false => (NodeKind::Store, "store"),
    };
    let host = it.address.split_once("://").map_or(&*it.address, |(_, rest)| rest);
    // Directories, and addresses of the host itself, are different on each host.
    let is_local = it.address.starts_with("file:")
        || ["/", "localhost", "127.", "[::1]"].iter().any(|local| host.starts_with(local));
    let named = match (kind, it.address.is_empty()) {
        (_, true) => it.kind.clone(),
        (NodeKind::Store, false) => format!("{} {}", it.kind, it.address),
        (_, false) => it.address.clone(),
    };
    let (id, name) = match is_local {
        true => (format!("{place} {named} {uid}"), format!("{named} on {}", agent.name)),
        false => (format!("{place} {named}"), named),
    };
    Node { id, kind, name, level: None, silent: false, connected: None }
}

impl Topology {
    /// Of these agents at this time.
    pub(crate) fn new(agents: &BTreeMap<String, Agent>, now_ms: u64) -> Self {
        let owners = by_incarnation(agents);
        let (mut edges, mut nodes) = (Vec::new(), BTreeMap::new());
        for (uid, agent) in agents {
            let is_silent = agent.is_silent(now_ms);
            for measured in &agent.links.sinks {
                let it = &measured.last;
                let to = match owners.get(&it.incarnation).copied().flatten() {
                    Some(owner) if it.kind == AGENT_KIND => owner.to_owned(),
                    _ => {
                        let node = outside(uid, agent, it);
                        nodes.entry(node.id.clone()).or_insert(node).id.clone()
                    }
                };
                let rate = measured.rate(agent.last_seen_ms).filter(|_| !is_silent);
                edges.push(Edge {
                    from: uid.clone(),
                    to,
                    sink: it.sink.clone(),
                    kind: it.kind.clone(),
                    events_per_second: rate,
                    delivered_events: it.delivered,
                });
            }
        }
        let known = agents.iter().filter(|(_, it)| !it.links.is_empty()).map(|(uid, agent)| {
            let receivers = &agent.links.receivers;
            let connected = receivers.iter().fold(0_u32, |sum, it| sum.saturating_add(it.senders));
            Node {
                id: uid.clone(),
                kind: NodeKind::Agent,
                name: agent.name.clone(),
                level: Some(agent.last().level),
                silent: agent.is_silent(now_ms),
                connected: (!receivers.is_empty()).then_some(connected),
            }
        });
        Self { nodes: known.chain(nodes.into_values()).collect(), edges }
    }
}
