//! The fleet: reports in, offers out. Pure: time and storage are arguments.

mod acts;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::agents::{Agent, Report};
use crate::history::Steps;
use crate::pins::{Pin, Pins};
use crate::revision::{Rendered, Revision};
use crate::rollout::{Agents, Phase, Rollout, Rules};
pub use acts::{Act, Changed};

/// Minimum time between two copies of the state that differ only in the progress of members. A
/// restarted server observes a member again if the last copy lacks its result.
const PROGRESS_MS: u64 = 5_000;

/// Accepted revisions that are remembered, besides the last one.
const EARLIER_MAX: usize = 100;

/// Maximum number of agents.
const AGENTS_MAX: usize = 20_000;

/// The state that must survive the server: on disk before an offer that follows from it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// The revision that all agents should have; 0 before the first one.
    pub accepted: u64,
    /// The last roll-out.
    pub rollout: Option<Rollout>,
    /// Revisions that were accepted before, the latest last: agents can be pinned to them.
    #[serde(default)]
    pub earlier: Vec<u64>,
    /// Agents that keep a revision.
    #[serde(default)]
    pub pins: Pins,
}

impl Saved {
    /// Accepts a revision: agents that are not pinned should have it.
    fn accept(&mut self, revision: u64) {
        if self.accepted > 0 {
            self.earlier.push(self.accepted);
        }
        let surplus = self.earlier.len().saturating_sub(EARLIER_MAX);
        self.earlier.drain(..surplus);
        self.accepted = revision;
        self.pins.remove_released();
    }

    /// Returns `true` if a roll-out of this revision has completed.
    pub(crate) fn was_accepted(&self, revision: u64) -> bool {
        revision > 0 && (revision == self.accepted || self.earlier.contains(&revision))
    }
}

/// Stores the state.
pub trait Save {
    /// Replaces the stored state, durably.
    ///
    /// # Errors
    /// The disk failed; the old state stays.
    fn save(&mut self, state: &Saved) -> io::Result<()>;
}

/// The answer to a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offer {
    /// The agent has what it should have, or is not managed.
    Nothing,
    /// It should apply this.
    Text(Arc<Rendered>),
}

/// Why a report is refused.
#[derive(Debug, Error)]
pub enum Refused {
    /// Its uid belongs to another identity.
    #[error("uid {0} belongs to an agent with another certificate or token")]
    Identity(String),
    /// There are too many agents.
    #[error("the server has {AGENTS_MAX} agents, which is the limit")]
    Full,
    /// The state cannot be stored.
    #[error("cannot store the state")]
    Storage(#[source] io::Error),
}

/// Something that happened, for the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// `roll-out`, `wave`, `completed`, `rolling back`, `rolled back`, `pause`, `resume`, `abort`,
    /// `pin`, `unpin`.
    pub action: String,
    /// The operator, or `fleet`.
    pub by: String,
    /// More about it.
    pub detail: String,
}

/// All agents and the last roll-out.
pub struct Fleet {
    saved: Saved,
    /// True while the stored state is older, so that no offer may leave the server.
    unsaved: bool,
    /// True while only the progress of members is not stored.
    progressed: bool,
    /// When the progress was stored.
    progress_ms: u64,
    /// When the server has started.
    since_ms: u64,
    /// Changes when agents may get other texts, after this is stored.
    version: u64,
    accepted: Revision,
    /// Of the roll-out.
    next: Revision,
    /// Those of the pins, by number.
    pinned: BTreeMap<u64, Revision>,
    agents: Agents,
    events: Vec<Event>,
    /// The last phase that an event has reported.
    announced: Phase,
    rules: Rules,
    pub(crate) steps: Steps,
}

impl Fleet {
    /// Continues from the stored state; `accepted` and `next` are its revisions.
    pub fn new(saved: Saved, accepted: Revision, next: Revision, agents: Agents) -> Self {
        let announced = saved.rollout.as_ref().map_or(Phase::Completed, |it| it.phase);
        let (events, rules, progress_ms, since_ms, version, steps) = Default::default();
        let (unsaved, progressed, pinned) = (false, false, BTreeMap::new());
        Self {
            saved,
            unsaved,
            progressed,
            progress_ms,
            since_ms,
            version,
            accepted,
            next,
            pinned,
            agents,
            events,
            announced,
            rules,
            steps,
        }
    }

    /// With the revisions of the stored pins.
    #[must_use]
    pub fn with_pinned(self, pinned: BTreeMap<u64, Revision>) -> Self {
        Self { pinned, ..self }
    }

    /// Begins at this time: agents could not report before.
    #[must_use]
    pub fn since(self, since_ms: u64) -> Self {
        Self { since_ms, ..self }
    }

    /// With other rules: for tests.
    #[must_use]
    pub fn with_rules(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// The agents by uid.
    pub fn agents(&self) -> &BTreeMap<String, Agent> {
        &self.agents
    }

    pub(crate) fn agents_mut(&mut self) -> &mut Agents {
        &mut self.agents
    }

    /// The state as it is stored.
    pub fn saved(&self) -> &Saved {
        &self.saved
    }

    /// Takes the events since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    fn event(&mut self, action: &str, by: &str, detail: String) {
        self.events.push(Event { action: action.to_owned(), by: by.to_owned(), detail });
    }

    /// Applies a report, and returns the offer.
    ///
    /// # Errors
    /// The report is refused, or the state cannot be stored.
    pub fn report(
        &mut self,
        now_ms: u64,
        report: Report,
        save: &mut impl Save,
    ) -> Result<Offer, Refused> {
        let uid = report.uid.clone();
        match self.agents.get(&uid) {
            Some(known) if known.identity.is_some() && known.identity != report.identity => {
                return Err(Refused::Identity(uid));
            }
            None if self.agents.len() >= AGENTS_MAX => return Err(Refused::Full),
            _ => {}
        }
        let agent = self.agents.entry(uid.clone()).or_default();
        agent.update(now_ms, report);
        if let Some(rollout) = &mut self.saved.rollout {
            let phase = rollout.phase;
            self.progressed |= rollout.observe(&uid, agent, self.rules);
            self.unsaved |= rollout.phase != phase;
        }
        // Waves open in `advance`, which looks at all members: not for each report.
        let stored = self.store(save);
        if self.rules.save_first {
            stored?;
        }
        Ok(self.offer(&uid))
    }

    /// Notes a message without content; returns `false` if the agent must send all that it knows.
    pub fn heartbeat(
        &mut self,
        now_ms: u64,
        (uid, identity): (&str, Option<&str>),
        sequence: u64,
    ) -> bool {
        let agent = self.agents.get_mut(uid).filter(|it| it.identity.as_deref() == identity);
        agent.is_some_and(|it| it.heartbeat(now_ms, sequence))
    }

    /// Returns the offer for a connected agent; [`Offer::Nothing`] while the state is not stored.
    pub fn pending(&self, uid: &str) -> Offer {
        match self.unsaved && self.rules.save_first {
            true => Offer::Nothing,
            false => self.offer(uid),
        }
    }

    /// Changes when [`pending`](Self::pending) may return something else for any agent.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Applies the passing of time. Call it every second.
    ///
    /// # Errors
    /// The state cannot be stored.
    pub fn advance(&mut self, now_ms: u64, save: &mut impl Save) -> Result<(), Refused> {
        // At most one step for each wave.
        while self.step(now_ms) {}
        if self.progressed && now_ms >= self.progress_ms + PROGRESS_MS {
            (self.unsaved, self.progress_ms) = (true, now_ms);
        }
        self.store(save)
    }

    fn step(&mut self, now_ms: u64) -> bool {
        let Some(mut rollout) = self.saved.rollout.take() else { return false };
        let (was_complete, wave) = (rollout.phase == Phase::Completed, rollout.wave);
        let times = (now_ms, self.since_ms);
        let mut changed = self.leave_out_pinned(&mut rollout);
        changed |= rollout.advance(times, &self.agents, self.rules);
        if rollout.phase == Phase::Completed && !was_complete {
            self.accept(rollout.revision);
            self.event("completed", "fleet", format!("revision {}", rollout.revision));
        }
        if rollout.wave > wave {
            self.event("wave", "fleet", format!("{} of {}", rollout.wave + 1, rollout.waves));
        }
        if rollout.phase == Phase::RollingBack {
            if self.announced != Phase::RollingBack {
                let reason = rollout.reason.clone().unwrap_or_default();
                self.event("rolling back", "fleet", reason);
            }
            if self.is_back(&rollout, now_ms) {
                rollout.phase = Phase::RolledBack;
                changed = true;
                self.event("rolled back", "fleet", format!("revision {}", rollout.revision));
            }
        }
        self.announced = rollout.phase;
        let goes_on = changed && rollout.phase == Phase::Running;
        self.saved.rollout = Some(rollout);
        self.unsaved |= changed;
        goes_on
    }

    /// Returns `true` if no agent that reports has the new text any more, except those that refuse
    /// the old one.
    fn is_back(&self, rollout: &Rollout, now_ms: u64) -> bool {
        let mut open = rollout.members.iter().filter(|(_, it)| it.wave <= rollout.wave);
        open.all(|(uid, member)| {
            let Some(agent) = self.agents.get(uid) else { return true };
            let old = self.base_text(uid, agent).unwrap_or_else(Rendered::empty);
            let refuses = agent.failure.as_ref().is_some_and(|it| it.hash == old.hash);
            let is_silent = agent.is_silent_since(now_ms, self.since_ms);
            let has_new = agent.in_force.as_ref() == Some(&member.hash);
            // The text of the failed revision may be the one that the agent should have anyway.
            !has_new || old.hash == member.hash || refuses || is_silent
        })
    }

    fn store(&mut self, save: &mut impl Save) -> Result<(), Refused> {
        if self.unsaved {
            save.save(&self.saved).map_err(Refused::Storage)?;
            (self.unsaved, self.progressed) = (false, false);
            self.version += 1;
        }
        Ok(())
    }

    /// Accepts the revision of the roll-out.
    fn accept(&mut self, revision: u64) {
        self.accepted = self.next.clone();
        self.saved.accept(revision);
        let needed = self.saved.pins.revisions();
        self.pinned.retain(|number, _| needed.contains(number));
    }

    /// Removes the members of later waves that are pinned since the roll-out started; returns
    /// `true` if there are any.
    fn leave_out_pinned(&self, rollout: &mut Rollout) -> bool {
        if self.saved.pins.is_empty() || !rollout.is_active() {
            return false;
        }
        let (before, open) = (rollout.members.len(), rollout.wave);
        let is_pinned = |uid: &String| self.agents.get(uid).is_some_and(|it| self.holds(uid, it));
        rollout.members.retain(|uid, it| it.wave <= open || !is_pinned(uid));
        rollout.members.len() < before
    }

    /// Returns the pin of an agent.
    pub(crate) fn pin(&self, uid: &str, agent: &Agent) -> Option<Pin> {
        self.saved.pins.find(uid, &agent.labels).filter(|_| self.rules.pins)
    }

    /// Returns `true` if roll-outs leave this agent out.
    fn holds(&self, uid: &str, agent: &Agent) -> bool {
        self.pin(uid, agent).is_some_and(|it| !it.released)
    }

    /// The text of the agent's pin or of the accepted revision, if that has one for the agent.
    fn base_text(&self, uid: &str, agent: &Agent) -> Option<Arc<Rendered>> {
        match self.pin(uid, agent).map_or(self.saved.accepted, |it| it.revision) {
            0 => None,
            number if number == self.saved.accepted => self.accepted.render(&agent.labels),
            number => self.pinned.get(&number)?.render(&agent.labels),
        }
    }

    /// Returns the text that an agent should have; `None` if it keeps its own.
    pub fn wanted(&self, uid: &str) -> Option<Arc<Rendered>> {
        let agent = self.agents.get(uid).filter(|it| it.managed)?;
        let rollout = self.saved.rollout.as_ref();
        let new = || self.next.render(&agent.labels);
        match rollout.and_then(|it| Some((it.phase, it.open_member(uid)?))) {
            Some((Phase::Running | Phase::Paused, member)) => {
                new().filter(|it| it.hash == member.hash)
            }
            Some((Phase::RollingBack | Phase::RolledBack, member)) => {
                if !self.rules.withdraw {
                    return new();
                }
                // Without an accepted text, an agent that has the new one gets an empty one.
                let has_new = agent.in_force.as_ref() == Some(&member.hash);
                self.base_text(uid, agent).or_else(|| has_new.then(Rendered::empty))
            }
            _ => self.base_text(uid, agent),
        }
    }

    fn offer(&self, uid: &str) -> Offer {
        let (Some(agent), Some(wanted)) = (self.agents.get(uid), self.wanted(uid)) else {
            return Offer::Nothing;
        };
        let has = agent.in_force.as_ref() == Some(&wanted.hash);
        let refused = agent.failure.as_ref().is_some_and(|it| it.hash == wanted.hash);
        if has || refused { Offer::Nothing } else { Offer::Text(wanted) }
    }
}
