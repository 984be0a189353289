//! Acts of operators. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fleet, Save};
use crate::agents::Agent;
use crate::pins::Target;
use crate::revision::Revision;
use crate::rollout::{Phase, Policy, Rollout};

/// Refuses an act that must not change a running roll-out.
const IS_RUNNING: &str = "a roll-out is running; wait for its end, or abort it";

/// An act of an operator.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Rolls out a revision.
    RollOut(u64, Box<Revision>, Policy),
    /// Opens no further wave.
    Pause,
    /// Opens waves again.
    Resume,
    /// Rolls back.
    Abort,
    /// Pins agents to an accepted revision; without one, to the revision that they have.
    Pin(Target, Option<(u64, Box<Revision>)>),
    /// Includes pinned agents in roll-outs again.
    Unpin(Target),
}

/// The agents that a roll-out of a revision would change now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changed {
    /// New hashes of the agents that report.
    pub hashes: BTreeMap<String, String>,
    /// Number of those that do not report. They get the revision later, without a gate.
    pub silent: usize,
    /// Number of those that are pinned.
    pub pinned: usize,
}

impl Fleet {
    /// Returns the agents that a roll-out of this revision would change now.
    ///
    /// # Errors
    /// A roll-out is running, the fragments of an agent do not fit together, no agent could be
    /// observed, or it is unknown which agents report.
    pub fn changed_by(&self, revision: &Revision, now_ms: u64) -> Result<Changed, String> {
        if self.is_rolling_out() {
            return Err(IS_RUNNING.to_owned());
        }
        let mut checked = BTreeSet::new();
        let (mut changed, mut unheard) = (Changed::default(), 0);
        for (uid, agent) in self.agents.iter().filter(|(_, it)| it.managed) {
            let Some(rendered) = revision.render(&agent.labels) else { continue };
            // Agents with the same labels share a text, which is parsed once.
            if checked.insert(rendered.hash.clone()) {
                let problem = |problem| format!("agent {}: {problem}", agent.name);
                rendered.check().map_err(problem)?;
            }
            let hash = rendered.hash.clone();
            if agent.in_force.as_ref() == Some(&hash) {
                continue;
            }
            if self.holds(uid, agent) {
                changed.pinned += 1;
            } else if agent.is_silent(now_ms) {
                changed.silent += 1;
                unheard += usize::from(!agent.is_silent_since(now_ms, self.since_ms));
            } else {
                changed.hashes.insert(uid.clone(), hash);
            }
        }
        let Changed { hashes, silent, pinned } = &changed;
        if unheard > 0 {
            return Err(format!(
                "the server has just started, and {unheard} agents have not reported yet; retry \
                 in a minute"
            ));
        }
        if hashes.is_empty() && *silent > 0 {
            return Err(format!(
                "none of the {silent} agents whose configuration changes reports; start them first"
            ));
        }
        // Without a gate the revision would be accepted, and offered to agents that are unpinned.
        if hashes.is_empty() && *pinned > 0 {
            return Err(format!(
                "all {pinned} agents whose configuration changes are pinned; unpin some"
            ));
        }
        Ok(changed)
    }

    fn is_rolling_out(&self) -> bool {
        self.saved.rollout.as_ref().is_some_and(Rollout::is_active)
    }

    /// Does what an operator wants.
    ///
    /// # Errors
    /// It is not possible now, or the state cannot be stored: the reason.
    pub fn act(
        &mut self,
        (now_ms, by): (u64, &str),
        act: Act,
        save: &mut impl Save,
    ) -> Result<(), String> {
        let before = (self.saved.clone(), self.accepted.clone(), self.next.clone());
        let pinned = self.pinned.clone();
        let done = self.apply((now_ms, by), act);
        let stored = done.and_then(|()| {
            self.unsaved = true;
            self.store(save).map_err(|error| support::causes::chain(&error))
        });
        if let Err(problem) = stored {
            (self.saved, self.accepted, self.next) = before;
            self.pinned = pinned;
            self.events.clear();
            return Err(problem);
        }
        Ok(())
    }

    fn apply(&mut self, (now_ms, by): (u64, &str), act: Act) -> Result<(), String> {
        match act {
            Act::RollOut(number, revision, policy) => {
                self.roll_out((now_ms, by), (number, *revision), policy)
            }
            Act::Pin(target, chosen) => self.pin_agents(by, &target, chosen),
            Act::Unpin(target) => self.unpin_agents(by, &target),
            Act::Pause | Act::Resume | Act::Abort => self.steer(by, &act),
        }
    }

    fn roll_out(
        &mut self,
        (now_ms, by): (u64, &str),
        (number, revision): (u64, Revision),
        policy: Policy,
    ) -> Result<(), String> {
        let Changed { hashes, silent, pinned } = self.changed_by(&revision, now_ms)?;
        let mut rollout = Rollout::new(number, (now_ms, by), policy, hashes);
        rollout.open(now_ms, &self.agents);
        let (agents, waves) = (rollout.members.len(), rollout.waves);
        let detail = format!(
            "revision {number}: {agents} agents in {waves} waves; {silent} agents do not \
             report and get it later; {pinned} agents are pinned"
        );
        self.event("roll-out", by, detail);
        self.next = revision;
        if rollout.phase == Phase::Completed {
            self.accept(number);
        }
        self.saved.rollout = Some(rollout);
        Ok(())
    }

    /// Pauses, resumes or aborts the roll-out.
    fn steer(&mut self, by: &str, act: &Act) -> Result<(), String> {
        let Some(rollout) = self.saved.rollout.as_mut().filter(|it| it.is_active()) else {
            return Err("no roll-out is running".to_owned());
        };
        let (action, phase) = match (act, rollout.phase) {
            (Act::Pause, Phase::Running) => ("pause", Phase::Paused),
            (Act::Resume, Phase::Paused) => ("resume", Phase::Running),
            (Act::Abort, Phase::Running | Phase::Paused) => ("abort", Phase::RollingBack),
            (_, phase) => return Err(format!("not possible: the roll-out is {phase:?}")),
        };
        rollout.phase = phase;
        if phase == Phase::RollingBack {
            rollout.fail(format!("aborted by {by}"));
        }
        self.announced = phase;
        let detail = format!("revision {}", rollout.revision);
        self.event(action, by, detail);
        Ok(())
    }

    /// Pins agents; the members of open waves of a roll-out cannot be pinned.
    fn pin_agents(
        &mut self,
        by: &str,
        target: &Target,
        chosen: Option<(u64, Box<Revision>)>,
    ) -> Result<(), String> {
        let target = self.resolved(target)?;
        let agents: Vec<(&String, &Agent)> =
            self.agents.iter().filter(|(uid, it)| it.managed && is_in(&target, uid, it)).collect();
        let Some(first) = agents.first() else {
            return Err("no selected agent accepts configurations of this server".to_owned());
        };
        let rollout = self.saved.rollout.as_ref().filter(|it| it.is_active());
        let is_open = |uid: &str| rollout.is_some_and(|it| it.open_member(uid).is_some());
        if let Some((_, agent)) = agents.iter().find(|(uid, _)| is_open(uid)) {
            return Err(format!(
                "agent {} is in an open wave; wait for the end of the roll-out, or abort it",
                agent.name
            ));
        }
        let number = match &chosen {
            Some((number, _)) => *number,
            None => self.revision_in_force(*first, &agents)?,
        };
        if !self.saved.was_accepted(number) {
            return Err(format!(
                "revision {number} is not one of the last accepted ones; roll it out first"
            ));
        }
        let detail = format!("{}: revision {number}, {} agents", self.named(&target), agents.len());
        self.saved.pins.add(&target, number)?;
        if let Some((_, revision)) = chosen {
            self.pinned.insert(number, *revision);
        } else if number == self.saved.accepted {
            // It stays in memory when another revision is accepted.
            self.pinned.insert(number, self.accepted.clone());
        }
        let needed = self.saved.pins.revisions();
        self.pinned.retain(|number, _| needed.contains(number));
        self.event("pin", by, detail);
        Ok(())
    }

    fn unpin_agents(&mut self, by: &str, target: &Target) -> Result<(), String> {
        if self.is_rolling_out() {
            return Err(IS_RUNNING.to_owned());
        }
        let target = self.resolved(target)?;
        let named = self.named(&target);
        let released = self.saved.pins.release(&target);
        let number = released.ok_or_else(|| format!("{named} is not pinned itself"))?;
        self.event("unpin", by, format!("{named}: revision {number}"));
        Ok(())
    }

    /// Names an agent by its uid.
    fn resolved(&self, target: &Target) -> Result<Target, String> {
        let Target::Agent(name) = target else { return Ok(target.clone()) };
        if self.saved.pins.agents().contains_key(name) {
            return Ok(target.clone());
        }
        let (uid, agent) = self.named_agent(name)?;
        // The uid of an agent that is read-only is refused later.
        if !agent.managed && uid != name {
            return Err(format!("agent {name} is read-only: it is not an Aqueduct agent"));
        }
        Ok(Target::Agent(uid.clone()))
    }

    /// Returns the agent with this uid, or the only one with this name.
    ///
    /// # Errors
    /// No agent has it, or several have it: the reason.
    pub(crate) fn named_agent(&self, name: &str) -> Result<(&String, &Agent), String> {
        if let Some(found) = self.agents.get_key_value(name) {
            return Ok(found);
        }
        let mut found = self.agents.iter().filter(|(_, it)| it.name == *name);
        match (found.next(), found.next()) {
            (Some(found), None) => Ok(found),
            (Some((one, _)), Some((other, _))) => {
                Err(format!("several agents have the name {name}; use a uid: {one}, {other}, …"))
            }
            (None, _) => Err(format!("no agent has the name or uid {name}")),
        }
    }

    /// Describes a target whose agents are named by uid.
    fn named(&self, target: &Target) -> String {
        match target {
            Target::Agent(uid) => {
                let name = self.agents.get(uid).map_or("", |it| &it.name);
                format!("agent {name} ({uid})")
            }
            Target::Label(label, value) => format!("label {label}={value}"),
        }
    }

    /// Returns the one revision whose text all of these agents have in force.
    fn revision_in_force(
        &self,
        first: (&String, &Agent),
        agents: &[(&String, &Agent)],
    ) -> Result<u64, String> {
        let number = |(uid, agent): (&String, &Agent)| {
            self.pin(uid, agent).map_or(self.saved.accepted, |it| it.revision)
        };
        let expected = number(first);
        let differs = agents.iter().find(|(uid, agent)| {
            let base = self.base_text(uid, agent);
            let has_it = base.is_some_and(|it| agent.in_force.as_ref() == Some(&it.hash));
            !has_it || number((*uid, *agent)) != expected
        });
        match differs {
            None => Ok(expected),
            Some((_, agent)) => Err(format!(
                "agent {} does not have the configuration of revision {expected}; choose a \
                 revision with --revision",
                agent.name
            )),
        }
    }
}

/// Returns `true` if the target, whose agents are named by uid, includes this agent.
fn is_in(target: &Target, uid: &str, agent: &Agent) -> bool {
    match target {
        Target::Agent(own) => own == uid,
        Target::Label(label, value) => agent.labels.get(label) == Some(value),
    }
}
