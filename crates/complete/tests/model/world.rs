//! The world: edges, collectors, messages and the ledger, driven by random steps.

use std::collections::{BTreeMap, BTreeSet};

use aqueduct_complete::{Expected, Receipt, Roster};
use peers::progress::accepted;
use pipeline::Origin;

use crate::edge::{Edge, Line};
use crate::random::Random;

/// Length of the period of a directory, and the delay that is allowed for lines.
pub(crate) const PERIOD: i64 = 40;
pub(crate) const GRACE: i64 = 10;

pub(crate) type Key = (usize, u64, u64);

#[derive(Clone)]
pub(crate) enum Message {
    Put(Key),
    Report(usize, i64),
}

pub(crate) struct Collector {
    pub(crate) batches: BTreeSet<Key>,
    pub(crate) reports: BTreeMap<usize, i64>,
    /// Reports that a turn has read, before it reads the ledger.
    pub(crate) turn: Option<Roster>,
}

pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) now: i64,
    pub(crate) edges: Vec<Edge>,
    pub(crate) collectors: Vec<Collector>,
    pub(crate) messages: Vec<(usize, Message)>,
    pub(crate) ledger: Vec<BTreeSet<Key>>,
    pub(crate) committed: BTreeSet<Key>,
    pub(crate) lines: BTreeMap<Key, Vec<Line>>,
    /// What the notes in the store contain.
    pub(crate) stored: Roster,
    pub(crate) waived: BTreeSet<Origin>,
    pub(crate) receipts: BTreeMap<i64, (Receipt, BTreeSet<usize>)>,
}

fn origin(edge: usize) -> Origin {
    Origin([edge as u8; 16])
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let edges = 1 + random.below(3);
        let edge = |_| {
            Edge::new(1 + random.below(2), random.below(60) as i64 * i64::from(random.one_in(4)))
        };
        let edges = (0..edges).map(edge).collect();
        let collector =
            |_| Collector { batches: BTreeSet::new(), reports: BTreeMap::new(), turn: None };
        let collectors = (0..1 + random.below(2)).map(collector).collect();
        Self {
            random,
            now: 1_000,
            edges,
            collectors,
            messages: Vec::new(),
            ledger: Vec::new(),
            committed: BTreeSet::new(),
            lines: BTreeMap::new(),
            stored: Roster::default(),
            waived: BTreeSet::new(),
            receipts: BTreeMap::new(),
        }
    }

    pub(crate) fn step(&mut self) {
        self.now += self.random.below(3) as i64;
        let (edge, collector) =
            (self.random.below(self.edges.len()), self.random.below(self.collectors.len()));
        let from = self.random.below(self.edges[edge].files.len());
        match self.random.below(100) {
            0..16 => self.write(edge, from),
            16..32 => self.read(edge, from),
            32..48 => self.survey(edge, from),
            48..62 => self.send(edge, collector),
            62..78 => self.deliver(),
            78..84 => self.commit(collector),
            84..89 => self.acknowledge(edge),
            89..91 => self.collectors[collector].turn = Some(self.reports(collector)),
            91..94 => {
                if self.random.one_in(2) {
                    self.collectors[collector].turn = Some(self.reports(collector));
                }
                self.finish_turn(collector);
            }
            94 => self.kill(edge),
            95 => self.reveal(edge, from),
            96 => self.step_clock(edge),
            97 if self.random.one_in(4) => self.restore(edge),
            98 if self.random.one_in(6) => self.dismiss(edge),
            99 if self.random.one_in(3) => self.lose_collector(collector),
            _ => {}
        }
    }

    pub(crate) fn write(&mut self, edge: usize, from: usize) {
        let is_late = self.random.one_in(30);
        let is_visible = !self.random.one_in(40);
        let Edge { files, offset, accepted_before_step, is_dismissed, is_restored, .. } =
            &mut self.edges[edge];
        if *is_dismissed {
            return;
        }
        let delay = if is_late { GRACE + 30 } else { self.random.below(GRACE as usize) as i64 };
        let time = self.now + *offset - delay;
        let excuse = is_late || !is_visible || *is_restored || time - GRACE < *accepted_before_step;
        files[from].push(Line { time, excuse, is_visible });
    }

    /// Files that were rotated late appear.
    pub(crate) fn reveal(&mut self, edge: usize, from: usize) {
        let is_hidden = self.edges[edge].files[from].iter().any(|line| !line.is_visible);
        for line in &mut self.edges[edge].files[from] {
            // Lines after them in the same model file could not be read either.
            line.excuse |= is_hidden;
            line.is_visible = true;
        }
    }

    pub(crate) fn read(&mut self, edge: usize, from: usize) {
        let count = 1 + self.random.below(8);
        if self.edges[edge].is_dismissed {
            return;
        }
        if let Some(number) = self.edges[edge].read(from, count) {
            let (epoch, disk) = (self.edges[edge].epoch, &self.edges[edge].disk);
            self.lines.insert((edge, epoch, number), disk.batches[&(epoch, number)].clone());
        }
    }

    pub(crate) fn survey(&mut self, edge: usize, from: usize) {
        if self.edges[edge].is_dismissed {
            return;
        }
        self.edges[edge].survey(from, self.now);
        if self.random.one_in(2) {
            (0..self.edges[edge].files.len())
                .for_each(|from| self.edges[edge].survey(from, self.now));
        }
    }

    pub(crate) fn send(&mut self, edge: usize, collector: usize) {
        let Edge { disk, report, is_dismissed, .. } = &self.edges[edge];
        if *is_dismissed {
            return;
        }
        let is_kept = |(epoch, number): &(u64, u64)| {
            disk.settled.get(epoch).is_none_or(|settled| !settled.contains(*number))
        };
        let kept: Vec<(u64, u64)> = disk.batches.keys().copied().filter(is_kept).collect();
        let report = *report;
        if let Some(before) = report {
            self.messages.push((collector, Message::Report(edge, before)));
        }
        if !kept.is_empty() {
            let (epoch, number) = kept[self.random.below(kept.len())];
            self.messages.push((collector, Message::Put((edge, epoch, number))));
        }
    }

    /// Delivers any message: messages overtake each other, are lost and arrive twice.
    pub(crate) fn deliver(&mut self) {
        if self.messages.is_empty() {
            return;
        }
        let at = self.random.below(self.messages.len());
        let (to, message) = match self.random.one_in(8) {
            true => self.messages[at].clone(),
            false => self.messages.swap_remove(at),
        };
        if self.random.one_in(12) {
            return;
        }
        match message {
            Message::Put(key) => {
                self.collectors[to].batches.insert(key);
            }
            Message::Report(edge, before) => {
                let known = self.collectors[to].reports.get(&edge).copied();
                let time = accepted(known, before, self.now);
                assert!(time <= self.now, "a report is later than its arrival");
                self.collectors[to].reports.insert(edge, time);
                let edge = &mut self.edges[edge];
                edge.accepted = edge.accepted.max(before.min(self.now));
                if edge.surveyed[&before] != edge.steps {
                    edge.accepted_before_step = edge.accepted_before_step.max(edge.accepted);
                }
            }
        }
    }

    pub(crate) fn commit(&mut self, collector: usize) {
        let Collector { batches, .. } = &self.collectors[collector];
        let fresh = batches.difference(&self.committed).copied();
        let mut entry: BTreeSet<Key> = fresh.collect();
        entry.retain(|_| !self.random.one_in(3));
        if entry.is_empty() {
            return;
        }
        self.check_late(&entry);
        self.committed.extend(entry.iter().copied());
        self.ledger.push(entry);
    }

    /// Each event for a directory with a receipt is recorded, and explained.
    pub(crate) fn check_late(&self, entry: &BTreeSet<Key>) {
        let number = self.ledger.len() as u64;
        for key in entry {
            for line in &self.lines[key] {
                let Some((receipt, covered)) = self.receipts.get(&line.time.div_euclid(PERIOD))
                else {
                    continue;
                };
                assert!(receipt.is_late(number), "a late event is not recorded");
                let edge = &self.edges[key.0];
                let is_explained = line.excuse
                    || edge.is_restored
                    || !covered.contains(&key.0)
                    || line.time - GRACE < edge.accepted_before_step;
                assert!(is_explained, "event {line:?} of {key:?} is late without a reason");
            }
        }
    }

    /// The edge learns that some of its batches are committed.
    pub(crate) fn acknowledge(&mut self, edge: usize) {
        let disk = &mut self.edges[edge].disk;
        for (_, epoch, number) in self.committed.iter().filter(|key| key.0 == edge) {
            let is_known = disk.batches.contains_key(&(*epoch, *number));
            if is_known && !self.random.one_in(3) {
                disk.settled.entry(*epoch).or_default().insert(*number);
            }
        }
    }

    /// The first half of a turn: all reports that the collector knows.
    pub(crate) fn reports(&self, collector: usize) -> Roster {
        let mut roster = self.stored.clone();
        for (edge, before) in &self.collectors[collector].reports {
            roster.report(origin(*edge), "", *before);
        }
        roster
    }

    /// The second half: the ledger, and the receipts.
    pub(crate) fn finish_turn(&mut self, collector: usize) {
        let Some(mut roster) = self.collectors[collector].turn.take() else { return };
        for key in &self.committed {
            roster.join(origin(key.0), self.now);
        }
        self.stored.merge(&roster);
        let times =
            self.committed.iter().flat_map(|key| self.lines[key].iter().map(|line| line.time));
        let directories: BTreeSet<i64> = times.map(|time| time.div_euclid(PERIOD)).collect();
        let expected = Expected::default();
        for directory in directories {
            let end = (directory + 1) * PERIOD + GRACE;
            if self.now < end || self.receipts.contains_key(&directory) {
                continue;
            }
            let is_waived = |it| self.waived.contains(&it);
            let judged = roster.judge(&expected, self.now, |before| before >= end, is_waived);
            if judged.is_complete() {
                let covered = judged.past.iter().map(|(origin, _)| usize::from(origin.0[0]));
                let receipt = made(self.ledger.len() as u64);
                self.receipts.insert(directory, (receipt, covered.collect()));
            }
        }
    }

    pub(crate) fn kill(&mut self, edge: usize) {
        let (random, is_backed_up) = (self.random.next(), self.random.one_in(3));
        let edge = &mut self.edges[edge];
        if is_backed_up {
            edge.backup = Some(edge.disk.clone());
        }
        edge.start(random);
    }

    /// The edge continues from an old copy of its disk: it sends old lines again.
    pub(crate) fn restore(&mut self, edge: usize) {
        let random = self.random.next();
        let edge = &mut self.edges[edge];
        if let Some(backup) = edge.backup.clone() {
            (edge.disk, edge.is_restored) = (backup, true);
            edge.start(random);
        }
    }

    pub(crate) fn step_clock(&mut self, edge: usize) {
        let step = self.random.below(120) as i64 - 60;
        let edge = &mut self.edges[edge];
        if step < 0 {
            edge.accepted_before_step = edge.accepted;
            edge.steps += 1;
        }
        edge.offset += step;
    }

    pub(crate) fn dismiss(&mut self, edge: usize) {
        self.edges[edge].is_dismissed = true;
        self.waived.insert(origin(edge));
    }

    pub(crate) fn lose_collector(&mut self, collector: usize) {
        self.messages.retain(|(to, _)| *to != collector);
        self.collectors[collector] =
            Collector { batches: BTreeSet::new(), reports: BTreeMap::new(), turn: None };
    }
}

fn made(entries: u64) -> Receipt {
    Receipt {
        format: 1,
        directory: String::new(),
        made_at_ms: 0,
        ledger: String::new(),
        entries,
        events: None,
        files: Vec::new(),
        files_hash: String::new(),
        edges: Vec::new(),
        waived: Vec::new(),
        left: Vec::new(),
    }
}
