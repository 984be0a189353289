//! What the parts of one open channel share: its state behind one short lock, and its files.
//!
//! Nobody does I/O under the lock. Only the leader of a group commit ([`crate::durable::commit::leader`]) has the
//! log; everything else asks it by the queue.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pipeline::env::{Lock, unix_millis};
use pipeline::metrics::{ChannelReason, Metrics};
use pipeline::trouble::Trouble;
use pipeline::{
    Batch, BatchSize, ChannelError, ChannelStatus, Env, Epoch, Identity, IntervalSet, KeySet,
    SourcePosition, Ticket,
};
use tokio::sync::{Notify, broadcast, oneshot};
use tokio::time::Instant;
use tracing::warn;

use super::Compression;
use super::background::Background;
use crate::durable::commit::hand_off::{self, HandOff, Handing, Locked, Place};
use crate::durable::commit::packing::Packed;
use crate::durable::index::segment_index::{Entry, IndexStore};
use crate::durable::index::ticket_index::Book;
use crate::durable::log::aligned::Buffers;
use crate::durable::log::files::Files;
use crate::durable::log::frame::Body;
use crate::durable::log::records::{AckRecord, ForgetRecord};
use crate::durable::log::segment::Owner;
use crate::durable::log::writer::Log;
use crate::durable::read::ahead::{Ahead, Find};
use crate::durable::read::drain_throttle::{Gait, Sparing};
use crate::durable::read::tail::Tail;
use crate::durable::read::wakeups::Bell;
use crate::durable::recovery::names::Names;
use crate::durable::space::capacity::Lack;
use crate::durable::space::fill_rate::FillRate;
use crate::durable::space::full_disk::Open;
use crate::durable::space::overflow::Overflow;
use crate::durable::space::standstill::Standstill;

/// How much of the disk a channel takes at most, in hundredths.
pub(crate) const DISK_PERCENT: u64 = 80;

/// One batch of a put, as the one who puts has prepared it.
pub(crate) struct NewBatch {
    pub(crate) identity: Option<Identity>,
    pub(crate) positions: Vec<SourcePosition>,
    pub(crate) events: u32,
    /// Bytes of it in the body.
    pub(crate) body_len: usize,
    /// How it is compressed; `None` if that is the encoding itself.
    pub(crate) packed: Option<Packed>,
    /// Without identity and positions. Its bytes lie where it came from, or, when it is stored in
    /// another form, in its own encoding.
    pub(crate) batch: Batch,
}

/// One put transaction, ready to be written but for what its group and its place decide.
pub(crate) struct NewPut {
    pub(crate) batches: Vec<NewBatch>,
    /// What is stored of the batches with events.
    pub(crate) body: Body,
}

/// Why a request was not served.
#[derive(Debug, Clone)]
pub(crate) enum Unserved {
    /// Shared by all who were in the group.
    Disk(Arc<io::Error>),
    /// A position of it is to come after one that is not there.
    OutOfTurn,
}

/// How a request ended.
pub(crate) type Reply = oneshot::Sender<Result<(), Unserved>>;

/// What waits for the leader.
pub(crate) enum Request {
    /// A put transaction with the room that was reserved for it.
    Put { put: NewPut, reserved: BatchSize, reply: Reply },
    /// The consumers from now on.
    Register { names: Vec<Arc<str>>, reply: Reply },
}

/// The settings that are looked at while running.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) capacity_bytes: u64,
    pub(crate) capacity_events: u64,
    pub(crate) dedupe: bool,
    pub(crate) overflow: Overflow,
    pub(crate) compression: Compression,
}

/// Everything that changes, behind the lock.
pub(crate) struct State {
    pub(crate) book: Book,
    pub(crate) tail: Tail,
    pub(crate) ahead: Ahead,
    pub(crate) bell: Bell,
    pub(crate) sparing: Sparing,
    /// What waits for the leader, and whether there is one.
    pub(crate) hand_off: HandOff<Request>,
    /// Puts whose write failed, and which may be on the disk all the same until the next segment's
    /// STATE rules that out: nothing can be said of them before.
    pub(crate) limbo: Vec<(Reply, Arc<io::Error>)>,
    /// Whether the news below shall be written although no put carries them.
    pub(crate) flush: bool,
    /// Commits of takes that are in no frame yet, and those in the group being written.
    pub(crate) acks: AckRecord,
    pub(crate) acks_in_write: AckRecord,
    /// The same for batches found damaged.
    pub(crate) forget: ForgetRecord,
    pub(crate) forget_in_write: ForgetRecord,
    pub(crate) next_sequence: u64,
    pub(crate) next_segment: u64,
    pub(crate) reserved: BatchSize,
    /// Capacity in force: as configured, or what the disk allows.
    pub(crate) capacity_bytes: u64,
    /// What of it is kept for the next segments.
    pub(crate) reserve_bytes: u64,
    /// Whether the disk has no room for a new segment.
    pub(crate) disk_full: bool,
    /// What it has no more of.
    pub(crate) lack: Lack,
    /// How far the segment that is written goes.
    pub(crate) open: Open,
    /// A new segment may begin although the open one is not full.
    pub(crate) renew: bool,
    /// The epoch of the next start will be higher than this one: it is on the disk.
    pub(crate) durable_epoch: Epoch,
    pub(crate) standstill: Standstill,
    pub(crate) fill_rate: FillRate,
    /// Looks at the disk since then that found no room.
    pub(crate) no_room: Trouble,
    /// What there was no room for last; nothing once there was room again.
    pub(crate) refused: Option<BatchSize>,
    pub(crate) closed: bool,
    pub(crate) warned: bool,
}

/// One open channel.
pub(crate) struct Core {
    pub(crate) name: Arc<str>,
    pub(crate) env: Env,
    pub(crate) metrics: Metrics,
    pub(crate) limits: Limits,
    pub(crate) owner: Owner,
    /// Its lives that are known by another name outside.
    pub(crate) names: Mutex<Names>,
    pub(crate) directory: PathBuf,
    pub(crate) files: Arc<Files>,
    pub(crate) store: Arc<dyn IndexStore>,
    pub(crate) log: Mutex<Log>,
    /// Memory for what is on its way to the disk or back.
    pub(crate) buffers: Arc<Buffers>,
    pub(crate) state: Mutex<State>,
    /// Held while the directory is in use.
    pub(crate) lock: Mutex<Option<Box<dyn Lock>>>,
    /// Room may have become free, or the channel closed.
    pub(crate) room: Notify,
    /// Something may be ready to take, or the channel closed.
    pub(crate) ready: Notify,
    /// A read has ended, or is planned.
    pub(crate) arrived: Notify,
    /// Something waits that no put may carry to the disk.
    pub(crate) dirty: Arc<Notify>,
    /// A leader has ended.
    pub(crate) rested: Notify,
    /// What goes on in the directory beside the leader.
    pub(crate) background: Arc<Background>,
    pub(crate) settled: broadcast::Sender<Arc<KeySet>>,
}

fn touches(set: &IntervalSet, first: Ticket, end: Ticket) -> bool {
    let after = set.runs().partition_point(|run| run.end <= first);
    set.runs().get(after).is_some_and(|run| run.start < end)
}

impl State {
    /// The state of a channel that was just recovered.
    pub(crate) fn new(
        book: Book,
        tail: Tail,
        next_segment: u64,
        capacity_bytes: u64,
        reserve_bytes: u64,
        durable_epoch: Epoch,
    ) -> Self {
        Self {
            book,
            tail,
            ahead: Ahead::default(),
            bell: Bell::default(),
            sparing: Sparing::default(),
            hand_off: HandOff::default(),
            limbo: Vec::new(),
            flush: false,
            acks: AckRecord::default(),
            acks_in_write: AckRecord::default(),
            forget: ForgetRecord::default(),
            forget_in_write: ForgetRecord::default(),
            next_sequence: 0,
            next_segment,
            reserved: BatchSize::default(),
            capacity_bytes,
            reserve_bytes,
            disk_full: false,
            lack: Lack::default(),
            open: Open::default(),
            renew: false,
            durable_epoch,
            standstill: Standstill::default(),
            fill_rate: FillRate::default(),
            no_room: Trouble::default(),
            refused: None,
            closed: false,
            warned: false,
        }
    }

    /// Whether there is something that no frame says yet.
    pub(crate) fn has_news(&self) -> bool {
        !self.acks.is_empty() || !self.forget.is_empty() || !self.limbo.is_empty()
    }

    /// The group that said the news was not written.
    pub(crate) fn take_news_back(&mut self) {
        let acks = std::mem::take(&mut self.acks_in_write);
        self.acks.merge(&acks);
        let forget = std::mem::take(&mut self.forget_in_write);
        self.forget.merge(&forget);
    }

    pub(crate) fn fits(&self, size: BatchSize, limits: &Limits) -> bool {
        let bytes = self.book.bytes() + self.reserved.bytes + size.bytes + self.reserve_bytes;
        let events = self.book.events + self.reserved.events + size.events;
        let is_allowed = bytes <= self.capacity_bytes && events <= limits.capacity_events;
        is_allowed && self.fits_disk(size.bytes)
    }

    /// Room for `size`, if puts are not to wait.
    pub(crate) fn reserve(&mut self, size: BatchSize, limits: &Limits) -> bool {
        let fits = self.fits(size, limits);
        self.refused = (!fits).then_some(size);
        if fits {
            self.reserved.bytes += size.bytes;
            self.reserved.events += size.events;
        }
        fits
    }

    /// Gives reserved room back.
    pub(crate) fn unreserve(&mut self, size: BatchSize) {
        self.reserved.bytes -= size.bytes;
        self.reserved.events -= size.events;
    }

    /// How the next read of a backlog goes. Who waits for room is helped by draining.
    pub(crate) fn gait(&self, limits: &Limits) -> Gait {
        match self.stops_intake(limits) {
            true => Gait::Full,
            false => self.sparing.gait(Instant::now()),
        }
    }

    /// How long `consumer` waits before it takes more; nothing if it may.
    pub(crate) fn pause(&mut self, consumer: &str, limits: &Limits) -> Option<Duration> {
        let is_paced = self.ahead.is_drained_by(consumer) && !self.stops_intake(limits);
        is_paced.then(|| self.sparing.pause(Instant::now())).flatten()
    }

    /// Looks for the batch of a ticket that `consumer` holds.
    pub(crate) fn find(&mut self, consumer: &Arc<str>, ticket: Ticket) -> Find {
        // Its segment's index must be there when it is settled.
        let indexed = self.book.segment_of(ticket).is_some_and(|segment| segment.index.is_some());
        match self.tail.get(ticket).filter(|_| indexed) {
            Some(batch) => {
                self.ahead.leave(consumer);
                Find::Here(Ok(batch))
            }
            None => {
                self.ahead.arrive(consumer, ticket);
                match self.ahead.find(ticket) {
                    Find::Here(_) if !indexed => Find::Absent,
                    found => found,
                }
            }
        }
    }
}

impl Handing for State {
    type Request = Request;

    fn hand_off(&mut self) -> &mut HandOff<Request> {
        &mut self.hand_off
    }

    fn has_work(&self) -> bool {
        self.renew || (self.flush && self.has_news())
    }
}

impl Locked<State> for Core {
    fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.state())
    }
}

impl Core {
    /// The state. A panic of another holder is passed over: each change is made whole.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts something that was met and mended.
    pub(crate) fn incident(&self, reason: &'static str, count: u64) {
        let label = ChannelReason { channel: self.name.to_string(), reason };
        self.metrics.channel_anomalies.get_or_create(&label).inc_by(count);
    }

    /// Wall-clock milliseconds.
    pub(crate) fn now_ms(&self) -> u64 {
        unix_millis(self.env.clock.now())
    }

    /// The error that stands for the disk's.
    pub(crate) fn disk_error(&self, source: io::Error) -> ChannelError {
        ChannelError::Disk { channel: self.name.to_string(), source }
    }

    /// The error of a closed channel.
    pub(crate) fn closed_error(&self) -> ChannelError {
        ChannelError::Closed { channel: self.name.to_string() }
    }

    /// The error of a request that was not served.
    pub(crate) fn unserved(&self, why: &Unserved) -> ChannelError {
        match why {
            Unserved::Disk(error) => {
                self.disk_error(io::Error::new(error.kind(), error.to_string()))
            }
            Unserved::OutOfTurn => ChannelError::OutOfTurn { channel: self.name.to_string() },
        }
    }

    /// Hands a request to the leader, and makes one if there is none. `is_lone` says whether the
    /// caller's task, which may have to write it, has nothing else to do meanwhile.
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

    /// A consumer commits tickets that it holds.
    pub(crate) fn commit(&self, consumer: &Arc<str>, tickets: &IntervalSet) {
        let settled = {
            let mut state = self.state();
            let record = state.book.commit(consumer, tickets);
            state.acks.merge(&record);
            record.settled
        };
        self.dirty.notify_one();
        self.announce(settled);
    }

    /// A consumer gives tickets back.
    pub(crate) fn rollback(&self, consumer: &str, tickets: &IntervalSet) {
        self.state().book.in_flight.rollback(consumer, tickets);
        self.ready.notify_waiters();
    }

    /// Tells who listens that identities are settled.
    pub(crate) fn announce(&self, settled: KeySet) {
        if !settled.is_empty() {
            // Nobody may be listening.
            let _ = self.settled.send(Arc::new(settled));
        }
    }

    /// Frees what every consumer is done with, in memory and, off the caller's thread, on disk: the
    /// oldest segments, or, with `all`, also those behind one that stays.
    pub(crate) fn release(&self, state: &mut State, all: bool) {
        let State { book, acks, acks_in_write, forget, forget_in_write, .. } = state;
        // A settlement that is on no disk yet would be missed after a crash, the file with it.
        let released = book.release(all, |first, end| {
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

    /// What of the configured capacity the disk can bear: with what its files occupy already, the
    /// channel takes at most 80 % of what the disk has for it.
    pub(crate) fn refresh_capacity(&self) {
        let space = match self.env.disk.space(&self.directory) {
            Ok(space) => space,
            Err(error) => {
                warn!(channel = %self.name, %error, "the room of the disk is not known");
                return;
            }
        };
        // While a file is being made it is not known where its room is counted; then comes the next look.
        let Some(idle) = self.files.idle_bytes() else { return };
        {
            let mut state = self.state();
            let mine: u64 = state.book.segments.iter().map(|segment| segment.record.room).sum();
            let bearable = space.available.saturating_add(mine + idle) / 100 * DISK_PERCENT;
            state.capacity_bytes = self.limits.capacity_bytes.min(bearable);
            state.reserve_bytes = self.files.reserve_bytes(state.capacity_bytes);
        }
        self.room.notify_waiters();
    }

    /// What the channel holds now.
    pub(crate) fn status(&self) -> ChannelStatus {
        let now = Instant::now();
        let mut state = self.state();
        let bytes = state.book.bytes();
        state.fill_rate.note(now, bytes);
        let book = &state.book;
        let since = book.in_flight.oldest_unsettled().and_then(|ticket| {
            let segment = book.segment_of(ticket)?;
            let after = |entry: &Entry| u64::from(entry.after_ms);
            let entry = segment.index.as_ref().and_then(|index| index.get(ticket));
            Some(segment.record.since_ms + entry.map_or(0, after))
        });
        let age = |ms: u64| Duration::from_millis(self.now_ms().saturating_sub(ms));
        ChannelStatus {
            events: book.events,
            bytes,
            capacity_bytes: state.usable_bytes(),
            reserve_bytes: state.reserve_bytes,
            until_full: state.fill_rate.until_full(now, bytes, state.usable_bytes()),
            unsettled_events: book.events_of(&book.in_flight.held()),
            oldest_uncommitted: since.filter(|_| book.events > 0).map(age),
            intake_stopped: state.stops_intake(&self.limits),
        }
    }
}

#[cfg(all(test, feature = "testkit"))]
mod tests;
