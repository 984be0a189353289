//! Handles damaged batches.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use pipeline::env::{DiskFile, small_file};
use pipeline::{IntervalSet, KeySet, Ticket};
use tracing::{error, warn};

use super::heal::DamagedPut;
use crate::durable::core::Core;
use crate::durable::index::segment_index::{Entry, SegmentIndex};
use crate::durable::log::aligned::Aligned;
use crate::durable::log::records::ForgetRecord;
use crate::durable::log::segment::BLOCK;
use crate::durable::read::reader;

impl Core {
    /// Handles a frame whose envelope is damaged too: a pending ticket that is in no segment any
    /// more was in it, and leaves the window. Counts the events again.
    fn audit(&self) -> io::Result<()> {
        let (suspects, segments) = {
            let state = self.state();
            let segments: Vec<u64> = state.tickets.segments.iter().map(|s| s.record.id).collect();
            (state.tickets.window.pending().clone(), segments)
        };
        let mut there = KeySet::default();
        let mut indexes: BTreeMap<u64, SegmentIndex> = BTreeMap::new();
        for id in segments {
            // A segment that was released in the meantime had only settled batches.
            if let Ok((index, _)) = self.index_of(id) {
                there.insert_all(&index.describe(&IntervalSet::from(0..u64::MAX)).0);
                indexes.insert(id, index);
            }
        }
        let mut state = self.state();
        // Batches settled since the check are not missing.
        let mut gone = suspects.intersection(state.tickets.window.pending());
        gone.remove_all(&there);
        let settled = state.tickets.in_flight.acked_by_all(None);
        let mut events = 0;
        for segment in &state.tickets.segments {
            let tickets = IntervalSet::from(segment.record.first..segment.end());
            let index = segment.index.as_ref().or_else(|| indexes.get(&segment.record.id));
            events += index.map_or(0, |index| index.describe(&tickets.difference(&settled)).1);
        }
        let lost_events = state.tickets.events.saturating_sub(events);
        let tickets = IntervalSet::EMPTY;
        let record = ForgetRecord { tickets, keys: gone.clone(), events: lost_events };
        state.tickets.forget(&record);
        state.unwritten.forget.merge(&record);
        error!(channel = %self.name, identities = gone.count(), events = lost_events,
            "damaged batches are dropped: agents that sent them resend them, but events that this \
             agent read from its own sources are lost; check the disk");
        Ok(())
    }

    /// Reads one batch, and quarantines it if it is damaged; returns how many were.
    ///
    /// # Errors
    /// The disk could not be read.
    pub(crate) fn verify(&self, ticket: Ticket) -> io::Result<u64> {
        let id = self.load_index(ticket)?;
        let (index, file) = self.index_of(id)?;
        let entry = index.get(ticket).copied();
        let seed = self.files.seed(&self.owner.uuid, id);
        let entries: Vec<_> = entry.iter().map(|entry| (ticket, *entry)).collect();
        let read = reader::read(&file, seed, &entries, &self.buffers)?;
        let mut sound = read.iter().any(Option::is_some);
        if !sound && let Some(entry) = &entry {
            sound = self.restore(id, ticket, entry, &file)?;
        }
        if !sound {
            let known = index.describe(&IntervalSet::from(ticket..ticket + 1));
            self.quarantine(id, ticket, known, entry.as_ref(), &file);
        }
        Ok(u64::from(!sound))
    }

    /// Makes a damaged batch whole from the file that its lines are in; answers whether that could
    /// be done.
    ///
    /// # Errors
    /// The disk refused; a key is missing.
    pub(crate) fn restore(
        &self,
        segment: u64,
        ticket: Ticket,
        entry: &Entry,
        file: &Arc<dyn DiskFile>,
    ) -> io::Result<bool> {
        let seed = self.files.seed(&self.owner.uuid, segment);
        let Some(mut wounded) = DamagedPut::read(&**file, seed, entry)? else { return Ok(false) };
        if !wounded.heal(&*self.env.disk) {
            return Ok(false);
        }
        self.copy_aside(segment, entry, file)?;
        wounded.write(&**file)?;
        self.log_restored(segment, ticket, &wounded.lines(entry.item.into()));
        Ok(true)
    }

    /// Logs that a batch was restored.
    pub(crate) fn log_restored(&self, segment: u64, ticket: Ticket, lines: &[String]) {
        self.incident("mended_batch", 1);
        warn!(channel = %self.name, segment, ticket, ?lines,
            "repaired a damaged batch with lines that were read again from their file; no event is \
             lost, but check the disk");
    }

    /// Logs that a batch was given up, and its contents. `lines` are the locations of its lines;
    /// empty if another agent sent it.
    pub(crate) fn log_dropped(
        &self,
        segment: u64,
        tickets: &[Ticket],
        events: u64,
        lines: &[String],
    ) {
        if lines.is_empty() {
            error!(channel = %self.name, segment, ?tickets, events,
                "a damaged batch is dropped; the agent that sent it resends it if it still has it; \
                 check the disk");
        } else {
            self.incident("given_up_events", events);
            error!(channel = %self.name, segment, ?tickets, events, ?lines,
                "a damaged batch is dropped: these lines are lost, because they could not be read \
                 again from their source; check the disk");
        }
    }

    /// Quarantines an unreadable batch: it is not handed out any more, its identity leaves the
    /// window so that it may be resent, and its frame is copied aside. `keys` and `events` come
    /// from its segment's index.
    pub(crate) fn quarantine(
        &self,
        segment: u64,
        ticket: Ticket,
        (keys, events): (KeySet, u64),
        entry: Option<&Entry>,
        file: &Arc<dyn DiskFile>,
    ) {
        let tickets = IntervalSet::from(ticket..ticket + 1);
        {
            let mut state = self.state();
            let record = ForgetRecord { tickets, keys: keys.clone(), events };
            state.tickets.forget(&record);
            state.unwritten.forget.merge(&record);
        }
        let is_known = !keys.is_empty() || entry.is_some_and(|entry| entry.len > 0);
        if !is_known && let Err(error) = self.audit() {
            error!(channel = %self.name, %error,
                "cannot determine the identity of a damaged batch: if another agent resends it, it \
                 is dropped as a duplicate, so its events are lost; check the disk");
        }
        self.signals.dirty.notify_one();
        self.incident("damaged_batch", 1);
        let offset = entry.map_or(0, |entry| entry.offset);
        let identity: Vec<String> =
            keys.iter().map(|(o, e, s)| format!("{o}/{}/{s:?}", e.0)).collect();
        error!(channel = %self.name, segment, offset, ticket, events, ?identity,
            "skipped a damaged batch; if the origin in `identity` belongs to another agent, that \
             agent resends the batch if it still has it, otherwise `events` events are lost; check \
             the disk");
        let seed = self.files.seed(&self.owner.uuid, segment);
        let wounded = entry.map(|entry| DamagedPut::read(&**file, seed, entry));
        let wounded = wounded.and_then(|read| read.ok().flatten());
        if let (Some(wounded), Some(entry)) = (wounded, entry) {
            self.log_dropped(segment, &[ticket], events, &wounded.lines(entry.item.into()));
        }
        if let Some(entry) = entry.filter(|entry| entry.len > 0)
            && let Err(error) = self.copy_aside(segment, entry, file)
        {
            error!(channel = %self.name, %error,
                "cannot save a copy of a damaged batch for analysis to the directory `quarantine` \
                 of the channel; no action needed");
        }
    }

    /// Copies a damaged frame out of its segment, which will be reused.
    ///
    /// # Errors
    /// The disk failed.
    pub(crate) fn copy_aside(
        &self,
        segment: u64,
        entry: &Entry,
        file: &Arc<dyn DiskFile>,
    ) -> io::Result<()> {
        let start = u64::from(entry.offset) / BLOCK as u64 * BLOCK as u64;
        let end = u64::from(entry.offset) + u64::from(entry.len);
        let mut buffer = Aligned::with_capacity((end - start) as usize);
        buffer.set_len(((end - start) as usize).next_multiple_of(BLOCK));
        let read = file.read_at(buffer.as_mut_slice(), start)?;
        buffer.set_len(read);
        let from = (u64::from(entry.offset) - start) as usize;
        let frame = buffer.as_slice().get(from..).unwrap_or_default();
        let directory = self.directory.join("quarantine");
        self.env.disk.create_dir_all(&directory)?;
        let name = format!("{segment:016x}-{:08x}.frame", entry.offset);
        small_file::replace(&*self.env.disk, &directory.join(name), frame)
    }
}
