//! What goes wrong, when, and how it is mended: between two ticks, from the seed.
//!
//! Each kind has a clock of its own. A fault that finds its host down, or its link in other
//! trouble, does not happen. Everything that breaks is mended after a while, and at the end of the
//! load all at once ([`Faults::heal`]).

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use turmoil::Sim;

use crate::dice::Dice;
use crate::fault_kind::FaultKind;
use crate::machine::{DISK_BYTES, Machine};
use crate::scenario::Scenario;
use crate::store::Mood;
use crate::world::World;

/// How something is mended.
#[derive(Debug, Clone)]
enum Repair {
    Start(usize),
    Links(Vec<(usize, usize)>),
    Held(Vec<(usize, usize)>),
    Thaw(usize, Vec<(usize, usize)>),
    Store,
    StoreCut(usize),
    StoreSlow(usize),
    Disk(usize),
}

/// What goes wrong in one simulation.
pub(crate) struct Faults {
    world: Arc<World>,
    machines: Vec<Arc<Machine>>,
    edges: usize,
    relays: usize,
    mood: Arc<Mood>,
    dice: Dice,
    /// Each kind, its mean gap in milliseconds, and when it comes next.
    clocks: Vec<(FaultKind, u64, Duration)>,
    repairs: Vec<(Duration, Repair)>,
    down: BTreeSet<usize>,
    /// Links in trouble.
    links: BTreeSet<(usize, usize)>,
    /// Disks that will lose power in a write, and when at the latest.
    doomed: Vec<(usize, Duration)>,
}

type Links = Vec<(usize, usize)>;

impl Faults {
    /// The faults of `scenario` among `machines`: first the edges, then the relays.
    pub(crate) fn new(
        seed: u64,
        scenario: &Scenario,
        machines: Vec<Arc<Machine>>,
        mood: Arc<Mood>,
        world: Arc<World>,
    ) -> Self {
        let dice = Dice::new(seed, "faults");
        let first = |gap: u64| Duration::from_millis(500 + dice.below(gap));
        let clocks = scenario.faults.iter().map(|(kind, gap)| (*kind, *gap, first(*gap))).collect();
        let (edges, relays) = (scenario.edges.len(), scenario.relays);
        let (repairs, down, links, doomed) = Default::default();
        Self { world, machines, edges, relays, mood, dice, clocks, repairs, down, links, doomed }
    }

    /// Does what is due.
    pub(crate) fn advance(&mut self, sim: &mut Sim<'_>, now: Duration) {
        self.look_after(sim, now);
        self.mend_due(sim, now);
        for at in 0..self.clocks.len() {
            let (kind, gap, due) = self.clocks[at];
            if now >= due {
                self.clocks[at].2 =
                    now + Duration::from_millis(self.dice.between(gap / 2, gap * 2));
                self.strike(sim, kind, now);
            }
        }
    }

    /// Mends everything; nothing more goes wrong.
    pub(crate) fn heal(&mut self, sim: &mut Sim<'_>) {
        self.world.note("faults", format_args!("all is healed"));
        self.clocks.clear();
        for (at, _) in std::mem::take(&mut self.doomed) {
            // It loses power now, not when nothing may go wrong any more.
            self.cut_power(sim, at, Duration::ZERO);
        }
        for machine in 0..self.machines.len() {
            self.mend(sim, &Repair::Disk(machine));
            self.machines[machine].shift_clock(0);
        }
        for (_, repair) in std::mem::take(&mut self.repairs) {
            self.mend(sim, &repair);
        }
    }

    /// Starts what has ended by itself, and switches off what died in a write.
    pub(crate) fn look_after(&mut self, sim: &mut Sim<'_>, now: Duration) {
        for at in 0..self.machines.len() {
            if let Some(reason) = self.machines[at].ended() {
                let name = self.machines[at].name.clone();
                self.world.note(&name, format_args!("ended: {reason}"));
                self.take_down(sim, at, now, Duration::from_millis(self.dice.between(100, 1000)));
            }
        }
        let dead = |machine: &Machine| machine.disk().has_no_power();
        let (due, doomed) =
            std::mem::take(&mut self.doomed).into_iter().partition(|(at, until)| {
                now >= *until || dead(&self.machines[*at]) || self.down.contains(at)
            });
        self.doomed = doomed;
        for (at, _) in Vec::from_iter::<Vec<(usize, Duration)>>(due) {
            self.cut_power(sim, at, now);
        }
    }

    /// Mends what is due.
    pub(crate) fn mend_due(&mut self, sim: &mut Sim<'_>, now: Duration) {
        let due = self.repairs.extract_if(.., |(at, _)| *at <= now).collect::<Vec<_>>();
        for (_, repair) in due {
            self.mend(sim, &repair);
        }
    }

    fn name(&self, at: usize) -> String {
        self.machines[at].name.to_string()
    }

    fn later(&mut self, now: Duration, low: u64, high: u64, repair: Repair) {
        let at = now + self.dice.millis(low, high);
        self.repairs.push((at, repair));
    }

    fn mend(&mut self, sim: &mut Sim<'_>, repair: &Repair) {
        self.world.note("faults", format_args!("mended: {repair:?}"));
        match repair {
            Repair::Start(at) => {
                if self.down.remove(at) {
                    self.machines[*at].power(true);
                    sim.bounce(self.name(*at));
                }
            }
            Repair::Links(links) => self.free(links, |a, b| sim.repair(a, b)),
            Repair::Held(links) => self.free(links, |a, b| sim.release(a, b)),
            Repair::Thaw(at, links) => {
                self.free(links, |a, b| sim.release(a, b));
                self.machines[*at].freeze(false);
            }
            Repair::Store => self.mood.heal(),
            Repair::StoreCut(at) => self.machines[*at].cut_store(false),
            Repair::StoreSlow(at) => self.machines[*at].slow_store(0),
            Repair::Disk(at) => {
                let (machine, disk) = (&self.machines[*at], self.machines[*at].disk());
                disk.set_capacity(DISK_BYTES);
                disk.fail_writes(0);
                disk.fail_syncs(false);
                machine.slow_disk(0);
                machine.trouble_disk(false);
            }
        }
    }

    fn free(&mut self, links: &Links, mend: impl Fn(String, String)) {
        for (a, b) in links {
            self.links.remove(&(*a, *b));
            mend(self.name(*a), self.name(*b));
        }
    }

    /// The links of a machine that are in no trouble; they are now.
    fn claim(&mut self, links: impl Iterator<Item = (usize, usize)>) -> Links {
        let ordered = links.map(|(a, b)| (a.min(b), a.max(b)));
        ordered.filter(|link| self.links.insert(*link)).collect()
    }

    fn claim_all_of(&mut self, at: usize) -> Links {
        let others = (0..self.machines.len()).filter(move |other| *other != at);
        self.claim(others.map(move |other| (at, other)))
    }

    /// A machine that is up.
    fn any_up(&self) -> Option<usize> {
        let at = self.dice.below(self.machines.len() as u64) as usize;
        (!self.down.contains(&at)).then_some(at)
    }

    fn any_of(&self, machines: Range<usize>) -> usize {
        machines.start + self.dice.below(machines.len() as u64) as usize
    }

    fn any_collector(&self) -> usize {
        self.any_of(self.edges + self.relays..self.machines.len())
    }

    /// A sender and one that it sends to.
    fn any_link(&self) -> (usize, usize) {
        let (edges, relays) = (0..self.edges, self.edges..self.edges + self.relays);
        if relays.is_empty() {
            (self.any_of(edges), self.any_collector())
        } else if self.dice.chance(500) {
            (self.any_of(edges), self.any_of(relays))
        } else {
            (self.any_of(relays), self.any_collector())
        }
    }

    fn strike(&mut self, sim: &mut Sim<'_>, kind: FaultKind, now: Duration) {
        if self.struck(sim, kind, now).is_some() {
            self.world.count_fault(kind.name());
            self.world.note("faults", format_args!("{}", kind.name()));
        }
    }

    /// Injects a fault, if it can be.
    fn struck(&mut self, sim: &mut Sim<'_>, kind: FaultKind, now: Duration) -> Option<()> {
        match kind {
            FaultKind::Kill => {
                let pause = self.dice.millis(20, 4000);
                let at = self.any_up()?;
                self.take_down(sim, at, now, pause);
            }
            FaultKind::Restart => self.machines[self.any_up()?].signal("SIGTERM"),
            FaultKind::PowerCut => {
                let at = self.any_up()?;
                self.cut_power(sim, at, now);
            }
            FaultKind::TornWrite => {
                let at = self.any_up()?;
                self.machines[at].trouble_disk(true);
                self.machines[at].disk().fail_power_at(self.dice.between(1, 40));
                self.doomed.push((at, now + Duration::from_secs(2)));
            }
            FaultKind::Blackout => {
                for at in 0..self.machines.len() {
                    if !self.down.contains(&at) {
                        self.cut_power(sim, at, now);
                    }
                }
            }
            FaultKind::DiskLost => {
                let at = self.any_up().filter(|at| *at >= self.edges)?;
                self.cut_power(sim, at, now);
                self.machines[at].lose_disk();
            }
            FaultKind::Partition | FaultKind::OneWay | FaultKind::Hold | FaultKind::Reset => {
                return self.struck_link(sim, kind, now);
            }
            FaultKind::Freeze => {
                let at = self.any_up()?;
                let links = self.claim_all_of(at);
                links.iter().for_each(|(a, b)| sim.hold(self.name(*a), self.name(*b)));
                self.machines[at].freeze(true);
                self.later(now, 200, 12_000, Repair::Thaw(at, links));
            }
            _ => return self.struck_store_or_disk(kind, now),
        }
        Some(())
    }

    fn struck_link(&mut self, sim: &Sim<'_>, kind: FaultKind, now: Duration) -> Option<()> {
        let (sender, receiver) = self.any_link();
        let (a, b) = (self.name(sender), self.name(receiver));
        if kind == FaultKind::Reset {
            let (here, there) = if self.dice.chance(700) { (sender, b) } else { (receiver, a) };
            self.machines[here].reset_connections(&there);
            return Some(());
        }
        let links = self.claim([(sender, receiver)].into_iter());
        if links.is_empty() {
            return None;
        }
        match kind {
            FaultKind::Partition => sim.partition(a, b),
            FaultKind::OneWay if self.dice.chance(500) => sim.partition_oneway(a, b),
            FaultKind::OneWay => sim.partition_oneway(b, a),
            _ => {
                sim.hold(a, b);
                self.later(now, 50, 4_000, Repair::Held(links));
                return Some(());
            }
        }
        self.later(now, 50, 9_000, Repair::Links(links));
        Some(())
    }

    fn struck_store_or_disk(&mut self, kind: FaultKind, now: Duration) -> Option<()> {
        let at = self.any_up()?;
        let (machine, mood) = (self.machines[at].clone(), self.mood.clone());
        match kind {
            FaultKind::StoreAway => mood.away.store(1, Ordering::Relaxed),
            FaultKind::StoreRefuses => mood.refused.store(self.rate(), Ordering::Relaxed),
            FaultKind::StoreUnheard => mood.unheard.store(self.rate(), Ordering::Relaxed),
            FaultKind::StoreLate => mood.late.store(self.rate(), Ordering::Relaxed),
            FaultKind::StoreCut => {
                // At times for so long that what it holds is committed, and forgotten, meanwhile.
                let at = self.any_collector();
                self.machines[at].cut_store(true);
                let (least, most) = *self.dice.pick(&[(100, 8_000), (15_000, 30_000)]);
                self.later(now, least, most, Repair::StoreCut(at));
                return Some(());
            }
            FaultKind::StoreSlow => {
                let at = self.any_collector();
                // Often just within what a caller waits for: then all that it does succeeds, late.
                self.machines[at].slow_store(self.dice.between(300, 2_200));
                self.later(now, 3_000, 20_000, Repair::StoreSlow(at));
                return Some(());
            }
            FaultKind::DiskFull => {
                machine.trouble_disk(true);
                machine.disk().set_capacity(machine.disk().used() + self.dice.below(100_000));
            }
            FaultKind::DiskFails => {
                machine.trouble_disk(true);
                machine.disk().fail_writes(self.dice.between(0, 5) as u32);
                machine.disk().fail_syncs(self.dice.chance(300));
            }
            FaultKind::DiskSlow => machine.slow_disk(self.dice.between(5, 800)),
            _ => {
                let hours = [-87_600, -24, -1, 1, 24, 87_600];
                let millis = *self.dice.pick(&hours) * 3_600_000;
                machine.shift_clock(if self.dice.chance(300) {
                    millis / 3_600_000
                } else {
                    millis
                });
                return Some(());
            }
        }
        let repair = match kind {
            FaultKind::DiskFull | FaultKind::DiskFails | FaultKind::DiskSlow => Repair::Disk(at),
            _ => Repair::Store,
        };
        self.later(now, 100, 8_000, repair);
        Some(())
    }

    /// How many calls of a thousand.
    fn rate(&self) -> u64 {
        self.dice.between(10, 300)
    }

    /// The process is gone; its host closes its connections.
    fn take_down(&mut self, sim: &mut Sim<'_>, at: usize, now: Duration, pause: Duration) {
        if self.down.insert(at) {
            self.world.note(&self.machines[at].name, format_args!("down"));
            sim.crash(self.name(at));
            self.repairs.push((now + pause, Repair::Start(at)));
        }
    }

    /// The host is gone: nobody hears of it, and what was not synced may be lost.
    fn cut_power(&mut self, sim: &mut Sim<'_>, at: usize, now: Duration) {
        let links = self.claim_all_of(at);
        links.iter().for_each(|(a, b)| sim.partition(self.name(*a), self.name(*b)));
        let pause = self.dice.millis(50, 5000);
        self.machines[at].power(false);
        self.take_down(sim, at, now, pause);
        self.machines[at].disk().crash();
        self.machines[at].trouble_disk(false);
        self.repairs.push((now + pause, Repair::Links(links)));
    }
}
