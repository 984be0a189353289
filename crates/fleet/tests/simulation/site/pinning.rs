//! Pins of the simulation: acts of operators, and what the disk has of them.

use aqueduct_fleet::{Act, Target};
use rand::prelude::*;

use super::Site;

impl Site {
    /// Asks for an act until it is on the disk, or the server refuses it; returns `true` if it is.
    fn ask(&mut self, act: &Act, is_stored: impl Fn(&Self) -> bool) -> bool {
        for _ in 0..1_500 {
            let act = act.clone();
            // A killed or a full server does not answer.
            self.call(|fleet, now, disk| Some(fleet.act((now, "test"), act, disk)));
            if is_stored(self) {
                return true;
            }
            self.step();
        }
        false
    }

    /// Returns `true` if the stored pin of this target is held.
    fn holds(&self, target: &Target) -> bool {
        let pins = &self.stored.pins;
        match target {
            Target::Agent(uid) => pins.agents().get(uid).is_some_and(|it| !it.released),
            Target::Label(label, value) => {
                let mut all = pins.labels().iter();
                all.any(|it| (&it.0, &it.1, it.2.released) == (label, value, false))
            }
        }
    }

    /// Notes which agents are pinned, as it is on the disk.
    fn note_pins(&mut self) {
        let pin = |(uid, world): (&String, &crate::world::World)| {
            let pin = self.stored.pins.find(uid, &world.labels).filter(|it| !it.released)?;
            Some((uid.clone(), pin.revision))
        };
        self.pinned = self.agents.iter().filter_map(pin).collect();
    }

    /// Pins some agents, or all with a label, to the accepted revision.
    pub(crate) fn pin(&mut self, by_label: bool) {
        let number = self.stored.accepted;
        let revision = (number, Box::new(self.revisions[&number].clone()));
        let uids: Vec<String> = self.agents.keys().cloned().collect();
        let targets = match by_label {
            true => vec![Target::Label("role".into(), "collector".into())],
            // Not all, so that a roll-out has members.
            false => uids.iter().skip(1).step_by(3).cloned().map(Target::Agent).collect(),
        };
        for target in targets {
            let before = self.stored.pins.clone();
            let act = Act::Pin(target, Some(revision.clone()));
            let done = self.ask(&act, |it| it.stored.pins != before);
            assert!(done, "seed {}: cannot pin agents", self.seed);
        }
        self.note_pins();
        assert!(!self.pinned.is_empty(), "seed {}: no agent is pinned", self.seed);
    }

    /// Tries to pin an agent during a roll-out to the revision that it has. Members of open waves
    /// are refused.
    pub(crate) fn pin_one(&mut self) {
        let uid = self.agents.keys().choose(&mut self.rng).expect("an agent").clone();
        let rollout = self.stored.rollout.as_ref().filter(|it| it.is_active());
        let is_open = |it: &aqueduct_fleet::Rollout| {
            it.members.get(&uid).is_some_and(|member| member.wave <= it.wave)
        };
        let is_open = rollout.is_some_and(is_open);
        let before = self.stored.pins.clone();
        let act = Act::Pin(Target::Agent(uid.clone()), None);
        self.call(|fleet, now, disk| fleet.act((now, "test"), act, disk).ok());
        let is_pinned = self.stored.pins != before;
        assert!(!(is_open && is_pinned), "seed {}: pinned {uid} in an open wave", self.seed);
        self.note_pins();
    }

    /// Unpins all agents; returns `true` if some were pinned.
    pub(crate) fn unpin(&mut self) -> bool {
        let was_pinned = !self.pinned.is_empty();
        let agents = self.agents.keys().cloned().map(Target::Agent);
        let labels = [Target::Label("role".into(), "collector".into())];
        for target in agents.chain(labels).collect::<Vec<_>>() {
            let is_held = |it: &Self| it.holds(&target);
            if is_held(self) {
                let done = self.ask(&Act::Unpin(target.clone()), |it| !is_held(it));
                assert!(done, "seed {}: cannot unpin {target:?}", self.seed);
            }
        }
        self.note_pins();
        assert!(self.pinned.is_empty(), "seed {}: still pinned: {:?}", self.seed, self.pinned);
        was_pinned
    }
}
