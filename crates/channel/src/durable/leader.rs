//! Group commit: whoever finds no leader at work becomes one, writes all that waits in one go, and
//! goes on until nothing waits. There is no timer: a group forms while the one before it is being
//! written.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use pipeline::{BatchSize, Epoch, Identity, KeySet, Sequence, Ticket, mutant};
use tracing::{error, info, warn};

use super::book::Book;
use super::core::{Core, NewBatch, Reply, Request, State};
use super::hand_off;
use super::log::Log;
use super::records::{AckRecord, ForgetRecord, PutItem, PutRecord, SegmentRecord};
use super::register::Change;
use super::segment::{Body, Frame, Kind};
use super::tail::StoredBatch;

/// A group takes no more requests once it has this many bytes …
const GROUP_BYTES: usize = 2 << 20;
/// … or this many requests.
const GROUP_REQUESTS: usize = 256;

/// A put within a group.
struct Placed {
    /// Which of the group's frames it is.
    frame: usize,
    record: PutRecord,
    stored: Vec<StoredBatch>,
}

/// What is written in one go.
#[derive(Default)]
struct Group {
    frames: Vec<Frame>,
    puts: Vec<Placed>,
    registered: Option<Change>,
    replies: Vec<Reply>,
    reserved: BatchSize,
    /// How many frames at the front say commits and damage: a STATE would say the same.
    news: usize,
    /// Own sequences used.
    sequences: u64,
    tickets: u64,
    duplicates: u64,
}

impl Group {
    /// Leaves out what the STATE of a new segment will say: counted twice it would be wrong.
    fn drop_news(&mut self) {
        self.frames.drain(..self.news);
        for put in &mut self.puts {
            put.frame -= self.news;
        }
        self.news = 0;
    }
}

impl Core {
    /// Writes group after group until nothing waits.
    pub(crate) fn lead_until_idle(self: &Arc<Self>) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let form = |state: &mut State| {
            state.flush = false;
            self.form(state)
        };
        hand_off::serve(&**self, form, |mut group| {
            if let Some(change) = &mut group.registered {
                change.look_up(self);
            }
            let written = self.write(&mut log, &mut group);
            self.finish(&log, group, written);
        });
        drop(log);
        self.rested.notify_waiters();
    }

    /// Takes what waits, up to a good size, and makes frames of it.
    fn form(&self, state: &mut State) -> Group {
        let mut group = Group::default();
        let next = state.book.in_flight.next();
        if !state.acks.is_empty() {
            state.acks_in_write = std::mem::take(&mut state.acks);
            group.frames.push(Frame::plain(Kind::Ack, next, state.acks_in_write.encode()));
        }
        if !state.forget.is_empty() {
            state.forget_in_write = std::mem::take(&mut state.forget);
            group.frames.push(Frame::plain(Kind::Forget, next, state.forget_in_write.encode()));
        }
        group.news = group.frames.len();
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
                Some(Request::Put { batches, reserved, reply }) => {
                    group.reserved.bytes += reserved.bytes;
                    group.reserved.events += reserved.events;
                    group.replies.push(reply);
                    self.add_put(state, &mut group, batches, &mut fresh);
                    bytes = group.frames.iter().map(Frame::len).sum();
                }
            }
            requests += 1;
        }
        group.frames.iter_mut().for_each(|frame| frame.sealed = self.files.keys().is_sealing());
        group
    }

    /// Adds one put transaction to a group, without what the channel has already.
    fn add_put(
        &self,
        state: &State,
        group: &mut Group,
        batches: Vec<NewBatch>,
        fresh: &mut BTreeSet<Identity>,
    ) {
        let (mut items, mut stored) = (Vec::new(), Vec::new());
        let mut body = Body::default();
        for batch in batches {
            // Without events there is nothing to deliver, so nothing is given a name.
            let born = batch.identity.is_none() && batch.events > 0;
            let identity = batch.identity.or_else(|| {
                let sequence = Sequence(state.next_sequence + group.sequences);
                group.sequences += u64::from(born);
                let known = self.owner.epoch;
                let epoch = if mutant!("epoch_not_in_key") { Epoch(0) } else { known };
                born.then_some(Identity { origin: self.owner.origin, epoch, sequence })
            });
            let seen = identity.is_some_and(|identity| {
                state.book.window.knows(identity) || !fresh.insert(identity)
            });
            if seen && self.limits.dedupe {
                group.duplicates += 1;
                if !batch.positions.is_empty() {
                    let positions = batch.positions;
                    let (identity, events, body_len, packed) = (None, 0, 0, None);
                    items.push(PutItem { identity, events, body_len, packed, positions });
                }
                continue;
            }
            let small = |bytes: &Bytes| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let (packed, written) = match batch.packed {
                Some((packed, bytes)) => (Some(packed), bytes),
                None => (None, batch.bytes.clone()),
            };
            let (body_len, events, positions) = (small(&written), batch.events, batch.positions);
            let named = identity.map(|identity| (identity, batch.digest));
            let item = PutItem { identity: named, events, body_len, packed, positions };
            items.push(item);
            if events > 0 {
                body.push_known(written, batch.crc);
                stored.push(StoredBatch { identity, bytes: batch.bytes });
            }
        }
        if items.is_empty() {
            return;
        }
        let record = PutRecord { at_ms: self.now_ms(), items };
        let ticket = state.book.in_flight.next() + group.tickets;
        let (tickets, envelope) = (stored.len() as u32, record.encode());
        group.tickets += u64::from(tickets);
        group.puts.push(Placed { frame: group.frames.len(), record, stored });
        let (kind, coding, sealed) = (Kind::Put, 0, false);
        group.frames.push(Frame { kind, coding, ticket, tickets, envelope, body, sealed });
    }

    /// Makes a group durable; answers where it begins.
    fn write(self: &Arc<Self>, log: &mut Log, group: &mut Group) -> io::Result<u64> {
        if group.frames.is_empty() {
            if !self.state().limbo.is_empty() {
                self.roll(log, 0)?;
            }
            return Ok(0);
        }
        let len = group.frames.iter().map(|frame| frame.len() as u64).sum();
        if !log.has_room(len) {
            group.drop_news();
            self.roll(log, len)?;
            if group.frames.is_empty() {
                return Ok(0);
            }
        }
        let written = log.append(&group.frames);
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
    fn hold_back(&self, group: &mut Group, written: &io::Result<u64>) {
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
                self.state().take_news_back();
                self.note_full_disk(&error);
                return Err(error);
            }
        };
        self.refresh_capacity();
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
            let record =
                SegmentRecord { id, first, tickets: 0, end, room, since_ms, key: log.key() };
            state.book.begin_segment(record, prepared.file);
            (sealed, std::mem::take(&mut state.limbo))
        };
        for (reply, error) in limbo {
            // Who asked may be gone.
            let _ = reply.send(Err(error));
        }
        let (files, store) = (self.files.clone(), self.store.clone());
        let core = Arc::downgrade(self);
        self.env.blocking.run(Box::new(move || {
            if let Some((id, index)) = sealed {
                store.save(id, &index);
            }
            if let Err(error) = files.prepare(id + 1)
                && let Some(core) = core.upgrade()
            {
                core.note_full_disk(&error);
            }
            if let Some(core) = core.upgrade() {
                core.state().book.trim();
            }
        }));
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
            && let Err(error) = log.append(&[frame])
        {
            // The channel is whole without it.
            warn!(channel = %self.name, %error, "the end of the channel could not be marked");
        }
    }

    /// Stops the intake if an error says that the disk has no room.
    pub(crate) fn note_full_disk(&self, error: &io::Error) {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        if !full.contains(&error.kind()) {
            warn!(channel = %self.name, %error, "the next segment cannot be made");
            return;
        }
        let mut state = self.state();
        if !state.disk_full {
            state.disk_full = true;
            warn!(channel = %self.name, "the disk is full; intake waits until there is room");
            self.incident("disk_full", 1);
        }
        drop(state);
        self.dirty.notify_one();
    }

    /// Looks whether the disk has room again.
    pub(crate) fn look_for_room(&self) {
        let (disk_full, next) = {
            let state = self.state();
            (state.disk_full, state.next_segment)
        };
        if disk_full && self.files.prepare(next).is_ok() {
            self.state().disk_full = false;
            info!(channel = %self.name, "the disk has room again; intake goes on");
        }
        self.refresh_capacity();
    }

    /// Takes over what was written, or gives it back, and answers.
    fn finish(&self, log: &Log, group: Group, written: io::Result<u64>) {
        let mut settled = KeySet::default();
        let mut answer = Ok(());
        {
            let mut state = self.state();
            state.unreserve(group.reserved);
            match written {
                Ok(start) => {
                    self.publish(&mut state, log, &group, start, &mut settled);
                }
                Err(error) => {
                    state.take_news_back();
                    keep_what_failed(&mut state.book, &group);
                    answer = Err(Arc::new(error));
                }
            }
        }
        self.room.notify_waiters();
        self.ready.notify_waiters();
        self.announce(settled);
        for reply in group.replies {
            // Who asked may be gone; the write stands all the same.
            let _ = reply.send(answer.clone());
        }
    }

    /// The group is durable: it becomes visible.
    fn publish(
        &self,
        state: &mut State,
        log: &Log,
        group: &Group,
        start: u64,
        settled: &mut KeySet,
    ) {
        let mut offset = start;
        let mut puts = group.puts.iter().peekable();
        for (at, frame) in group.frames.iter().enumerate() {
            if let Some(put) = puts.next_if(|put| put.frame == at) {
                self.publish_put(state, frame, offset, put, settled);
            }
            offset += frame.len() as u64;
        }
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
        self.release(state);
        self.watch_fill(state);
    }

    fn publish_put(
        &self,
        state: &mut State,
        frame: &Frame,
        offset: u64,
        put: &Placed,
        settled: &mut KeySet,
    ) {
        let first: Ticket = frame.ticket;
        let lost = state.book.put(first, offset, frame.len(), &put.record);
        debug_assert!(lost.is_none(), "tickets are given in order");
        for (ticket, batch) in (first..).zip(&put.stored) {
            state.tail.push(ticket, batch.clone());
        }
        let empty = put.record.items.iter().filter(|item| item.events == 0);
        for identity in empty.filter_map(|item| item.identity) {
            settled.insert(identity.0);
        }
    }
}

/// Two planted bugs: what a group would have said is kept although it was not written.
fn keep_what_failed(book: &mut Book, group: &Group) {
    for batch in group.puts.iter().flat_map(|put| &put.record.items) {
        if let Some((identity, _)) = batch.identity.filter(|_| mutant!("window_without_batch")) {
            book.window.store(identity, batch.events > 0);
        }
        if mutant!("position_without_batch") {
            book.positions.apply(&batch.positions);
        }
    }
}
