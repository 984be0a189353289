//! Injects and repairs faults between two ticks, as determined by the seed.
//!
//! Each kind has its own clock. A fault is skipped if its host is down or its link already has a
//! fault. Every fault is repaired after a while, and all of them at the end of the load
//! ([`Faults::heal`]).

mod restore;
mod strike;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use turmoil::Sim;

use crate::books::Books;
use crate::dice::Dice;
use crate::fault_kind::FaultKind;
use crate::machine::{DISK_BYTES, Machine};
use crate::scenario::Scenario;
use crate::store::Mood;
use crate::world::{World, lock};

/// A delayed action, usually a repair.
#[derive(Debug, Clone)]
enum Repair {
    Freeze(usize),
    Stop(usize),
    Start(usize),
    Links(Vec<(usize, usize)>),
    Held(Vec<(usize, usize)>),
    Thaw(usize, Vec<(usize, usize)>),
    Store,
    StoreCut(usize),
    StoreSlow(usize),
    Disk(usize),
    Names,
    Ledger,
}

/// All faults of one simulation.
pub(crate) struct Faults {
    world: Arc<World>,
    machines: Vec<Arc<Machine>>,
    edges: usize,
    relays: usize,
    /// Whether a changed ledger without a hole is adopted.
    adopts: bool,
    /// Number of hosts without the copy of an edge, which is the last one.
    hosts: usize,
    mood: Arc<Mood>,
    books: Arc<Books>,
    dice: Dice,
    /// Minimum and maximum number of late calls in a thousand.
    late: (u64, u64),
    /// Each kind, its mean interval in milliseconds, and its next time.
    clocks: Vec<(FaultKind, u64, Duration)>,
    repairs: Vec<(Duration, Repair)>,
    down: BTreeSet<usize>,
    /// Backups to restore, by machine.
    backups: BTreeMap<usize, restore::Backup>,
    /// Links with a fault.
    links: BTreeSet<(usize, usize)>,
    /// Disks that will lose power during a write, with the latest time.
    doomed: Vec<(usize, Duration)>,
}

type Links = Vec<(usize, usize)>;

impl Faults {
    /// Plans the faults of `scenario` for `machines`: first the edges, then the relays.
    pub(crate) fn new(
        seed: u64,
        scenario: &Scenario,
        machines: Vec<Arc<Machine>>,
        (mood, books): (Arc<Mood>, Arc<Books>),
        world: Arc<World>,
    ) -> Self {
        let dice = Dice::new(seed, "faults");
        let first = |gap: u64| Duration::from_millis(500 + dice.below(gap));
        let clocks = scenario.faults.iter().map(|(kind, gap)| (*kind, *gap, first(*gap))).collect();
        let hosts = machines.len() - usize::from(scenario.clones);
        let (edges, relays, late) = (scenario.edges.len(), scenario.relays, scenario.late);
        let (repairs, down, backups, links, doomed) = Default::default();
        Self {
            world,
            machines,
            edges,
            relays,
            adopts: scenario.adopts,
            hosts,
            mood,
            books,
            dice,
            late,
            clocks,
            repairs,
            down,
            backups,
            links,
            doomed,
        }
    }

    /// Runs all due faults and repairs.
    pub(crate) fn advance(&mut self, sim: &mut Sim<'_>, now: Duration) {
        self.look_after(sim, now);
        self.mend_due(sim, now);
        self.hold_stopped(sim, now);
        for at in 0..self.clocks.len() {
            let (kind, gap, due) = self.clocks[at];
            if now >= due {
                self.clocks[at].2 =
                    now + Duration::from_millis(self.dice.between(gap / 2, gap * 2));
                self.strike(sim, kind, now);
            }
        }
    }

    /// Repairs everything and stops further faults.
    pub(crate) fn heal(&mut self, sim: &mut Sim<'_>, now: Duration) {
        self.world.note("faults", format_args!("all is healed"));
        self.clocks.clear();
        lock(&self.mood.stops).clear();
        self.hold_stopped(sim, now);
        for (at, _) in std::mem::take(&mut self.doomed) {
            // Cut its power now, not after the end of the faults.
            self.cut_power(sim, at, Duration::ZERO);
        }
        for machine in 0..self.machines.len() {
            self.mend(sim, &Repair::Disk(machine), now);
            self.machines[machine].shift_clock(0);
        }
        for (_, repair) in std::mem::take(&mut self.repairs) {
            if !matches!(repair, Repair::Freeze(_)) {
                self.mend(sim, &repair, now);
            }
        }
    }

    /// Restarts agents that have exited, and powers off hosts that died during a write.
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

    /// Isolates a host that was stopped at a turn of the ledger for a while.
    fn hold_stopped(&mut self, sim: &Sim<'_>, now: Duration) {
        for at in 0..self.machines.len() {
            if self.machines[at].has_stopped() {
                self.tell(FaultKind::StopAtTurn);
                // Long enough to be considered dead, and for a whole generation.
                self.freeze(sim, at, now, 3_000);
            }
        }
    }

    /// Runs the repairs that are due.
    pub(crate) fn mend_due(&mut self, sim: &mut Sim<'_>, now: Duration) {
        let due = self.repairs.extract_if(.., |(at, _)| *at <= now).collect::<Vec<_>>();
        for (_, repair) in due {
            self.mend(sim, &repair, now);
        }
    }

    fn name(&self, at: usize) -> String {
        self.machines[at].name.to_string()
    }

    fn later(&mut self, now: Duration, low: u64, high: u64, repair: Repair) {
        let at = now + self.dice.millis(low, high);
        self.repairs.push((at, repair));
    }

    fn mend(&mut self, sim: &mut Sim<'_>, repair: &Repair, now: Duration) {
        self.world.note("faults", format_args!("mended: {repair:?}"));
        match repair {
            Repair::Start(at) => {
                if self.down.remove(at) {
                    self.machines[*at].power(true);
                    sim.bounce(self.name(*at));
                }
            }
            // Long enough for the others to forget its batches.
            Repair::Freeze(at) if !self.down.contains(at) => self.freeze(sim, *at, now, 7_000),
            // It restarts afterwards.
            Repair::Stop(at) if !self.down.contains(at) => self.machines[*at].signal("SIGTERM"),
            Repair::Freeze(_) | Repair::Stop(_) => {}
            Repair::Links(links) => self.free(links, |a, b| sim.repair(a, b)),
            Repair::Held(links) => self.free(links, |a, b| sim.release(a, b)),
            Repair::Thaw(at, links) => {
                self.free(links, |a, b| sim.release(a, b));
                self.machines[*at].freeze(false);
            }
            Repair::Store => self.mood.heal(),
            Repair::StoreCut(at) => self.machines[*at].cut_store(false),
            Repair::StoreSlow(at) => self.machines[*at].slow_store(0),
            Repair::Names => self.world.names.heal(),
            Repair::Ledger => {
                for at in self.edges + self.relays..self.machines.len() {
                    self.take_down(sim, at, now, Duration::from_millis(200));
                }
                if !self.adopts || !self.operator().adopt() {
                    self.operator().rebuild();
                }
            }
            Repair::Disk(at) => {
                let (machine, disk) = (&self.machines[*at], self.machines[*at].disk());
                disk.set_capacity(DISK_BYTES);
                disk.fail_writes(0);
                disk.fail_syncs(false);
                machine.slow_disk(0);
                // Applications must not write to a disk that is about to fail during a write.
                let doomed = self.doomed.iter().any(|(doomed, _)| doomed == at);
                machine.trouble_disk(doomed);
            }
        }
    }

    fn free(&mut self, links: &Links, mend: impl Fn(String, String)) {
        for (a, b) in links {
            self.links.remove(&(*a, *b));
            mend(self.name(*a), self.name(*b));
        }
    }

    /// Claims the links of a machine that have no fault.
    fn claim(&mut self, links: impl Iterator<Item = (usize, usize)>) -> Links {
        let ordered = links.map(|(a, b)| (a.min(b), a.max(b)));
        ordered.filter(|link| self.links.insert(*link)).collect()
    }

    fn claim_all_of(&mut self, at: usize) -> Links {
        let others = (0..self.machines.len()).filter(move |other| *other != at);
        self.claim(others.map(move |other| (at, other)))
    }

    /// Picks a running machine.
    fn any_up(&self) -> Option<usize> {
        let at = self.dice.below(self.hosts as u64) as usize;
        (!self.down.contains(&at)).then_some(at)
    }

    fn any_of(&self, machines: Range<usize>) -> usize {
        machines.start + self.dice.below(machines.len() as u64) as usize
    }

    fn any_collector(&self) -> usize {
        self.any_of(self.edges + self.relays..self.hosts)
    }

    /// Picks a sender and one of its targets.
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

    /// Kills the process; the host closes its connections.
    fn take_down(&mut self, sim: &mut Sim<'_>, at: usize, now: Duration, pause: Duration) {
        if self.down.insert(at) {
            self.world.note(&self.machines[at].name, format_args!("down"));
            sim.crash(self.name(at));
            self.repairs.push((now + pause, Repair::Start(at)));
        }
    }

    /// Powers off the host without closing connections; unsynced data may be lost.
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
