//! Reader of values in both encodings.

use super::{Head, Kind, Malformed, Protocol};

/// Maximum nesting depth of skipped values.
const DEPTH_MAX: u32 = 32;

/// Maximum length of a method's name.
const NAME_BYTES_MAX: usize = 128;

/// First byte of a message in the compact encoding.
pub const COMPACT: u8 = 0x82;
/// First byte of a message in the binary encoding.
pub const BINARY: u8 = 0x80;
/// Version of both encodings.
pub const VERSION: u8 = 1;

/// Type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A boolean whose value is part of its type: a field in the compact encoding.
    Implied,
    /// A boolean.
    Bool,
    /// An integer of 8 bits.
    Byte,
    /// An integer of 16 bits.
    I16,
    /// An integer of 32 bits.
    I32,
    /// An integer of 64 bits.
    I64,
    /// A floating-point number of 64 bits.
    Double,
    /// Bytes or a string.
    Binary,
    /// Fields with ids.
    Struct,
    /// Key-value pairs.
    Map,
    /// Elements without order.
    Set,
    /// Elements in order.
    List,
    /// 16 bytes.
    Uuid,
}

impl Type {
    fn of(protocol: Protocol, number: u8) -> Result<Self, Malformed> {
        let kind = match (protocol, number) {
            (Protocol::Compact, 1 | 2) | (Protocol::Binary, 2) => Self::Bool,
            (_, 3) => Self::Byte,
            (Protocol::Compact, 4) | (Protocol::Binary, 6) => Self::I16,
            (Protocol::Compact, 5) | (Protocol::Binary, 8) => Self::I32,
            (Protocol::Compact, 6) | (Protocol::Binary, 10) => Self::I64,
            (Protocol::Compact, 7) | (Protocol::Binary, 4) => Self::Double,
            (Protocol::Compact, 8) | (Protocol::Binary, 11) => Self::Binary,
            (Protocol::Compact, 9) | (Protocol::Binary, 15) => Self::List,
            (Protocol::Compact, 10) | (Protocol::Binary, 14) => Self::Set,
            (Protocol::Compact, 11) | (Protocol::Binary, 13) => Self::Map,
            (_, 12) => Self::Struct,
            (Protocol::Compact, 13) | (Protocol::Binary, 16) => Self::Uuid,
            _ => return Err(Malformed::Invalid { what: "type", value: number.into() }),
        };
        Ok(kind)
    }
}

/// A field of a struct, before its value.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its number in the struct.
    pub id: i16,
    /// Type of its value.
    pub kind: Type,
}

/// Reads values one after the other. Methods fail with [`Malformed`].
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    protocol: Protocol,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Creates a reader of these bytes.
    #[must_use]
    pub fn new(protocol: Protocol, bytes: &'a [u8]) -> Self {
        Self { protocol, rest: bytes }
    }

    /// Checks that all bytes are read.
    ///
    /// # Errors
    /// Fails if bytes are left.
    pub fn end(&self) -> Result<(), Malformed> {
        match self.rest.len() {
            0 => Ok(()),
            bytes => Err(Malformed::Long { bytes }),
        }
    }

    /// Returns the unread bytes.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.array().map(|[byte]| byte)
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed::Invalid { what: "number of 64 bits", value: value.cast_signed() })
    }

    /// Reads an unsigned number of 32 bits, which the compact encoding uses for sizes.
    fn varint32(&mut self) -> Result<u32, Malformed> {
        let value = self.varint()?;
        let invalid =
            |_| Malformed::Invalid { what: "number of 32 bits", value: value.cast_signed() };
        u32::try_from(value).map_err(invalid)
    }

    fn zigzag(&mut self) -> Result<i64, Malformed> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// Reads a number of 32 bits.
    ///
    /// # Errors
    /// Fails if it is invalid or incomplete.
    pub fn i32(&mut self) -> Result<i32, Malformed> {
        match self.protocol {
            Protocol::Compact => {
                let value = self.zigzag()?;
                let invalid = |_| Malformed::Invalid { what: "number of 32 bits", value };
                i32::try_from(value).map_err(invalid)
            }
            Protocol::Binary => self.array().map(i32::from_be_bytes),
        }
    }

    /// Reads the number of elements with at least `least` bytes each.
    fn size(&mut self, least: usize) -> Result<usize, Malformed> {
        let size = match self.protocol {
            Protocol::Compact => self.varint32()?,
            Protocol::Binary => {
                let size = self.i32()?;
                let invalid = |_| Malformed::Invalid { what: "size", value: size.into() };
                u32::try_from(size).map_err(invalid)?
            }
        };
        self.fits(size, least)
    }

    fn fits(&self, size: u32, least: usize) -> Result<usize, Malformed> {
        let size = size as usize;
        (size <= self.rest.len() / least).then_some(size).ok_or(Malformed::Short)
    }

    /// Reads bytes.
    ///
    /// # Errors
    /// Fails if they are incomplete.
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let size = self.size(1)?;
        self.take(size)
    }

    /// Reads a string.
    ///
    /// # Errors
    /// Fails if it is incomplete, or not UTF-8.
    pub fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed::NotUtf8)
    }

    /// Reads the beginning of a message.
    ///
    /// # Errors
    /// Fails if it is in another encoding, or incomplete.
    pub fn head(&mut self) -> Result<Head, Malformed> {
        let (name, kind, sequence) = match self.protocol {
            Protocol::Compact => self.compact_head()?,
            Protocol::Binary => self.binary_head()?,
        };
        let kind = match kind {
            1 => Kind::Call,
            2 => Kind::Reply,
            3 => Kind::Exception,
            4 => Kind::Oneway,
            other => return Err(Malformed::Invalid { what: "message type", value: other.into() }),
        };
        Ok(Head { name: name.to_owned(), kind, sequence })
    }

    /// Reads the name of a method, whose size was read.
    fn name(&mut self, size: usize) -> Result<&'a str, Malformed> {
        if size > NAME_BYTES_MAX {
            return Err(Malformed::Invalid { what: "size of a name", value: size as i64 });
        }
        std::str::from_utf8(self.take(size)?).map_err(|_| Malformed::NotUtf8)
    }

    fn compact_head(&mut self) -> Result<(&'a str, u8, i32), Malformed> {
        let first = self.byte()?;
        if first != COMPACT {
            let hint = match first {
                BINARY | 0 => "; for clients with TBinaryProtocol set `protocol = \"binary\"`",
                _ => "",
            };
            return Err(Malformed::Encoding { first, expected: "TCompactProtocol", hint });
        }
        let second = self.byte()?;
        if second & 0x1f != VERSION {
            return Err(Malformed::Invalid { what: "version", value: (second & 0x1f).into() });
        }
        let sequence = self.varint32()?.cast_signed();
        let size = self.varint32()? as usize;
        Ok((self.name(size)?, second >> 5, sequence))
    }

    fn binary_head(&mut self) -> Result<(&'a str, u8, i32), Malformed> {
        let first = *self.rest.first().ok_or(Malformed::Short)?;
        match first {
            BINARY => {
                let [_, version, _, kind] = self.array()?;
                if version != VERSION {
                    return Err(Malformed::Invalid { what: "version", value: version.into() });
                }
                let size = u32::from_be_bytes(self.array()?) as usize;
                Ok((self.name(size)?, kind, self.i32()?))
            }
            // Without a version, as in clients before 2008.
            0 => {
                let size = u32::from_be_bytes(self.array()?) as usize;
                let name = self.name(size)?;
                Ok((name, self.byte()?, self.i32()?))
            }
            _ => {
                let hint = match first {
                    COMPACT => "; for clients with TCompactProtocol set `protocol = \"compact\"`",
                    _ => "",
                };
                Err(Malformed::Encoding { first, expected: "TBinaryProtocol", hint })
            }
        }
    }

    /// Reads the next field of a struct; `None` at its end. `last` is the id of the field before
    /// it, initially 0.
    ///
    /// # Errors
    /// Fails if its type or id is invalid, or it is incomplete.
    pub fn field(&mut self, last: &mut i16) -> Result<Option<Field>, Malformed> {
        let first = self.byte()?;
        if first == 0 {
            return Ok(None);
        }
        let (id, kind) = match self.protocol {
            Protocol::Binary => {
                let kind = Type::of(self.protocol, first)?;
                (i16::from_be_bytes(self.array()?), kind)
            }
            Protocol::Compact => {
                let kind = match Type::of(self.protocol, first & 0x0f)? {
                    Type::Bool => Type::Implied,
                    other => other,
                };
                let id = match first >> 4 {
                    0 => self.zigzag()?,
                    above => i64::from(*last) + i64::from(above),
                };
                let invalid = |_| Malformed::Invalid { what: "field id", value: id };
                (i16::try_from(id).map_err(invalid)?, kind)
            }
        };
        *last = id;
        Ok(Some(Field { id, kind }))
    }

    /// Reads type and number of the elements that follow.
    ///
    /// # Errors
    /// Fails if their type is invalid, or there are too few bytes for them.
    pub fn list(&mut self) -> Result<(Type, usize), Malformed> {
        let first = self.byte()?;
        if self.protocol == Protocol::Binary {
            let kind = Type::of(self.protocol, first)?;
            return Ok((kind, self.size(1)?));
        }
        let kind = Type::of(self.protocol, first & 0x0f)?;
        let size = match first >> 4 {
            15 => self.size(1)?,
            size => self.fits(size.into(), 1)?,
        };
        Ok((kind, size))
    }

    /// Reads types and number of the pairs that follow; `None` for an empty map.
    ///
    /// # Errors
    /// Fails if their types are invalid, or there are too few bytes for them.
    pub fn map(&mut self) -> Result<Option<(Type, Type, usize)>, Malformed> {
        let (size, kinds) = match self.protocol {
            Protocol::Compact => {
                let size = self.size(2)?;
                let kinds = if size > 0 { self.byte()? } else { 0 };
                (size, [kinds >> 4, kinds & 0x0f])
            }
            Protocol::Binary => {
                let kinds = self.array()?;
                (self.size(2)?, kinds)
            }
        };
        if size == 0 {
            return Ok(None);
        }
        let [key, value] = kinds;
        Ok(Some((Type::of(self.protocol, key)?, Type::of(self.protocol, value)?, size)))
    }

    /// Skips a value.
    ///
    /// # Errors
    /// Fails if it is incomplete or nested too deep.
    pub fn skip(&mut self, kind: Type) -> Result<(), Malformed> {
        self.skip_within(kind, DEPTH_MAX)
    }

    fn skip_within(&mut self, kind: Type, depth: u32) -> Result<(), Malformed> {
        let Some(below) = depth.checked_sub(1) else {
            return Err(Malformed::Deep { max: DEPTH_MAX });
        };
        let bytes = match (kind, self.protocol) {
            (Type::Implied, _) => 0,
            (Type::Bool | Type::Byte, _) => 1,
            (Type::I16 | Type::I32 | Type::I64, Protocol::Compact) => {
                self.varint()?;
                0
            }
            (Type::I16, Protocol::Binary) => 2,
            (Type::I32, Protocol::Binary) => 4,
            (Type::I64, Protocol::Binary) | (Type::Double, _) => 8,
            (Type::Uuid, _) => 16,
            (Type::Binary, _) => self.size(1)?,
            (Type::Struct, _) => {
                let mut last = 0;
                while let Some(field) = self.field(&mut last)? {
                    self.skip_within(field.kind, below)?;
                }
                0
            }
            (Type::List | Type::Set, _) => {
                let (kind, size) = self.list()?;
                for _ in 0..size {
                    self.skip_within(kind, below)?;
                }
                0
            }
            (Type::Map, _) => {
                if let Some((key, value, size)) = self.map()? {
                    for _ in 0..size {
                        self.skip_within(key, below)?;
                        self.skip_within(value, below)?;
                    }
                }
                0
            }
        };
        self.take(bytes)?;
        Ok(())
    }
}
