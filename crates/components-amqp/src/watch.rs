//! Checks a broker's input before the library decodes it: it decodes recursively and uses dozens of
//! bytes for a value of one byte. Pure.
//!
//! ```text
//!   stream ─► frame: length 4 │ 2 │ type │ channel 2 │ performative │ a piece of a message
//!                                                          └── values ──┘
//! ```
//!
//! The first byte of a value beyond the bounds is replaced by an invalid one: so the library finds
//! the message malformed and it is rejected, or the connection ends if it was not a message. A size
//! that is too small for the number after it is raised: the library would subtract from it, below
//! 0. A length beyond the largest message becomes its size: the library reserves as much memory as
//! a length announces, and then finds the message truncated. The check is incremental and reads
//! each byte once.

mod walk;

use self::walk::{TRANSFER, Walk};

/// Fields of a transfer, by position.
const HANDLE: usize = 0;
const MORE: usize = 5;
const ABORTED: usize = 9;

/// Size of the header of a frame, and of the protocol header.
const HEAD_BYTES: usize = 8;

/// State of the check on a connection.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    head: Vec<u8>,
    /// Missing bytes of the frame's body.
    left: usize,
    performative: Walk,
    message: Walk,
    /// Channel and link of the unfinished message.
    within: Option<(u16, u64)>,
    /// Reason why the last message was made malformed.
    refused: Option<String>,
    /// Size of the largest message.
    length_max: Option<u64>,
}

impl Watch {
    /// Sets the size of the largest message.
    pub(crate) fn limit_messages(&mut self, bytes: u64) {
        self.length_max = Some(bytes);
    }

    /// Checks the next bytes, and invalidates values beyond the bounds.
    ///
    /// # Errors
    /// Fails if the connection must end.
    pub(crate) fn pass(&mut self, mut bytes: &mut [u8]) -> Result<(), String> {
        while !bytes.is_empty() {
            let taken = if self.left == 0 { self.begin(bytes) } else { self.body(bytes)? };
            bytes = &mut bytes[taken..];
        }
        Ok(())
    }

    /// Takes the reason why a message was made malformed, if one was.
    pub(crate) fn take_refused(&mut self) -> Option<String> {
        self.refused.take()
    }

    fn begin(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(HEAD_BYTES - self.head.len());
        self.head.extend_from_slice(&bytes[..taken]);
        if let Ok([a, b, c, d, ..]) = <[u8; HEAD_BYTES]>::try_from(self.head.as_slice()) {
            let is_frame = [a, b, c, d] != *b"AMQP";
            let length = if is_frame { u32::from_be_bytes([a, b, c, d]) as usize } else { 0 };
            self.left = length.saturating_sub(HEAD_BYTES);
            self.performative = Walk::performative();
            if self.left == 0 {
                self.head.clear();
            }
        }
        taken
    }

    fn body(&mut self, bytes: &mut [u8]) -> Result<usize, String> {
        let of_frame = bytes.len().min(self.left);
        let mut taken = 0;
        if !self.performative.is_done {
            taken = self.performative.pass(&mut bytes[..of_frame]);
            if self.performative.is_done {
                self.begin_piece()?;
            }
        }
        if self.performative.is_done && self.performative.descriptor == Some(TRANSFER) {
            while taken < of_frame {
                taken += self.message.pass(&mut bytes[taken..of_frame]);
            }
        }
        if let Some(problem) = self.performative.refused.take().or(self.message.refused.take()) {
            self.refused = Some(problem);
        }
        self.left -= of_frame;
        if self.left == 0 {
            self.end()?;
        }
        Ok(of_frame)
    }

    /// Returns the channel and the link of a transfer.
    fn link(&self) -> (u16, u64) {
        let channel = u16::from_be_bytes([self.head[6], self.head[7]]);
        (channel, self.performative.fields[HANDLE])
    }

    fn begin_piece(&mut self) -> Result<(), String> {
        if self.performative.descriptor != Some(TRANSFER) {
            return Ok(());
        }
        match self.within {
            None => self.message = Walk::message(self.length_max),
            Some(within) if within == self.link() => {}
            Some(_) => return Err("the broker mixed the frames of two messages".to_owned()),
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        let performative = &self.performative;
        if !performative.is_done && !performative.is_refused {
            return Err("the broker sent a truncated frame".to_owned());
        }
        if performative.descriptor == Some(TRANSFER) {
            let goes_on = performative.fields[MORE] == 1 && performative.fields[ABORTED] == 0;
            self.within = goes_on.then(|| self.link());
        }
        self.head.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
