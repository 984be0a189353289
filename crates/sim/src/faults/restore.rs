//! Restores data directories from backups, which are made while the agent is down.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use channel::durable::inspect::Inspection;
use channel::testkit::SimDisk;
use turmoil::Sim;

use super::Faults;
use crate::cluster::CHANNELS;

/// The directory to restore, without applications and their files.
const DATA: &str = "/data";

/// A copy of a disk.
pub(super) struct Backup {
    disk: SimDisk,
    /// The events that an edge had accepted: they are visible, or in its channels.
    accepted: BTreeSet<u64>,
    is_used: bool,
}

impl Faults {
    /// Takes the first edge down. Makes its backup the first time, and restores it the second time.
    pub(super) fn restore_edge(&mut self, sim: &mut Sim<'_>, now: Duration) -> Option<()> {
        if self.down.contains(&0) || self.backups.get(&0).is_some_and(|backup| backup.is_used) {
            return None;
        }
        let pause = self.dice.millis(20, 2_000);
        self.take_down(sim, 0, now, pause);
        match self.backups.get_mut(&0) {
            None => self.back_up(0),
            Some(backup) => {
                backup.is_used = true;
                self.machines[0].disk().restore(&backup.disk, Path::new(DATA));
                self.books.may_repeat(&self.machines[0].name, backup.accepted.clone());
                self.note(0, "is put back");
            }
        }
        Some(())
    }

    /// Takes a collector down, and makes or restores its backup.
    pub(super) fn restore_collector(&mut self, sim: &mut Sim<'_>, now: Duration) -> Option<()> {
        let at = self.any_collector();
        if self.down.contains(&at) {
            return None;
        }
        let (pause, is_kept) = (self.dice.millis(20, 2_000), self.dice.chance(300));
        self.take_down(sim, at, now, pause);
        match self.backups.get(&at).filter(|_| !is_kept) {
            None => self.back_up(at),
            Some(backup) => {
                self.machines[at].disk().restore(&backup.disk, Path::new(DATA));
                self.note(at, "is put back");
            }
        }
        Some(())
    }

    fn back_up(&mut self, at: usize) {
        let accepted = if at < self.edges { self.accepted(at) } else { BTreeSet::new() };
        let disk = self.machines[at].disk().copy();
        self.backups.insert(at, Backup { disk, accepted, is_used: false });
        self.note(at, "is backed up");
    }

    fn note(&self, at: usize, what: &str) {
        self.world.note(&self.machines[at].name, format_args!("{DATA} {what}"));
    }

    /// Returns the events that a stopped edge has accepted.
    fn accepted(&self, at: usize) -> BTreeSet<u64> {
        let machine = &self.machines[at];
        let mut accepted = self.books.visible(&machine.name);
        let disk = machine.disk();
        for channel in ["main", "side"].map(|name| Path::new(CHANNELS).join(name)) {
            if !disk.files().iter().any(|(path, _)| path.starts_with(&channel)) {
                continue;
            }
            let export = Inspection::open(&machine.env(), &channel, None).and_then(|inspection| {
                inspection.export(|_, batch| {
                    accepted.extend(batch.iter().filter_map(|event| number(event.body())));
                    true
                })
            });
            if let Err(error) = export {
                self.world.violation(format!("{channel:?} cannot be read: {error}"));
            }
        }
        accepted
    }
}

/// Returns the number of the event with this body.
fn number(body: &[u8]) -> Option<u64> {
    let digits = body.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(body.len());
    std::str::from_utf8(&body[..digits]).ok()?.parse().ok()
}
