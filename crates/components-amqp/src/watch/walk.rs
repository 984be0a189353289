//! The walk over the values of a broker's input. It changes those that the library must not read.

use kit::bounds::Count;

/// Type byte that is invalid.
pub(super) const NO_VALUE: u8 = 0xff;

/// Largest length until the size of the largest message is known.
const LENGTH_MAX: u64 = 16 << 20;

/// Performative of a frame with a piece of a message.
pub(super) const TRANSFER: u64 = 0x14;

/// Fields of a transfer, by position.
const STATE: usize = 7;
const RESUME: usize = 8;

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

impl After {
    /// Returns the least length, if the number is one. The number of the values, and the type of
    /// the elements of an array, belong to the size.
    fn least(self) -> Option<u64> {
        match self {
            Self::Skip => Some(0),
            Self::Size { code: 0xc0 | 0xc1 } => Some(1),
            Self::Size { code: 0xe0 } => Some(2),
            Self::Size { code: 0xf0 } => Some(5),
            Self::Size { .. } => Some(4),
            Self::Value | Self::Count { .. } => None,
        }
    }
}

/// A walk over values that follow each other.
#[derive(Debug, Default)]
pub(super) struct Walk {
    is_performative: bool,
    /// Largest length.
    length_max: Option<u64>,
    /// True if the further digits of a length become those of the largest.
    is_largest: bool,
    count: Count,
    open: Vec<Open>,
    /// Bytes to skip.
    skip: usize,
    /// Missing digits of a number, the number so far, and its meaning.
    number: Option<(u8, u64, After)>,
    /// Number of elements of an array whose element type follows.
    array: Option<usize>,
    /// True if a map follows whose last key has no value.
    is_odd: bool,
    /// True if the first value is complete, and it is a performative.
    pub(super) is_done: bool,
    /// True if nothing more is checked.
    pub(super) is_refused: bool,
    pub(super) refused: Option<String>,
    /// Descriptor of a performative.
    pub(super) descriptor: Option<u64>,
    pub(super) fields: [u64; 16],
    /// Current field of a performative.
    field: Option<usize>,
}

impl Walk {
    /// Returns a walk over the performative of a frame.
    pub(super) fn performative() -> Self {
        Self { is_performative: true, ..Self::default() }
    }

    /// Returns a walk over a message; `length_max` is the size of the largest one.
    pub(super) fn message(length_max: Option<u64>) -> Self {
        Self { length_max, ..Self::default() }
    }

    /// Continues the walk; returns the number of bytes that belong to it.
    pub(super) fn pass(&mut self, bytes: &mut [u8]) -> usize {
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
            if let Some((digits, number, after)) = self.number.take() {
                let mut number = number << 8 | u64::from(*byte);
                if let Some(least) = after.least() {
                    let most = self.length_max.unwrap_or(LENGTH_MAX) >> (8 * (digits - 1));
                    if number > most {
                        self.refused = Some("a value is larger than `message_max`".to_owned());
                        self.is_largest = true;
                    }
                    if self.is_largest {
                        number = most;
                    }
                    if digits == 1 {
                        self.is_largest = false;
                        number = number.max(least);
                    }
                    *byte = number as u8;
                }
                if digits == 1
                    && matches!(after, After::Count { code: 0xc1 | 0xd1 })
                    && number % 2 == 1
                {
                    // The library counts an odd number down below 0. It gets an even one, and the
                    // first key of the map is invalid.
                    self.is_odd = true;
                    *byte = if *byte == u8::MAX { *byte - 1 } else { *byte + 1 };
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
        if self.is_odd {
            return Err("the broker sent a map whose last key has no value".to_owned());
        }
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
                    "the data of the broker is not valid AMQP 1.0: a descriptor has the invalid \
                     type 0x{code:02x}"
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
