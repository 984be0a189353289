//! The end of a run: everything is back.

use std::collections::BTreeSet;

use peers::progress::accepted;

use crate::world::{GRACE, Key, PERIOD, World};

impl World {
    /// Everything is back: each directory gets its receipt.
    pub(crate) fn heal(&mut self) {
        self.messages.clear();
        for edge in &mut self.edges {
            while let Some(stopped) = edge.stopped.first().copied() {
                edge.stop_or_start(stopped);
            }
        }
        for edge in 0..self.edges.len() {
            (0..self.edges[edge].files.len()).for_each(|from| self.reveal(edge, from));
        }
        for _ in 0..4 {
            self.now += 200;
            for edge in 0..self.edges.len() {
                for from in 0..self.edges[edge].files.len() {
                    while self.edges[edge].runs(from) && !self.edges[edge].has_read_all(from) {
                        self.read(edge, from);
                    }
                }
                if self.edges[edge].is_dismissed {
                    continue;
                }
                let kept: Vec<(u64, u64)> = self.edges[edge].disk.batches.keys().copied().collect();
                let origin = self.edges[edge].origin;
                let keys = kept.into_iter().map(|(epoch, number)| (origin, epoch, number));
                let fresh: BTreeSet<Key> =
                    keys.filter(|key| !self.committed.contains(key)).collect();
                if !fresh.is_empty() {
                    self.check_late(&fresh);
                    self.committed.extend(fresh.iter().copied());
                    self.ledger.push(fresh);
                }
                for (_, epoch, number) in self.committed.iter().filter(|key| key.0 == origin) {
                    let settled = self.edges[edge].disk.settled.entry(*epoch).or_default();
                    settled.insert(*number);
                }
                let sources = 0..self.edges[edge].files.len();
                // The second survey begins after the step of a clock.
                for from in sources.clone().chain(sources) {
                    self.edges[edge].begin_survey(from, self.now);
                    self.edges[edge].end_survey(from, self.now);
                }
                if let Some(before) = self.edges[edge].report {
                    let known = self.collectors[0].reports.get(&origin).copied();
                    let before = accepted(known, before, self.now);
                    self.collectors[0].reports.insert(origin, before);
                }
            }
            self.collectors[0].turn = Some(self.reports(0));
            self.finish_turn(0);
        }
        for key in &self.committed {
            for line in &self.lines[key] {
                // A clock that is far ahead has lines of the future.
                let directory = line.time.div_euclid(PERIOD);
                let is_over = self.now >= (directory + 1) * PERIOD + GRACE + 200;
                assert!(
                    !is_over || self.receipts.contains_key(&directory),
                    "no receipt: {directory}"
                );
            }
        }
    }
}
