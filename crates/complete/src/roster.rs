//! The edges of a dataset: which ones are expected, and how far each one got.

use std::collections::{BTreeMap, BTreeSet};

use pipeline::Origin;
use support::mutant;

/// One edge: one channel of an agent, by its origin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edge {
    /// The host of the agent; empty if it has never reported.
    pub name: String,
    /// Everything before this time is committed, in milliseconds since 1970; `None` if it has never
    /// reported.
    pub before: Option<i64>,
    /// Its sources that cannot report, or that an operator has stopped; empty if there is none.
    pub held_by: String,
    /// The last known sign of it, by the clock of a collector.
    pub seen: i64,
    /// Its last batch in the ledger, by epoch and number; `None` if the ledger has forgotten it.
    pub newest: Option<(u64, u64)>,
    /// An operator has declared that it has left.
    pub departure: Option<Departure>,
    /// Whether the ledger has a batch of it. An edge without one is expected only by its name.
    pub has_batch: bool,
}

/// An edge has left. It returns by a later report or a later batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Departure {
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// Its last batch in the ledger at that time.
    pub newest: Option<(u64, u64)>,
}

impl Edge {
    /// Returns when it has left, if it has not returned.
    pub fn left_at(&self) -> Option<i64> {
        let has_returned = |left: &Departure| {
            self.newest > left.newest || self.before.is_some_and(|before| before > left.at)
        };
        let is_gone =
            |left: &Departure| !has_returned(left) || mutant!("complete_left_edge_never_returns");
        self.departure.filter(is_gone).map(|left| left.at)
    }
}

/// The edges of a dataset that are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roster {
    edges: BTreeMap<Origin, Edge>,
}

/// The edges that must be past a period.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// Names of edges; empty for all known ones.
    pub names: BTreeSet<String>,
    /// Silence after which an edge counts as gone, in milliseconds.
    pub leave_after: Option<i64>,
}

/// The edges of a dataset with respect to one directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Edges that are past the period.
    pub past: Vec<(Origin, Edge)>,
    /// Edges that hold the directory back.
    pub holders: Vec<(Origin, Edge)>,
    /// Expected names of which no edge is known; they hold it back, too.
    pub missing: Vec<String>,
    /// Edges that an operator has waived.
    pub waived: Vec<(Origin, Edge)>,
    /// Edges that have been silent for too long, or that an operator has declared to have left,
    /// after the period began. Edges that left earlier are not listed.
    pub left: Vec<(Origin, Edge)>,
}

impl Judgement {
    /// Returns whether nothing holds the directory back.
    pub fn is_complete(&self) -> bool {
        self.holders.is_empty() && self.missing.is_empty()
    }
}

impl Roster {
    /// The known edges.
    pub fn iter(&self) -> impl Iterator<Item = (Origin, &Edge)> {
        self.edges.iter().map(|(origin, edge)| (*origin, edge))
    }

    /// Returns an edge.
    pub fn get(&self, origin: Origin) -> Option<&Edge> {
        self.edges.get(&origin)
    }

    /// Records that a batch of this origin is in the ledger. Returns whether the edge is new.
    pub fn join(&mut self, origin: Origin, seen: i64) -> bool {
        let edge = self.edges.entry(origin).or_default();
        edge.seen = edge.seen.max(seen);
        !std::mem::replace(&mut edge.has_batch, true)
    }

    /// Records a sign of this edge.
    pub fn see(&mut self, origin: Origin, seen: i64) {
        let edge = self.edges.entry(origin).or_default();
        edge.seen = edge.seen.max(seen);
    }

    /// Records a report of the edge with this name, whose time these sources hold back; 0 is no
    /// time. The later time replaces an earlier one, and of equal times the one that names more.
    pub fn report(&mut self, origin: Origin, name: &str, before: i64, held_by: &str) {
        let edge = self.edges.entry(origin).or_default();
        let before = Some(before).filter(|before| *before > 0);
        if (before, held_by) > (edge.before, &edge.held_by) {
            edge.before = before;
            held_by.clone_into(&mut edge.held_by);
        }
        edge.seen = edge.seen.max(before.unwrap_or_default());
        if !name.is_empty() {
            name.clone_into(&mut edge.name);
        }
    }

    /// Records the last batch of a known edge in the ledger.
    pub fn newest(&mut self, origin: Origin, batch: (u64, u64)) {
        if let Some(edge) = self.edges.get_mut(&origin) {
            edge.newest = edge.newest.max(Some(batch));
        }
    }

    /// Records that a known edge has left.
    pub fn leave(&mut self, origin: Origin, departure: Departure) {
        if let Some(edge) = self.edges.get_mut(&origin) {
            edge.departure = edge.departure.max(Some(departure));
        }
    }

    /// Adds what another collector knows.
    pub fn merge(&mut self, other: &Self) {
        for (origin, edge) in other.iter() {
            self.see(origin, edge.seen);
            if edge.has_batch {
                self.join(origin, edge.seen);
            }
            self.report(origin, &edge.name, edge.before.unwrap_or_default(), &edge.held_by);
            if let Some(newest) = edge.newest {
                self.newest(origin, newest);
            }
            if let Some(departure) = edge.departure {
                self.leave(origin, departure);
            }
        }
    }

    /// Judges a directory. `is_past` tells whether a report with this time covers its period,
    /// `begins_after` whether its period begins after this time, and `is_waived` whether an
    /// operator has waived the edge for it.
    pub fn judge(
        &self,
        expected: &Expected,
        now: i64,
        is_past: impl Fn(i64) -> bool,
        begins_after: impl Fn(i64) -> bool,
        is_waived: impl Fn(Origin) -> bool,
    ) -> Judgement {
        let mut judgement = Judgement::default();
        let is_expected = |edge: &Edge| match expected.names.is_empty() {
            true => edge.has_batch,
            false => expected.names.contains(&edge.name),
        };
        for (origin, edge) in self.iter().filter(|(_, edge)| is_expected(edge)) {
            let silent = now.saturating_sub(edge.seen);
            let is_gone = expected.leave_after.is_some_and(|after| silent > after);
            let is_unknown = edge.before.is_none() && mutant!("complete_silent_not_expected");
            let list = if edge.before.is_some_and(&is_past) || is_unknown {
                &mut judgement.past
            } else if edge.left_at().is_some_and(&begins_after) {
                continue;
            } else if is_waived(origin) {
                &mut judgement.waived
            } else if is_gone || edge.left_at().is_some() {
                &mut judgement.left
            } else {
                &mut judgement.holders
            };
            list.push((origin, edge.clone()));
        }
        let known: BTreeSet<&str> = self.edges.values().map(|edge| edge.name.as_str()).collect();
        let missing = expected.names.iter().filter(|name| !known.contains(name.as_str()));
        judgement.missing = missing.cloned().collect();
        judgement
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Origin = Origin([1; 16]);
    const B: Origin = Origin([2; 16]);

    /// The period of the directory is from 50 to 80.
    fn is_past(before: i64) -> bool {
        before >= 80
    }

    fn begins_after(time: i64) -> bool {
        time < 50
    }

    fn names(edges: &[(Origin, Edge)]) -> Vec<Origin> {
        edges.iter().map(|(origin, _)| *origin).collect()
    }

    #[test]
    fn an_edge_without_reports_holds_a_directory_back_until_it_is_waived_or_gone() {
        let mut roster = Roster::default();
        assert!(roster.join(A, 10) && !roster.join(A, 5));
        roster.report(B, "web-2", 70, "");
        roster.report(B, "web-2", 100, "");
        roster.report(Origin([3; 16]), "idle", 5, "");
        assert!(roster.join(B, 100));
        let expected = Expected { leave_after: Some(50), ..Expected::default() };
        let judged =
            |now, waived| roster.judge(&expected, now, is_past, begins_after, |it| waived == it);
        assert_eq!(names(&judged(60, B).holders), [A]);
        assert_eq!(names(&judged(60, A).waived), [A]);
        let gone = judged(61, B);
        assert_eq!((names(&gone.left), names(&gone.past)), (vec![A], vec![B]));
        assert!(gone.is_complete());
    }

    #[test]
    fn a_listed_name_is_awaited_before_its_first_report_and_others_are_not() {
        let mut roster = Roster::default();
        roster.report(B, "web-2", 10, "");
        let names = BTreeSet::from(["web-1".to_owned()]);
        let expected = Expected { names, leave_after: None };
        let judged =
            |roster: &Roster| roster.judge(&expected, 100, is_past, begins_after, |_| false);
        assert_eq!(judged(&roster).missing, ["web-1"]);
        roster.report(A, "web-1", 90, "");
        assert!(judged(&roster).is_complete());
    }

    #[test]
    fn an_edge_that_left_does_not_count_until_a_later_sign_of_it() {
        let mut roster = Roster::default();
        let left = |at| Departure { at, newest: Some((1, 4)) };
        roster.join(A, 10);
        roster.leave(B, left(40));
        assert_eq!(roster.get(B), None, "it is unknown");
        let judged = |roster: &Roster| {
            roster.judge(&Expected::default(), 100, is_past, begins_after, |_| false)
        };
        roster.leave(A, left(30));
        assert_eq!(judged(&roster), Judgement::default(), "it left before the period");
        roster.leave(A, left(60));
        roster.newest(A, (1, 4));
        roster.report(A, "web-1", 60, "");
        assert_eq!(names(&judged(&roster).left), [A]);
        let mut other = roster.clone();
        other.newest(A, (2, 0));
        other.merge(&roster);
        assert_eq!(names(&judged(&other).holders), [A], "a later batch");
        roster.report(A, "web-1", 61, "");
        assert_eq!(names(&judged(&roster).holders), [A], "a later report");
    }

    #[test]
    fn reports_never_go_back_and_name_the_sources_that_hold_them() {
        let mut roster = Roster::default();
        roster.report(A, "web-1", 0, "syslog");
        assert_eq!((roster.get(A).unwrap().before, roster.get(A).unwrap().seen), (None, 0));
        roster.report(A, "web-1", 100, "");
        assert_eq!(roster.get(A).unwrap().held_by, "");
        roster.report(A, "", 50, "other");
        let mut other = Roster::default();
        other.report(A, "web-1", 100, "syslog");
        other.report(A, "renamed", 99, "");
        roster.merge(&other);
        let edge = roster.get(A).unwrap();
        assert_eq!((edge.before, edge.name.as_str()), (Some(100), "renamed"));
        assert_eq!(edge.held_by, "syslog");
    }
}
