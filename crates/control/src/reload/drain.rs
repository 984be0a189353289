//! Empties channels that no source fills any more: in a drain, which stops the sources, and when
//! every source has ended.
//!
//! ```text
//!   a drain holds the sources ─┐
//!   every source has ended ────┴─► groups deliver ─► nothing is ready, some is with the sinks
//!                                                           │
//!              over ◄── channels are empty ◄── sinks settle: they are flushed
//! ```
//!
//! # Rules
//!
//! 1. A channel counts as empty when every group has committed everything, and no running source
//!    fills it.
//! 2. Batches in open files of sinks are settled by a flush of their groups: no more events arrive
//!    that would fill the files. A group that still has batches to take is not flushed.
//! 3. With `exit`, the hold of sources that drains have stopped is released before the agent ends,
//!    so that its next start is complete.

use std::collections::BTreeSet;
use std::sync::Arc;

use agent::actor::Actor;
use agent::running::Parts;
use agent::status::words::seconds;
use agent::status::{DrainState, DrainStatus};
use tokio::time::{Duration, Instant, sleep};
use tracing::{debug, error, info, warn};

use super::{Reloader, Reloads};
use crate::audit::{Line, Outcome};
use crate::held;

/// Interval of checks while channels are being emptied.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Pause before sinks that have settled nothing are flushed again.
const FLUSH_PAUSE: Duration = Duration::from_secs(15);

/// Time for readers of the status to see that the agent is drained, before it ends.
const EXIT_PAUSE: Duration = Duration::from_secs(2);

/// A drain under way.
pub(super) struct Draining {
    channel: Option<Arc<str>>,
    time_limit: Duration,
    exit: bool,
    by: Actor,
    began: Instant,
    flushes: Flushes,
}

/// Decides when sinks are flushed.
#[derive(Debug, Default)]
pub(super) struct Flushes {
    /// The last flush, and the remaining deliveries at that time.
    last: Option<(Remaining, Instant)>,
}

/// The remaining deliveries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Remaining {
    events: u64,
    /// Batches that no sink has.
    ready: u64,
    /// Batches that are with sinks.
    held: u64,
}

/// The channels that drain, at one moment.
#[derive(Debug, Default)]
struct View {
    left: Remaining,
    /// A source that fills them runs, and nothing has stopped it.
    runs: Option<Arc<str>>,
    /// The condition for any progress.
    waits_for: Option<String>,
    /// Groups with unsettled batches.
    groups: BTreeSet<Arc<str>>,
}

/// The next action.
#[derive(Debug, PartialEq)]
enum Next {
    Wait,
    Flush,
    Over(DrainState, Option<String>),
}

impl View {
    fn new(parts: &Parts, channel: Option<&Arc<str>>) -> Self {
        let is_meant = |name: &Arc<str>| channel.is_none_or(|channel| channel == name);
        let mut view = Self::default();
        for (name, source) in &parts.sources {
            if !source.channels.iter().any(is_meant) {
                continue;
            }
            if !source.is_over() {
                view.runs = Some(name.clone());
            } else if source.is_stopped() && !source.have_ended() {
                view.waits_for = Some(format!("source `{name}` is still stopping"));
            }
        }
        for (name, handle) in parts.channels.iter().filter(|(name, _)| is_meant(name)) {
            let Some(opened) = handle.opened() else {
                view.waits_for = Some(format!(
                    "channel `{name}` is not open; the log of the agent names the cause"
                ));
                continue;
            };
            view.left.events += opened.status().events;
            for group in &handle.consumers {
                let backlog = opened.backlog(group);
                view.left.ready += backlog.ready;
                view.left.held += backlog.held;
                if backlog.held > 0 {
                    view.groups.insert(group.clone());
                }
                if parts.holds_group(group) && backlog.ready + backlog.held > 0 {
                    view.waits_for =
                        Some(format!("group `{group}` is stopped; start it with `aqueduct start`"));
                }
            }
        }
        view
    }

    /// Returns whether nothing is left, and nothing is awaited that may bring more.
    fn is_empty(&self) -> bool {
        self.waits_for.is_none() && self.left == Remaining::default()
    }
}

impl Flushes {
    fn is_due(&mut self, view: &View, now: Instant) -> bool {
        let left = view.left;
        if view.waits_for.is_some() || left.ready > 0 || left.held == 0 {
            return false;
        }
        let is_due = self.last.is_none_or(|(before, at)| before != left || now - at >= FLUSH_PAUSE);
        if is_due {
            self.last = Some((left, now));
        }
        is_due
    }
}

impl Draining {
    pub(super) fn new(
        channel: Option<Arc<str>>,
        time_limit: Duration,
        exit: bool,
        by: Actor,
    ) -> Self {
        let (began, flushes) = (Instant::now(), Flushes::default());
        Self { channel, time_limit, exit, by, began, flushes }
    }

    fn next(&mut self, view: &View, now: Instant) -> Next {
        if let Some(source) = &view.runs {
            return Next::Over(
                DrainState::Ended,
                Some(format!("source `{source}` was started in the meantime; drain again")),
            );
        }
        if view.is_empty() {
            return Next::Over(DrainState::Drained, None);
        }
        if now - self.began >= self.time_limit {
            return Next::Over(DrainState::TimedOut, view.waits_for.clone());
        }
        if self.flushes.is_due(view, now) { Next::Flush } else { Next::Wait }
    }

    fn status(&self, state: DrainState, view: &View, why: Option<String>) -> DrainStatus {
        DrainStatus {
            state,
            channel: self.channel.as_deref().map(str::to_owned),
            exit: self.exit,
            by: self.by.to_string(),
            began_seconds_ago: 0.0,
            time_limit_seconds: self.time_limit.as_secs_f64(),
            left_events: view.left.events,
            why,
        }
    }
}

/// Asks the sinks of these groups to settle the batches that they hold.
fn flush(parts: &Parts, groups: &BTreeSet<Arc<str>>) {
    debug!(?groups, "no source fills their channels any more: flushing these sink groups");
    for group in groups.iter().filter_map(|name| parts.groups.get(name)) {
        group.flush();
    }
}

impl Reloader {
    /// Flushes sinks if every source has ended; removes `flushes` when there is nothing more to do.
    pub(super) fn flush_ended(&self, flushes: &mut Option<Flushes>) {
        let Some(ended) = flushes else { return };
        let parts = self.running.parts();
        let view = View::new(&parts, None);
        if view.runs.is_some() || view.is_empty() {
            *flushes = None;
        } else if ended.is_due(&view, Instant::now()) {
            flush(&parts, &view.groups);
        }
    }

    /// Checks the drain, and takes its next step.
    pub(super) async fn advance(&self, draining: &mut Option<Draining>, reloads: &Reloads) {
        let Some(drain) = draining else { return };
        let parts = self.running.parts();
        let view = View::new(&parts, drain.channel.as_ref());
        let next = drain.next(&view, Instant::now());
        let (state, why) = match &next {
            Next::Wait | Next::Flush => (DrainState::Draining, view.waits_for.clone()),
            Next::Over(state, why) => (*state, why.clone()),
        };
        reloads.changes.show_drain(Some((drain.began, drain.status(state, &view, why))));
        match next {
            Next::Wait => {}
            Next::Flush => flush(&parts, &view.groups),
            Next::Over(state, why) => {
                self.drain_is_over(drain, state, why, view.left.events, reloads).await;
                *draining = None;
            }
        }
    }

    async fn drain_is_over(
        &self,
        drain: &Draining,
        state: DrainState,
        why: Option<String>,
        left_events: u64,
        reloads: &Reloads,
    ) {
        let took = seconds(Some(drain.began.elapsed().as_secs_f64()));
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        let (outcome, detail) = match state {
            DrainState::Draining => return,
            DrainState::Drained => (Outcome::Done, format!("drained after {took}")),
            DrainState::TimedOut => {
                (Outcome::Failed, format!("{left_events} events are left after {took}{why}"))
            }
            DrainState::Ended => (Outcome::Failed, format!("cancelled after {took}{why}")),
        };
        match outcome {
            Outcome::Done => info!(detail, "the drain is complete"),
            _ => {
                let start = held::command("start", &self.configuration.plan(), "--all");
                warn!(
                    detail,
                    "the drain ended before it was complete; drain again, or start the stopped \
                     sources with `{start}`"
                );
            }
        }
        let part = drain.channel.as_ref().map(|channel| format!("channels.{channel}"));
        let line = Line::new("drain", part, drain.by.clone(), outcome);
        self.audit.add(line.because(Some(detail))).await;
        if state == DrainState::Drained && drain.exit {
            self.free_drained().await;
            // A signal does not wait for this.
            let _ = self.stopping.run_until_cancelled(sleep(EXIT_PAUSE)).await;
            reloads.exit.cancel();
        }
    }

    /// Lets the next start run the parts that drains have stopped; starts nothing now.
    async fn free_drained(&self) {
        let mut held = self.running.parts().held.clone();
        held.retain(|_, hold| !hold.by_drain);
        let plan = self.configuration.plan();
        if let Err(error) = held::save(&held, &plan.agent.data_dir, &self.around.env).await {
            let start = held::command("start", &plan, "--all");
            error!(%error, "cannot record that the drain is complete; its sources stay stopped at \
                            the next start: run `{start}` then");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draining() -> Draining {
        Draining::new(None, Duration::from_secs(100), false, Actor::new("loopback", None))
    }

    fn left(events: u64, ready: u64, held: u64) -> View {
        View { left: Remaining { events, ready, held }, ..View::default() }
    }

    #[tokio::test]
    async fn it_is_over_when_nothing_is_left_and_nothing_fills_the_channels() {
        let mut drain = draining();
        let now = drain.began;
        let drained = Next::Over(DrainState::Drained, None);
        assert_eq!(drain.next(&left(1, 0, 1), now), Next::Flush);
        assert_eq!(drain.next(&left(1, 0, 0), now), Next::Wait, "the next hop has not committed");
        assert_eq!(drain.next(&left(0, 0, 0), now), drained);
        let ending = View { waits_for: Some("source `a` is stopping".into()), ..left(0, 0, 0) };
        assert_eq!(drain.next(&ending, now), Next::Wait, "it may put one more batch");
        let runs = View { runs: Some("a".into()), ..left(0, 0, 0) };
        let why = "source `a` was started in the meantime; drain again";
        let ended = Next::Over(DrainState::Ended, Some(why.into()));
        assert_eq!(drain.next(&runs, now), ended);
        let late = now + Duration::from_secs(100);
        assert_eq!(drain.next(&left(1, 1, 0), late), Next::Over(DrainState::TimedOut, None));
        assert_eq!(drain.next(&left(0, 0, 0), late), drained);
    }

    #[tokio::test]
    async fn sinks_are_flushed_when_nothing_is_ready_and_again_after_progress() {
        let mut drain = draining();
        let at = |seconds| drain.began + Duration::from_secs(seconds);
        let at = [0, 1, 2, 3, 4, 18, 19, 20].map(at);
        assert_eq!(drain.next(&left(9, 2, 1), at[0]), Next::Wait, "the sinks get more batches");
        assert_eq!(drain.next(&left(9, 0, 3), at[1]), Next::Flush);
        assert_eq!(drain.next(&left(9, 0, 3), at[2]), Next::Wait, "it was asked for");
        let stopped = View { waits_for: Some("group `a` is stopped".into()), ..left(8, 0, 2) };
        assert_eq!(drain.next(&stopped, at[2]), Next::Wait);
        assert_eq!(drain.next(&left(8, 0, 2), at[3]), Next::Flush, "a batch came late");
        assert_eq!(drain.next(&left(8, 1, 1), at[4]), Next::Wait, "one was returned");
        assert_eq!(drain.next(&left(8, 0, 2), at[4]), Next::Wait, "nothing is settled yet");
        assert_eq!(drain.next(&left(8, 0, 2), at[5]), Next::Flush, "the pause is over");
        assert_eq!(drain.next(&left(8, 0, 2), at[6]), Next::Wait);
        assert_eq!(drain.next(&left(1, 0, 0), at[7]), Next::Wait, "the next hop has them");
    }
}
