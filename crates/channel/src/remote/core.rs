//! The parts that one open channel shares.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{ChannelReason, Metrics};
use pipeline::env::unix_millis;
use pipeline::{ChannelError, ChannelStatus, Env, Epoch, IntervalSet, KeySet, Origin};
use tokio::sync::{Notify, broadcast};

use super::limits::Limits;
use super::log::{Log, LogError};
use super::request::{PutFailure, Request};
use super::state::State;
use crate::durable::commit::hand_off::{self, Locked};

/// Signals to the tasks of an open channel.
#[derive(Default)]
pub(super) struct Signals {
    /// Room may have become free, or the channel closed.
    pub(super) room: Notify,
    /// A batch may be ready to take, or the channel was closed.
    pub(super) ready: Notify,
    /// There are changes that no STATE contains.
    pub(super) dirty: Arc<Notify>,
    /// A leader has ended.
    pub(super) rested: Notify,
}

/// One open channel.
pub(super) struct Core {
    pub(super) name: Arc<str>,
    pub(super) env: Env,
    pub(super) metrics: Metrics,
    pub(super) limits: Limits,
    /// Given to batches that are born here.
    pub(super) origin: Origin,
    /// This life of the origin, and of the owner of the log.
    pub(super) epoch: Epoch,
    pub(super) log: Arc<dyn Log>,
    pub(super) state: Mutex<State>,
    pub(super) signals: Signals,
    pub(super) settled: broadcast::Sender<Arc<KeySet>>,
    /// Serialises reads from the log.
    pub(super) reading: Mutex<()>,
}

impl Locked<State> for Core {
    fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.state())
    }
}

impl Core {
    /// Locks the state. Ignores a panic of another holder, because every change is complete.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts something that was met.
    pub(super) fn incident(&self, reason: &'static str, count: u64) {
        let label = ChannelReason { channel: self.name.to_string(), reason };
        self.metrics.channel_anomalies.get_or_create(&label).inc_by(count);
    }

    /// Wall-clock milliseconds.
    pub(super) fn now_ms(&self) -> u64 {
        unix_millis(self.env.clock.now())
    }

    pub(super) fn closed_error(&self) -> ChannelError {
        ChannelError::Closed { channel: self.name.to_string() }
    }

    pub(super) fn log_error(&self, error: &Arc<LogError>) -> ChannelError {
        let (channel, place) = (self.name.to_string(), self.log.name().to_owned());
        ChannelError::Remote { channel, place, source: Box::new(error.clone()) }
    }

    /// The error of a request that was not served.
    pub(super) fn put_error(&self, why: &PutFailure) -> ChannelError {
        match why {
            PutFailure::OutOfTurn => ChannelError::OutOfTurn { channel: self.name.to_string() },
            PutFailure::Log(error) => self.log_error(error),
        }
    }

    /// Sends a request to the leader, and starts one if necessary.
    pub(super) fn submit(self: &Arc<Self>, request: Request) {
        if hand_off::submit(&**self, request).is_some() {
            self.start_leader();
        }
    }

    /// Has a STATE written.
    pub(super) fn flush(self: &Arc<Self>) {
        let has_to_lead = {
            let mut state = self.state();
            state.flush = true;
            state.hand_off.claim()
        };
        if has_to_lead {
            self.start_leader();
        }
    }

    fn start_leader(self: &Arc<Self>) {
        let core = self.clone();
        self.env.blocking.run(Box::new(move || core.lead_until_idle()));
    }

    /// Announces identities that are settled.
    pub(super) fn announce(&self, settled: KeySet) {
        if !settled.is_empty() {
            // There may be no listener.
            let _ = self.settled.send(Arc::new(settled));
        }
    }

    /// Returns the current contents of the channel.
    pub(super) fn status(&self) -> ChannelStatus {
        let state = self.state();
        let since = state.in_flight.oldest_unsettled().and_then(|ticket| {
            let line = state.lines_of(&IntervalSet::from(ticket..ticket + 1)).remove(&ticket);
            let section = || state.section_of(ticket).map(|section| section.since_ms);
            line.map(|line| line.at_ms).or_else(section)
        });
        let age = |ms: u64| Duration::from_millis(self.now_ms().saturating_sub(ms));
        ChannelStatus {
            events: state.events,
            bytes: state.bytes(),
            capacity_bytes: self.limits.capacity_bytes,
            reserve_bytes: 0,
            until_full: None,
            unsettled_events: state.lines.values().map(|line| u64::from(line.events)).sum(),
            oldest_uncommitted: since.filter(|_| state.events > 0).map(age),
            intake_stopped: state.stops_intake(&self.limits),
        }
    }

    /// Stops the channel: it accepts and hands out nothing more. Wakes all waiting tasks.
    pub(super) fn stop(&self, is_lost: bool) {
        let mut state = self.state();
        state.closed = true;
        state.lost |= is_lost;
        drop(state);
        self.signals.room.notify_waiters();
        self.signals.ready.notify_waiters();
    }
}
