//! One file of an open roll.

use bytes::Bytes;
use ledger::{LedgerError, RollFile, check_length};
use pipeline::{Events, IntervalSet, Ticket};
use storage::{FileWriter, FsError};

use super::content::{Content, Cores};
use super::roll::Fill;
use super::staged::Stage;

/// A staged file that is being written.
pub(super) struct OpenFile {
    /// Below the stage.
    pub(super) temp: String,
    pub(super) content: Content,
    pub(super) writer: Box<dyn FileWriter>,
    pub(super) fill: Fill,
    pub(super) crc: u32,
    /// As of its first part.
    pub(super) noted: Option<i64>,
    /// What stands for it until it is closed.
    pub(super) shown: Option<String>,
    /// The batches that it holds events of.
    pub(super) tickets: IntervalSet,
}

impl OpenFile {
    /// Adds events of a batch.
    pub(super) async fn write(
        &mut self,
        ticket: Ticket,
        events: &Events,
        cores: &Cores,
    ) -> Result<(), FsError> {
        self.tickets.insert(ticket);
        self.fill.events += events.len() as u64;
        let bytes = self.content.encode(events, cores).await;
        self.append(bytes).await
    }

    /// Its fill is exact after that: nothing is on its way to be compressed.
    pub(super) async fn settle(&mut self, cores: &Cores) -> Result<(), FsError> {
        let bytes = self.content.settle(cores).await;
        self.append(bytes).await
    }

    /// Writes its end.
    pub(super) async fn finish(&mut self, cores: &Cores) -> Result<(), FsError> {
        let bytes = self.content.finish(cores).await;
        self.append(bytes).await
    }

    async fn append(&mut self, pieces: Vec<Bytes>) -> Result<(), FsError> {
        for bytes in pieces.into_iter().filter(|bytes| !bytes.is_empty()) {
            self.crc = crc32c::crc32c_append(self.crc, &bytes);
            self.fill.bytes += bytes.len() as u64;
            self.writer.write(bytes).await?;
        }
        self.fill.held = self.content.held();
        Ok(())
    }

    /// What the ledger says about it, once it is closed.
    pub(super) fn described(&self, directory: &str) -> RollFile {
        let Fill { bytes, events, .. } = self.fill;
        let (temp, directory) = (self.temp.clone(), directory.to_owned());
        RollFile { temp, directory, len: bytes, crc: self.crc, events }
    }

    /// Makes the file durable and whole, and looks whether it is.
    pub(super) async fn close(self, stage: &Stage) -> Result<(), LedgerError> {
        self.writer.close().await?;
        check_length(&*stage.fs, &stage.dataset.staged(&self.temp), self.fill.bytes).await
    }
}
