//! The mutable state of an open channel, behind one short lock. No I/O happens under it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use pipeline::{BatchSize, Epoch, Ticket};
use tokio::time::Instant;

use super::commit::hand_off::{HandOff, Handing};
use super::commit::request::{Limits, Reply, Request};
use super::commit::unwritten::Unwritten;
use super::index::ticket_index::TicketIndex;
use super::read::ahead::Find;
use super::read::drain_throttle::ReadIntensity;
use super::read::memory::ReadMemory;
use super::space::usage::Usage;

/// Everything that changes.
pub(crate) struct State {
    /// The contents of the log.
    pub(crate) tickets: TicketIndex,
    /// Requests that wait for the leader, and whether there is one.
    pub(crate) hand_off: HandOff<Request>,
    /// Puts whose write failed. They may be on the disk until the next segment's STATE excludes
    /// that, and cannot be answered before.
    pub(crate) in_doubt: Vec<(Reply, Arc<io::Error>)>,
    /// Settled tickets that no frame contains yet.
    pub(crate) unwritten: Unwritten,
    /// Batches in memory, and how consumers read.
    pub(crate) reads: ReadMemory,
    /// Capacity and disk space.
    pub(crate) space: Usage,
    /// The next own sequence.
    pub(crate) next_sequence: u64,
    /// Number of the next segment.
    pub(crate) next_segment: u64,
    /// The epoch on disk: the next start will use a higher one.
    pub(crate) durable_epoch: Epoch,
    /// The channel is closed: it accepts and hands out nothing any more.
    pub(crate) closed: bool,
    /// A drop of events by the full channel was logged.
    pub(crate) warned: bool,
}

impl State {
    /// Returns `true` if there is something that no frame contains yet.
    pub(crate) fn has_unwritten(&self) -> bool {
        !self.unwritten.is_empty() || !self.in_doubt.is_empty()
    }

    pub(crate) fn fits(&self, size: BatchSize, limits: &Limits) -> bool {
        let bytes = self.tickets.bytes()
            + self.space.room.reserved.bytes
            + size.bytes
            + self.space.reserve_bytes;
        let events = self.tickets.events + self.space.room.reserved.events + size.events;
        let is_allowed = bytes <= self.space.capacity_bytes && events <= limits.capacity_events;
        is_allowed && self.fits_disk(size.bytes)
    }

    /// Room for `size`, if puts are not to wait.
    pub(crate) fn reserve(&mut self, size: BatchSize, limits: &Limits) -> bool {
        let fits = self.fits(size, limits);
        self.space.room.reserve(size, fits)
    }

    /// Returns the intensity of the next read of a backlog. Draining helps puts that wait for room.
    pub(crate) fn intensity(&self, limits: &Limits) -> ReadIntensity {
        match self.stops_intake(limits) {
            true => ReadIntensity::Full,
            false => self.reads.throttle.intensity(Instant::now()),
        }
    }

    /// Returns how long `consumer` must wait before its next take, if it must.
    pub(crate) fn pause(&mut self, consumer: &str, limits: &Limits) -> Option<Duration> {
        let is_paced = self.reads.ahead.is_drained_by(consumer) && !self.stops_intake(limits);
        is_paced.then(|| self.reads.throttle.pause(Instant::now())).flatten()
    }

    /// Looks for the batch of a ticket that `consumer` holds.
    pub(crate) fn find(&mut self, consumer: &Arc<str>, ticket: Ticket) -> Find {
        // Its segment's index must be in memory when it is settled.
        let indexed =
            self.tickets.segment_of(ticket).is_some_and(|segment| segment.index.is_some());
        match self.reads.tail.get(ticket).filter(|_| indexed) {
            Some(batch) => {
                self.reads.ahead.leave(consumer);
                Find::Here(Ok(batch))
            }
            None => {
                self.reads.ahead.arrive(consumer, ticket);
                match self.reads.ahead.find(ticket) {
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
        self.space.renew || (self.unwritten.flush && self.has_unwritten())
    }
}
