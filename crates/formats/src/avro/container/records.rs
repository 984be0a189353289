//! The records of one file, piece by piece, for decoders that make events of them.

use std::io::BufRead;

use pipeline::{Deferred, FileError, MalformedMessage};

use super::{Block, Bytes, Codec, Head};

/// A file, and how far its records were given out.
pub struct Records {
    is_message: bool,
    /// Bytes that were read.
    at: u64,
    /// None until it was read.
    head: Option<Head>,
    block: Block,
    /// Why nothing more comes, found behind records that went first.
    broken: Deferred,
}

impl Records {
    /// A file with blocks of so many bytes at most. One that is a message has the codec `null`: its
    /// size is what its source has counted.
    pub fn new(block_max: usize, is_message: bool) -> Self {
        Self {
            is_message,
            at: 0,
            head: None,
            block: Block::new(block_max),
            broken: Deferred::default(),
        }
    }

    /// The head of the file; `None` if the file is empty.
    ///
    /// # Errors
    /// As [`Head::read`]; it is a message that is compressed.
    pub fn head(&mut self, file: &mut dyn BufRead) -> Result<Option<&Head>, FileError> {
        if self.head.is_none() {
            let head = Head::read(&mut Bytes::new(file, &mut self.at))?;
            if self.is_message && head.as_ref().is_some_and(|head| head.codec != Codec::Null) {
                let problem = "a message has the codec `null`: compress the request instead, with \
                               `Content-Encoding: gzip`";
                return Err(MalformedMessage { problem: problem.to_owned() }.into());
            }
            self.head = head;
        }
        Ok(self.head.as_ref())
    }

    /// Passes over so many records, which were read before.
    ///
    /// # Errors
    /// The file cannot be read, is damaged, or has fewer.
    pub fn pass_over(&mut self, file: &mut dyn BufRead, records: u64) -> Result<(), FileError> {
        if records == 0 {
            return Ok(());
        }
        self.head(file)?;
        let head = self.head.as_ref().ok_or_else(Head::shorter)?;
        head.skip(&mut Bytes::new(file, &mut self.at), &mut self.block, records)
    }

    /// Gives records to `put`, with how many it has taken and the bytes of their events, until the
    /// file is over or one is not taken: that comes again. `put` answers the bytes of its event.
    /// Whether there are more.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged; records that stand in front of that come first.
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
            // Looked for at once, so that the last record is known as the last.
            match head.read_block(&mut Bytes::new(file, &mut self.at), &mut self.block) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) => return self.broken.behind(taken, error),
            }
        }
    }
}
