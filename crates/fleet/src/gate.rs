//! The gate after each wave: compares an agent with itself before the change. Pure.
//!
//! ```text
//!   samples before the change ─► Before ─┐
//!                                        ├─► judge ─► passed, or the reason of the failure
//!   first … last sample after it ────────┘
//! ```
//!
//! | rule | failure |
//! |---|---|
//! | health | the level of the worst finding is higher than before, and at least a warning |
//! | restarts | the agent has restarted during the soak |
//! | conservation | neither of the last two samples accounts for all events, up to 1 % of those accepted |
//! | losses | dropped events and dead letters are a larger share of the accepted events than before |
//! | backlog | more than half of the accepted events stay in the channels, and these hold more than at any time before |
//! | leak | more than a tenth does, and the channels hold more at any time of the second half than in the first half and before |
//! | silence | the agent accepted events before the change, and accepts none or less than a twentieth after it |

use serde::{Deserialize, Serialize};

/// Counts below this many events decide nothing.
const EVENTS_MIN: u64 = 10;

/// Fewer expected events do not show that an agent accepts almost none.
const EXPECTED_MIN: f64 = 100.0;

/// Part of the expected events that an agent must accept: one of this many.
const EXPECTED_PARTS: f64 = 20.0;

/// The worst finding of an agent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// No finding.
    #[default]
    Good,
    /// For information.
    Note,
    /// Needs attention.
    Warn,
    /// Something is wrong.
    Bad,
}

/// Events since the agent has started. Stored as numbers in this order: there are many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "([u64; 5], i64)", into = "([u64; 5], i64)")]
pub struct Counts {
    /// Accepted by the sources.
    pub accepted: u64,
    /// Delivered by the sinks.
    pub delivered: u64,
    /// In the channels.
    pub held: u64,
    /// Dropped, for all reasons together.
    pub dropped: u64,
    /// Dead letters, here or downstream.
    pub dead_letters: u64,
    /// Counted by no place.
    pub difference: i64,
}

impl From<([u64; 5], i64)> for Counts {
    fn from((counts, difference): ([u64; 5], i64)) -> Self {
        let [accepted, delivered, held, dropped, dead_letters] = counts;
        Self { accepted, delivered, held, dropped, dead_letters, difference }
    }
}

impl From<Counts> for ([u64; 5], i64) {
    fn from(it: Counts) -> Self {
        ([it.accepted, it.delivered, it.held, it.dropped, it.dead_letters], it.difference)
    }
}

impl Counts {
    /// Events that are not delivered and not held.
    fn lost(&self) -> u64 {
        self.dropped + self.dead_letters
    }
}

/// One observation. Stored as a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u64, Level, Counts)", into = "(u64, u64, Level, Counts)")]
pub struct Point {
    /// When, in milliseconds since 1970, by the clock of the server.
    pub at_ms: u64,
    /// When the process has started; another value means that it has restarted.
    pub started_ms: u64,
    /// The worst finding.
    pub level: Level,
    /// Its counts.
    pub counts: Counts,
}

/// The agent before the change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Before {
    /// The worst finding.
    pub level: Level,
    /// Dropped events and dead letters, as a share of the accepted events.
    pub lost_share: f64,
    /// True if it accepted events.
    pub has_traffic: bool,
    /// Accepted events per second.
    pub rate: f64,
    /// The most events in its channels.
    pub held_max: u64,
    /// The smallest absolute difference.
    pub difference: u64,
}

/// The agent after the change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct After {
    /// The first observation.
    pub first: Point,
    /// The last one.
    pub last: Point,
    /// The smaller absolute difference of the last two. Events between two parts are a difference
    /// for a moment; a leak is small in the first observation and stays in the later ones.
    pub difference: u64,
    /// The most events in its channels in the first half of the soak.
    pub held_early_max: u64,
    /// The fewest events in its channels in the second half.
    pub held_late_min: Option<u64>,
}

impl From<(u64, u64, Level, Counts)> for Point {
    fn from((at_ms, started_ms, level, counts): (u64, u64, Level, Counts)) -> Self {
        Self { at_ms, started_ms, level, counts }
    }
}

impl From<Point> for (u64, u64, Level, Counts) {
    fn from(it: Point) -> Self {
        (it.at_ms, it.started_ms, it.level, it.counts)
    }
}

impl Before {
    /// Of the observations before the change, the oldest first.
    pub fn new(points: impl Iterator<Item = Point> + Clone) -> Self {
        let Some(last) = points.clone().last() else { return Self::default() };
        // Of this life of the process.
        let points = points.filter(|it| it.started_ms == last.started_ms);
        let first = points.clone().next().unwrap_or(last);
        let accepted = last.counts.accepted.saturating_sub(first.counts.accepted);
        let seconds = last.at_ms.saturating_sub(first.at_ms) as f64 / 1_000.0;
        let lost = last.counts.lost().saturating_sub(first.counts.lost());
        let differences = points.clone().map(|it| it.counts.difference.unsigned_abs());
        Self {
            level: last.level,
            lost_share: share(lost, accepted),
            has_traffic: accepted >= EVENTS_MIN,
            rate: if seconds > 0.0 { accepted as f64 / seconds } else { 0.0 },
            held_max: points.map(|it| it.counts.held).max().unwrap_or_default(),
            difference: differences.min().unwrap_or_default(),
        }
    }
}

impl After {
    /// Begins with the first observation.
    pub fn new(first: Point) -> Self {
        let difference = first.counts.difference.unsigned_abs();
        let held_early_max = first.counts.held;
        Self { first, last: first, difference, held_early_max, held_late_min: None }
    }

    /// Adds a later observation of a soak that lasts `soak_ms`.
    pub fn add(&mut self, point: Point, soak_ms: u64) {
        let held = point.counts.held;
        if 2 * point.at_ms.saturating_sub(self.first.at_ms) < soak_ms {
            self.held_early_max = self.held_early_max.max(held);
        } else {
            self.held_late_min = Some(self.held_late_min.map_or(held, |it| it.min(held)));
        }
        let difference = |it: &Point| it.counts.difference.unsigned_abs();
        let is_second = self.last == self.first;
        self.difference = match is_second {
            true => difference(&point),
            false => difference(&self.last).min(difference(&point)),
        };
        self.last = point;
    }
}

fn share(part: u64, all: u64) -> f64 {
    if part == 0 { 0.0 } else { part as f64 / all.max(1) as f64 }
}

/// Returns the reason why an agent is worse than before; `None` if it is not. `losses_max` is the
/// allowed growth of the share of lost events.
pub fn judge(before: &Before, after: &After, losses_max: f64) -> Option<String> {
    let After { first, last, difference, held_early_max, held_late_min } = after;
    if first.started_ms != last.started_ms {
        return Some("the agent restarted during the soak".to_owned());
    }
    let grown = |of: fn(&Counts) -> u64| of(&last.counts).saturating_sub(of(&first.counts));
    let (accepted, lost) = (grown(|it| it.accepted), grown(Counts::lost));
    let lost_share = share(lost, accepted);
    if lost >= EVENTS_MIN && lost_share > before.lost_share + losses_max {
        return Some(format!(
            "it drops events or makes them dead letters: {lost} of {accepted} accepted events \
             ({:.1} %, before: {:.1} %)",
            100.0 * lost_share,
            100.0 * before.lost_share
        ));
    }
    let held = grown(|it| it.held);
    if held >= EVENTS_MIN && held > accepted / 2 && last.counts.held > before.held_max {
        return Some(format!(
            "its backlog grows: {held} of {accepted} accepted events stay in the channels, which \
             hold {} (before: at most {})",
            last.counts.held, before.held_max
        ));
    }
    let most = before.held_max.max(*held_early_max);
    if held >= EVENTS_MIN && held > accepted / 10 && held_late_min.is_some_and(|it| it > most) {
        return Some(format!(
            "its backlog grows steadily: {held} of {accepted} accepted events stay in the \
             channels, which hold {} (before: at most {})",
            last.counts.held, before.held_max
        ));
    }
    if before.has_traffic && accepted == 0 {
        return Some("it accepts no events, but did before the change".to_owned());
    }
    let seconds = last.at_ms.saturating_sub(first.at_ms) as f64 / 1_000.0;
    let expected = before.rate * seconds;
    if expected >= EXPECTED_MIN && (accepted as f64) < expected / EXPECTED_PARTS {
        return Some(format!(
            "it accepts almost no events: {accepted}, before the change {expected:.0} in the same \
             time"
        ));
    }
    if *difference > before.difference + accepted / 100 {
        return Some(format!("{difference} events are not accounted for"));
    }
    if last.level >= Level::Warn && last.level > before.level {
        return Some("its health is worse than before".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(seconds: u64, counts: Counts) -> Point {
        Point { at_ms: seconds * 1_000, started_ms: 1, level: Level::Good, counts }
    }

    fn good(seconds: u64) -> Counts {
        let accepted = seconds * 100;
        Counts { accepted, delivered: accepted - 50, held: 50, ..Counts::default() }
    }

    fn judged(change: impl Fn(&mut Point)) -> Option<String> {
        let before = Before::new((0..10).map(|it| point(it + 1, good(it + 1))));
        let mut after = After::new(point(20, good(20)));
        let mut last = point(50, good(50));
        change(&mut last);
        after.add(last, 30_000);
        judge(&before, &after, 0.01)
    }

    #[test]
    fn an_agent_like_before_passes() {
        assert_eq!(judged(|_| {}), None);
        // Few losses, and a held part that moves.
        let moved = judged(|it| {
            it.counts.held = 300;
            it.counts.dropped = 20;
        });
        assert_eq!(moved, None);
    }

    #[test]
    fn each_rule_finds_its_failure() {
        type Change = fn(&mut Point);
        let cases: [(Change, &str); 9] = [
            (|it| it.counts.dropped = 1_500, "drops events"),
            (|it| it.counts.dead_letters = 31, "dead letters: 31 of 3000"),
            (|it| it.counts.held = 3_000, "its backlog grows"),
            (|it| it.counts = good(20), "accepts no events"),
            (|it| it.level = Level::Warn, "its health is worse"),
            (|it| it.started_ms = 2, "restarted"),
            (|it| it.counts.accepted = 2_000, "accepts no events"),
            (|it| it.counts.accepted = 2_140, "almost no events: 140, before the change 3000"),
            (|it| it.counts.held = 900, "backlog grows steadily: 850 of 3000"),
        ];
        for (change, cause) in cases {
            let found = judged(change).unwrap_or_default();
            assert!(found.contains(cause), "{cause}: {found}");
        }
        let before = Before::default();
        let lacks = |it: u64| Counts { difference: -500, ..good(it) };
        let mut after = After::new(point(20, lacks(20)));
        after.add(point(50, lacks(50)), 30_000);
        let found = judge(&before, &after, 0.01);
        assert_eq!(found.as_deref(), Some("500 events are not accounted for"));
        // A leak that begins with the change, and events that were between two parts once.
        let differs = |differences: [i64; 4]| {
            let points = (0_u64..).zip(differences).map(|(at, difference)| {
                point(20 + 10 * at, Counts { difference, ..good(20 + 10 * at) })
            });
            let points: Vec<Point> = points.collect();
            let mut after = After::new(points[0]);
            points[1..].iter().for_each(|it| after.add(*it, 30_000));
            judge(&before, &after, 0.01).is_some()
        };
        assert!(differs([0, 100, 200, 300]) && differs([0, -100, -200, -300]));
        assert!(!differs([0, 900, 0, 900]));
    }

    #[test]
    fn a_filter_that_dropped_before_may_drop_after() {
        let drops = |it: u64| Counts { dropped: 60 * it, ..good(it) };
        let before = Before::new((1..10).map(|it| point(it, drops(it))));
        let mut after = After::new(point(20, drops(20)));
        after.add(point(50, drops(50)), 30_000);
        assert_eq!(judge(&before, &after, 0.01), None);
        // A warning that was there before is no reason.
        let warned = Before { level: Level::Warn, ..before };
        after.last.level = Level::Warn;
        assert_eq!(judge(&warned, &after, 0.01), None);
        assert!(judge(&before, &after, 0.01).is_some());
    }

    #[test]
    fn a_backlog_that_rises_and_falls_is_no_leak() {
        let before = Before::new((0..10).map(|it| point(it + 1, good(it + 1))));
        let judged = |helds: [u64; 7]| {
            let points = (0_u64..).zip(helds);
            let mut points = points.map(|(at, held)| {
                let at = 20 + 10 * at;
                point(at, Counts { held, delivered: 100 * at - held, ..good(at) })
            });
            let mut after = After::new(points.next().unwrap());
            points.for_each(|it| after.add(it, 60_000));
            judge(&before, &after, 0.01)
        };
        assert_eq!(judged([50, 800, 50, 800, 50, 800, 900]), None, "a sink that commits");
        assert_eq!(judged([50, 300, 300, 310, 310, 310, 310]), None, "a larger part in flight");
        let found = judged([50, 200, 350, 500, 650, 800, 950]).unwrap_or_default();
        assert!(found.contains("grows steadily: 900 of 6000"), "{found}");
    }
}
