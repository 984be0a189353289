//! The parts that one open channel shares.
//!
//! Only the leader of a group commit ([`super::commit::leader`]) has the log; all other code sends
//! requests through the queue.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{ChannelReason, Metrics};
use pipeline::env::{Lock, unix_millis};
use pipeline::{ChannelError, ChannelStatus, Env, IntervalSet, KeySet, OriginName, Ticket};
use tokio::sync::{Notify, broadcast};
use tokio::time::Instant;
use tracing::warn;

use super::background::Background;
use super::commit::hand_off::{self, Locked, Place};
use super::commit::request::{Limits, PutFailure, Request};
use super::commit::unwritten::Unwritten;
use super::index::segment_index::{Entry, IndexStore};
use super::log::aligned::Buffers;
use super::log::files::Files;
use super::log::segment::Owner;
use super::log::writer::Log;
use super::recovery::names::Names;
use super::space::capacity::DISK_PERCENT;
use super::state::State;

/// Signals to the tasks of an open channel.
#[derive(Default)]
pub(crate) struct Signals {
    /// Room may have become free, or the channel closed.
    pub(crate) room: Notify,
    /// A batch may be ready to take, or the channel was closed.
    pub(crate) ready: Notify,
    /// A read has ended, or is planned.
    pub(crate) arrived: Notify,
    /// Something waits that no put may carry to the disk.
    pub(crate) dirty: Arc<Notify>,
    /// A leader has ended.
    pub(crate) rested: Notify,
}

/// One open channel.
pub(crate) struct Core {
    pub(crate) name: Arc<str>,
    pub(crate) env: Env,
    /// The name to which a new origin is bound.
    pub(crate) origin_name: OriginName,
    pub(crate) metrics: Metrics,
    pub(crate) limits: Limits,
    pub(crate) owner: Owner,
    /// Its lives that are known by another name outside.
    pub(crate) names: Mutex<Names>,
    pub(crate) directory: PathBuf,
    pub(crate) files: Arc<Files>,
    pub(crate) store: Arc<dyn IndexStore>,
    pub(crate) log: Mutex<Log>,
    /// Buffers for data on its way to or from the disk.
    pub(crate) buffers: Arc<Buffers>,
    pub(crate) state: Mutex<State>,
    /// Held while the directory is in use.
    pub(crate) lock: Mutex<Option<Box<dyn Lock>>>,
    /// Signals to the tasks of the channel.
    pub(crate) signals: Signals,
    /// Work in the directory that is not the leader's.
    pub(crate) background: Arc<Background>,
    pub(crate) settled: broadcast::Sender<Arc<KeySet>>,
}

fn touches(set: &IntervalSet, first: Ticket, end: Ticket) -> bool {
    let after = set.runs().partition_point(|run| run.end <= first);
    set.runs().get(after).is_some_and(|run| run.start < end)
}

impl Locked<State> for Core {
    fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.state())
    }
}

impl Core {
    /// Locks the state. Ignores a panic of another holder, because every change is complete.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an incident that was handled.
    pub(crate) fn incident(&self, reason: &'static str, count: u64) {
        let label = ChannelReason { channel: self.name.to_string(), reason };
        self.metrics.channel_anomalies.get_or_create(&label).inc_by(count);
    }

    /// Wall-clock milliseconds.
    pub(crate) fn now_ms(&self) -> u64 {
        unix_millis(self.env.clock.now())
    }

    /// Wraps an error of the disk.
    pub(crate) fn disk_error(&self, source: io::Error) -> ChannelError {
        ChannelError::Disk { channel: self.name.to_string(), source }
    }

    /// The error of a closed channel.
    pub(crate) fn closed_error(&self) -> ChannelError {
        ChannelError::Closed { channel: self.name.to_string() }
    }

    /// The error of a request that was not served.
    pub(crate) fn put_error(&self, why: &PutFailure) -> ChannelError {
        match why {
            PutFailure::Disk(error) => {
                self.disk_error(io::Error::new(error.kind(), error.to_string()))
            }
            PutFailure::OutOfTurn => ChannelError::OutOfTurn { channel: self.name.to_string() },
        }
    }

    /// Sends a request to the leader, or makes the caller the leader. `is_lone` is true if the
    /// caller's task, which may have to write it, has nothing else to do at the same time.
    pub(crate) fn submit(self: &Arc<Self>, request: Request, is_lone: bool) {
        let Some(place) = hand_off::submit(&**self, request) else { return };
        let here = place == Place::Here && is_lone;
        if !(here && self.env.blocking.here(&mut || self.lead_in_place())) {
            self.start_leader();
        }
    }

    /// Starts a leader unless one is at work.
    pub(crate) fn lead(self: &Arc<Self>) {
        let has_to_lead = self.state().hand_off.claim();
        if has_to_lead {
            self.start_leader();
        }
    }

    pub(crate) fn start_leader(self: &Arc<Self>) {
        let core = self.clone();
        self.env.blocking.run(Box::new(move || core.lead_until_idle()));
    }

    /// Announces identities that are settled.
    pub(crate) fn announce(&self, settled: KeySet) {
        if !settled.is_empty() {
            // There may be no listener.
            let _ = self.settled.send(Arc::new(settled));
        }
    }

    /// Frees data that every consumer has committed, in memory and, in another thread, on disk: the
    /// oldest segments, or, with `all`, also those after one that stays.
    pub(crate) fn release(&self, state: &mut State, all: bool) {
        let State { tickets, unwritten, .. } = state;
        let Unwritten { acks, acks_in_write, forget, forget_in_write, .. } = unwritten;
        // A settlement that is on no disk yet would be missed after a crash, the file with it.
        let released = tickets.release(all, |first, end| {
            let acks = acks.acks.iter().chain(&acks_in_write.acks).map(|(_, tickets)| tickets);
            acks.chain([&forget.tickets, &forget_in_write.tickets])
                .any(|tickets| touches(tickets, first, end))
        });
        if released.is_empty() {
            return;
        }
        let (files, store) = (self.files.clone(), self.store.clone());
        files.leave(released.iter().map(|segment| segment.record.room).sum());
        let gone: Vec<_> = released.iter().map(|s| (s.record.id, s.record.room)).collect();
        self.background.run(&self.env, move || {
            for (id, room) in gone {
                store.remove(id);
                files.arrive(id, room);
            }
        });
    }

    /// Limits the configured capacity by the disk: with the files that it already has, the channel
    /// uses at most 80 % of the space that is available to it.
    pub(crate) fn refresh_capacity(&self) {
        let space = match self.env.disk.space(&self.directory) {
            Ok(space) => space,
            Err(error) => {
                warn!(channel = %self.name, %error,
                    "cannot determine the free disk space of the channel; keeping the last known \
                     capacity; retrying");
                return;
            }
        };
        // While a file is being made its room cannot be attributed; the next check follows then.
        let Some(idle) = self.files.idle_bytes() else { return };
        {
            let mut state = self.state();
            let mine: u64 = state.tickets.segments.iter().map(|segment| segment.record.room).sum();
            let bearable = space.available.saturating_add(mine + idle) / 100 * DISK_PERCENT;
            state.space.capacity_bytes = self.limits.capacity_bytes.min(bearable);
            state.space.reserve_bytes = self.files.reserve_bytes(state.space.capacity_bytes);
        }
        self.signals.room.notify_waiters();
    }

    /// Returns the current contents of the channel.
    pub(crate) fn status(&self) -> ChannelStatus {
        let now = Instant::now();
        let mut state = self.state();
        let bytes = state.tickets.bytes();
        state.space.fill_rate.note(now, bytes);
        let tickets = &state.tickets;
        let since = tickets.in_flight.oldest_unsettled().and_then(|ticket| {
            let segment = tickets.segment_of(ticket)?;
            let after = |entry: &Entry| u64::from(entry.after_ms);
            let entry = segment.index.as_ref().and_then(|index| index.get(ticket));
            Some(segment.record.since_ms + entry.map_or(0, after))
        });
        let age = |ms: u64| Duration::from_millis(self.now_ms().saturating_sub(ms));
        ChannelStatus {
            events: tickets.events,
            bytes,
            capacity_bytes: state.usable_bytes(),
            reserve_bytes: state.space.reserve_bytes,
            until_full: state.space.fill_rate.until_full(now, bytes, state.usable_bytes()),
            unsettled_events: tickets.events_of(&tickets.in_flight.held()),
            oldest_uncommitted: since.filter(|_| tickets.events > 0).map(age),
            intake_stopped: state.stops_intake(&self.limits),
        }
    }
}

#[cfg(all(test, feature = "testkit"))]
mod tests;
