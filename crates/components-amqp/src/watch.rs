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
//! 0. The digits by which a length is beyond the largest message become 0: the library reserves as
//! much memory as a length announces. The check is incremental and reads each byte once.

use kit::bounds::Count;

/// Type byte that is invalid.
const NO_VALUE: u8 = 0xff;

/// Performative of a frame with a piece of a message.
const TRANSFER: u64 = 0x14;

/// Fields of a transfer, by position.
const HANDLE: usize = 0;
const MORE: usize = 5;
const STATE: usize = 7;
const RESUME: usize = 8;
const ABORTED: usize = 9;

/// Largest length until the size of the largest message is known.
const LENGTH_MAX: u64 = 16 << 20;

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
            self.performative = Walk { is_performative: true, ..Walk::default() };
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
            None => self.message = Walk { length_max: self.length_max, ..Walk::default() },
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

/// A value with nested values.
#[derive(Debug, Clone, Copy)]
enum Open {
    /// `left` of `of` values follow, each with its type.
    Values { left: usize, of: usize },
    /// `left` array elements follow, each after its length.
    Elements { digits: u8, left: usize },
    /// A descriptor follows, or the value that it describes.
    Described { is_next: bool },
}

/// Meaning of a number.
#[derive(Debug, Clone, Copy)]
enum After {
    /// The value itself.
    Value,
    /// Number of bytes that follow.
    Skip,
    /// Size of a list or an array; the number of its values follows.
    Size { code: u8 },
    /// Number of values that follow.
    Count { code: u8 },
}

/// Bytes that a list, map or array of this type has at least after its size.
fn size_min(code: u8) -> u8 {
    match code {
        0xc0 | 0xc1 => 1,
        // An array also has the type of its elements.
        0xe0 => 2,
        0xf0 => 5,
        _ => 4,
    }
}

/// A walk over values that follow each other.
#[derive(Debug, Default)]
struct Walk {
    is_performative: bool,
    /// Largest length.
    length_max: Option<u64>,
    /// Digits of a length that become 0.
    cleared: u8,
    count: Count,
    open: Vec<Open>,
    /// Bytes to skip.
    skip: usize,
    /// Missing digits of a number, the number so far, and its meaning.
    number: Option<(u8, u64, After)>,
    /// Number of elements of an array whose element type follows.
    array: Option<usize>,
    /// True if the first value is complete, and it is a performative.
    is_done: bool,
    /// True if nothing more is checked.
    is_refused: bool,
    refused: Option<String>,
    /// Descriptor of a performative.
    descriptor: Option<u64>,
    fields: [u64; 16],
    /// Current field of a performative.
    field: Option<usize>,
}

impl Walk {
    /// Continues the walk; returns the number of bytes that belong to it.
    fn pass(&mut self, bytes: &mut [u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() && !self.is_done && !self.is_refused {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len() - at);
                (self.skip, at) = (self.skip - skipped, at + skipped);
                if self.skip == 0 {
                    self.complete();
                }
                continue;
            }
            let byte = &mut bytes[at];
            at += 1;
            if self.cleared > 0 {
                (*byte, self.cleared) = (0, self.cleared - 1);
                self.is_refused = self.cleared == 0;
            } else if let Some((digits, number, after)) = self.number.take() {
                let mut number = number << 8 | u64::from(*byte);
                let most = self.length_max.unwrap_or(LENGTH_MAX) >> (8 * (digits - 1));
                if let After::Skip | After::Size { .. } = after
                    && number > most
                {
                    *byte = 0;
                    self.refused = Some("a value is larger than `message_max`".to_owned());
                    (self.cleared, self.is_refused) = (digits - 1, digits == 1);
                    continue;
                }
                if let (1, After::Size { code }) = (digits, after)
                    && number < size_min(code).into()
                {
                    // All other digits are 0.
                    *byte = size_min(code);
                    number = u64::from(*byte);
                }
                match digits {
                    1 => self.known(number, after),
                    _ => self.number = Some((digits - 1, number, after)),
                }
            } else if let Err(problem) = self.value(*byte) {
                *byte = NO_VALUE;
                (self.is_refused, self.refused) = (true, Some(problem));
            }
        }
        if self.is_refused { bytes.len() } else { at }
    }

    /// Begins a value, or the elements of an array.
    fn value(&mut self, code: u8) -> Result<(), String> {
        if let Some(elements) = self.array.take() {
            return self.elements(code, elements);
        }
        self.count.value(self.open.len()).map_err(|beyond| beyond.to_string())?;
        if let [Open::Described { is_next: false }, Open::Values { left, of }] = self.open[..]
            && self.is_performative
        {
            let field = of - left;
            let is_false = matches!(code, 0x40 | 0x42);
            if self.descriptor == Some(TRANSFER) && matches!(field, STATE | RESUME) && !is_false {
                return Err(
                    "the broker resumed a message, which this client never requests".to_owned()
                );
            }
            self.field = Some(field);
        }
        if let Some(Open::Described { is_next: true }) = self.open.last() {
            // Values in a message may have symbolic descriptors; a performative has a number.
            let is_number = matches!(code, 0x44 | 0x53 | 0x80);
            let is_name =
                matches!(code, 0xa3 | 0xb3) && (!self.is_performative || self.open.len() > 1);
            if !is_number && !is_name {
                return Err(format!(
                    "the broker sent a value with a descriptor of the invalid type 0x{code:02x}"
                ));
            }
        }
        match code {
            0x00 => self.open.push(Open::Described { is_next: true }),
            0xc0 | 0xc1 | 0xe0 => self.number = Some((1, 0, After::Size { code })),
            0xd0 | 0xd1 | 0xf0 => self.number = Some((4, 0, After::Size { code })),
            _ => self.plain(code)?,
        }
        Ok(())
    }

    /// Begins a value without nested values.
    fn plain(&mut self, code: u8) -> Result<(), String> {
        match code {
            0x40 | 0x42..=0x45 => self.known(0, After::Value),
            0x41 => self.known(1, After::Value),
            0x50..=0x56 => self.number = Some((1, 0, After::Value)),
            0x60 | 0x61 => self.number = Some((2, 0, After::Value)),
            0x70..=0x74 => self.number = Some((4, 0, After::Value)),
            0x80..=0x84 => self.number = Some((8, 0, After::Value)),
            0x94 | 0x98 => self.skip = 16,
            0xa0 | 0xa1 | 0xa3 => self.number = Some((1, 0, After::Skip)),
            0xb0 | 0xb1 | 0xb3 => self.number = Some((4, 0, After::Skip)),
            _ => return Err(format!("the broker sent a value of the unknown type 0x{code:02x}")),
        }
        Ok(())
    }

    /// Handles a complete number.
    fn known(&mut self, number: u64, after: After) {
        let places = number as usize;
        match after {
            After::Value => {
                if self.is_performative && self.open.len() == 1 {
                    self.descriptor.get_or_insert(number);
                }
                if let Some(field) = self.field.and_then(|field| self.fields.get_mut(field)) {
                    *field = number;
                }
                self.complete();
            }
            After::Skip => self.after(places),
            After::Size { code } => {
                let digits = if code < 0xd0 || code == 0xe0 { 1 } else { 4 };
                self.number = Some((digits, 0, After::Count { code }));
            }
            After::Count { .. } if places == 0 => self.complete(),
            After::Count { code: 0xe0 | 0xf0 } => self.array = Some(places),
            After::Count { .. } => self.open.push(Open::Values { left: places, of: places }),
        }
    }

    /// Begins the elements of an array, which are all of this type.
    fn elements(&mut self, code: u8, elements: usize) -> Result<(), String> {
        for _ in 0..elements {
            self.count.value(self.open.len()).map_err(|beyond| beyond.to_string())?;
        }
        let bytes = match code {
            0x40..=0x44 => 0,
            0x50..=0x56 => 1,
            0x60 | 0x61 => 2,
            0x70..=0x74 => 4,
            0x80..=0x84 => 8,
            0x94 | 0x98 => 16,
            0xa0 | 0xa1 | 0xa3 | 0xb0 | 0xb1 | 0xb3 => {
                let digits = if code < 0xb0 { 1 } else { 4 };
                self.open.push(Open::Elements { digits, left: elements });
                self.number = Some((digits, 0, After::Skip));
                return Ok(());
            }
            _ => {
                return Err(format!(
                    "the broker sent an array with elements of the unsupported type 0x{code:02x}"
                ));
            }
        };
        self.after(bytes * elements);
        Ok(())
    }

    /// Skips the rest of a value, or completes it.
    fn after(&mut self, bytes: usize) {
        self.skip = bytes;
        if bytes == 0 {
            self.complete();
        }
    }

    /// Completes a value, and possibly the values that contain it.
    fn complete(&mut self) {
        self.field = None;
        while let Some(open) = self.open.last_mut() {
            match open {
                Open::Values { left, .. } if *left > 1 => {
                    *left -= 1;
                    return;
                }
                Open::Elements { digits, left } if *left > 1 => {
                    *left -= 1;
                    self.number = Some((*digits, 0, After::Skip));
                    return;
                }
                Open::Described { is_next } if *is_next => {
                    *is_next = false;
                    return;
                }
                _ => {
                    self.open.pop();
                }
            }
        }
        self.is_done = self.is_performative;
    }
}

#[cfg(test)]
mod tests;
