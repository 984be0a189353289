//! Injects each kind of fault.

use std::sync::atomic::Ordering;
use std::time::Duration;

use turmoil::Sim;

use super::{Faults, Repair};
use crate::fault_kind::FaultKind;
use crate::operator::Operator;
use crate::turn::RACES;
use crate::world::lock;

/// Latest time for the fault `StoreRefusesOne`, which lasts longer than the others.
const ONE_REFUSED_BY: Duration = Duration::from_secs(30);

impl Faults {
    pub(super) fn strike(&mut self, sim: &mut Sim<'_>, kind: FaultKind, now: Duration) {
        if self.struck(sim, kind, now).is_some() {
            self.tell(kind);
        }
    }

    /// Records a fault of this kind.
    pub(super) fn tell(&self, kind: FaultKind) {
        self.world.count_fault(kind.name());
        self.world.note("faults", format_args!("{}", kind.name()));
    }

    /// Changes the ledger from outside, unless an operator's repair is already pending.
    fn change_ledger(&mut self, now: Duration) -> Option<()> {
        if self.repairs.iter().any(|(_, repair)| matches!(repair, Repair::Ledger)) {
            return None;
        }
        self.operator().change(&self.dice)?;
        // Until then, collectors may restart but store nothing.
        self.later(now, 3_000, 15_000, Repair::Ledger);
        Some(())
    }

    /// Injects a fault, if possible.
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
            FaultKind::Stray => {
                let (edge, collector) = (self.any_of(0..self.edges), self.any_collector());
                let links = self.claim([(edge, collector)].into_iter());
                if links.is_empty() {
                    return None;
                }
                sim.partition_oneway(self.name(collector), self.name(edge));
                self.later(now, 4_000, 12_000, Repair::Links(links));
                // The copy's epoch ends with the edge's life, and is forgotten before it restarts.
                self.later(now, 300, 2_000, Repair::Stop(edge));
                if self.dice.chance(500) {
                    self.machines[collector].cut_store(true);
                    self.later(now, 12_000, 25_000, Repair::StoreCut(collector));
                } else {
                    self.later(now, 100, 1_000, Repair::Freeze(collector));
                }
            }
            FaultKind::Freeze => {
                let at = self.any_up()?;
                self.freeze(sim, at, now, 200);
            }
            FaultKind::StopAtTurn => {
                let race = *self.dice.pick(RACES);
                *lock(&self.mood.stops) = race.into();
                // The fault happens when a host reaches the call.
                return None;
            }
            FaultKind::Clone => return self.copy_edge(sim, now),
            FaultKind::EdgeRestored => return self.restore_edge(sim, now),
            FaultKind::CollectorRestored => return self.restore_collector(sim, now),
            FaultKind::Names => {
                self.world.names.trouble(&self.dice);
                self.later(now, 500, 12_000, Repair::Names);
            }
            FaultKind::StoreRefusesOne => return self.refuse_one(now),
            FaultKind::LedgerChanged => return self.change_ledger(now),
            _ => return self.struck_store_or_disk(kind, now),
        }
        Some(())
    }

    /// Makes one collector store nothing for a long time, usually the preferred one of a failover.
    fn refuse_one(&mut self, now: Duration) -> Option<()> {
        // Once per seed: a second collector would receive batches that the first one has not yet
        // stored.
        let again = now > ONE_REFUSED_BY;
        if again || self.repairs.iter().any(|(_, repair)| matches!(repair, Repair::StoreCut(_))) {
            return None;
        }
        let first = self.edges + self.relays;
        let at = if self.dice.chance(700) { first } else { self.any_collector() };
        self.machines[at].cut_store(true);
        self.later(now, 40_000, 50_000, Repair::StoreCut(at));
        Some(())
    }

    /// Takes the first edge down and starts two copies. The copy restarts later, which puts it
    /// ahead.
    fn copy_edge(&mut self, sim: &mut Sim<'_>, now: Duration) -> Option<()> {
        let copy = self.machines.get(self.hosts)?.clone();
        if copy.is_born() {
            copy.signal("SIGTERM");
            return Some(());
        }
        if self.down.contains(&0) {
            return None;
        }
        let (one, other) = (self.dice.millis(20, 2_000), self.dice.millis(20, 2_000));
        self.take_down(sim, 0, now, one);
        copy.become_copy_of(&self.machines[0]);
        self.take_down(sim, self.hosts, now, other);
        Some(())
    }

    /// Isolates a machine for at least this many milliseconds.
    pub(super) fn freeze(&mut self, sim: &Sim<'_>, at: usize, now: Duration, least: u64) {
        let links = self.claim_all_of(at);
        links.iter().for_each(|(a, b)| sim.hold(self.name(*a), self.name(*b)));
        self.machines[at].freeze(true);
        self.later(now, least, 12_000, Repair::Thaw(at, links));
    }

    /// Returns the operator of the store and the collectors.
    pub(super) fn operator(&self) -> Operator<'_> {
        let collectors = &self.machines[self.edges + self.relays..];
        Operator { world: &self.world, books: &self.books, collectors }
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
            FaultKind::StoreLate => {
                mood.late.store(self.dice.between(self.late.0, self.late.1), Ordering::Relaxed);
            }
            FaultKind::StoreCut => {
                // Sometimes long enough for its batches to be committed elsewhere and forgotten.
                let at = self.any_collector();
                self.machines[at].cut_store(true);
                let (least, most) = *self.dice.pick(&[(100, 8_000), (15_000, 30_000)]);
                self.later(now, least, most, Repair::StoreCut(at));
                return Some(());
            }
            FaultKind::StoreSlow => {
                let at = self.any_collector();
                // Often just below the callers' timeout: then all calls succeed, late.
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

    /// Picks a rate in calls per thousand.
    fn rate(&self) -> u64 {
        self.dice.between(10, 300)
    }
}
