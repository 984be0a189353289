//! Group commit: the thread that has the log while requests wait.
//!
//! ```text
//!   append ─► stored ─► answer
//!        ├──► certainly not stored ─► answer
//!        └──► unknown ─► is the epoch in the newest STATE ours? ─► fence ─► is it still ours?
//!                             │ no: another owner                             │ yes
//!                             ▼                                               ▼
//!                          closed, no answer            the frames after the known ones decide
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use pipeline::{KeySet, Ticket};
use support::mutant;
use tracing::{error, warn};

use super::core::Core;
use super::frames;
use super::group::{Group, Placed};
use super::log::{Failure, LogError, Place, READ_BYTES, cause_of};
use super::request::{PutFailure, Reply, Request};
use super::state::{Line, State};
use crate::durable::commit::hand_off::serve_one;

/// A group is closed after this many bytes of frames.
const GROUP_BYTES: usize = 4 << 20;
/// The work of the leader in one step.
struct Work {
    group: Group,
    registers: Vec<(Vec<Arc<str>>, Reply)>,
    flush: bool,
}

/// The log has another owner, or the channel was closed before the result is known.
struct LeadershipLost;

/// The owner that the newest STATE names.
enum Owner {
    Us,
    Another,
    /// There is no STATE, although this life has begun with one.
    Lacking,
}

impl Core {
    /// Serves requests until none waits.
    pub(super) fn lead_until_idle(&self) {
        while serve_one(self, |state| self.form(state), |work| self.serve(work)) {}
        self.signals.rested.notify_waiters();
    }

    fn form(&self, state: &mut State) -> Work {
        let mut work = Work { group: Group::default(), registers: Vec::new(), flush: state.flush };
        let now_ms = self.now_ms();
        while work.group.bytes < GROUP_BYTES {
            match state.hand_off.pop() {
                None => break,
                Some(Request::Put(put)) => {
                    work.group.add(put, state, (self.origin, self.epoch), now_ms);
                }
                Some(Request::Register { names, reply }) => work.registers.push((names, reply)),
            }
        }
        work
    }

    fn serve(&self, work: Work) {
        let Work { group, registers, flush } = work;
        self.state().room.release(group.reserved);
        if self.state().lost {
            // No answer: as after a kill, the sources do not know whether waiting puts are stored.
            self.state().flush = false;
            return;
        }
        self.store(group);
        let has_to_register = !registers.is_empty();
        for (names, reply) in registers {
            let registered = self.register(&names).map_err(Arc::new);
            // The caller may be gone.
            let _ = reply.send(registered.map_err(PutFailure::Log));
        }
        let is_due = self.state().uncovered >= self.limits.section_bytes();
        if flush || has_to_register || is_due {
            // On failure the channel is closed, or the log has another owner.
            let _ = self.write_state();
        }
        self.signals.room.notify_waiters();
    }

    /// Appends a group and answers it.
    fn store(&self, group: Group) {
        if group.duplicate_events > 0 {
            self.incident("duplicate_event", group.duplicate_events);
        }
        if group.frames.is_empty() {
            return group.answer(&Ok(()));
        }
        match self.append(&group.frames) {
            Ok(Ok(places)) => self.stored(group, &places),
            Ok(Err(error)) => group.answer(&Err(Arc::new(error))),
            Err(LeadershipLost) => {}
        }
    }

    /// Appends frames; the outcome is known.
    fn append(&self, frames: &[Bytes]) -> Result<Result<Vec<Place>, LogError>, LeadershipLost> {
        let error = match self.log.append(frames) {
            // Places increase, unless the log was replaced; the new one must be empty then.
            Ok(places) if places.first().is_some_and(|first| *first < self.state().end) => {
                let above = places.last().map_or(0, |last| last + 1);
                if let Err(error) = self.log.release(above) {
                    let (cause, place) = (cause_of(&error), self.log.name());
                    warn!(channel = %self.name, place, error = cause,
                        "cannot delete records from the recreated Kafka topic of the channel; they \
                         prevent its next start: delete and recreate the topic before you restart \
                         this agent; their events are resent");
                }
                self.lose(&Owner::Lacking);
                return Err(LeadershipLost);
            }
            Ok(places) => return Ok(Ok(places)),
            Err(Failure::Nothing(error)) => return Ok(Err(error)),
            Err(Failure::Unknown(error)) => error,
        };
        if mutant!("remote_unknown_is_nothing") {
            return Ok(Err(error));
        }
        self.incident("unknown_outcome", 1);
        let cause = cause_of(&error);
        warn!(channel = %self.name, place = self.log.name(), error = cause,
            "the result of the last write to the Kafka topic of the channel is unknown; sources \
             wait while the topic is read to find out; no event is lost, no action needed");
        loop {
            self.regain()?;
            match self.read_behind() {
                Ok(found) if found.is_empty() => return Ok(Err(error)),
                Ok(found) if found.iter().map(|(_, frame)| frame).eq(frames) => {
                    return Ok(Ok(found.into_iter().map(|(place, _)| place).collect()));
                }
                Ok(_) => {
                    self.lose(&Owner::Another);
                    return Err(LeadershipLost);
                }
                Err(again) => self.again(&again)?,
            }
        }
    }

    /// Reads all frames after the known ones.
    fn read_behind(&self) -> Result<Vec<(Place, Bytes)>, LogError> {
        let (mut found, mut from) = (Vec::new(), self.state().end);
        loop {
            let read = self.log.read(from, READ_BYTES)?;
            let Some(last) = read.last() else { return Ok(found) };
            from = last.place + 1;
            found.extend(read.into_iter().map(|stored| (stored.place, stored.frame)));
        }
    }

    /// Becomes the only owner again, unless another one has opened the log, or the log was
    /// replaced.
    fn regain(&self) -> Result<(), LeadershipLost> {
        loop {
            let owner = self.owner().and_then(|owner| match owner {
                Owner::Us => self.log.fence().and_then(|()| self.owner()),
                other => Ok(other),
            });
            match owner {
                Ok(Owner::Us) => return Ok(()),
                Ok(other) => {
                    self.lose(&other);
                    return Err(LeadershipLost);
                }
                Err(error) => self.again(&error)?,
            }
        }
    }

    fn owner(&self) -> Result<Owner, LogError> {
        let newest = self.log.state()?;
        if mutant!("remote_owner_not_looked_at") {
            return Ok(Owner::Us);
        }
        let Some(newest) = newest else { return Ok(Owner::Lacking) };
        let ours = (self.origin, self.epoch.0);
        let is_ours = frames::read_state(&newest)
            .is_some_and(|state| (state.origin, state.record.epoch) == ours);
        Ok(if is_ours { Owner::Us } else { Owner::Another })
    }

    /// Prepares a retry, unless the channel was closed in the meantime.
    fn again(&self, error: &LogError) -> Result<(), LeadershipLost> {
        let cause = cause_of(error);
        warn!(channel = %self.name, place = self.log.name(), error = cause,
            "the result of the last write to the Kafka topic of the channel is still unknown; \
             sources wait; retrying; check the brokers");
        if self.state().closed { Err(LeadershipLost) } else { Ok(()) }
    }

    /// Gives the log up permanently.
    fn lose(&self, owner: &Owner) {
        let (channel, place) = (&self.name, self.log.name());
        if matches!(owner, Owner::Lacking) {
            error!(channel = %channel, place,
                "the Kafka topic of this channel was deleted or recreated, so its events and the \
                 positions of sources are lost. The channel is stopped until a restart: restore \
                 the topic and restart this agent, or restart it with an empty topic, which reads \
                 the sources again");
            self.incident("lost_its_log", 1);
        } else {
            error!(channel = %channel, place,
                "another agent has opened this channel, so it is stopped here until a restart. \
                 Give each agent its own topic; if the move was intended, stop this agent; \
                 otherwise stop the other one and restart this one");
            self.incident("lost_to_another_owner", 1);
        }
        self.stop(true);
    }

    /// Records that a group is stored at these places.
    fn stored(&self, mut group: Group, places: &[Place]) {
        let mut settled = KeySet::default();
        {
            let mut state = self.state();
            state.next_sequence += group.sequences;
            for put in std::mem::take(&mut group.puts) {
                let Placed { ticket, record, batches, frame } = put;
                let at = (places[frame], group.frames[frame].len() as u64);
                state.put(at, ticket, &record, self.limits.section_bytes());
                for item in record.items.iter().filter(|item| item.events == 0) {
                    if let Some(identity) = item.identity {
                        settled.insert(identity);
                    }
                }
                for (ticket, batch) in (ticket..).zip(batches) {
                    let (identity, events) = (batch.envelope.identity, batch.len() as u32);
                    let line = Line { identity, events, at_ms: record.at_ms };
                    state.remember(ticket, line, batch, &self.limits);
                }
            }
        }
        group.names.drain(..).for_each(|(wanted, name)| wanted.set(name));
        group.answer(&Ok(()));
        self.signals.ready.notify_waiters();
        self.announce(settled);
    }

    /// Makes these the consumers; a STATE has to follow.
    fn register(&self, names: &[Arc<str>]) -> Result<(), LogError> {
        let settles = {
            let state = self.state();
            let mut then = state.in_flight.clone();
            let before = then.acked_by_all(None);
            then.register(names);
            then.acked_by_all(None).difference(&before)
        };
        let mut lines: BTreeMap<Ticket, Line> = self.lines_of(&settles)?;
        let keys = {
            let mut state = self.state();
            let before = state.in_flight.acked_by_all(None);
            state.in_flight.register(names);
            state.unsaved = true;
            let settled = state.in_flight.acked_by_all(None).difference(&before);
            // Batches committed since were held until now.
            lines.append(&mut state.lines_of(&settled));
            state.settle(&settled, &lines)
        };
        // Takes of one that has left end.
        self.signals.ready.notify_waiters();
        self.announce(keys);
        Ok(())
    }

    /// Writes a STATE and releases the part of the log that it makes obsolete.
    fn write_state(&self) -> Result<(), LeadershipLost> {
        let (value, below) = {
            let mut state = self.state();
            state.flush = false;
            state.unsaved = false;
            state.uncovered = 0;
            let below = state.release();
            (self.state_value(&state), below)
        };
        if let Err(gone) = self.store_value(&value) {
            self.state().unsaved = true;
            return Err(gone);
        }
        if let Err(error) = self.log.release(below) {
            let cause = cause_of(&error);
            warn!(channel = %self.name, place = self.log.name(), below, error = cause,
                "cannot delete delivered batches from the Kafka topic of the channel; no event is \
                 lost; retrying");
        }
        Ok(())
    }

    fn store_value(&self, value: &Bytes) -> Result<(), LeadershipLost> {
        loop {
            match self.log.store_state(value) {
                Ok(()) => return Ok(()),
                Err(Failure::Nothing(error)) => self.again_state(&error)?,
                Err(Failure::Unknown(error)) => {
                    self.regain()?;
                    if matches!(self.log.state(), Ok(Some(newest)) if newest == *value) {
                        return Ok(());
                    }
                    self.again_state(&error)?;
                }
            }
        }
    }

    fn again_state(&self, error: &LogError) -> Result<(), LeadershipLost> {
        let cause = cause_of(error);
        warn!(channel = %self.name, place = self.log.name(), error = cause,
            "cannot store the progress of the sinks in the Kafka topic of the channel; retrying; a \
             restart before that delivers some events again");
        // When closing, there is no second attempt: committed batches are delivered again.
        if self.state().closed { Err(LeadershipLost) } else { Ok(()) }
    }

    pub(super) fn state_value(&self, state: &State) -> Bytes {
        let record = state.record(self.epoch, self.now_ms());
        frames::state(self.origin, state.in_flight.next(), state.end, &record)
    }
}
