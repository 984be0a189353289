//! Group commit: whoever finds no leader at work becomes one, writes all that waits in one go, and
//! goes on until nothing waits. There is no timer: a group forms while the one before it is being
//! written.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, PoisonError};

use pipeline::env::is_full;
use pipeline::{Batch, Epoch, Identity, KeySet, Sequence, mutant};
use tokio::time::Instant;
use tracing::{error, warn};

use super::group::{Group, Placed, Written};
use super::hand_off;
use super::register::Change;
use crate::durable::core::{Core, NewBatch, NewPut, Reply, Request, State, Unserved};
use crate::durable::index::ticket_index::Book;
use crate::durable::log::frame::Frame;
use crate::durable::log::records::{AckRecord, ForgetRecord, PutItem, PutRecord, SegmentRecord};
use crate::durable::log::segment::Kind;
use crate::durable::log::writer::Log;
use crate::durable::space::full_disk::{Open, acks_room};

/// A group takes no more requests once it has this many bytes …
const GROUP_BYTES: usize = 2 << 20;
/// … or this many requests.
const GROUP_REQUESTS: usize = 256;

impl Core {
    /// Writes group after group until nothing waits.
    pub(crate) fn lead_until_idle(self: &Arc<Self>) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        while self.lead_once(&mut log) {}
        drop(log);
        self.rested.notify_waiters();
    }

    /// Writes one group, in the thread of the one who puts; what came meanwhile is a thread's.
    pub(crate) fn lead_in_place(self: &Arc<Self>) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        self.lead_once(&mut log);
        drop(log);
        match hand_off::leave(&**self) {
            true => self.start_leader(),
            false => self.rested.notify_waiters(),
        }
    }

    /// Writes what waits, up to a good size; answers whether it was anything. If not, the caller
    /// does not lead any more.
    fn lead_once(self: &Arc<Self>, log: &mut Log) -> bool {
        let form = |state: &mut State| {
            state.flush = false;
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

    /// Takes what waits, up to a good size, and makes frames of it.
    fn form(&self, state: &mut State) -> Group {
        let mut group = Group::default();
        let next = state.book.in_flight.next();
        if !state.acks.is_empty() {
            state.acks_in_write = std::mem::take(&mut state.acks);
            group.acks = Some(Frame::plain(Kind::Ack, next, state.acks_in_write.encode()));
        }
        if !state.forget.is_empty() {
            state.forget_in_write = std::mem::take(&mut state.forget);
            group.forget = Some(Frame::plain(Kind::Forget, next, state.forget_in_write.encode()));
        }
        let (mut bytes, mut requests) = (0, 0);
        let mut fresh = BTreeSet::new();
        while bytes < GROUP_BYTES && requests < GROUP_REQUESTS && group.registered.is_none() {
            match state.hand_off.pop() {
                None => break,
                Some(Request::Register { names, reply }) => {
                    let (change, frame) = Change::plan(state, names, next + group.tickets);
                    group.frames.push(frame);
                    group.registered = Some(change);
                    group.replies.push(reply);
                }
                Some(Request::Put { put, reserved, reply }) => {
                    group.reserved.bytes += reserved.bytes;
                    group.reserved.events += reserved.events;
                    if group.is_turn_of(&put, &state.book) {
                        group.replies.push(reply);
                        bytes += put.body.len;
                        self.add_put(state, &mut group, put, &mut fresh);
                    } else {
                        // Who asked may be gone.
                        let _ = reply.send(Err(Unserved::OutOfTurn));
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

    /// Adds one put transaction to a group, without what the channel has already.
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
            // Without events there is nothing to deliver, so nothing is given a name.
            let born = new.identity.is_none() && new.events > 0;
            let identity = new.identity.or_else(|| {
                let sequence = Sequence(state.next_sequence + group.sequences);
                group.sequences += u64::from(born);
                let known = self.owner.epoch;
                let epoch = if mutant!("epoch_not_in_key") { Epoch(0) } else { known };
                born.then_some(Identity { origin: self.owner.origin, epoch, sequence })
            });
            let seen = identity.is_some_and(|identity| {
                state.book.window.knows(identity) || !fresh.insert(identity)
            });
            let known = seen && self.limits.dedupe;
            let NewBatch { events, body_len, packed, .. } = new;
            let positions = std::mem::take(&mut new.positions);
            if events > 0 {
                all_lengths.push(body_len);
                stays.push(!known);
            }
            if known {
                group.duplicates += 1;
                if !positions.is_empty() {
                    let (identity, events, body_len, packed) = (None, 0, 0, None);
                    items.push(PutItem { identity, events, body_len, packed, positions });
                }
                continue;
            }
            let body_len = body_len as u32;
            items.push(PutItem { identity, events, body_len, packed, positions });
            if events > 0 {
                new.batch.identity = identity;
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
        let ticket = state.book.in_flight.next() + group.tickets;
        let (tickets, envelope) = (batches.len() as u32, record.encode());
        group.tickets += u64::from(tickets);
        group.puts.push(Placed { frame: group.frames.len(), record, batches, lengths });
        group.frames.push(Frame::put(ticket, tickets, envelope, body));
    }

    /// Makes a group durable; answers where each of its frames begins.
    fn write(self: &Arc<Self>, log: &mut Log, group: &mut Group) -> io::Result<Vec<u64>> {
        if group.is_empty() {
            let (limbo, renew) = {
                let mut state = self.state();
                (!state.limbo.is_empty(), std::mem::take(&mut state.renew))
            };
            if limbo {
                self.roll(log, 0)?;
            } else if renew {
                self.renew(log)?;
            }
            return Ok(Vec::new());
        }
        if !log.has_room(group.len_max()) {
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
                "a write to the channel's segment failed; the segment is given up");
            self.incident("segment_given_up", 1);
            // The new segment's state says where the old one ends: what the failed write may have
            // left there cannot come back. Only then may the puts be told that they failed.
            if let Err(error) = self.roll(log, 0) {
                error!(channel = %self.name, %error, "no new segment can be begun");
                self.hold_back(group, &written);
            }
        }
        written
    }

    /// A write failed, and no new segment says so: nobody can know yet whether its puts are stored.
    /// They are answered once the next segment rules it out; a crash before that decides as it does
    /// for every put under way.
    fn hold_back(&self, group: &mut Group, written: &io::Result<Vec<u64>>) {
        let Err(error) = written else { return };
        let shared = Arc::new(io::Error::new(error.kind(), error.to_string()));
        // A change of the consumers ends its group. Whether it stands can be seen at any time.
        let puts = group.replies.len() - usize::from(group.registered.is_some());
        let replies = group.replies.drain(..puts).map(|reply| (reply, shared.clone()));
        self.state().limbo.extend(replies);
        self.dirty.notify_one();
    }

    /// Begins the next segment with room for `needed` bytes.
    pub(crate) fn roll(self: &Arc<Self>, log: &mut Log, needed: u64) -> io::Result<()> {
        let now_ms = self.now_ms();
        let (id, state_frame) = {
            let mut state = self.state();
            let id = state.next_segment;
            state.next_segment += 1;
            // The STATE says all commits that were made so far.
            let acks = std::mem::take(&mut state.acks);
            state.acks_in_write.merge(&acks);
            let forget = std::mem::take(&mut state.forget);
            state.forget_in_write.merge(&forget);
            let envelope = state.book.record(now_ms).encode();
            let frame = Frame::plain(Kind::State, state.book.in_flight.next(), envelope);
            (id, Frame { sealed: self.files.keys().is_sealing(), ..frame })
        };
        let begun = log.begin(id, &state_frame, needed);
        let (prepared, end) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                let mut state = self.state();
                state.take_news_back();
                state.open.room = log.room();
                drop(state);
                self.note_full_disk(&error);
                return Err(error);
            }
        };
        let (sealed, limbo) = {
            let mut state = self.state();
            state.acks_in_write = AckRecord::default();
            state.forget_in_write = ForgetRecord::default();
            let first = state.book.in_flight.next();
            let sealed = state
                .book
                .segments
                .back()
                .and_then(|segment| Some((segment.record.id, segment.index.clone()?)));
            let (room, since_ms) = (prepared.room, now_ms);
            state.open = Open {
                room,
                begun_at: end,
                acks: acks_room(room, end),
                short: self.files.is_short(room),
                next_ready: false,
            };
            state.durable_epoch = self.owner.epoch;
            let record =
                SegmentRecord { id, first, tickets: 0, end, room, since_ms, key: log.key() };
            state.book.begin_segment(record, prepared.file);
            // Starts, failed writes and commits fill segments without batches; nobody would free
            // these as long as an older one stays.
            self.release(&mut state, true);
            (sealed, std::mem::take(&mut state.limbo))
        };
        self.refresh_capacity();
        for (reply, error) in limbo {
            // Who asked may be gone.
            let _ = reply.send(Err(Unserved::Disk(error)));
        }
        let (files, store) = (self.files.clone(), self.store.clone());
        let core = Arc::downgrade(self);
        self.background.run(&self.env, move || {
            if let Some((id, index)) = sealed {
                store.save(id, &index);
            }
            files.fill_reserve();
            let prepared = files.prepare(id + 1, 0);
            if let Some(core) = core.upgrade() {
                match prepared {
                    Ok(()) => core.note_next_segment(id + 1),
                    Err(error) => core.note_full_disk(&error),
                }
                core.state().book.trim();
            }
        });
        Ok(())
    }

    /// Writes a last group that says nothing. With it behind them, damage to the batches of the last
    /// group that says something is not taken for a write that a crash tore.
    pub(crate) fn write_end(&self) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let next = self.state().book.in_flight.next();
        let sealed = self.files.keys().is_sealing();
        let frame = Frame::plain(Kind::Ack, next, AckRecord::default().encode());
        let frame = Frame { sealed, ..frame };
        if log.has_room(frame.len() as u64)
            && let Err(error) = log.append(&mut [frame])
        {
            // The channel is whole without it.
            warn!(channel = %self.name, %error, "the end of the channel could not be marked");
        }
    }

    /// Takes over what was written, or gives it back, and answers.
    fn finish(&self, log: &Log, mut group: Group, written: io::Result<Vec<u64>>) {
        let mut settled = KeySet::default();
        let (mut answer, mut rings) = (Ok(()), true);
        let mut replies = std::mem::take(&mut group.replies);
        let mut registered = None;
        self.state().hand_off.learn(replies.len());
        match written {
            Ok(offsets) => {
                let puts: Vec<Written> = group.written(&offsets).collect();
                let bytes = puts.iter().map(|put| put.frame_len).sum();
                let (events, now) = (puts.iter().flat_map(|put| &put.batches), Instant::now());
                let event_bytes = events.map(Batch::encoded_len).sum();
                let mut state = self.state();
                state.unreserve(group.reserved);
                rings = state.bell.rings(bytes) || group.registered.is_some();
                if event_bytes > 0 {
                    let draining = state.ahead.consumers();
                    state.sparing.put(now, event_bytes, draining);
                }
                for put in puts {
                    Self::publish(&mut state, put, &mut settled);
                }
                self.advance(&mut state, log, &group, &mut settled);
            }
            Err(error) => {
                let mut state = self.state();
                state.unreserve(group.reserved);
                state.take_news_back();
                keep_what_failed(&mut state.book, &group);
                if let Some(change) = group.registered.filter(|_| state.open.room == 0)
                    && is_full(&error)
                {
                    // No segment is open: the first STATE that is written says who is there.
                    settled.insert_all(&change.apply(&mut state));
                    registered = replies.pop();
                }
                answer = Err(Unserved::Disk(Arc::new(error)));
            }
        }
        // Who asked may be gone.
        registered.map(|reply: Reply| reply.send(Ok(())));
        // First those who wait for the disk: they have the next batch.
        for reply in replies {
            // Who asked may be gone; the write stands all the same.
            let _ = reply.send(answer.clone());
        }
        if rings {
            self.ready.notify_waiters();
        }
        self.room.notify_waiters();
        self.announce(settled);
    }

    /// A put is durable: it becomes visible.
    fn publish(state: &mut State, put: Written, settled: &mut KeySet) {
        let lost = state.book.put(put.ticket, put.offset, put.frame_len, &put.record);
        debug_assert!(lost.is_none(), "tickets are given in order");
        for (ticket, batch) in (put.ticket..).zip(put.batches) {
            state.tail.push(ticket, batch);
        }
        let empty = put.record.items.iter().filter(|item| item.events == 0);
        for identity in empty.filter_map(|item| item.identity) {
            settled.insert(identity);
        }
    }

    /// The group is durable: all that is not of one put.
    fn advance(&self, state: &mut State, log: &Log, group: &Group, settled: &mut KeySet) {
        state.next_sequence += group.sequences;
        state.acks_in_write = AckRecord::default();
        state.forget_in_write = ForgetRecord::default();
        if let (Some((_, end)), Some(current)) = (log.position(), state.book.segments.back_mut()) {
            current.record.end = end;
        }
        if let Some(change) = &group.registered {
            settled.insert_all(&change.apply(state));
        }
        if group.duplicates > 0 {
            self.incident("duplicate_batch", group.duplicates);
        }
        self.release(state, false);
        self.watch_fill(state);
        self.watch_intake(state);
    }
}

/// Two planted bugs: what a group would have said is kept although it was not written.
fn keep_what_failed(book: &mut Book, group: &Group) {
    for batch in group.puts.iter().flat_map(|put| &put.record.items) {
        if let Some(identity) = batch.identity.filter(|_| mutant!("window_without_batch")) {
            book.window.store(identity, batch.events > 0);
        }
        if mutant!("position_without_batch") {
            book.positions.apply(&batch.positions);
        }
    }
}
