//! A drain: stops the sources, and waits until the channels are empty.
//!
//! ```text
//!   sources held ─► all have ended ─► groups deliver ─► nothing is ready, some is with the sinks
//!                                                            │ unchanged for SETTLE_AFTER
//!        drained ◄── channels are empty ◄── groups settle: stopped and started ◄──┘
//! ```
//!
//! # Rules
//!
//! 1. A channel counts as empty when every group has committed everything, and no running source
//!    fills it.
//! 2. Batches in open files of sinks are settled by stopping these groups once: no more events
//!    arrive that would fill the files.
//! 3. With `exit`, the hold of sources that drains have stopped is released before the agent ends,
//!    so that its next start is complete.

use std::collections::BTreeSet;
use std::sync::Arc;

use agent::actor::Actor;
use agent::running::{Parts, end_groups};
use agent::status::words::seconds;
use agent::status::{DrainState, DrainStatus};
use tokio::time::{Duration, Instant, sleep};
use tracing::{error, info, warn};

use super::apply::Mode;
use super::{Failed, Reloader, Reloads};
use crate::audit::{Line, Outcome};
use crate::held;

/// Interval of checks of a drain.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// How long sinks keep unchanged batches before they are stopped to settle them.
const SETTLE_AFTER: Duration = Duration::from_secs(2);

/// Pause before a retry.
const SETTLE_PAUSE: Duration = Duration::from_secs(15);

/// Time for readers of the status to see that the agent is drained, before it ends.
const EXIT_PAUSE: Duration = Duration::from_secs(2);

/// A drain under way.
pub(super) struct Draining {
    channel: Option<Arc<str>>,
    time_limit: Duration,
    exit: bool,
    by: Actor,
    began: Instant,
    /// The remaining deliveries, and since when they have not changed.
    still: (Remaining, Instant),
    settled: Option<Instant>,
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
    Settle,
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
            if !source.is_stopped() {
                view.runs = Some(name.clone());
            } else if !source.have_ended() {
                view.waits_for = Some(format!("source `{name}` is stopping"));
            }
        }
        for (name, handle) in parts.channels.iter().filter(|(name, _)| is_meant(name)) {
            let Some(opened) = handle.opened() else {
                view.waits_for = Some(format!("channel `{name}` is not open"));
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
                    view.waits_for = Some(format!("group `{group}` is stopped"));
                }
            }
        }
        view
    }
}

impl Draining {
    pub(super) fn new(
        channel: Option<Arc<str>>,
        time_limit: Duration,
        exit: bool,
        by: Actor,
    ) -> Self {
        let began = Instant::now();
        let still = (Remaining::default(), began);
        Self { channel, time_limit, exit, by, began, still, settled: None }
    }

    fn next(&mut self, view: &View, now: Instant) -> Next {
        if let Some(source) = &view.runs {
            return Next::Over(DrainState::Ended, Some(format!("source `{source}` was started")));
        }
        let Remaining { events, ready, held } = view.left;
        if view.waits_for.is_none() && events + ready + held == 0 {
            return Next::Over(DrainState::Drained, None);
        }
        if now - self.began >= self.time_limit {
            return Next::Over(DrainState::TimedOut, view.waits_for.clone());
        }
        if self.still.0 != view.left {
            self.still = (view.left, now);
        }
        let is_still = now - self.still.1 >= SETTLE_AFTER;
        let is_due = self.settled.is_none_or(|at| now - at >= SETTLE_PAUSE);
        if view.waits_for.is_none() && ready == 0 && held > 0 && is_still && is_due {
            self.settled = Some(now);
            return Next::Settle;
        }
        Next::Wait
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

impl Reloader {
    /// Checks the drain, and takes its next step.
    pub(super) async fn advance(&self, draining: &mut Option<Draining>, reloads: &Reloads) {
        let Some(drain) = draining else { return };
        let view = View::new(&self.running.parts(), drain.channel.as_ref());
        let next = drain.next(&view, Instant::now());
        let (state, why) = match &next {
            Next::Wait | Next::Settle => (DrainState::Draining, view.waits_for.clone()),
            Next::Over(state, why) => (*state, why.clone()),
        };
        reloads.changes.show_drain(Some((drain.began, drain.status(state, &view, why))));
        match next {
            Next::Wait => {}
            Next::Settle => self.settle(&view.groups).await,
            Next::Over(state, why) => {
                self.drain_is_over(drain, state, why, view.left.events, reloads).await;
                *draining = None;
            }
        }
    }

    /// Stops these groups, which settles the batches of their sinks, and starts them again.
    async fn settle(&self, groups: &BTreeSet<Arc<str>>) {
        info!(
            ?groups,
            "drain: restarting these sink groups so that they deliver the remaining batches"
        );
        let parts = self.running.parts();
        let meant = parts.groups.iter().filter(|(name, _)| groups.contains(*name));
        end_groups(meant, self.around.grace).await;
        let plan = self.configuration.plan();
        if let Err(Failed::Before(problem) | Failed::Midway(problem)) =
            self.change(&plan, Mode::Restore).await
        {
            error!(
                problem,
                "cannot restart sink groups that were stopped for a drain; their events wait in \
                 the channels; restart the agent to deliver them"
            );
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
            DrainState::Ended => (Outcome::Failed, format!("ended after {took}{why}")),
        };
        match outcome {
            Outcome::Done => info!(detail, "the drain is over"),
            _ => warn!(
                detail,
                "the drain ended before it was complete; drain again, or start the stopped \
                 sources with `aqueduct start`"
            ),
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
            error!(%error, "cannot record that the drain is over; its sources stay stopped at the \
                            next start: run `aqueduct start --all` then");
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
        assert_eq!(drain.next(&left(1, 0, 1), now), Next::Wait);
        assert_eq!(drain.next(&left(1, 0, 0), now), Next::Wait, "the next hop has not committed");
        assert_eq!(drain.next(&left(0, 0, 0), now), drained);
        let ending = View { waits_for: Some("source `a` is stopping".into()), ..left(0, 0, 0) };
        assert_eq!(drain.next(&ending, now), Next::Wait, "it may put one more batch");
        let runs = View { runs: Some("a".into()), ..left(0, 0, 0) };
        let ended = Next::Over(DrainState::Ended, Some("source `a` was started".into()));
        assert_eq!(drain.next(&runs, now), ended);
        let late = now + Duration::from_secs(100);
        assert_eq!(drain.next(&left(1, 1, 0), late), Next::Over(DrainState::TimedOut, None));
        assert_eq!(drain.next(&left(0, 0, 0), late), drained);
    }

    #[tokio::test]
    async fn remaining_batches_of_sinks_are_settled_once_nothing_moves() {
        let mut drain = draining();
        let at = |seconds| drain.began + Duration::from_secs(seconds);
        let at = [0, 1, 3, 4, 6, 19, 20].map(at);
        assert_eq!(drain.next(&left(9, 2, 1), at[0]), Next::Wait);
        assert_eq!(drain.next(&left(9, 0, 3), at[1]), Next::Wait);
        assert_eq!(drain.next(&left(9, 0, 3), at[2]), Next::Settle);
        assert_eq!(drain.next(&left(9, 0, 3), at[3]), Next::Wait, "it was asked for");
        let stopped = View { waits_for: Some("group `a` is stopped".into()), ..left(9, 0, 3) };
        assert_eq!(drain.next(&stopped, at[6]), Next::Wait);
        assert_eq!(drain.next(&left(8, 0, 2), at[4]), Next::Wait);
        assert_eq!(drain.next(&left(8, 0, 2), at[6]), Next::Settle, "the pause is over");
    }
}
