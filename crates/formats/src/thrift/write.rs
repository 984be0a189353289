//! Writer of values in both encodings, for the types that the service uses.

use super::read::{BINARY, COMPACT, VERSION};
use super::{Kind, Protocol};

/// Types of values.
#[derive(Debug, Clone, Copy)]
pub enum Type {
    /// An integer of 32 bits.
    I32,
    /// Bytes or a string.
    Binary,
    /// Fields with ids.
    Struct,
    /// Key-value pairs.
    Map,
    /// Elements in order.
    List,
}

impl Type {
    fn number(self, protocol: Protocol) -> u8 {
        let (compact, binary) = match self {
            Self::I32 => (5, 8),
            Self::Binary => (8, 11),
            Self::List => (9, 15),
            Self::Map => (11, 13),
            Self::Struct => (12, 12),
        };
        match protocol {
            Protocol::Compact => compact,
            Protocol::Binary => binary,
        }
    }
}

/// Writes values one after the other.
#[derive(Debug)]
pub struct Writer {
    protocol: Protocol,
    /// Output so far.
    pub out: Vec<u8>,
}

/// Panic message for too many elements or bytes.
const SIZE: &str = "a value of a batch has less than 2 GiB";

impl Writer {
    /// Creates a writer without output.
    #[must_use]
    pub fn new(protocol: Protocol) -> Self {
        Self { protocol, out: Vec::new() }
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.out.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }

    /// Writes a number of 32 bits.
    pub fn i32(&mut self, value: i32) {
        match self.protocol {
            Protocol::Compact => self.varint((value << 1 ^ value >> 31).cast_unsigned()),
            Protocol::Binary => self.out.extend(value.to_be_bytes()),
        }
    }

    fn size(&mut self, size: usize) {
        let size = i32::try_from(size).expect(SIZE);
        match self.protocol {
            Protocol::Compact => self.varint(size.cast_unsigned()),
            Protocol::Binary => self.i32(size),
        }
    }

    /// Writes bytes or a string.
    ///
    /// # Panics
    /// Panics if they have 2 GiB or more.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.size(bytes.len());
        self.out.extend_from_slice(bytes);
    }

    /// Writes the beginning of a message.
    ///
    /// # Panics
    /// Panics if the name has 2 GiB or more.
    pub fn head(&mut self, name: &str, kind: Kind, sequence: i32) {
        let kind = match kind {
            Kind::Call => 1,
            Kind::Reply => 2,
            Kind::Exception => 3,
            Kind::Oneway => 4,
        };
        match self.protocol {
            Protocol::Compact => {
                self.out.extend([COMPACT, kind << 5 | VERSION]);
                self.varint(sequence.cast_unsigned());
                self.bytes(name.as_bytes());
            }
            Protocol::Binary => {
                self.out.extend([BINARY, VERSION, 0, kind]);
                self.bytes(name.as_bytes());
                self.i32(sequence);
            }
        }
    }

    /// Writes the header of a field whose id exceeds the id of the field before it by `above`;
    /// before the first field the id counts as 0.
    pub fn field(&mut self, kind: Type, id: u8, above: u8) {
        let number = kind.number(self.protocol);
        match (self.protocol, above) {
            (Protocol::Binary, _) => self.out.extend([number, 0, id]),
            (Protocol::Compact, 1..=15) => self.out.push(above << 4 | number),
            (Protocol::Compact, _) => self.out.extend([number, id << 1]),
        }
    }

    /// Writes a boolean field, with its header and value.
    pub fn flag(&mut self, id: u8, above: u8, value: bool) {
        match (self.protocol, above) {
            (Protocol::Binary, _) => self.out.extend([2, 0, id, u8::from(value)]),
            (Protocol::Compact, 1..=15) => self.out.push(above << 4 | if value { 1 } else { 2 }),
            (Protocol::Compact, _) => self.out.extend([if value { 1 } else { 2 }, id << 1]),
        }
    }

    /// Writes the end of a struct.
    pub fn stop(&mut self) {
        self.out.push(0);
    }

    /// Writes the beginning of a list of `size` elements.
    ///
    /// # Panics
    /// Panics if there are 2³¹ or more.
    pub fn list(&mut self, kind: Type, size: usize) {
        let number = kind.number(self.protocol);
        match (self.protocol, size) {
            (Protocol::Binary, _) => {
                self.out.push(number);
                self.size(size);
            }
            (Protocol::Compact, 0..=14) => self.out.push((size as u8) << 4 | number),
            (Protocol::Compact, _) => {
                self.out.push(0xf0 | number);
                self.size(size);
            }
        }
    }

    /// Writes a map of strings.
    ///
    /// # Panics
    /// Panics if a string has 2 GiB or more.
    pub fn texts<'a>(&mut self, size: usize, pairs: impl Iterator<Item = (&'a str, &'a str)>) {
        let number = Type::Binary.number(self.protocol);
        match self.protocol {
            Protocol::Binary => {
                self.out.extend([number, number]);
                self.size(size);
            }
            Protocol::Compact => {
                self.size(size);
                if size > 0 {
                    self.out.push(number << 4 | number);
                }
            }
        }
        for (name, value) in pairs {
            self.bytes(name.as_bytes());
            self.bytes(value.as_bytes());
        }
    }
}
