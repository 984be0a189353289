//! The fleet as JSON, for `aqueduct fleet` and the page. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::agents::Failure;
use crate::gate::Level;
use crate::pins::Pin;
use crate::rollout::{MemberState, Phase, Rollout};
use crate::state::Fleet;

/// All agents and the last roll-out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FleetView {
    /// The revision that all agents should have; 0 before the first one.
    pub accepted_revision: u64,
    /// The last roll-out.
    pub rollout: Option<RolloutView>,
    /// Agents that keep a revision.
    #[serde(default)]
    pub pins: Vec<PinView>,
    /// Why the last commit to git failed, if the server commits its directory.
    #[serde(default)]
    pub git_problem: Option<String>,
    /// Why the history could not be stored or read.
    #[serde(default)]
    pub history_problem: Option<String>,
    /// The agents, by name.
    pub agents: Vec<AgentView>,
}

/// A pin of an agent or of a label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinView {
    /// The name of the agent, or its uid if it is unknown.
    pub agent: Option<String>,
    /// The uid of the agent.
    pub uid: Option<String>,
    /// `NAME=VALUE`.
    pub label: Option<String>,
    /// The revision that its agents keep.
    pub revision: u64,
    /// True after it was removed: the next roll-out includes its agents.
    pub released: bool,
}

/// The last roll-out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RolloutView {
    /// Its revision.
    pub revision: u64,
    /// Its state.
    pub phase: Phase,
    /// The last wave that is open, from 1; 0 without agents.
    pub wave: usize,
    /// All of its waves.
    pub waves: usize,
    /// When it started.
    pub started_seconds_ago: f64,
    /// The operator.
    pub by: String,
    /// Why it was rolled back.
    pub reason: Option<String>,
    /// Agents whose configuration changes.
    pub members: usize,
    /// Members of waves that are not open.
    pub later: usize,
    /// Members that have not applied the configuration yet.
    pub waiting: usize,
    /// Members that are observed.
    pub soaking: usize,
    /// Members that have passed the gate.
    pub passed: usize,
    /// Members that do not report.
    pub silent: usize,
}

/// An agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentView {
    /// Names it in OpAMP.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// The name that its certificate or token proves.
    pub identity: Option<String>,
    /// Version of its program.
    pub version: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// True if it accepts configurations of this server.
    pub managed: bool,
    /// The worst finding.
    pub level: Level,
    /// The same in words.
    pub verdict: String,
    /// Events in its channels.
    pub backlog_events: u64,
    /// Age of the oldest one, if the agent reports it.
    #[serde(default)]
    pub oldest_event_seconds: Option<u32>,
    /// Its last report.
    pub last_seen_seconds_ago: f64,
    /// True if it should have reported since.
    pub silent: bool,
    /// Hash of its configuration, if that is from the server.
    pub in_force: Option<String>,
    /// Hash of the configuration that it should have; `null` if it keeps its own.
    pub wanted: Option<String>,
    /// The revision that it keeps, if it is pinned. Roll-outs leave it out.
    #[serde(default)]
    pub pinned_revision: Option<u64>,
    /// The last configuration that it has refused.
    pub failure: Option<Failure>,
}

fn seconds_ago(now_ms: u64, at_ms: u64) -> f64 {
    now_ms.saturating_sub(at_ms) as f64 / 1_000.0
}

impl FleetView {
    /// Of the fleet at this time.
    pub fn new(fleet: &Fleet, now_ms: u64) -> Self {
        let agents = fleet.agents().iter().map(|(uid, agent)| AgentView {
            uid: uid.clone(),
            name: agent.name.clone(),
            identity: agent.identity.clone(),
            version: agent.version.clone(),
            labels: agent.labels.clone(),
            managed: agent.managed,
            level: agent.last().level,
            verdict: agent.verdict.clone(),
            backlog_events: agent.last().counts.held,
            oldest_event_seconds: agent.oldest_seconds,
            last_seen_seconds_ago: seconds_ago(now_ms, agent.last_seen_ms),
            silent: agent.is_silent(now_ms),
            in_force: agent.in_force.clone(),
            wanted: fleet.wanted(uid).map(|it| it.hash.clone()),
            pinned_revision: fleet.pin(uid, agent).filter(|it| !it.released).map(|it| it.revision),
            failure: agent.failure.clone(),
        });
        let mut agents: Vec<AgentView> = agents.collect();
        agents.sort_by(|one, other| (&one.name, &one.uid).cmp(&(&other.name, &other.uid)));
        Self { agents, ..Self::rollout(fleet, now_ms) }
    }

    /// The same without the agents.
    pub fn rollout(fleet: &Fleet, now_ms: u64) -> Self {
        let saved = fleet.saved();
        let rollout = saved.rollout.as_ref().map(|it| RolloutView::new(it, now_ms));
        let pins = pins(fleet);
        Self {
            accepted_revision: saved.accepted,
            rollout,
            pins,
            git_problem: None,
            history_problem: None,
            agents: Vec::new(),
        }
    }
}

fn pins(fleet: &Fleet) -> Vec<PinView> {
    let view = |pin: &Pin| PinView {
        agent: None,
        uid: None,
        label: None,
        revision: pin.revision,
        released: pin.released,
    };
    let pins = &fleet.saved().pins;
    let agents = pins.agents().iter().map(|(uid, pin)| {
        let name = fleet.agents().get(uid).map_or(uid, |it| &it.name);
        PinView { agent: Some(name.clone()), uid: Some(uid.clone()), ..view(pin) }
    });
    let labels = pins.labels().iter();
    let labels = labels.map(|(label, value, pin)| PinView {
        label: Some(format!("{label}={value}")),
        ..view(pin)
    });
    agents.chain(labels).collect()
}

impl std::fmt::Display for PinView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.agent, &self.label) {
            (Some(agent), _) => write!(f, "agent {agent}")?,
            (None, label) => write!(f, "label {}", label.as_deref().unwrap_or_default())?,
        }
        write!(f, ": revision {}", self.revision)?;
        if self.released { write!(f, " until the next roll-out") } else { Ok(()) }
    }
}

impl RolloutView {
    fn new(rollout: &Rollout, now_ms: u64) -> Self {
        let open = || rollout.members.values().filter(|it| it.wave <= rollout.wave);
        let count = |is: fn(&MemberState) -> bool| open().filter(|it| is(&it.state)).count();
        Self {
            revision: rollout.revision,
            phase: rollout.phase,
            wave: if rollout.waves == 0 { 0 } else { rollout.wave + 1 },
            waves: rollout.waves,
            started_seconds_ago: seconds_ago(now_ms, rollout.started_ms),
            by: rollout.by.clone(),
            reason: rollout.reason.clone(),
            members: rollout.members.len(),
            later: rollout.members.len() - open().count(),
            waiting: count(|it| matches!(it, MemberState::Waiting)),
            soaking: count(|it| matches!(it, MemberState::Soaking(_))),
            passed: count(|it| matches!(it, MemberState::Passed)),
            silent: count(|it| matches!(it, MemberState::Silent)),
        }
    }
}

impl std::fmt::Display for RolloutView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { revision, wave, waves, members, passed, soaking, waiting, .. } = self;
        let phase = match self.phase {
            Phase::Running => "running",
            Phase::Paused => "paused",
            Phase::RollingBack => "rolling back",
            Phase::RolledBack => "rolled back",
            Phase::Completed => "completed",
        };
        write!(
            f,
            "revision {revision}: {phase}, wave {wave} of {waves}; of {members} agents {passed} \
             passed, {soaking} are observed, {waiting} have not applied it, {} follow later",
            self.later
        )?;
        match &self.reason {
            Some(reason) => write!(f, "; {reason}"),
            None => Ok(()),
        }
    }
}
