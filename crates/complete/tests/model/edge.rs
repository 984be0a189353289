//! One edge: its files, its disk, and the product's decisions about its reports.

use std::collections::BTreeMap;
use std::sync::Arc;

use peers::progress::{Advance, is_settled};
use pipeline::{Epoch, IntervalSet};

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
    pub(crate) report: Option<i64>,
    pub(crate) offset: i64,
    /// Reports that a collector accepted before the clock stepped back.
    pub(crate) accepted: i64,
    pub(crate) accepted_before_step: i64,
    /// How often its clock has stepped back.
    pub(crate) steps: u64,
    /// How often it had done so at the first survey of each time.
    pub(crate) surveyed: BTreeMap<i64, u64>,
    pub(crate) is_dismissed: bool,
    pub(crate) is_restored: bool,
}

fn source(number: usize) -> Arc<str> {
    number.to_string().into()
}

impl Edge {
    pub(crate) fn new(sources: usize, offset: i64) -> Self {
        let (batches, stored, settled) = Default::default();
        let disk = Disk { read: vec![0; sources], batches, stored, settled, starts: 0 };
        let mut edge = Self {
            files: vec![Vec::new(); sources],
            disk,
            backup: None,
            epoch: 0,
            own: Advance::default(),
            report: None,
            offset,
            accepted: i64::MIN,
            accepted_before_step: i64::MIN,
            steps: 0,
            surveyed: BTreeMap::new(),
            is_dismissed: false,
            is_restored: false,
        };
        edge.start(0);
        edge
    }

    pub(crate) fn start(&mut self, random: u64) {
        self.disk.starts += 1;
        self.epoch = self.disk.starts << 20 | random & 0xf_ffff;
        (self.own, self.report) = (Advance::default(), None);
        (0..self.files.len()).for_each(|number| self.own.expect(&source(number)));
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

    pub(crate) fn survey(&mut self, from: usize, now: i64) {
        if !self.has_read_all(from) {
            return;
        }
        let epoch = self.epoch;
        self.surveyed.entry(now + self.offset).or_insert(self.steps);
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
        let time = now + self.offset;
        self.report = self.own.stored(&source(from), time, content, is_committed);
        assert!(self.report.is_none_or(|it| it <= time), "a report is later than its clock");
    }
}
