//! Reading batches back.

use std::io;
use std::sync::Arc;

use pipeline::env::DiskFile;
use pipeline::{IntervalSet, Ticket};

use super::core::Core;
use super::index::SegmentIndex;
use super::reader;
use super::scan::scan;
use super::segment::BLOCK;
use super::tail::{Ahead, StoredBatch};

/// What a read came to.
pub(crate) enum Fetched {
    /// The batch.
    Batch(StoredBatch),
    /// It is not as it was written; it is quarantined now.
    Damaged,
}

impl Core {
    /// The index and file of a segment; read from the store, or from the segment itself.
    ///
    /// # Errors
    /// The segment cannot be read.
    pub(crate) fn index_of(&self, id: u64) -> io::Result<(SegmentIndex, Arc<dyn DiskFile>)> {
        let record = {
            let mut state = self.state();
            let segment = state.book.segment_mut(id).ok_or(io::ErrorKind::NotFound)?;
            if let (Some(index), Some(file)) = (&segment.index, &segment.file) {
                return Ok((index.clone(), file.clone()));
            }
            segment.record
        };
        let file = self.files.open(id, false)?;
        let whole = |index: &SegmentIndex| index.end() == record.first + record.tickets;
        if let Some(index) = self.store.load(id).filter(whole) {
            return Ok((index, file));
        }
        let seed = self.files.seed(&self.owner.uuid, id);
        let found = scan(&*file, seed, BLOCK as u64, record.end)?;
        let index = reader::index_of(&found, &record);
        self.store.save(id, &index);
        Ok((index, file))
    }

    /// Puts the index of the segment of `ticket` into memory; answers its number.
    pub(crate) fn load_index(&self, ticket: Ticket) -> io::Result<u64> {
        let id = {
            let state = self.state();
            let segment = state.book.segment_of(ticket).ok_or(io::ErrorKind::NotFound)?;
            if segment.index.is_some() {
                return Ok(segment.record.id);
            }
            segment.record.id
        };
        let (index, file) = self.index_of(id)?;
        let mut state = self.state();
        if let Some(segment) = state.book.segment_mut(id) {
            segment.index = Some(index);
            segment.file = Some(file);
        }
        state.book.trim();
        Ok(id)
    }

    /// Reads the batch of a ticket that `consumer` holds, and its neighbours ahead of need.
    ///
    /// # Errors
    /// The disk could not be read.
    pub(crate) fn fetch(&self, consumer: &Arc<str>, ticket: Ticket) -> io::Result<Fetched> {
        let id = self.load_index(ticket)?;
        let (file, entries, known) = {
            let mut state = self.state();
            if let Some(batch) = state.in_memory(consumer, ticket) {
                return Ok(Fetched::Batch(batch));
            }
            let segment = state.book.segment_mut(id).ok_or(io::ErrorKind::NotFound)?;
            let index = segment.index.as_ref().ok_or(io::ErrorKind::NotFound)?;
            let file = segment.file.clone().ok_or(io::ErrorKind::NotFound)?;
            let known = index.describe(&IntervalSet::from(ticket..ticket + 1));
            (file, reader::stretch(index, ticket), known)
        };
        let seed = self.files.seed(&self.owner.uuid, id);
        let read = reader::read(&file, seed, &entries)?;
        let mut batches = read.into_iter();
        let Some((_, Some(batch))) = batches.next() else {
            self.quarantine(id, ticket, known, entries.first().map(|(_, entry)| entry), &file);
            return Ok(Fetched::Damaged);
        };
        let ahead = batches.filter_map(|(ticket, batch)| Some((ticket, batch?)));
        let mut state = self.state();
        match state.ahead.iter_mut().find(|(name, _)| name == consumer) {
            Some((_, mine)) => mine.fill(ahead),
            None => {
                let mut mine = Ahead::default();
                mine.fill(ahead);
                state.ahead.push((consumer.clone(), mine));
            }
        }
        Ok(Fetched::Batch(batch))
    }
}
