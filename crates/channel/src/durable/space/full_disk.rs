//! Behaviour on a disk without room: operations that continue, operations that wait, and log lines.
//!
//! # Opening on a full disk
//!
//! An agent that stopped with a backlog starts again, delivers, and thereby makes room. Each step
//! of opening either needs no room or can be done later:
//!
//! | step | on a full disk |
//! |---|---|
//! | the directory of a new channel | opening fails with `NoRoom`, and the agent retries |
//! | `LOCK` | the lock is held; its pid may be missing |
//! | owner file with the new epoch | stays as it was; the epoch is in force from the first segment on |
//! | reading the segments | needs no room |
//! | cutting the last segment | frees room |
//! | `meta/` | not used; segments are read instead, and it is retried later |
//! | `quarantine/` | the damaged frame stays in its segment |
//! | the first segment | a shorter one, else a file of the reserve, else later |
//!
//! The reserve (`log/reserve.rs`) consists of two small files that an earlier life made. They
//! accept commits and no puts, and a start does not reduce their number. Only a channel that never
//! had room lacks them.
//!
//! Without a segment the channel hands out its batches and keeps commits in memory. It also
//! registers consumers in memory: the first STATE contains them. Puts are not possible, so no batch
//! gets an identity of an epoch that is not on disk. Until then the channel announces the epoch of
//! its last life as its current one: peers might otherwise learn an epoch that the next start does
//! not know, and so could close the epoch that this start uses.
//!
//! # Segments on a full disk
//!
//! ```text
//!   open segment  │ STATE │ group │ group │ … free …         │ acks │
//!                                          └── puts, up to here ─┘
//! ```
//!
//! 1. A next segment is as long as the disk has room for, down to its minimum. The free space that
//!    the file system reports does not decide, because it may report less than it has.
//! 2. While there is no next segment, puts fill the open one up to the room for commits
//!    (`open_segment::acks_room`). The same applies to a short segment until the next one exists.
//! 3. When that room runs short, commits are written only if one frees a segment, or if the channel
//!    is empty: each takes a block, and frees a file that becomes the next segment.
//! 4. If an empty channel's open segment has no room for a waiting put, the channel begins a new
//!    one. If necessary it cuts off the unused end of the open one to make room. Then the old
//!    segment is freed, and its room serves the next one.
//!
//! An intake therefore never stays stopped with an empty channel, except if another process takes
//! the room that step 4 cuts off: then the channel waits for the room of a STATE and a few blocks.

use std::io;
use std::sync::Arc;

use pipeline::BatchSize;
use pipeline::env::is_full;
use tokio::time::Instant;
use tracing::{info, warn};

use super::capacity::Lack;
use crate::durable::commit::request::Limits;
use crate::durable::core::Core;
use crate::durable::log::segment::BLOCK;
use crate::durable::log::writer::Log;
use crate::durable::state::State;

impl State {
    /// Returns the end of the open segment.
    fn end(&self) -> u64 {
        self.tickets.segments.back().map_or(0, |segment| segment.record.end)
    }

    /// Returns `true` if puts are limited to the open segment.
    fn is_confined(&self) -> bool {
        self.space.disk_full || (self.space.open.short && !self.space.open.next_ready)
    }

    /// Returns the room for puts in the open segment, if they are limited to it.
    fn confined_bytes(&self) -> Option<u64> {
        let left = || self.space.open.room.saturating_sub(self.end() + self.space.open.acks);
        self.is_confined().then(left)
    }

    /// Returns `true` if the disk has room for a put of `bytes`, as far as is known.
    pub(crate) fn fits_disk(&self, bytes: u64) -> bool {
        self.confined_bytes().is_none_or(|left| self.space.room.reserved.bytes + bytes <= left)
    }

    /// Returns the size at which the intake stops: the effective capacity without the reserve, or
    /// the current size plus the room in the open segment.
    pub(crate) fn usable_bytes(&self) -> u64 {
        let usable = self.space.capacity_bytes.saturating_sub(self.space.reserve_bytes);
        let confined = self.confined_bytes().map(|left| self.tickets.bytes() + left);
        usable.min(confined.unwrap_or(u64::MAX))
    }

    /// Returns `true` if puts wait now. The caller must put nothing until this changes, which has
    /// to happen automatically.
    pub(crate) fn stops_intake(&self, limits: &Limits) -> bool {
        let smallest = BatchSize { events: 0, bytes: BLOCK as u64 };
        let asked = self.space.room.refused.or_else(|| self.is_confined().then_some(smallest));
        self.closed || asked.is_some_and(|size| !self.fits(size, limits))
    }

    /// Returns `true` if puts wait although the channel is empty, and a new segment may help.
    fn wants_renewal(&self, limits: &Limits) -> bool {
        let is_empty = self.tickets.events == 0 && !self.has_unwritten() && !self.closed;
        let is_used = self.end() > self.space.open.begun_at || self.space.open.room == 0;
        is_empty && is_used && self.space.room.refused.is_some_and(|size| !self.fits(size, limits))
    }

    /// Returns `true` if puts wait for the disk rather than for the consumers.
    pub(crate) fn is_starved(&self, limits: &Limits) -> bool {
        let is_cut_down =
            self.space.room.refused.is_some() && self.space.capacity_bytes < limits.capacity_bytes;
        self.space.disk_full || is_cut_down || self.wants_renewal(limits)
    }

    /// Returns `true` if commits should wait: there is little room for them, and none of them would
    /// free a segment.
    pub(crate) fn defers_commits(&self) -> bool {
        let left = self.space.open.room.saturating_sub(self.end());
        let is_scarce =
            self.space.disk_full && self.space.open.room > 0 && left <= self.space.open.acks / 2;
        let mut sealed = self.tickets.segments.iter().rev().skip(1);
        is_scarce
            && self.tickets.events > 0
            && !sealed.any(|s| self.tickets.in_flight.all_acked(s.record.first, s.end()))
    }

    /// Returns the reason for the stopped intake, and the remedy.
    fn stop_reason(&self, limits: &Limits) -> (&'static str, &'static str) {
        let size = self.space.room.refused.unwrap_or_default();
        let events = self.tickets.events + self.space.room.reserved.events + size.events;
        if !self.fits_disk(size.bytes) {
            self.space.lack.explain()
        } else if events > limits.capacity_events {
            ("capacity_events", "check why the sinks do not deliver, or raise `capacity_events`")
        } else if self.space.capacity_bytes < limits.capacity_bytes {
            (
                "disk_space",
                "the disk has less space than `capacity`: free disk space, or check why the sinks \
                 do not deliver",
            )
        } else {
            ("capacity", "check why the sinks do not deliver, or raise `capacity`")
        }
    }
}

impl Core {
    /// Begins the first segment of this life, or notes that the disk has no room for one.
    ///
    /// # Errors
    /// The disk refused for another reason.
    pub(crate) fn begin_writing(self: &Arc<Self>, log: &mut Log) -> io::Result<()> {
        match self.roll_or_shorten(log, 0) {
            Err(error) if is_full(&error) => {
                self.watch_intake(&mut self.state());
                Ok(())
            }
            result => result,
        }
    }

    /// Begins a segment that replaces the open one, which is empty.
    pub(crate) fn renew(self: &Arc<Self>, log: &mut Log) -> io::Result<()> {
        let is_wanted = self.state().wants_renewal(&self.limits);
        // The waiting put need not fit: it goes into the segment after this one, which reuses the
        // old file.
        if is_wanted { self.roll_or_shorten(log, 0) } else { Ok(()) }
    }

    /// Begins the next segment; if there is no room, uses the unused end of the last one.
    fn roll_or_shorten(self: &Arc<Self>, log: &mut Log, needed: u64) -> io::Result<()> {
        match self.roll(log, needed) {
            Err(error) if is_full(&error) && self.shorten_last(log) => self.roll(log, needed),
            result => result,
        }
    }

    /// Cuts off the unused end of the last segment, if it is large enough; returns whether it did.
    fn shorten_last(&self, log: &mut Log) -> bool {
        let last = self.state().tickets.segments.back().map(|segment| segment.record);
        let Some(last) = last.filter(|last| last.end + BLOCK as u64 <= last.room) else {
            return false;
        };
        if let Err(error) = self.files.truncate(last.id, last.end) {
            warn!(channel = %self.name, %error,
                "the disk is full, and the unused space of the channel's last segment file cannot \
                 be freed; sources wait; retrying; free disk space");
            return false;
        }
        log.truncated(last.id);
        let mut state = self.state();
        state.space.open.room = log.room();
        if let Some(segment) = state.tickets.segment_mut(last.id) {
            segment.record.room = last.end;
        }
        true
    }

    /// Records that the disk has no room for a next segment, if the error means that.
    pub(crate) fn note_full_disk(&self, error: &io::Error) {
        if !is_full(error) {
            warn!(channel = %self.name, %error,
                "cannot create the next segment file of the channel; no event is lost; retrying; \
                 check the disk");
            return;
        }
        let lack = Lack::from_error(&*self.env.disk, &self.directory, error);
        let mut state = self.state();
        state.space.lack = lack;
        state.space.open.next_ready = false;
        if !std::mem::replace(&mut state.space.disk_full, true) {
            self.incident("disk_full", 1);
        }
        self.waits_for_room(&mut state, error);
        self.watch_intake(&mut state);
        drop(state);
        self.signals.dirty.notify_one();
        self.files.emptied.notify_one();
    }

    fn waits_for_room(&self, state: &mut State, error: &io::Error) {
        let now = Instant::now();
        state.space.no_room.count(now);
        let left = state.confined_bytes().unwrap_or_default();
        // If no room is left, the intake stops, which is logged separately.
        if left > 0 && state.space.no_room.should_log(now, &error.to_string()).is_some() {
            let (reason, help) = state.space.lack.explain();
            warn!(channel = %self.name, %error, reason, help,
                directory = %self.directory.display(), left_bytes = left,
                "no disk space for another segment file of the channel; filling the current one, \
                 then sources wait; `help` names the remedy");
        }
    }

    /// Records that the file of the next segment exists.
    pub(crate) fn note_next_segment(&self, id: u64) {
        {
            let mut state = self.state();
            // The segment may have begun already.
            if state.next_segment == id {
                state.space.open.next_ready = true;
                state.space.disk_full = false;
                state.space.no_room.over(Instant::now());
            }
        }
        self.refresh_capacity();
        self.signals.room.notify_waiters();
    }

    /// Checks whether the disk has room again.
    pub(crate) fn check_room(&self) {
        let (disk_full, next, needed) = {
            let state = self.state();
            (
                state.space.disk_full,
                state.next_segment,
                state.space.room.refused.unwrap_or_default().bytes,
            )
        };
        if disk_full {
            match self.files.prepare(next, needed) {
                Ok(()) => self.note_next_segment(next),
                Err(error) => {
                    let lack = Lack::from_error(&*self.env.disk, &self.directory, &error);
                    let mut state = self.state();
                    state.space.lack = lack;
                    self.waits_for_room(&mut state, &error);
                }
            }
        }
        self.refresh_capacity();
        let mut state = self.state();
        state.space.renew = state.wants_renewal(&self.limits);
        self.watch_intake(&mut state);
    }

    /// Logs once that the intake has stopped, and once that it has resumed.
    pub(crate) fn watch_intake(&self, state: &mut State) {
        if state.closed {
            return;
        }
        let now = Instant::now();
        if state.stops_intake(&self.limits) {
            if state.space.standstill.stops(now) {
                let (reason, help) = state.stop_reason(&self.limits);
                let (bytes, capacity) = (state.tickets.bytes(), state.usable_bytes());
                warn!(channel = %self.name, reason, bytes, capacity,
                    directory = %self.directory.display(), help,
                    "the channel has stopped accepting events; sources wait; no event is lost; \
                     `help` names the remedy");
            }
        } else if let Some(lasted) = state.space.standstill.resumed(now) {
            info!(channel = %self.name, lasted_seconds = lasted.as_secs_f64(),
                "the channel accepts events again");
        }
    }
}
