//! One edge: its files, its disk, and the product's decisions about its reports.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use peers::progress::{Advance, Role, is_settled};
use pipeline::env::Moment;
use pipeline::{Epoch, IntervalSet};
use tokio::time::Instant;

/// A unit of the model, in milliseconds.
const UNIT_MS: i64 = 10 * Moment::STEP_MIN_MS;

#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// The time in it.
    pub(crate) time: i64,
    /// A reason why it may come after a receipt.
    pub(crate) excuse: bool,
    pub(crate) is_visible: bool,
}

/// The durable part of an edge.
#[derive(Clone)]
pub(crate) struct Disk {
    /// Lines that each source has read.
    pub(crate) read: Vec<usize>,
    /// Batches by epoch and number: their lines.
    pub(crate) batches: BTreeMap<(u64, u64), Vec<Line>>,
    pub(crate) stored: BTreeMap<u64, IntervalSet>,
    pub(crate) settled: BTreeMap<u64, IntervalSet>,
    pub(crate) starts: u64,
}

pub(crate) struct Edge {
    pub(crate) files: Vec<Vec<Line>>,
    pub(crate) disk: Disk,
    pub(crate) backup: Option<Disk>,
    pub(crate) epoch: u64,
    pub(crate) own: Advance<(u64, IntervalSet)>,
    /// Surveys that have begun, by source, with the clock at that time.
    begun: BTreeMap<usize, Moment>,
    pub(crate) report: Option<i64>,
    pub(crate) offset: i64,
    /// Reports that a collector accepted before the clock stepped back.
    pub(crate) accepted: i64,
    pub(crate) accepted_before_step: i64,
    /// How often its clock has stepped back.
    pub(crate) steps: u64,
    /// How often it had done so when the first survey of each time began.
    pub(crate) surveyed: BTreeMap<i64, u64>,
    pub(crate) is_dismissed: bool,
    pub(crate) is_restored: bool,
    /// Sources that an operator has stopped, and sources that a reload has removed.
    pub(crate) stopped: BTreeSet<usize>,
    pub(crate) removed: BTreeSet<usize>,
    /// The edge whose data directory this one has, or has a copy of.
    pub(crate) origin: usize,
    pub(crate) is_copy: bool,
}

fn source(number: usize) -> Arc<str> {
    number.to_string().into()
}

impl Edge {
    pub(crate) fn new(origin: usize, sources: usize, offset: i64) -> Self {
        let (batches, stored, settled) = Default::default();
        let disk = Disk { read: vec![0; sources], batches, stored, settled, starts: 0 };
        let mut edge = Self {
            files: vec![Vec::new(); sources],
            disk,
            backup: None,
            epoch: 0,
            own: Advance::default(),
            begun: BTreeMap::new(),
            report: None,
            offset,
            accepted: i64::MIN,
            accepted_before_step: i64::MIN,
            steps: 0,
            surveyed: BTreeMap::new(),
            is_dismissed: false,
            is_restored: false,
            stopped: BTreeSet::new(),
            removed: BTreeSet::new(),
            origin,
            is_copy: false,
        };
        edge.start(0);
        edge
    }

    pub(crate) fn start(&mut self, random: u64) {
        self.disk.starts += 1;
        self.epoch = self.disk.starts << 20 | random & 0xf_ffff;
        (self.own, self.report) = (Advance::default(), None);
        self.begun.clear();
        let configured = (0..self.files.len()).filter(|number| !self.removed.contains(number));
        for number in configured.collect::<Vec<_>>() {
            self.own.expect(&source(number), self.role(number));
        }
    }

    fn role(&self, number: usize) -> Role {
        if self.stopped.contains(&number) { Role::Stopped } else { Role::Reports }
    }

    /// Returns whether a source runs.
    pub(crate) fn runs(&self, number: usize) -> bool {
        !self.is_dismissed && !self.stopped.contains(&number) && !self.removed.contains(&number)
    }

    /// An operator stops a source, or starts it again.
    pub(crate) fn stop_or_start(&mut self, number: usize) {
        if self.removed.contains(&number) {
            return;
        }
        if !self.stopped.remove(&number) {
            self.stopped.insert(number);
            self.begun.remove(&number);
        }
        self.own.expect(&source(number), self.role(number));
    }

    /// A reload removes a source, or adds it again, running; one always stays.
    pub(crate) fn remove_or_add(&mut self, number: usize) {
        if self.removed.remove(&number) {
            self.own.expect(&source(number), self.role(number));
        } else if self.removed.len() + 1 < self.files.len() {
            self.removed.insert(number);
            self.stopped.remove(&number);
            self.begun.remove(&number);
            self.own.leave(&number.to_string());
        }
    }

    /// Reads some lines of a source into a batch; returns its number, if there were lines.
    pub(crate) fn read(&mut self, from: usize, count: usize) -> Option<u64> {
        let file = &self.files[from];
        let first = self.disk.read[from];
        let lines: Vec<Line> =
            file[first..].iter().take_while(|it| it.is_visible).take(count).cloned().collect();
        if lines.is_empty() {
            return None;
        }
        self.disk.read[from] += lines.len();
        let stored = self.disk.stored.entry(self.epoch).or_default();
        let number = stored.last().map_or(0, |last| last + 1);
        stored.insert(number);
        self.disk.batches.insert((self.epoch, number), lines);
        Some(number)
    }

    pub(crate) fn has_read_all(&self, from: usize) -> bool {
        self.files[from].get(self.disk.read[from]).is_none_or(|line| !line.is_visible)
    }

    /// The clock of this edge. A unit of the model is long enough to count as a step.
    fn clock(&self, now: i64) -> Moment {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        let at = *START + Duration::from_millis((now * UNIT_MS).unsigned_abs());
        Moment { wall_ms: (now + self.offset) * UNIT_MS, at }
    }

    /// A survey of a source begins.
    pub(crate) fn begin_survey(&mut self, from: usize, now: i64) {
        if self.runs(from) && !self.begun.contains_key(&from) {
            self.begun.insert(from, self.clock(now));
            self.surveyed.entry(now + self.offset).or_insert(self.steps);
        }
    }

    /// A survey ends, if the source has read everything.
    pub(crate) fn end_survey(&mut self, from: usize, now: i64) {
        if !self.has_read_all(from) {
            return;
        }
        let Some(begun) = self.begun.remove(&from) else { return };
        let epoch = self.epoch;
        let Disk { stored, settled, .. } = &self.disk;
        let of = |sets: &BTreeMap<u64, IntervalSet>, epoch| {
            sets.get(&epoch).cloned().unwrap_or_default()
        };
        let content = || Some((epoch, of(stored, epoch)));
        let is_committed = |(epoch, content): &(u64, IntervalSet)| {
            let unsettled = stored.iter().filter(|(it, all)| {
                let settled = of(settled, **it);
                all.intersection(&settled) != **all
            });
            let lowest = unsettled.map(|(it, _)| Epoch(*it)).min();
            is_settled(Epoch(*epoch), content, lowest, &of(settled, *epoch))
        };
        let now = self.clock(now);
        self.own.stored(&from.to_string(), (begun, now), content, is_committed);
        self.report = self.own.reached().map(|reached| reached / UNIT_MS);
        let time = now.wall_ms / UNIT_MS;
        assert!(self.report.is_none_or(|it| it <= time), "a report is later than its clock");
    }
}
