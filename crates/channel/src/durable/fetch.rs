//! Reading batches back, and what is done about those that are damaged.

use std::io;
use std::sync::Arc;

use pipeline::env::DiskFile;
use pipeline::{IntervalSet, Ticket};
use tracing::error;

use super::core::Core;
use super::index::{Entry, SegmentIndex};
use super::reader;
use super::records::ForgetRecord;
use super::scan::scan;
use super::segment::{BLOCK, Seed};
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
        let seed = Seed::of(&self.owner.uuid, id);
        let found = scan(&*file, seed, BLOCK as u64, record.end)?;
        let index = reader::index_of(&found, &record);
        self.store.save(id, &index);
        Ok((index, file))
    }

    /// Puts the index of the segment of `ticket` into memory; answers its number.
    fn load_index(&self, ticket: Ticket) -> io::Result<u64> {
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
        let (file, entries) = {
            let mut state = self.state();
            if let Some(batch) = state.in_memory(consumer, ticket) {
                return Ok(Fetched::Batch(batch));
            }
            let segment = state.book.segment_mut(id).ok_or(io::ErrorKind::NotFound)?;
            let index = segment.index.as_ref().ok_or(io::ErrorKind::NotFound)?;
            let file = segment.file.clone().ok_or(io::ErrorKind::NotFound)?;
            (file, reader::stretch(index, ticket))
        };
        let seed = Seed::of(&self.owner.uuid, id);
        let read = reader::read(&file, seed, &entries)?;
        let mut batches = read.into_iter();
        let Some((_, Some(batch))) = batches.next() else {
            self.quarantine(id, ticket, entries.first().map(|(_, entry)| entry), &file);
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

    /// A batch cannot be read back: nobody gets it any more, its identity leaves the window so that
    /// whoever still has it may send it again, and its frame is kept aside.
    pub(crate) fn quarantine(
        &self,
        segment: u64,
        ticket: Ticket,
        entry: Option<&Entry>,
        file: &Arc<dyn DiskFile>,
    ) {
        let tickets = IntervalSet::from(ticket..ticket + 1);
        let (keys, events) = {
            let mut state = self.state();
            let (keys, events) = state.book.describe(&tickets);
            let record = ForgetRecord { tickets, keys: keys.clone(), events };
            state.book.forget(&record);
            state.forget.merge(&record);
            (keys, events)
        };
        self.dirty.notify_one();
        self.incident("damaged_batch", 1);
        let offset = entry.map_or(0, |entry| entry.offset);
        let identity: Vec<String> =
            keys.iter().map(|(o, e, s)| format!("{o}/{}/{s:?}", e.0)).collect();
        error!(channel = %self.name, segment, offset, ticket, events, ?identity,
            "a batch is damaged and cannot be delivered from here; its identity may be stored again");
        if let Some(entry) = entry.filter(|entry| entry.len > 0)
            && let Err(error) = self.keep_aside(segment, entry, file)
        {
            error!(channel = %self.name, %error, "the damaged frame could not be kept aside");
        }
    }

    fn keep_aside(&self, segment: u64, entry: &Entry, file: &Arc<dyn DiskFile>) -> io::Result<()> {
        use super::aligned::Aligned;
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
        super::owner_file::replace(&*self.env.disk, &directory.join(name), frame)
    }
}
