//! A file of an open roll.

use std::collections::BTreeMap;

use bytes::Bytes;
use ledger::{LedgerError, RollFile, Share, check_length};
use pipeline::{Identity, IntervalSet, Origin, Ticket};
use storage::{FileWriter, FsError};

use super::content::{Content, Cores};
use super::error::HdfsSinkError;
use super::roll::Fill;
use super::staged::{Part, Stage};

/// A staged file that is being written.
pub(super) struct OpenFile {
    /// Path below the stage.
    pub(super) temp: String,
    /// `None` after it is closed.
    pub(super) writing: Option<Writing>,
    pub(super) fill: Fill,
    pub(super) crc: u32,
    /// From its first part.
    pub(super) noted: Option<i64>,
    /// The placeholder that represents it until it is closed.
    pub(super) shown: Option<String>,
    /// The batches with events in it.
    pub(super) tickets: IntervalSet,
    /// Its events by origin, if they are counted.
    pub(super) shares: BTreeMap<Origin, Share>,
}

/// Maximum number of origins in a file whose events are counted.
const SHARES_MAX: usize = 4_096;

/// The writer of an open file.
pub(super) struct Writing {
    pub(super) content: Content,
    pub(super) writer: Box<dyn FileWriter>,
}

impl OpenFile {
    /// Returns whether it is still being written.
    pub(super) fn is_open(&self) -> bool {
        self.writing.is_some()
    }

    /// Adds a part of a batch.
    pub(super) async fn write(
        &mut self,
        ticket: Ticket,
        part: &Part,
        cores: &Cores,
    ) -> Result<(), HdfsSinkError> {
        let writing = self.writing.as_mut().expect("a closed file gets no events");
        let bytes = writing.content.encode(&part.events, cores).await?;
        self.tickets.insert(ticket);
        let events = part.events.len() as u64;
        self.fill.events += events;
        if let Some(Identity { origin, epoch, sequence }) = part.counted
            && self.shares.len() <= SHARES_MAX
        {
            let batch = (epoch.0, sequence.0);
            let share = Share { origin, events, first: batch, last: batch };
            self.shares.entry(origin).and_modify(|known| known.add(&share)).or_insert(share);
        }
        Ok(self.append(bytes).await?)
    }

    /// Waits for pending compression, so that the size is exact.
    pub(super) async fn settle(&mut self, cores: &Cores) -> Result<(), FsError> {
        let Some(writing) = &mut self.writing else { return Ok(()) };
        let bytes = writing.content.settle(cores).await;
        self.append(bytes).await
    }

    /// Writes the end of the content.
    pub(super) async fn finish(&mut self, cores: &Cores) -> Result<(), HdfsSinkError> {
        let Some(writing) = &mut self.writing else { return Ok(()) };
        let bytes = writing.content.finish(cores).await?;
        Ok(self.append(bytes).await?)
    }

    async fn append(&mut self, pieces: Vec<Bytes>) -> Result<(), FsError> {
        let Some(Writing { content, writer }) = &mut self.writing else { return Ok(()) };
        for bytes in pieces.into_iter().filter(|bytes| !bytes.is_empty()) {
            self.crc = crc32c::crc32c_append(self.crc, &bytes);
            self.fill.bytes += bytes.len() as u64;
            writer.write(bytes).await?;
        }
        self.fill.held = content.held();
        Ok(())
    }

    /// Describes the closed file for the ledger.
    pub(super) fn described(&self, directory: &str) -> RollFile {
        let Fill { bytes, events, .. } = self.fill;
        let (temp, directory) = (self.temp.clone(), directory.to_owned());
        let counted = self.shares.values().copied();
        let shares = counted.filter(|_| self.shares.len() <= SHARES_MAX).collect();
        RollFile { temp, directory, len: bytes, crc: self.crc, events, shares }
    }

    /// Finishes and closes it, while its roll continues.
    pub(super) async fn end(&mut self, stage: &Stage) -> Result<(), HdfsSinkError> {
        self.finish(&stage.cores).await?;
        Ok(self.close(stage).await?)
    }

    /// Makes the file durable and complete, and checks its length.
    pub(super) async fn close(&mut self, stage: &Stage) -> Result<(), LedgerError> {
        let Some(Writing { writer, .. }) = self.writing.take() else { return Ok(()) };
        writer.close().await?;
        self.fill.held = 0;
        check_length(&*stage.fs, &stage.dataset.staged(&self.temp), self.fill.bytes).await
    }
}
