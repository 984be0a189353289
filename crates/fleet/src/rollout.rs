//! The state machine of a roll-out: members, waves, the gate. Pure.
//!
//! ```text
//!   Running ⇄ Paused ─► Completed
//!      └────────┴─────► RollingBack ─► RolledBack      a gate failed, or an operator aborted it
//!
//!   member: Waiting ─► Soaking ─► Passed
//!              └─► Silent ─┘
//! ```

use std::collections::{BTreeMap, BTreeSet};

use crypto::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::agents::Agent;
use crate::gate::{self, After, Before};

/// Shares of the members that have the new text after each wave but the first one, in percent.
const SHARES: [usize; 3] = [5, 50, 100];

/// The rules of a roll-out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// How long each member must stay as good as before.
    pub soak_ms: u64,
    /// Time limit for a member to apply the text.
    pub apply_ms: u64,
    /// Allowed growth of the share of dropped events and dead letters.
    pub losses_max: f64,
}

impl Default for Policy {
    fn default() -> Self {
        Self { soak_ms: 120_000, apply_ms: 300_000, losses_max: 0.01 }
    }
}

/// The rules of the state machine. Tests remove each one, to show that it is needed.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// An agent that is worse than before does not pass.
    pub gate: bool,
    /// A wave opens when all agents of the earlier ones have passed.
    pub order: bool,
    /// No offer leaves the server before its state is stored.
    pub save_first: bool,
    /// Agents with a text that has failed get the accepted one.
    pub withdraw: bool,
    /// Pinned agents keep their revision.
    pub pins: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self { gate: true, order: true, save_first: true, withdraw: true, pins: true }
    }
}

/// The state of a roll-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Waves open.
    Running,
    /// No further wave opens; the gate still works.
    Paused,
    /// Members get the accepted text back.
    RollingBack,
    /// They have it.
    RolledBack,
    /// All members have the new text.
    Completed,
}

/// The state of a member.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// It has not reported the new hash.
    Waiting,
    /// It has, and is observed.
    Soaking(After),
    /// It is as good as before.
    Passed,
    /// It has not reported since its wave opened.
    Silent,
}

/// An agent whose text changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// The number of its wave, from 0.
    pub wave: usize,
    /// Hash of its new text.
    pub hash: String,
    /// Its state before the change; set when its wave opens.
    pub before: Option<Before>,
    /// Its progress.
    pub state: MemberState,
}

/// A roll-out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// Its revision.
    pub revision: u64,
    /// Its state.
    pub phase: Phase,
    /// Its rules.
    pub policy: Policy,
    /// Number of waves.
    pub waves: usize,
    /// The last wave that is open, from 0.
    pub wave: usize,
    /// When that wave opened.
    pub opened_ms: u64,
    /// When it started.
    pub started_ms: u64,
    /// The operator.
    pub by: String,
    /// Why it is rolled back.
    pub reason: Option<String>,
    /// Its agents by uid.
    pub members: BTreeMap<String, Member>,
}

pub(crate) type Agents = BTreeMap<String, Agent>;

impl Rollout {
    /// Creates a roll-out to agents with their new hashes, and opens its first wave. Without agents
    /// it is complete.
    pub(crate) fn new(
        revision: u64,
        (now_ms, by): (u64, &str),
        policy: Policy,
        hashes: BTreeMap<String, String>,
    ) -> Self {
        let (waves, members) = members(revision, hashes);
        Self {
            revision,
            phase: if members.is_empty() { Phase::Completed } else { Phase::Running },
            policy,
            waves,
            wave: 0,
            opened_ms: now_ms,
            started_ms: now_ms,
            by: by.to_owned(),
            reason: None,
            members,
        }
    }

    /// Returns `true` while waves may open or texts go back.
    pub fn is_active(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Paused | Phase::RollingBack)
    }

    /// Returns the member if its wave has opened, so that it may have the new text.
    pub(crate) fn open_member(&self, uid: &str) -> Option<&Member> {
        self.members.get(uid).filter(|it| it.wave <= self.wave)
    }

    /// Records how the agents of the open wave are now, before they change.
    pub(crate) fn open(&mut self, now_ms: u64, agents: &Agents) {
        self.opened_ms = now_ms;
        for (uid, member) in self.members.iter_mut().filter(|(_, it)| it.wave == self.wave) {
            member.before = agents.get(uid).map(Agent::before);
        }
    }

    /// Rolls back.
    pub(crate) fn fail(&mut self, reason: String) {
        self.phase = Phase::RollingBack;
        self.reason = Some(reason);
    }

    fn gates(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Paused)
    }

    /// Applies the report of an agent; returns `true` if the state changed.
    pub(crate) fn observe(&mut self, uid: &str, agent: &Agent, rules: Rules) -> bool {
        let (policy, open, point) = (self.policy, self.wave, agent.last());
        let gates = self.gates();
        let member = self.members.get_mut(uid).filter(|it| it.wave <= open && gates);
        let Some(member) = member else { return false };
        let has_it = agent.in_force.as_ref() == Some(&member.hash);
        let failure = match &mut member.state {
            MemberState::Waiting | MemberState::Silent if has_it => {
                member.state = MemberState::Soaking(After::new(point));
                return true;
            }
            MemberState::Waiting | MemberState::Silent => {
                let failure = agent.failure.as_ref().filter(|it| it.hash == member.hash);
                failure.map(|it| format!("refused the configuration: {}", it.error))
            }
            MemberState::Soaking(_) if !has_it => {
                Some("reports another configuration during the soak".to_owned())
            }
            MemberState::Soaking(after) => {
                after.add(point, policy.soak_ms);
                if point.at_ms.saturating_sub(after.first.at_ms) < policy.soak_ms {
                    return false;
                }
                let before = member.before.unwrap_or_default();
                let judged = gate::judge(&before, after, policy.losses_max);
                if judged.is_none() || !rules.gate {
                    member.state = MemberState::Passed;
                    return true;
                }
                judged.map(|it| format!("{it} ({})", agent.verdict))
            }
            MemberState::Passed => None,
        };
        let Some(failure) = failure else { return false };
        self.fail(format!("agent {}: {failure}", agent.name));
        true
    }

    /// Applies the passing of time; returns `true` if the state changed. The server receives
    /// reports since `since_ms`: an agent is not late because the server was stopped.
    pub(crate) fn advance(
        &mut self,
        (now_ms, since_ms): (u64, u64),
        agents: &Agents,
        rules: Rules,
    ) -> bool {
        if !self.gates() {
            return false;
        }
        let (late, mut changed) = (now_ms > self.opened_ms + self.policy.apply_ms, false);
        let mut failure = None;
        for (uid, member) in self.members.iter_mut().filter(|(_, it)| it.wave <= self.wave) {
            let Some(agent) = agents.get(uid) else { continue };
            match member.state {
                MemberState::Waiting if agent.is_awaited(now_ms, since_ms) => {}
                MemberState::Waiting if late && agent.last_seen_ms < self.opened_ms => {
                    member.state = MemberState::Silent;
                    changed = true;
                }
                MemberState::Waiting if late => {
                    let seconds = self.policy.apply_ms / 1_000;
                    let text = format!("has not applied the configuration within {seconds} s");
                    failure = Some((agent, text));
                }
                MemberState::Soaking(_) if agent.is_silent_since(now_ms, since_ms) => {
                    let text = "has not reported since it applied the configuration".to_owned();
                    failure = Some((agent, text));
                }
                _ => {}
            }
        }
        if let Some((agent, text)) = failure {
            self.fail(format!("agent {}: {text}", agent.name));
            return true;
        }
        let is_done = |it: &Member| match it.state {
            MemberState::Passed | MemberState::Silent => true,
            MemberState::Soaking(_) => !rules.order,
            MemberState::Waiting => false,
        };
        let mut open = self.members.values().filter(|it| it.wave <= self.wave);
        if !open.all(is_done) || self.phase == Phase::Paused {
            return changed;
        }
        let wave = || self.members.values().filter(|it| it.wave == self.wave);
        let (all, silent) = (wave().count(), wave().filter(|it| it.state == MemberState::Silent));
        let silent = silent.count();
        if 5 * silent > all {
            self.fail(format!("{silent} of {all} agents of the wave do not report"));
        } else if self.wave + 1 < self.waves {
            self.wave += 1;
            self.open(now_ms, agents);
        } else {
            self.phase = Phase::Completed;
        }
        true
    }
}

/// Assigns the agents to waves: first one for each distinct text, then growing shares. The order is
/// random, and the same for the same revision.
fn members(revision: u64, hashes: BTreeMap<String, String>) -> (usize, BTreeMap<String, Member>) {
    let mut order: Vec<(Vec<u8>, String, String)> = hashes
        .into_iter()
        .map(|(uid, hash)| {
            let key = digest(&SHA256, format!("{revision} {uid}").as_bytes());
            (key.as_ref().to_vec(), uid, hash)
        })
        .collect();
    order.sort();
    let all = order.len();
    let mut texts = BTreeSet::new();
    // A stable sort: the first of each text go to the front.
    let mut order: Vec<_> =
        order.into_iter().map(|(_, uid, hash)| (!texts.insert(hash.clone()), uid, hash)).collect();
    order.sort_by_key(|(is_further, ..)| *is_further);
    let ends = SHARES.map(|share| (share * all).div_ceil(100));
    let mut ends: Vec<usize> = std::iter::once(texts.len()).chain(ends).collect();
    ends.dedup_by(|next, before| *next <= *before);
    let wave_of = |at: usize| ends.iter().take_while(|end| **end <= at).count();
    let members = order.into_iter().enumerate().map(|(at, (_, uid, hash))| {
        let state = MemberState::Waiting;
        (uid, Member { wave: wave_of(at), hash, before: None, state })
    });
    (if all == 0 { 0 } else { ends.len() }, members.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(all: usize, texts: usize) -> Vec<usize> {
        let hashes = (0..all).map(|it| (format!("agent-{it}"), format!("{}", it % texts.max(1))));
        let (waves, members) = members(7, hashes.collect());
        let size = |wave| members.values().filter(|it| it.wave == wave).count();
        (0..waves).map(size).collect()
    }

    #[test]
    fn waves_grow_from_one_agent_of_each_text_to_all() {
        for (all, texts, expected) in [
            (0, 1, vec![]),
            (1, 1, vec![1]),
            (2, 1, vec![1, 1]),
            (6, 1, vec![1, 2, 3]),
            (6, 3, vec![3, 3]),
            (100, 1, vec![1, 4, 45, 50]),
            (1_000, 2, vec![2, 48, 450, 500]),
        ] {
            assert_eq!(sizes(all, texts), expected, "{all} agents, {texts} texts");
        }
    }
}
