//! The time that all sources of a channel have reached, once everything before it is committed.
//! Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use pipeline::env::Moment;
use pipeline::{Epoch, IntervalSet};
use support::mutant;

/// Returns the time of an origin after a report of it has arrived at `now`.
pub fn accepted(known: Option<i64>, before: i64, now: i64) -> i64 {
    let before = if mutant!("complete_future_trusted") { before } else { before.min(now) };
    known.map_or(before, |known| known.max(before))
}

/// How a source takes part in the reports of its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It reports the times that it has reached.
    Reports,
    /// It cannot report.
    Silent,
    /// An operator has stopped it. It may have unread lines after its last time.
    Stopped,
}

#[derive(Debug)]
struct Member {
    role: Role,
    before: Option<Moment>,
}

/// The times that the sources of one channel have reached. Pure; `M` stands for the content of the
/// channels at a moment.
#[derive(Debug)]
pub struct Advance<M> {
    sources: BTreeMap<Arc<str>, Member>,
    /// A time that all sources have reached, and what was stored then.
    pending: Option<(Moment, M)>,
    reached: Option<Moment>,
}

impl<M> Default for Advance<M> {
    fn default() -> Self {
        Self { sources: BTreeMap::new(), pending: None, reached: None }
    }
}

impl<M> Advance<M> {
    /// Adds a source, whose time is unknown, or changes the role of one, whose time stays.
    pub fn expect(&mut self, source: &Arc<str>, role: Role) {
        let known = self.sources.entry(source.clone());
        known.or_insert(Member { role, before: None }).role = role;
    }

    /// Removes a source that creates no more batches: its unread lines no longer count.
    pub fn leave(&mut self, source: &str) {
        if !mutant!("complete_removed_source_kept") {
            self.sources.remove(source);
        }
    }

    /// Returns the time before which everything is committed.
    pub fn reached(&self) -> Option<i64> {
        self.reached.map(|reached| reached.wall_ms)
    }

    /// Returns the names of sources that hold the time back whatever the others report.
    pub fn held_by(&self) -> String {
        let held = self.sources.iter().filter(|(_, member)| member.role != Role::Reports);
        held.map(|(name, _)| &**name).collect::<Vec<_>>().join(", ")
    }

    /// A source has stored everything before this moment; its events have times by the same clock.
    /// `content` returns the content of the channels now, and `is_committed` whether such a content
    /// is committed. A source that has left is ignored.
    pub fn stored(
        &mut self,
        source: &str,
        (before, now): (Moment, Moment),
        content: impl FnOnce() -> Option<M>,
        is_committed: impl Fn(&M) -> bool,
    ) {
        let Some(member) = self.sources.get_mut(source) else { return };
        member.before = Some(before);
        self.forget_before_step(now);
        self.settle(&is_committed);
        let is_new = |least: &Moment| Some(least.wall_ms) > self.reached();
        if self.pending.is_none()
            && let Some(least) = self.least().filter(is_new)
        {
            self.pending = content().map(|content| (least, content));
            self.settle(&is_committed);
        }
    }

    /// Forgets the times before the clock stepped back: new events may have earlier ones.
    fn forget_before_step(&mut self, now: Moment) {
        if mutant!("complete_stepped_clock_kept") {
            return;
        }
        for member in self.sources.values_mut() {
            member.before.take_if(|before| before.is_before_step(now));
        }
        self.pending.take_if(|(before, _)| before.is_before_step(now));
        self.reached.take_if(|before| before.is_before_step(now));
    }

    /// Returns the time that every source has reached.
    fn least(&self) -> Option<Moment> {
        let is_counted = |member: &&Member| {
            member.role != Role::Stopped || !mutant!("complete_stopped_source_ignored")
        };
        let times = self.sources.values().filter(is_counted).map(|member| member.before);
        if mutant!("complete_one_source_suffices") {
            return times.flatten().max_by_key(|time| time.wall_ms);
        }
        let times: Option<Vec<Moment>> = times.collect();
        times?.into_iter().min_by_key(|time| time.wall_ms)
    }

    fn settle(&mut self, is_committed: &impl Fn(&M) -> bool) {
        let is_done =
            |content: &M| is_committed(content) || mutant!("complete_report_before_commit");
        if let Some((before, _)) = self.pending.take_if(|(_, content)| is_done(content)) {
            self.reached = Some(before);
        }
    }
}

/// Returns whether a channel has committed what it had stored of an epoch, and every earlier epoch
/// of that origin. `lowest` is the lowest epoch with an uncommitted batch, and `settled` what is
/// committed of this epoch.
pub fn is_settled(
    epoch: Epoch,
    stored: &IntervalSet,
    lowest: Option<Epoch>,
    settled: &IntervalSet,
) -> bool {
    let is_of_now = lowest.is_none_or(|lowest| lowest >= epoch);
    (is_of_now || mutant!("complete_old_epoch_ignored")) && stored.intersection(settled) == *stored
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    /// A moment at which the wall clock shows these seconds, some of them after the start.
    fn moment(wall: i64, elapsed: u64) -> Moment {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        Moment { wall_ms: wall * 1_000, at: *START + Duration::from_secs(elapsed) }
    }

    /// The time in seconds after a report of a source, without a step of the clock.
    fn at(
        own: &mut Advance<i32>,
        source: &str,
        before: i64,
        content: Option<i32>,
        committed: i32,
    ) -> Option<i64> {
        let (before, now) = (moment(before, before.unsigned_abs()), moment(50, 50));
        own.stored(source, (before, now), || content, |it| *it <= committed);
        own.reached().map(|reached| reached / 1_000)
    }

    #[test]
    fn a_time_counts_when_every_source_has_reached_it_and_all_is_committed() {
        let mut own = Advance::default();
        for name in ["one", "two"] {
            own.expect(&name.into(), Role::Reports);
        }
        assert_eq!(at(&mut own, "one", 10, Some(5), 9), None, "the other one is unknown");
        assert_eq!(at(&mut own, "two", 8, Some(6), 5), None, "not committed");
        assert_eq!(at(&mut own, "two", 20, Some(9), 5), None);
        assert_eq!(at(&mut own, "two", 21, Some(9), 6), Some(8));
        assert_eq!(at(&mut own, "two", 21, Some(9), 9), Some(10));
        assert_eq!(at(&mut own, "one", 30, None, 9), Some(10), "the content is unknown");
    }

    #[test]
    fn every_time_before_a_step_of_the_clock_is_forgotten() {
        let mut own = Advance::default();
        for name in ["one", "two"] {
            own.expect(&name.into(), Role::Reports);
        }
        at(&mut own, "one", 40, Some(1), 1);
        assert_eq!(at(&mut own, "two", 41, Some(1), 1), Some(40));
        let mut after = |source, before, now| {
            own.stored(source, (before, now), || Some(1), |_| true);
            own.reached().map(|reached| reached / 1_000)
        };
        let small = moment(51, 52);
        assert_eq!(after("two", small, small), Some(40), "too small a step");
        assert_eq!(after("two", moment(52, 52), moment(20, 53)), None, "begun before the step");
        assert_eq!(after("two", moment(50, 83), moment(51, 84)), None, "the other one is older");
        assert_eq!(after("one", moment(52, 85), moment(53, 86)), Some(50));
    }

    #[test]
    fn a_stopped_source_holds_its_last_time_and_a_removed_one_none() {
        let mut own = Advance::default();
        for name in ["one", "two"] {
            own.expect(&name.into(), Role::Reports);
        }
        at(&mut own, "one", 5, Some(1), 1);
        assert_eq!(at(&mut own, "two", 6, Some(1), 1), Some(5));
        own.expect(&"one".into(), Role::Stopped);
        assert_eq!((at(&mut own, "two", 9, Some(1), 1), &*own.held_by()), (Some(5), "one"));
        own.expect(&"one".into(), Role::Reports);
        assert_eq!((at(&mut own, "one", 12, Some(1), 1), &*own.held_by()), (Some(9), ""));
        own.leave("one");
        assert_eq!(at(&mut own, "two", 20, Some(1), 1), Some(20));
        assert_eq!(at(&mut own, "one", 21, Some(1), 1), Some(20), "it has left");
        own.leave("two");
        assert_eq!(own.reached(), Some(20_000));
    }
}
