//! Pins: agents that keep an accepted revision while roll-outs change the others. Pure.
//!
//! ```text
//!   pin ─► held ─ unpin ─► released ─ a roll-out completes ─► removed
//! ```
//!
//! Agents with a held pin get its revision, and are not members of roll-outs. Agents with a
//! released pin keep its revision until a roll-out changes them: so that they, too, get a newer
//! text in waves and through the gate.
//!
//! An agent's own pin takes precedence over pins of its labels, and the latest of those over the
//! others. A held pin takes precedence over a released one.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Maximum number of pins of labels: each agent is compared with all of them.
const LABELS_MAX: usize = 64;

/// Maximum number of different revisions: they are kept in memory.
const REVISIONS_MAX: usize = 16;

/// The agents that a pin concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An agent by its uid or its name.
    Agent(String),
    /// All agents with this label and value.
    Label(String, String),
}

/// A pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The revision that its agents keep.
    pub revision: u64,
    /// True after it was removed by an operator: the next roll-out includes its agents.
    #[serde(default)]
    pub released: bool,
}

/// All pins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pins {
    /// Of agents, by uid.
    agents: BTreeMap<String, Pin>,
    /// Of labels and their values, the latest last.
    labels: Vec<(String, String, Pin)>,
}

impl Pins {
    /// Returns the pin of an agent.
    pub fn find(&self, uid: &str, labels: &BTreeMap<String, String>) -> Option<Pin> {
        let own = self.agents.get(uid).copied();
        let has = |(label, value, _): &&(String, String, Pin)| labels.get(label) == Some(value);
        let by_label = self.labels.iter().rev().filter(has).map(|it| it.2);
        let mut all = own.into_iter().chain(by_label);
        let first = all.clone().next();
        all.find(|it| !it.released).or(first)
    }

    /// Adds a pin, or replaces the one of this target. Agents are named by uid.
    ///
    /// # Errors
    /// There are too many pins of labels, or too many revisions.
    pub(crate) fn add(&mut self, target: &Target, revision: u64) -> Result<(), String> {
        let mut revisions = self.revisions();
        revisions.insert(revision);
        if revisions.len() > REVISIONS_MAX {
            return Err(format!(
                "agents are already pinned to {REVISIONS_MAX} different revisions, which is the \
                 limit; unpin some"
            ));
        }
        let pin = Pin { revision, released: false };
        match target {
            Target::Agent(uid) => {
                self.agents.insert(uid.clone(), pin);
            }
            Target::Label(label, value) => {
                self.labels.retain(|(own, its, _)| (own, its) != (label, value));
                if self.labels.len() >= LABELS_MAX {
                    return Err(format!(
                        "{LABELS_MAX} labels are pinned, which is the limit; unpin some"
                    ));
                }
                self.labels.push((label.clone(), value.clone(), pin));
            }
        }
        Ok(())
    }

    /// Returns the pin of this target, held or released. Agents are named by uid.
    fn get_mut(&mut self, target: &Target) -> Option<&mut Pin> {
        match target {
            Target::Agent(uid) => self.agents.get_mut(uid),
            Target::Label(label, value) => {
                let mut all = self.labels.iter_mut();
                all.find(|it| (&it.0, &it.1) == (label, value)).map(|it| &mut it.2)
            }
        }
    }

    /// Releases the pin of this target; returns its revision, or `None` if none is held.
    pub(crate) fn release(&mut self, target: &Target) -> Option<u64> {
        let pin = self.get_mut(target).filter(|it| !it.released)?;
        pin.released = true;
        Some(pin.revision)
    }

    /// The pins of agents, by uid.
    pub fn agents(&self) -> &BTreeMap<String, Pin> {
        &self.agents
    }

    /// The pins of labels and their values, the latest last.
    pub fn labels(&self) -> &[(String, String, Pin)] {
        &self.labels
    }

    /// Removes released pins: a roll-out has changed their agents.
    pub(crate) fn remove_released(&mut self) {
        self.agents.retain(|_, it| !it.released);
        self.labels.retain(|(_, _, it)| !it.released);
    }

    /// The revisions of all pins.
    pub fn revisions(&self) -> BTreeSet<u64> {
        let own = self.agents.values();
        own.chain(self.labels.iter().map(|it| &it.2)).map(|it| it.revision).collect()
    }

    /// Returns `true` without pins.
    pub(crate) fn is_empty(&self) -> bool {
        self.agents.is_empty() && self.labels.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(value: &str) -> Target {
        Target::Label("site".into(), value.into())
    }

    #[test]
    fn own_held_and_late_pins_take_precedence() {
        let mut pins = Pins::default();
        let labels: BTreeMap<String, String> =
            [("site".into(), "west".into()), ("role".into(), "edge".into())].into();
        let found = |pins: &Pins| pins.find("1", &labels).map(|it| (it.revision, it.released));
        pins.add(&label("east"), 1).unwrap();
        assert_eq!(found(&pins), None);
        pins.add(&label("west"), 2).unwrap();
        pins.add(&Target::Label("role".into(), "edge".into()), 3).unwrap();
        assert_eq!(found(&pins), Some((3, false)), "the latest label");
        pins.add(&label("west"), 2).unwrap();
        assert_eq!(found(&pins), Some((2, false)), "a repeated pin is the latest");
        pins.add(&Target::Agent("1".into()), 4).unwrap();
        assert_eq!(found(&pins), Some((4, false)), "its own");
        assert_eq!(pins.release(&Target::Agent("1".into())), Some(4));
        assert_eq!(pins.release(&Target::Agent("1".into())), None);
        assert_eq!(found(&pins), Some((2, false)), "a held one before a released one");
        assert_eq!(pins.release(&label("west")), Some(2));
        assert_eq!(found(&pins), Some((3, false)));
        assert_eq!(pins.release(&label("north")), None);
        pins.release(&Target::Label("role".into(), "edge".into())).unwrap();
        assert_eq!(found(&pins), Some((4, true)));
        pins.remove_released();
        assert_eq!((found(&pins), pins.revisions()), (None, [1].into()));
    }

    #[test]
    fn labels_and_revisions_are_limited() {
        let mut pins = Pins::default();
        for number in 0..LABELS_MAX {
            pins.add(&label(&number.to_string()), (number % REVISIONS_MAX) as u64).unwrap();
        }
        pins.add(&label("0"), 1).unwrap();
        assert!(pins.add(&label("more"), 1).unwrap_err().contains("64 labels"));
        let refused = pins.add(&Target::Agent("1".into()), 99).unwrap_err();
        assert!(refused.contains("16 different revisions"), "{refused}");
    }
}
