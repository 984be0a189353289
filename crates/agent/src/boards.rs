//! Values that are shared along one channel, by the sources that fill it and the sinks that empty
//! it.
//!
//! ```text
//!               floors: epochs without pending batches
//!               progress: times before which all is committed
//!   sources ◄── limits: the largest batch that the downstream peers accept ── sinks
//!               opened: true if it is open
//!               outlet: the outages of its sinks
//!               ledgers: the commit ledgers downstream
//!   sources ─── inflow: what was put into it, how long puts wait, ───────► status
//!               unanswered puts
//!   sources ─── tap: the stored events, for readers of `/tap`
//!   both ────── traces: the steps of sampled batches, for the exporter
//! ```

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use config::AgentSettings;
use peers::{FloorBoard, LedgerBoard, LimitBoard, OutletBoard, ProgressBoard};
use pipeline::{Env, Extensions, OriginName, Traces};
use support::meter::{Meter, Throughput, Volume};
use tokio::time::{Duration, Instant, sleep};

use crate::opened::Opened;
use crate::tap::Point;
use crate::under_way::{Step, StepsInProgress};

/// How long a commit may be unanswered before a channel counts as stuck: a group commit takes
/// milliseconds, unless the disk does not answer.
const STUCK_AFTER: Duration = Duration::from_secs(1);

/// Interval of checks of a stuck channel.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The boards of one channel. Clones share them.
#[derive(Clone, Default)]
pub struct Boards {
    /// Epochs without pending batches along the channel.
    pub floors: FloorBoard,
    /// How far the sources of this agent and of upstream agents got.
    pub progress: ProgressBoard,
    /// The largest batches that downstream peers accept.
    pub limits: LimitBoard,
    /// The outages of its sinks.
    pub outlet: OutletBoard,
    /// The commit ledgers downstream of it.
    pub ledgers: LedgerBoard,
    /// The name to which its origins are bound.
    pub origin_name: OriginName,
    /// The puts into it.
    pub inflow: Inflow,
    /// The state of its opening.
    pub opened: Opened,
    /// The tap of events that are stored in it.
    pub tap: Point,
    /// Records steps of sampled batches.
    pub traces: Traces,
}

impl Boards {
    /// The boards of a channel of this agent that is opened now.
    pub fn new(
        env: &Env,
        floors: &FloorBoard,
        ledgers: LedgerBoard,
        agent: &AgentSettings,
        traces: &Traces,
    ) -> Self {
        Self {
            floors: floors.for_another_channel(),
            progress: ProgressBoard::new(env),
            outlet: OutletBoard::with_page(page_url(agent)),
            ledgers,
            traces: traces.clone(),
            ..Self::default()
        }
    }

    /// Returns the values that components share along the channel.
    pub fn shared(&self) -> Extensions {
        let Self { floors, progress, limits, ledgers, origin_name, traces, .. } = self.clone();
        let along = Extensions::default().with(floors).with(progress).with(limits).with(ledgers);
        along.with(origin_name).with(traces)
    }
}

/// Returns the URL of the live page for other hosts; `None` if only this host reaches it. The URL
/// has no host if the listener does not have one.
fn page_url(agent: &AgentSettings) -> Option<Arc<str>> {
    let (host, port) = agent.admin.as_deref()?.rsplit_once(':')?;
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    let is_loopback = address.map_or(host == "localhost", |it| it.is_loopback());
    let host = if address.is_some_and(|it| it.is_unspecified()) { "" } else { host };
    let scheme = if agent.admin_tls.is_some() { "https" } else { "http" };
    (!is_loopback && port != "0").then(|| format!("{scheme}://{host}:{port}/").into())
}

/// Puts into a channel since the agent started, and waiting puts. Clones share it.
#[derive(Clone)]
pub struct Inflow {
    state: Arc<Mutex<State>>,
    /// Commits that are not answered yet.
    commits: StepsInProgress,
}

struct State {
    stored: Meter,
    /// Events of puts that failed.
    failed: u64,
    /// Puts that wait for room, and since when there has always been one.
    waiting: u64,
    since: Option<Instant>,
}

impl Default for Inflow {
    fn default() -> Self {
        let now = Instant::now();
        let state = State { stored: Meter::new(now), failed: 0, waiting: 0, since: None };
        Self { state: Arc::new(Mutex::new(state)), commits: StepsInProgress::default() }
    }
}

/// A put waits while this lives.
pub struct Waiting<'a>(&'a Inflow);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.waiting -= 1;
        if state.waiting == 0 {
            state.since = None;
        }
    }
}

impl Inflow {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This was stored in the channel; answers its events.
    pub fn stored(&self, now: Instant, volume: Volume) -> u64 {
        self.state().stored.add(now, volume);
        volume.events
    }

    /// Records the failure of a put with this many events.
    pub fn failed(&self, events: u64) {
        self.state().failed += events;
    }

    /// Events of puts that have failed, each try counted.
    pub fn failures(&self) -> u64 {
        self.state().failed
    }

    /// A put waits from now on.
    pub fn wait(&self, now: Instant) -> Waiting<'_> {
        let mut state = self.state();
        state.waiting += 1;
        state.since.get_or_insert(now);
        drop(state);
        Waiting(self)
    }

    /// Since when puts have been waiting; `None` while none does.
    pub fn waiting(&self) -> Option<Instant> {
        self.state().since
    }

    /// A put is committed from now on.
    pub(crate) fn commit(&self, now: Instant) -> Step<'_> {
        self.commits.begin(now)
    }

    /// Returns `true` if commits have been unanswered for so long that other channels should be
    /// used.
    pub fn is_stuck(&self, now: Instant) -> bool {
        let since = self.commits.stalled_since();
        since.is_some_and(|since| now.duration_since(since) >= STUCK_AFTER)
    }

    /// Waits while it is stuck. Cancel safe.
    pub async fn answers(&self) {
        while self.is_stuck(Instant::now()) {
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Returns the totals and rates of stored events `now`.
    pub fn read(&self, now: Instant) -> Throughput {
        self.state().stored.read(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn puts_have_been_waiting_since_the_first_of_those_that_follow_each_other() {
        let (inflow, began) = (Inflow::default(), Instant::now());
        let at = |second| began + Duration::from_secs(second);
        assert_eq!(inflow.waiting(), None);
        let one = inflow.wait(at(1));
        let two = inflow.wait(at(2));
        drop(one);
        assert_eq!(inflow.waiting(), Some(at(1)), "the channel is full since then");
        drop(two);
        assert_eq!(inflow.waiting(), None);
        let _three = inflow.wait(at(9));
        assert_eq!(inflow.waiting(), Some(at(9)));
    }

    #[test]
    fn a_channel_is_stuck_while_commits_come_and_none_is_answered() {
        let (inflow, began) = (Inflow::default(), Instant::now());
        let at = |tenths| began + STUCK_AFTER * tenths / 10;
        let one = inflow.commit(at(50));
        assert!(!inflow.is_stuck(at(59)) && inflow.is_stuck(at(60)));
        let two = inflow.commit(at(59));
        assert!(inflow.is_stuck(at(60)), "another commit is no answer");
        drop(one);
        assert!(!inflow.is_stuck(Instant::now()), "an answer is one");
        assert!(inflow.is_stuck(at(1_000)), "the other one is still without");
        drop(two);
        assert!(!inflow.is_stuck(at(1_000)));
    }
}
