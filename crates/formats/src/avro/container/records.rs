//! Iterates over the records of a file, for decoders.

use std::io::BufRead;

use pipeline::{Deferred, FileError, MalformedMessage};

use super::{Block, Bytes, Codec, Head};

/// A file, and the position in its records.
pub struct Records {
    is_message: bool,
    /// Bytes read so far.
    at: u64,
    /// `None` until it was read.
    head: Option<Head>,
    block: Block,
    /// Error after records that must be returned first.
    broken: Deferred,
}

impl Records {
    /// Creates a reader with this limit for blocks. A container in a message must have the codec
    /// `null`: its source has counted the size.
    pub fn new(block_max: usize, is_message: bool) -> Self {
        Self {
            is_message,
            at: 0,
            head: None,
            block: Block::new(block_max),
            broken: Deferred::default(),
        }
    }

    /// Returns the header of the file; `None` if the file is empty.
    ///
    /// # Errors
    /// See [`Head::read`]; also fails for a message with compression.
    pub fn head(&mut self, file: &mut dyn BufRead) -> Result<Option<&Head>, FileError> {
        if self.head.is_none() {
            let head = Head::read(&mut Bytes::new(file, &mut self.at))?;
            if self.is_message && head.as_ref().is_some_and(|head| head.codec != Codec::Null) {
                let problem = "an Avro file in a request must have the codec `null`; compress the \
                               request instead, with `Content-Encoding: gzip`";
                return Err(MalformedMessage { problem: problem.to_owned() }.into());
            }
            self.head = head;
        }
        Ok(self.head.as_ref())
    }

    /// Skips records that were read before.
    ///
    /// # Errors
    /// Fails if the file cannot be read, is damaged, or has fewer records.
    pub fn pass_over(&mut self, file: &mut dyn BufRead, records: u64) -> Result<(), FileError> {
        if records == 0 {
            return Ok(());
        }
        self.head(file)?;
        let head = self.head.as_ref().ok_or_else(Head::shorter)?;
        head.skip(&mut Bytes::new(file, &mut self.at), &mut self.block, records)
    }

    /// Passes records to `put`, with the number of accepted records and the bytes of their events
    /// so far. `put` returns the size of the event, or `None` to reject a record, which then comes
    /// first in the next call. Returns false at the end of the file.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or is damaged, after all records before the damage.
    pub fn next(
        &mut self,
        file: &mut dyn BufRead,
        mut put: impl FnMut(&Head, &[u8], (usize, usize)) -> Option<usize>,
    ) -> Result<bool, FileError> {
        self.broken.come()?;
        self.head(file)?;
        let Some(head) = &self.head else { return Ok(false) };
        let (mut taken, mut bytes) = (0, 0);
        loop {
            while let Some(record) = self.block.peek(head) {
                let length = record.len();
                let Some(size) = put(head, record, (taken, bytes)) else { return Ok(true) };
                self.block.give(length);
                (taken, bytes) = (taken + 1, bytes + size);
            }
            // Read the next block now, so that the last record is known to be the last.
            match head.read_block(&mut Bytes::new(file, &mut self.at), &mut self.block) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) => return self.broken.behind(taken, error),
            }
        }
    }
}
