//! The server, its disk and its agents, second by second.

mod pinning;

use std::collections::BTreeMap;
use std::io;

use aqueduct_fleet as fleet;
use fleet::{Act, Agent, Fleet, MemberState, Offer, Phase, Policy, Revision, Rules, Save, Saved};
use rand::prelude::*;

use crate::world::{POLL_MS, World};

/// The disk: fails as the seed decides, before or after it has stored.
struct Disk<'a> {
    stored: &'a mut Saved,
    rng: &'a mut StdRng,
    /// Set when the server is killed.
    killed: bool,
    /// True while there is no room.
    is_full: bool,
    /// True if it fails.
    has_faults: bool,
}

impl Save for Disk<'_> {
    fn save(&mut self, state: &Saved) -> io::Result<()> {
        if self.is_full {
            return Err(io::Error::other("no room"));
        }
        let fault = if self.has_faults { self.rng.random_range(0..20) } else { 20 };
        match fault {
            0 => self.killed = true,
            1 => {
                *self.stored = state.clone();
                self.killed = true;
            }
            2 => self.is_full = true,
            _ => {
                *self.stored = state.clone();
                return Ok(());
            }
        }
        Err(io::Error::other("not stored"))
    }
}

fn revision(number: u64, kind: &str) -> Revision {
    let assign = "[[assign]]\nlabels = { role = \"edge\" }\nfragments = [\"all\", \"edge\"]\n\
                  [[assign]]\nlabels = { role = \"collector\" }\nfragments = [\"all\"]\n";
    let all = format!("[sinks.all]\nnumber = {number}\nkind = \"{kind}\"\n");
    let fragments = [("all".to_owned(), all), ("edge".to_owned(), "[sinks.edge]\n".to_owned())];
    Revision::new(assign.to_owned(), fragments.into()).expect("a sound revision")
}

pub(crate) struct Site {
    rng: StdRng,
    now_ms: u64,
    agents: BTreeMap<String, World>,
    stored: Saved,
    revisions: BTreeMap<u64, Revision>,
    fleet: Fleet,
    /// The table of agents on the disk, some seconds old.
    table: BTreeMap<String, Agent>,
    pub(crate) seed: u64,
    /// Pinned agents and their revisions.
    pinned: BTreeMap<String, u64>,
    /// The last revision and wave on the disk.
    wave: Option<(u64, usize)>,
    /// Kills while a roll-out was running.
    pub(crate) kills_in_waves: u64,
    /// True after all agents have got their first text.
    works: bool,
    has_faults: bool,
    /// Until when the server is down.
    down_until_ms: u64,
    /// The version of the fleet that connected agents have seen.
    version: u64,
    /// Until when the disk has no room.
    full_until_ms: u64,
    rules: Rules,
}

impl Site {
    /// A site in which nothing fails by itself.
    pub(crate) fn without_faults(seed: u64) -> Self {
        Self { has_faults: false, ..Self::new(seed, Rules::default()) }
    }

    pub(crate) fn new(seed: u64, rules: Rules) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let count: u64 = rng.random_range(2..60);
        let agents = (0..count).map(|it| {
            let role = if it.is_multiple_of(5) { "collector" } else { "edge" };
            let labels = [("role".to_owned(), role.to_owned())].into();
            let name = format!("{role}-{it}");
            (format!("{it:032x}"), World { name, labels, started_ms: 1, ..World::default() })
        });
        let agents = agents.collect();
        let (accepted, next) = Default::default();
        let fleet = Fleet::new(Saved::default(), accepted, next, BTreeMap::new());
        let fleet = fleet.with_rules(rules);
        let (now_ms, stored) = (1_000_000, Saved::default());
        let (revisions, table, kills_in_waves, full_until_ms) = Default::default();
        let (works, down_until_ms, version, pinned, wave) = Default::default();
        Self {
            rng,
            now_ms,
            agents,
            stored,
            revisions,
            fleet,
            table,
            seed,
            pinned,
            wave,
            kills_in_waves,
            works,
            has_faults: true,
            down_until_ms,
            version,
            full_until_ms,
            rules,
        }
    }

    /// A new process reads what the disk has; the table of agents is as old as its last copy.
    fn restart(&mut self) {
        let is_active = |it: &fleet::Rollout| it.is_active();
        self.kills_in_waves += u64::from(self.stored.rollout.as_ref().is_some_and(is_active));
        let of = |number| self.revisions.get(&number).cloned().unwrap_or_default();
        let next = self.stored.rollout.as_ref().map_or(0, |it| it.revision);
        let (accepted, next) = (of(self.stored.accepted), of(next));
        let pinned = self.stored.pins.revisions().into_iter().map(|it| (it, of(it))).collect();
        let fleet = Fleet::new(self.stored.clone(), accepted, next, self.table.clone());
        let fleet = fleet.with_pinned(pinned);
        self.fleet = fleet.with_rules(self.rules).since(self.now_ms.max(self.down_until_ms));
    }

    /// Kills the server, and starts it again after some seconds.
    pub(crate) fn outage(&mut self, seconds: u64) {
        self.down_until_ms = self.now_ms + 1_000 * seconds;
        self.restart();
        self.run(seconds);
    }

    /// Calls the server; a kill restarts it.
    fn call<T>(
        &mut self,
        call: impl FnOnce(&mut Fleet, u64, &mut Disk<'_>) -> Option<T>,
    ) -> Option<T> {
        if self.down_until_ms > self.now_ms {
            return None;
        }
        let was_full = self.full_until_ms > self.now_ms;
        let (stored, rng) = (&mut self.stored, &mut self.rng);
        let has_faults = self.has_faults;
        let mut disk = Disk { stored, rng, killed: false, is_full: was_full, has_faults };
        let answer = call(&mut self.fleet, self.now_ms, &mut disk);
        let (killed, is_full) = (disk.killed, disk.is_full);
        if is_full && !was_full {
            self.full_until_ms = self.now_ms + 40_000;
        }
        if killed || (has_faults && self.rng.random_bool(0.004)) {
            if self.rng.random_bool(0.05) {
                self.down_until_ms = self.now_ms + 1_000 * self.rng.random_range(10..600);
            }
            self.restart();
            // An answer that the server has made may have left it.
            return answer.filter(|_| killed || self.rng.random_bool(0.5));
        }
        answer
    }

    /// Checks an offer against the disk and the agents.
    fn check_offer(&self, uid: &str, hash: &str, text: &str) {
        let number = text.lines().find_map(|it| it.strip_prefix("number = ")?.parse().ok());
        if let Some(pinned) = self.pinned.get(uid) {
            let (seed, pinned) = (self.seed, *pinned);
            assert!(number == Some(pinned), "seed {seed}: {uid} is pinned to {pinned}: {text}");
        }
        let Some(rollout) = &self.stored.rollout else {
            panic!("seed {}: offered before it was saved", self.seed);
        };
        let Some(member) = rollout.members.get(uid).filter(|it| it.hash == hash) else {
            let Saved { accepted, earlier, .. } = &self.stored;
            let was_accepted = number.is_none_or(|it| it == *accepted || earlier.contains(&it));
            assert!(
                was_accepted,
                "seed {}: offered before it was saved or accepted: {text}",
                self.seed
            );
            return;
        };
        if self.stored.accepted == rollout.revision {
            return;
        }
        assert!(
            matches!(rollout.phase, Phase::Running | Phase::Paused),
            "seed {}: offered after a failure",
            self.seed
        );
        assert!(
            member.wave <= rollout.wave,
            "seed {}: offered before it was saved: wave {} of {}",
            self.seed,
            member.wave,
            rollout.wave
        );
        for (earlier, state) in rollout.members.iter().filter(|(_, it)| it.wave < member.wave) {
            let world = &self.agents[earlier];
            let has_it = world.applied.contains_key(&state.hash);
            let ok = matches!(state.state, MemberState::Passed) && has_it
                || state.state == MemberState::Silent;
            assert!(ok, "seed {}: a wave opened before an earlier one passed", self.seed);
            let bad = world.kind;
            assert!(bad.is_none(), "seed {}: a bad text ({bad:?}) passed the gate", self.seed);
        }
    }

    /// A second: agents work and report, some fail.
    fn step(&mut self) {
        self.now_ms += 1_000;
        let now = self.now_ms;
        let faults = self.has_faults && self.rng.random_bool(0.3);
        for (at, uid) in self.agents.keys().cloned().collect::<Vec<_>>().into_iter().enumerate() {
            let world = self.agents.get_mut(&uid).expect("its own key");
            world.work(now, 100, &mut self.rng);
            if faults && self.rng.random_bool(0.00002) {
                world.restart(now);
            }
            if faults && self.rng.random_bool(0.0002) {
                world.cut_until_ms = now + self.rng.random_range(10_000..200_000);
            }
            assert!(
                !self.works || world.text.is_some(),
                "seed {}: {} is without a configuration",
                self.seed,
                world.name
            );
            let offset = 1_000 * at as u64;
            if !(now + offset).is_multiple_of(POLL_MS) || world.cut_until_ms > now {
                continue;
            }
            let report = world.report(&uid, now);
            let offer = self.call(|fleet, now, disk| fleet.report(now, report, disk).ok());
            self.deliver(&uid, offer);
        }
        self.call(|fleet, now, disk| fleet.advance(now, disk).ok());
        self.wake();
        let wave = self.stored.rollout.as_ref().map(|it| (it.revision, it.wave));
        assert!(wave >= self.wave, "seed {}: a wave opened twice: {wave:?}", self.seed);
        self.wave = wave;
        if self.now_ms.is_multiple_of(60_000) && self.down_until_ms <= now {
            self.table.clone_from(self.fleet.agents());
        }
    }

    /// Gives an offer to its agent, unless it is lost.
    fn deliver(&mut self, uid: &str, offer: Option<Offer>) {
        let Some(Offer::Text(rendered)) = offer else { return };
        self.check_offer(uid, &rendered.hash, &rendered.text);
        if !(self.has_faults && self.rng.random_bool(0.05)) {
            let (now, world) = (self.now_ms, self.agents.get_mut(uid).expect("its own key"));
            world.offered(now, &rendered.hash, &rendered.text);
        }
    }

    /// Connected agents, a third of all, get new offers at once.
    fn wake(&mut self) {
        let version = self.call(|fleet, _, _| Some(fleet.version()));
        if version.is_none_or(|it| it == self.version) {
            return;
        }
        self.version = version.unwrap_or_default();
        for uid in self.agents.keys().step_by(3).cloned().collect::<Vec<_>>() {
            if self.agents[&uid].cut_until_ms <= self.now_ms {
                let offer = self.call(|fleet, _, _| Some(fleet.pending(&uid)));
                self.deliver(&uid, offer);
            }
        }
    }

    pub(crate) fn run(&mut self, seconds: u64) {
        (0..seconds).for_each(|_| self.step());
    }

    pub(crate) fn roll_out(&mut self, number: u64, kind: &str) {
        let revision = revision(number, kind);
        self.revisions.insert(number, revision.clone());
        for _ in 0..1_500 {
            let act = Act::RollOut(number, Box::new(revision.clone()), Policy::default());
            self.call(|fleet, now, disk| fleet.act((now, "test"), act, disk).ok());
            if self.stored.rollout.as_ref().is_some_and(|it| it.revision == number) {
                return;
            }
            self.step();
        }
        panic!("seed {}: the roll-out does not start", self.seed);
    }

    /// Runs until the roll-out has ended.
    pub(crate) fn finish(&mut self) -> Phase {
        for _ in 0..20_000 {
            self.step();
            let rollout = self.stored.rollout.as_ref().expect("it has started");
            if !rollout.is_active() {
                return rollout.phase;
            }
            if !self.pinned.is_empty() && self.rng.random_bool(0.01) {
                self.pin_one();
            }
        }
        panic!("seed {}: the roll-out does not end: {:?}", self.seed, self.stored.rollout);
    }

    /// From now on each agent must always have a text.
    pub(crate) fn begin_to_work(&mut self) {
        self.works = self.agents.values().all(|it| it.text.is_some());
    }

    /// The last wave that has opened, from 0.
    pub(crate) fn wave(&self) -> usize {
        self.stored.rollout.as_ref().expect("it has started").wave
    }

    /// Checks that no text was applied or refused twice since the last call.
    pub(crate) fn check_once(&mut self, most: u32) {
        for world in self.agents.values_mut() {
            let applied = std::mem::take(&mut world.applied);
            let twice = applied.values().find(|times| **times > most);
            assert!(twice.is_none(), "seed {}: a text was applied twice: {applied:?}", self.seed);
            let refused = std::mem::take(&mut world.refused);
            // The offer after a lost report repeats it once.
            let often = refused.values().find(|times| **times > 2);
            assert!(often.is_none(), "seed {}: a refused text was offered again", self.seed);
        }
    }

    /// Checks that all agents that the server could reach have the text with this number.
    pub(crate) fn check_all_have(&self, number: u64) {
        let is_reached = |it: &World| it.cut_until_ms + 200_000 <= self.now_ms;
        for (uid, world) in self.agents.iter().filter(|(_, it)| is_reached(it)) {
            let number = self.pinned.get(uid).unwrap_or(&number);
            let number = format!("number = {number}\n");
            assert!(
                world.is(&number),
                "seed {}: {} lacks {number:?}: {:?}",
                self.seed,
                world.name,
                world.text
            );
        }
    }
}
