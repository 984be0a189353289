//! Further steps: relays, copied data directories, removed sources, edges that leave.

use aqueduct_complete::{Departure, Judgement, Roster};
use peers::progress::accepted;

use crate::edge::Edge;
use crate::world::{Message, Relay, Report, World, origin};

impl World {
    /// A relay keeps a message, and hands some of what it has to a collector.
    pub(crate) fn deliver_to_relay(&mut self, relay: usize, message: Message) {
        match message {
            Message::Put(key) => self.relays[relay].batches.push(key),
            Message::Report(edge, Report { before, steps }) => {
                let Relay { reports, .. } = &mut self.relays[relay];
                let known = reports.get(&edge).copied();
                let before = accepted(known.map(|it| it.before), before, self.now);
                let is_new = known.is_none_or(|it| it.before < before);
                let steps = known.filter(|_| !is_new).map_or(steps, |it| it.steps);
                reports.insert(edge, Report { before, steps });
            }
        }
        let to = self.random.below(self.collectors.len());
        let Relay { reports, batches } = &self.relays[relay];
        for (edge, report) in reports.clone() {
            self.messages.push((to, Message::Report(edge, report)));
        }
        if !batches.is_empty() {
            let key = batches[self.random.below(batches.len())];
            self.messages.push((to, Message::Put(key)));
        }
    }

    /// A relay dies with its disk.
    pub(crate) fn lose_relay(&mut self) {
        if self.relays.is_empty() {
            return;
        }
        let (relay, first) = (self.random.below(self.relays.len()), self.collectors.len());
        self.messages.retain(|(to, _)| *to != first + relay);
        self.relays[relay] = Relay::default();
    }

    /// A second agent runs with a copy of a data directory, and with files of its own.
    pub(crate) fn copy(&mut self, edge: usize) {
        if self.edges.iter().any(|it| it.is_copy) {
            return;
        }
        let random = self.random.next();
        let original = &mut self.edges[edge];
        original.is_restored = true;
        let mut copy = Edge::new(original.origin, original.files.len(), original.offset);
        (copy.disk, copy.files) = (original.disk.clone(), original.files.clone());
        (copy.is_dismissed, copy.is_restored) = (original.is_dismissed, true);
        copy.is_copy = true;
        copy.start(random);
        self.edges.push(copy);
    }

    /// A reload removes a source, or adds it again: its unread lines are then late.
    pub(crate) fn remove_or_add(&mut self, edge: usize, from: usize) {
        let edge = &mut self.edges[edge];
        let unread = edge.disk.read[from]..;
        if edge.removed.contains(&from) {
            edge.files[from][unread].iter_mut().for_each(|line| line.excuse = true);
        }
        edge.remove_or_add(from);
    }

    /// An operator declares that an edge has left, which may be wrong.
    pub(crate) fn leave(&mut self, edge: usize) {
        let edge = self.edges[edge].origin;
        let keys = self.committed.iter().filter(|key| key.0 == edge);
        let newest = keys.map(|key| (key.1, key.2)).max();
        self.departures.insert(origin(edge), Departure { at: self.now, newest });
    }

    /// Each edge that a receipt does not cover is waived, or has left and not returned.
    pub(crate) fn check_absent(&self, roster: &Roster, judged: &Judgement) {
        for (edge, known) in roster.iter().filter(|(_, known)| known.has_batch) {
            let is_covered = judged.past.iter().any(|(past, _)| *past == edge);
            if is_covered || self.waived.contains(&edge) {
                continue;
            }
            let left = self.departures.get(&edge).expect("only an edge that left is not covered");
            let newest = self.committed.iter().filter(|key| origin(key.0) == edge);
            let newest = newest.map(|key| (key.1, key.2)).max();
            let has_returned =
                newest > left.newest || known.before.is_some_and(|before| before > left.at);
            assert!(!has_returned, "an edge that returned is not waited for");
        }
    }
}
