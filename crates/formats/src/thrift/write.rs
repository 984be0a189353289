//! Writing values in both encodings: those that the service has.

use super::read::{BINARY, COMPACT, VERSION};
use super::{Kind, Protocol};

/// The types that are written.
#[derive(Debug, Clone, Copy)]
pub enum Type {
    /// A number of 32 bits.
    I32,
    /// Bytes, or a text.
    Binary,
    /// Fields with ids.
    Struct,
    /// Pairs.
    Map,
    /// Elements in an order.
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

/// Writes one value after the other.
#[derive(Debug)]
pub struct Writer {
    protocol: Protocol,
    /// What was written so far.
    pub out: Vec<u8>,
}

/// As many elements, or bytes of one value, as a message can have.
const SIZE: &str = "a value of a batch has less than 2 GiB";

impl Writer {
    /// Nothing yet.
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

    /// A number of 32 bits.
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

    /// Bytes, or a text.
    ///
    /// # Panics
    /// They are 2 GiB or more.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.size(bytes.len());
        self.out.extend_from_slice(bytes);
    }

    /// The beginning of a message.
    ///
    /// # Panics
    /// The name has 2 GiB or more.
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

    /// A field whose id is `above` more than that of the field before it; the first one counts
    /// from 0.
    pub fn field(&mut self, kind: Type, id: u8, above: u8) {
        let number = kind.number(self.protocol);
        match (self.protocol, above) {
            (Protocol::Binary, _) => self.out.extend([number, 0, id]),
            (Protocol::Compact, 1..=15) => self.out.push(above << 4 | number),
            (Protocol::Compact, _) => self.out.extend([number, id << 1]),
        }
    }

    /// A field that is a flag, as [`Writer::field`] and its value.
    pub fn flag(&mut self, id: u8, above: u8, value: bool) {
        match (self.protocol, above) {
            (Protocol::Binary, _) => self.out.extend([2, 0, id, u8::from(value)]),
            (Protocol::Compact, 1..=15) => self.out.push(above << 4 | if value { 1 } else { 2 }),
            (Protocol::Compact, _) => self.out.extend([if value { 1 } else { 2 }, id << 1]),
        }
    }

    /// The end of a struct.
    pub fn stop(&mut self) {
        self.out.push(0);
    }

    /// The beginning of a list of so many elements.
    ///
    /// # Panics
    /// There are more than 2³¹.
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

    /// A map of texts.
    ///
    /// # Panics
    /// A text has 2 GiB or more.
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
