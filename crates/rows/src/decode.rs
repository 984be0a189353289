//! Reads a row. Any bytes are safe: each length is checked, and nothing is allocated. The schema
//! limits the depth of nested values.

use std::fmt;

use crate::encode::{DIGITS_INT64, DIGITS_INT128, fits};
use crate::{
    Column, Decimal, LargeDecimal, MAGIC, Moment, NANOS, NANOS_OF_DAY, Nested, Schema, Type, Value,
    Wide,
};

/// Why bytes are not a row of a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// The index of the column with the problem; `None` if the row does not begin correctly.
    pub column: Option<usize>,
    /// The problem.
    pub problem: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column {
            Some(column) => write!(
                f,
                "column {column} of the row has {}; its body was changed or damaged after the \
                 source wrote it: remove interceptors that change bodies, and check that both \
                 agents have the same version",
                self.problem
            ),
            None => write!(
                f,
                "the body is not a typed row, as its header says: {}; remove interceptors that \
                 change bodies, and check that both agents have the same version",
                self.problem
            ),
        }
    }
}

impl std::error::Error for Malformed {}

/// A row, as an iterator of its values. Ends after the last column or the first error.
#[derive(Debug, Clone)]
pub struct Row<'a> {
    columns: &'a [Column],
    nulls: &'a [u8],
    rest: Cursor<'a>,
    next: usize,
}

impl Schema {
    /// Begins to read a row.
    ///
    /// # Errors
    /// Fails if the bytes do not begin like a row of this schema.
    pub fn read<'a>(&'a self, body: &'a [u8]) -> Result<Row<'a>, Malformed> {
        let malformed = |problem| Malformed { column: None, problem };
        let mut rest = match body.split_first() {
            Some((&MAGIC, rest)) => Cursor::new(rest),
            _ => return Err(malformed("it begins with another byte")),
        };
        let nulls = rest.nulls(self.columns().len()).map_err(malformed)?;
        Ok(Row { columns: self.columns(), nulls, rest, next: 0 })
    }
}

/// Returns the NULL bit of a value.
pub(crate) fn is_null(nulls: &[u8], at: usize) -> bool {
    nulls[at / 8] & 1 << (at % 8) != 0
}

/// Bytes that are read from the front.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], &'static str> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or("too few bytes")?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or("too few bytes")?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Reads the NULL bits of this many values.
    fn nulls(&mut self, count: usize) -> Result<&'a [u8], &'static str> {
        let nulls = self.take(count.div_ceil(8))?;
        let used = count % 8;
        if used != 0 && nulls.last().is_some_and(|last| last >> used != 0) {
            return Err("NULL bits of more values than there are");
        }
        Ok(nulls)
    }

    fn length(&mut self) -> Result<usize, &'static str> {
        let mut length = 0_u64;
        // Five groups of 7 bits: texts are shorter than 32 GiB.
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            length |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    break;
                }
                return usize::try_from(length).map_err(|_| "too few bytes");
            }
        }
        Err("an invalid length")
    }

    fn bytes(&mut self) -> Result<&'a [u8], &'static str> {
        let length = self.length()?;
        self.take(length)
    }

    fn text(&mut self) -> Result<&'a str, &'static str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| "text that is not UTF-8")
    }

    fn decimal(&mut self, precision: u8, scale: u8) -> Result<Value<'a>, &'static str> {
        const TOO_MANY: &str = "a decimal with too many digits";
        let digits = match precision {
            ..=DIGITS_INT64 => match i64::from_le_bytes(self.array()?) {
                i64::MIN => Decimal::NAN,
                digits => digits.into(),
            },
            precision if precision <= DIGITS_INT128 => i128::from_le_bytes(self.array()?),
            _ => {
                let decimal = LargeDecimal { digits: Wide::from_le_bytes(self.array()?), scale };
                let fits = decimal.is_nan() || decimal.digits.fits(precision);
                return if fits { Ok(Value::LargeDecimal(decimal)) } else { Err(TOO_MANY) };
            }
        };
        let decimal = Decimal { digits, scale };
        let value = fits(decimal, precision).then_some(Value::Decimal(decimal));
        value.ok_or(TOO_MANY)
    }

    fn moment(&mut self) -> Result<Moment, &'static str> {
        let seconds = i64::from_le_bytes(self.array()?);
        let nanos = u32::from_le_bytes(self.array()?);
        let moment = Moment { seconds, nanos };
        let is_infinity = seconds == i64::MAX || seconds == i64::MIN;
        let is_valid = nanos < if is_infinity { 1 } else { NANOS };
        is_valid.then_some(moment).ok_or("a time with invalid nanoseconds")
    }

    /// Reads a list, struct or map, and checks the values in it.
    fn nested(&mut self, kind: &'a Type) -> Result<Nested<'a>, &'static str> {
        let count = match kind {
            Type::Struct(fields) => fields.len(),
            _ => self.length()?,
        };
        let bytes = self.rest;
        let nulls = self.nulls(count)?;
        for at in 0..count {
            let kind = match kind {
                Type::Struct(fields) => &fields[at].kind,
                Type::Map { key, value } => {
                    self.value(key)?;
                    value
                }
                Type::List(item) => item,
                _ => unreachable!("only these types are nested"),
            };
            if !is_null(nulls, at) {
                self.value(kind)?;
            }
        }
        let bytes = &bytes[..bytes.len() - self.rest.len()];
        let count = u32::try_from(count).map_err(|_| "too many values in a list or map")?;
        Ok(Nested { kind, count, bytes })
    }

    /// Reads a value.
    pub(crate) fn value(&mut self, kind: &'a Type) -> Result<Value<'a>, &'static str> {
        Ok(match kind {
            Type::Bool => match self.array()? {
                [0] => Value::Bool(false),
                [1] => Value::Bool(true),
                _ => return Err("an invalid boolean"),
            },
            Type::Int32 => Value::Int32(i32::from_le_bytes(self.array()?)),
            Type::Int64 => Value::Int64(i64::from_le_bytes(self.array()?)),
            Type::Uint8 => Value::Uint8(u8::from_le_bytes(self.array()?)),
            Type::Uint16 => Value::Uint16(u16::from_le_bytes(self.array()?)),
            Type::Uint32 => Value::Uint32(u32::from_le_bytes(self.array()?)),
            Type::Uint64 => Value::Uint64(u64::from_le_bytes(self.array()?)),
            Type::Float32 => Value::Float32(f32::from_le_bytes(self.array()?)),
            Type::Float64 => Value::Float64(f64::from_le_bytes(self.array()?)),
            Type::Decimal { precision, scale } => self.decimal(*precision, *scale)?,
            Type::Date => Value::Date(i32::from_le_bytes(self.array()?)),
            Type::Time => match i64::from_le_bytes(self.array()?) {
                nanos @ 0..=NANOS_OF_DAY => Value::Time(nanos),
                _ => return Err("an invalid time of day"),
            },
            Type::Timestamp => Value::Timestamp(self.moment()?),
            Type::TimestampUtc => Value::TimestampUtc(self.moment()?),
            Type::Uuid => Value::Uuid(self.array()?),
            Type::Text => Value::Text(self.text()?),
            Type::Bytes => Value::Bytes(self.bytes()?),
            Type::Json => Value::Json(self.text()?),
            Type::List(_) => Value::List(self.nested(kind)?),
            Type::Struct(_) => Value::Struct(self.nested(kind)?),
            Type::Map { .. } => Value::Map(self.nested(kind)?),
        })
    }
}

impl<'a> Iterator for Row<'a> {
    type Item = Result<Value<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let column = self.next;
        let kind = &self.columns.get(column)?.kind;
        self.next += 1;
        let is_null = is_null(self.nulls, column);
        let mut value = if is_null { Ok(Value::Null) } else { self.rest.value(kind) };
        if self.next == self.columns.len() && value.is_ok() && !self.rest.rest.is_empty() {
            value = Err("bytes after its last value");
        }
        if value.is_err() {
            self.next = self.columns.len();
        }
        Some(value.map_err(|problem| Malformed { column: Some(column), problem }))
    }
}
