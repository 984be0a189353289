//! The world: edges, collectors, messages and the ledger, driven by random steps.

use std::collections::{BTreeMap, BTreeSet};

use aqueduct_complete::{Departure, Expected, Receipt, Roster};
use peers::progress::accepted;
use pipeline::Origin;

use crate::edge::{Edge, Line};
use crate::random::Random;

/// Length of the period of a directory, and the delay that is allowed for lines.
pub(crate) const PERIOD: i64 = 40;
pub(crate) const GRACE: i64 = 10;

pub(crate) type Key = (usize, u64, u64);

#[derive(Clone, Copy)]
pub(crate) enum Message {
    Put(Key),
    Report(usize, Report),
}

/// A report of an edge, and how often its clock had stepped back at the survey.
#[derive(Clone, Copy)]
pub(crate) struct Report {
    pub(crate) before: i64,
    pub(crate) steps: u64,
}

/// An agent between edges and collectors.
#[derive(Default)]
pub(crate) struct Relay {
    pub(crate) batches: Vec<Key>,
    /// By the edge that reports.
    pub(crate) reports: BTreeMap<usize, Report>,
}

#[derive(Default)]
pub(crate) struct Collector {
    pub(crate) batches: BTreeSet<Key>,
    /// By origin.
    pub(crate) reports: BTreeMap<usize, i64>,
    /// Reports that a turn has read, before it reads the ledger.
    pub(crate) turn: Option<Roster>,
}

pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) now: i64,
    pub(crate) edges: Vec<Edge>,
    pub(crate) collectors: Vec<Collector>,
    pub(crate) relays: Vec<Relay>,
    /// To collectors, and after these to relays.
    pub(crate) messages: Vec<(usize, Message)>,
    pub(crate) ledger: Vec<BTreeSet<Key>>,
    pub(crate) committed: BTreeSet<Key>,
    pub(crate) lines: BTreeMap<Key, Vec<Line>>,
    /// What the notes in the store contain.
    pub(crate) stored: Roster,
    pub(crate) waived: BTreeSet<Origin>,
    pub(crate) departures: BTreeMap<Origin, Departure>,
    pub(crate) receipts: BTreeMap<i64, (Receipt, BTreeSet<usize>)>,
}

pub(crate) fn origin(edge: usize) -> Origin {
    Origin([edge as u8; 16])
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let edges = 1 + random.below(3);
        let edge = |number| {
            let offset = random.below(60) as i64 * i64::from(random.one_in(4));
            Edge::new(number, 1 + random.below(2), offset)
        };
        let edges = (0..edges).map(edge).collect();
        let collectors = (0..1 + random.below(2)).map(|_| Collector::default()).collect();
        let relays = (0..random.below(2)).map(|_| Relay::default()).collect();
        Self {
            random,
            now: 1_000,
            edges,
            collectors,
            relays,
            messages: Vec::new(),
            ledger: Vec::new(),
            committed: BTreeSet::new(),
            lines: BTreeMap::new(),
            stored: Roster::default(),
            waived: BTreeSet::new(),
            departures: BTreeMap::new(),
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
            48..62 => self.send(edge),
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
            94 => match self.random.below(4) {
                0 => self.kill(edge),
                1 => self.edges[edge].stop_or_start(from),
                2 => self.remove_or_add(edge, from),
                _ => self.lose_relay(),
            },
            95 if self.random.one_in(2) => self.reveal(edge, from),
            95 if self.random.one_in(8) => self.copy(edge),
            95 => self.leave(edge),
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
        if !self.edges[edge].runs(from) {
            return;
        }
        if let Some(number) = self.edges[edge].read(from, count) {
            let Edge { epoch, origin, disk, .. } = &self.edges[edge];
            self.lines.insert((*origin, *epoch, number), disk.batches[&(*epoch, number)].clone());
        }
    }

    pub(crate) fn survey(&mut self, edge: usize, from: usize) {
        let (many, now) = (self.random.below(3), self.now);
        let edge = &mut self.edges[edge];
        match many {
            0 => edge.begin_survey(from, now),
            1 => edge.end_survey(from, now),
            _ => (0..edge.files.len()).for_each(|from| {
                edge.begin_survey(from, now);
                edge.end_survey(from, now);
            }),
        }
    }

    pub(crate) fn send(&mut self, edge: usize) {
        let to = self.random.below(self.collectors.len() + self.relays.len());
        let Edge { disk, report, surveyed, is_dismissed, origin, .. } = &self.edges[edge];
        if *is_dismissed {
            return;
        }
        let is_kept = |(epoch, number): &(u64, u64)| {
            disk.settled.get(epoch).is_none_or(|settled| !settled.contains(*number))
        };
        let kept: Vec<(u64, u64)> = disk.batches.keys().copied().filter(is_kept).collect();
        let (report, origin) = (*report, *origin);
        if let Some(before) = report {
            let report = Report { before, steps: surveyed[&before] };
            self.messages.push((to, Message::Report(edge, report)));
        }
        if !kept.is_empty() {
            let (epoch, number) = kept[self.random.below(kept.len())];
            self.messages.push((to, Message::Put((origin, epoch, number))));
        }
    }

    /// Delivers any message: messages overtake each other, are lost and arrive twice.
    pub(crate) fn deliver(&mut self) {
        if self.messages.is_empty() {
            return;
        }
        let at = self.random.below(self.messages.len());
        let (to, message) = match self.random.one_in(8) {
            true => self.messages[at],
            false => self.messages.swap_remove(at),
        };
        if self.random.one_in(12) {
            return;
        }
        if to >= self.collectors.len() {
            return self.deliver_to_relay(to - self.collectors.len(), message);
        }
        match message {
            Message::Put(key) => {
                self.collectors[to].batches.insert(key);
            }
            Message::Report(edge, Report { before, steps }) => {
                let edge = &mut self.edges[edge];
                let known = self.collectors[to].reports.get(&edge.origin).copied();
                let time = accepted(known, before, self.now);
                assert!(time <= self.now, "a report is later than its arrival");
                self.collectors[to].reports.insert(edge.origin, time);
                edge.accepted = edge.accepted.max(before.min(self.now));
                if steps != edge.steps {
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
        let Edge { disk, origin, .. } = &mut self.edges[edge];
        for (_, epoch, number) in self.committed.iter().filter(|key| key.0 == *origin) {
            let is_known = disk.batches.contains_key(&(*epoch, *number));
            if is_known && !self.random.one_in(3) {
                disk.settled.entry(*epoch).or_default().insert(*number);
            }
        }
    }

    /// The first half of a turn: all reports that the collector knows.
    pub(crate) fn reports(&self, collector: usize) -> Roster {
        let mut roster = self.stored.clone();
        for (origin, departure) in &self.departures {
            roster.leave(*origin, *departure);
        }
        for (edge, before) in &self.collectors[collector].reports {
            roster.report(origin(*edge), "", *before, "");
        }
        roster
    }

    /// The second half: the ledger, and the receipts.
    pub(crate) fn finish_turn(&mut self, collector: usize) {
        let Some(mut roster) = self.collectors[collector].turn.take() else { return };
        for key in &self.committed {
            roster.join(origin(key.0), self.now);
            roster.newest(origin(key.0), (key.1, key.2));
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
            let begins_after = |time| directory * PERIOD > time;
            let is_past = |before| before >= end;
            let judged = roster.judge(&expected, self.now, is_past, begins_after, is_waived);
            if judged.is_complete() {
                self.check_absent(&roster, &judged);
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
        self.waived.insert(origin(self.edges[edge].origin));
    }

    pub(crate) fn lose_collector(&mut self, collector: usize) {
        self.messages.retain(|(to, _)| *to != collector);
        self.collectors[collector] = Collector::default();
    }
}

fn made(entries: u64) -> Receipt {
    Receipt {
        format: 1,
        directory: String::new(),
        made_at_ms: 0,
        ledger: String::new(),
        entries,
        bytes: None,
        events: None,
        files: Vec::new(),
        files_hash: String::new(),
        edges: Vec::new(),
        waived: Vec::new(),
        left: Vec::new(),
        hash: None,
    }
}
