//! Group commit: a caller that finds no leader becomes one. It writes all waiting requests together
//! and repeats this until none is left. There is no timer: a group forms while the previous one is
//! being written.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, PoisonError};

use pipeline::env::is_full;
use pipeline::{Epoch, Identity, IntervalSet, KeySet, Sequence};
use support::mutant;
use tokio::time::Instant;
use tracing::error;

use super::group::{Group, Placed, Written};
use super::hand_off;
use super::register::Change;
use crate::durable::commit::request::{NewBatch, NewPut, PutFailure, Reply, Request};
use crate::durable::core::Core;
use crate::durable::index::ticket_index::TicketIndex;
use crate::durable::log::frame::Frame;
use crate::durable::log::records::{AckRecord, PutItem, PutRecord};
use crate::durable::log::segment::Kind;
use crate::durable::log::writer::Log;
use crate::durable::state::State;

/// A group accepts no more requests once it has this many bytes …
const GROUP_BYTES: usize = 2 << 20;
/// … or this many requests.
const GROUP_REQUESTS: usize = 256;

impl Core {
    /// Writes group after group until nothing waits.
    pub(crate) fn lead_until_idle(self: &Arc<Self>) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        while self.lead_once(&mut log) {}
        drop(log);
        self.signals.rested.notify_waiters();
    }

    /// Writes one group in the producer's thread; another thread writes later requests.
    pub(crate) fn lead_in_place(self: &Arc<Self>) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        self.lead_once(&mut log);
        drop(log);
        match hand_off::leave(&**self) {
            true => self.start_leader(),
            false => self.signals.rested.notify_waiters(),
        }
    }

    /// Writes waiting requests, up to a limit; returns whether there were any. If not, the caller
    /// does not lead any more.
    fn lead_once(self: &Arc<Self>, log: &mut Log) -> bool {
        let form = |state: &mut State| {
            state.unwritten.flush = false;
            self.form(state)
        };
        hand_off::serve_one(&**self, form, |mut group| {
            if let Some(change) = &mut group.registered {
                change.look_up(self);
            }
            let written = self.write(log, &mut group);
            self.finish(log, group, written);
        })
    }

    /// Takes waiting requests, up to a limit, and makes frames of them.
    fn form(&self, state: &mut State) -> Group {
        let mut group = Group::default();
        let next = state.tickets.in_flight.next();
        if !state.unwritten.acks.is_empty() {
            state.unwritten.acks_in_write = std::mem::take(&mut state.unwritten.acks);
            group.acks =
                Some(Frame::plain(Kind::Ack, next, state.unwritten.acks_in_write.encode()));
        }
        if !state.unwritten.forget.is_empty() {
            state.unwritten.forget_in_write = std::mem::take(&mut state.unwritten.forget);
            group.forget =
                Some(Frame::plain(Kind::Forget, next, state.unwritten.forget_in_write.encode()));
        }
        let (mut bytes, mut requests) = (0, 0);
        let mut fresh = BTreeSet::new();
        let mut is_last = false;
        while bytes < GROUP_BYTES && requests < GROUP_REQUESTS && !is_last {
            match state.hand_off.pop() {
                None => break,
                Some(Request::Register { names, reply }) => {
                    let (change, frame) = Change::plan(state, names, next + group.tickets);
                    group.frames.push(frame);
                    group.registered = Some(change);
                    group.replies.push(reply);
                    is_last = true;
                }
                Some(Request::Put { put, reserved, reply }) => {
                    group.reserved.bytes += reserved.bytes;
                    group.reserved.events += reserved.events;
                    if group.is_turn_of(&put, &state.tickets) {
                        // A change of the consumers after it would not include its commits.
                        is_last = put.back_for.is_some();
                        group.replies.push(reply);
                        bytes += put.body.len;
                        self.add_put(state, &mut group, put, &mut fresh);
                    } else {
                        // The caller may be gone.
                        let _ = reply.send(Err(PutFailure::OutOfTurn));
                    }
                }
            }
            requests += 1;
        }
        if self.files.keys().is_sealing() {
            let frames = group.frames.iter_mut().chain(&mut group.forget).chain(&mut group.acks);
            frames.for_each(|frame| frame.sealed = true);
        }
        group
    }

    /// Adds one put transaction to a group, without batches that the channel already has.
    fn add_put(
        &self,
        state: &State,
        group: &mut Group,
        put: NewPut,
        fresh: &mut BTreeSet<Identity>,
    ) {
        let mut items = Vec::with_capacity(put.batches.len());
        let (mut batches, mut all_lengths, mut stays) = (Vec::new(), Vec::new(), Vec::new());
        for mut new in put.batches {
            // A batch without events is not delivered, so it needs no identity.
            let born = new.identity.is_none() && new.events > 0;
            let identity = new.identity.or_else(|| {
                let sequence = Sequence(state.next_sequence + group.sequences);
                group.sequences += u64::from(born);
                let known = self.owner.epoch;
                let epoch = if mutant!("epoch_not_in_key") { Epoch(0) } else { known };
                born.then_some(Identity { origin: self.owner.origin, epoch, sequence })
            });
            if let (Some(wanted), Some(identity)) = (&put.name, identity) {
                wanted.set(identity);
            }
            let seen = identity.is_some_and(|identity| {
                state.tickets.window.knows(identity) || !fresh.insert(identity)
            });
            let known = seen && self.limits.dedupe && put.back_for.is_none();
            let NewBatch { events, body_len, packed, .. } = new;
            let positions = std::mem::take(&mut new.positions);
            if events > 0 {
                all_lengths.push(body_len);
                stays.push(!known);
            }
            if known {
                group.duplicates += 1;
                group.duplicate_events += u64::from(events);
                if !positions.is_empty() {
                    let (identity, events, body_len, packed) = (None, 0, 0, None);
                    items.push(PutItem { identity, events, body_len, packed, positions });
                }
                continue;
            }
            let body_len = body_len as u32;
            items.push(PutItem { identity, events, body_len, packed, positions });
            if events > 0 {
                new.batch.envelope.identity = identity;
                batches.push(new.batch);
            }
        }
        if items.is_empty() {
            return;
        }
        let body = put.body.keeping(&all_lengths, &stays);
        let lengths = all_lengths.into_iter().zip(stays);
        let lengths = lengths.filter_map(|(len, stays)| stays.then_some(len)).collect();
        let record = PutRecord { at_ms: self.now_ms(), items };
        let ticket = state.tickets.in_flight.next() + group.tickets;
        let (tickets, envelope) = (batches.len() as u32, record.encode());
        group.tickets += u64::from(tickets);
        let committed_by = others(state, put.back_for.as_deref());
        let acks = AckRecord::of_all(&committed_by, &(ticket..ticket + u64::from(tickets)).into());
        let frame = group.frames.len();
        group.puts.push(Placed { frame, record, batches, lengths, committed_by });
        group.frames.push(Frame::put(ticket, tickets, envelope, body));
        if !acks.is_empty() {
            let next = ticket + u64::from(tickets);
            group.frames.push(Frame::plain(Kind::Ack, next, acks.encode()));
        }
    }

    /// Makes a group durable; returns the offset of each of its frames.
    fn write(self: &Arc<Self>, log: &mut Log, group: &mut Group) -> io::Result<Vec<u64>> {
        if group.is_empty() {
            let (in_doubt, renew) = {
                let mut state = self.state();
                (!state.in_doubt.is_empty(), std::mem::take(&mut state.space.renew))
            };
            if in_doubt {
                self.roll(log, 0)?;
            } else if renew {
                self.renew(log)?;
            }
            return Ok(Vec::new());
        }
        let has_room = log.has_room(group.len_max()) && (group.puts.is_empty() || log.takes_puts());
        if !has_room {
            group.drop_news();
            self.roll(log, group.len_max())?;
            if group.is_empty() {
                return Ok(Vec::new());
            }
        }
        group.arrange();
        let written = log.append(&mut group.frames);
        if let Err(error) = &written {
            error!(channel = %self.name, %error,
                "cannot write to a segment file of the channel; no event is lost: sources retry, \
                 and the channel continues in a new segment file; check the disk");
            self.incident("segment_given_up", 1);
            // The new segment's state contains the end of the old one, so data of the failed write
            // cannot reappear. Only then may the puts be answered as failed.
            if let Err(error) = self.roll(log, 0) {
                error!(channel = %self.name, %error,
                    "cannot start a new segment file of the channel; sources wait until a retry \
                     succeeds; check the disk");
                self.hold_back(group, &written);
            }
        }
        written
    }

    /// Holds back the answers of a failed write while no new segment excludes it: until then it is
    /// unknown whether its puts are stored. A crash before that decides as for every put in
    /// progress.
    fn hold_back(&self, group: &mut Group, written: &io::Result<Vec<u64>>) {
        let Err(error) = written else { return };
        let shared = Arc::new(io::Error::new(error.kind(), error.to_string()));
        // A change of the consumers ends its group; its effect is visible at any time.
        let puts = group.replies.len() - usize::from(group.registered.is_some());
        let replies = group.replies.drain(..puts).map(|reply| (reply, shared.clone()));
        self.state().in_doubt.extend(replies);
        self.signals.dirty.notify_one();
    }

    /// Adds the written data to the state, or releases the reserved room, and answers.
    fn finish(&self, log: &Log, mut group: Group, written: io::Result<Vec<u64>>) {
        let mut settled = KeySet::default();
        let (mut answer, mut wakes) = (Ok(()), true);
        let mut replies = std::mem::take(&mut group.replies);
        let mut registered = None;
        self.state().hand_off.record_group(replies.len());
        match written {
            Ok(offsets) => {
                let puts: Vec<Written> = group.written(&offsets).collect();
                let bytes = puts.iter().map(|put| put.frame_len).sum();
                let (events, now) = (puts.iter().flat_map(|put| &put.batches), Instant::now());
                let event_bytes = events.map(|batch| batch.encoded_len()).sum();
                let mut state = self.state();
                state.space.room.release(group.reserved);
                wakes = state.reads.wakeups.should_wake(bytes) || group.registered.is_some();
                if event_bytes > 0 {
                    let draining = state.reads.ahead.consumers();
                    state.reads.throttle.put(now, event_bytes, draining);
                }
                for put in puts {
                    Self::publish(&mut state, put, &mut settled);
                }
                self.advance(&mut state, log, &group, &mut settled);
            }
            Err(error) => {
                let mut state = self.state();
                state.space.room.release(group.reserved);
                state.unwritten.take_back();
                keep_failed(&mut state.tickets, &group);
                if let Some(change) = group.registered.filter(|_| state.space.open.room == 0)
                    && is_full(&error)
                {
                    // No segment is open: the first STATE will contain the consumers.
                    settled.insert_all(&change.apply(&mut state));
                    registered = replies.pop();
                }
                answer = Err(PutFailure::Disk(Arc::new(error)));
            }
        }
        // The caller may be gone.
        registered.map(|reply: Reply| reply.send(Ok(())));
        // First the puts that wait for the disk: they have the next batch.
        for reply in replies {
            // The caller may be gone; the write is valid all the same.
            let _ = reply.send(answer.clone());
        }
        if wakes {
            self.signals.ready.notify_waiters();
        }
        self.signals.room.notify_waiters();
        self.announce(settled);
    }

    /// A put is durable: it becomes visible.
    fn publish(state: &mut State, put: Written, settled: &mut KeySet) {
        let lost = state.tickets.put(put.ticket, put.offset, put.frame_len, &put.record);
        debug_assert!(lost.is_none(), "tickets are given in order");
        let tickets = IntervalSet::from(put.ticket..put.ticket + put.batches.len() as u64);
        for consumer in &put.committed_by {
            state.tickets.in_flight.replay(consumer, &tickets);
        }
        for (ticket, batch) in (put.ticket..).zip(put.batches) {
            state.reads.tail.push(ticket, batch);
        }
        let empty = put.record.items.iter().filter(|item| item.events == 0);
        for identity in empty.filter_map(|item| item.identity) {
            settled.insert(identity);
        }
    }

    /// The group is durable: all that is not of one put.
    fn advance(&self, state: &mut State, log: &Log, group: &Group, settled: &mut KeySet) {
        state.next_sequence += group.sequences;
        state.unwritten.written();
        if let (Some((_, end)), Some(current)) = (log.position(), state.tickets.segments.back_mut())
        {
            current.record.end = end;
        }
        if let Some(change) = &group.registered {
            settled.insert_all(&change.apply(state));
        }
        if group.duplicates > 0 {
            self.incident("duplicate_batch", group.duplicates);
            self.incident("duplicate_event", group.duplicate_events);
        }
        self.release(state, false);
        self.watch_fill(state);
        self.watch_intake(state);
    }
}

/// The consumers that have committed a batch which is put back for `consumer`.
fn others(state: &State, consumer: Option<&str>) -> Vec<Arc<str>> {
    let Some(consumer) = consumer else { return Vec::new() };
    let names = state.tickets.in_flight.acked().map(|(name, _)| name);
    names.filter(|name| &***name != consumer && !mutant!("put_back_for_all")).cloned().collect()
}

/// Two planted bugs: the effects of a group are kept although it was not written.
fn keep_failed(tickets: &mut TicketIndex, group: &Group) {
    for batch in group.puts.iter().flat_map(|put| &put.record.items) {
        if let Some(identity) = batch.identity.filter(|_| mutant!("window_without_batch")) {
            tickets.window.store(identity, batch.events > 0);
        }
        if mutant!("position_without_batch") {
            tickets.positions.apply(&batch.positions);
        }
    }
}
