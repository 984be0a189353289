//! Reads a row. Any bytes are safe: each length is checked, and nothing is allocated.

use std::fmt;

use crate::encode::{DIGITS_INT64, fits};
use crate::{Decimal, MAGIC, Moment, NANOS, NANOS_OF_DAY, Schema, Type, Value};

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
            Some(column) => write!(f, "column {column} of the row has {}", self.problem),
            None => write!(f, "the body is not a typed row: {}", self.problem),
        }
    }
}

impl std::error::Error for Malformed {}

/// A row, as an iterator of its values. Ends after the last column or the first error.
#[derive(Debug, Clone)]
pub struct Row<'s, 'a> {
    schema: &'s Schema,
    nulls: &'a [u8],
    rest: &'a [u8],
    next: usize,
}

impl Schema {
    /// Begins to read a row.
    ///
    /// # Errors
    /// Fails if the bytes do not begin like a row of this schema.
    pub fn read<'s, 'a>(&'s self, body: &'a [u8]) -> Result<Row<'s, 'a>, Malformed> {
        let malformed = |problem| Malformed { column: None, problem };
        let rest = match body.split_first() {
            Some((&MAGIC, rest)) => rest,
            _ => return Err(malformed("it has another first byte")),
        };
        let split = rest.split_at_checked(self.null_bytes());
        let (nulls, rest) = split.ok_or_else(|| malformed("it is too short"))?;
        let used = self.columns().len() % 8;
        if used != 0 && nulls.last().is_some_and(|last| last >> used != 0) {
            return Err(malformed("it has more columns than its schema"));
        }
        Ok(Row { schema: self, nulls, rest, next: 0 })
    }
}

impl<'a> Row<'_, 'a> {
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

    fn bytes(&mut self) -> Result<&'a [u8], &'static str> {
        let mut length = 0_u64;
        // Five groups of 7 bits: texts are shorter than 32 GiB.
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            length |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    break;
                }
                return self.take(usize::try_from(length).map_err(|_| "too few bytes")?);
            }
        }
        Err("an invalid length")
    }

    fn text(&mut self) -> Result<&'a str, &'static str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| "text that is not UTF-8")
    }

    fn decimal(&mut self, precision: u8, scale: u8) -> Result<Value<'a>, &'static str> {
        let digits = match precision {
            ..=DIGITS_INT64 => match i64::from_le_bytes(self.array()?) {
                i64::MIN => Decimal::NAN,
                digits => digits.into(),
            },
            _ => i128::from_le_bytes(self.array()?),
        };
        let decimal = Decimal { digits, scale };
        let value = fits(decimal, precision).then_some(Value::Decimal(decimal));
        value.ok_or("a decimal with too many digits")
    }

    fn moment(&mut self) -> Result<Moment, &'static str> {
        let seconds = i64::from_le_bytes(self.array()?);
        let nanos = u32::from_le_bytes(self.array()?);
        let moment = Moment { seconds, nanos };
        let is_infinity = seconds == i64::MAX || seconds == i64::MIN;
        let is_valid = nanos < if is_infinity { 1 } else { NANOS };
        is_valid.then_some(moment).ok_or("a time with invalid nanoseconds")
    }

    fn value(&mut self, kind: Type) -> Result<Value<'a>, &'static str> {
        Ok(match kind {
            Type::Bool => match self.array()? {
                [0] => Value::Bool(false),
                [1] => Value::Bool(true),
                _ => return Err("an invalid boolean"),
            },
            Type::Int32 => Value::Int32(i32::from_le_bytes(self.array()?)),
            Type::Int64 => Value::Int64(i64::from_le_bytes(self.array()?)),
            Type::Float32 => Value::Float32(f32::from_le_bytes(self.array()?)),
            Type::Float64 => Value::Float64(f64::from_le_bytes(self.array()?)),
            Type::Decimal { precision, scale } => self.decimal(precision, scale)?,
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
        })
    }
}

impl<'a> Iterator for Row<'_, 'a> {
    type Item = Result<Value<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let column = self.next;
        let kind = self.schema.columns().get(column)?.kind;
        self.next += 1;
        let is_null = self.nulls[column / 8] & 1 << (column % 8) != 0;
        let mut value = if is_null { Ok(Value::Null) } else { self.value(kind) };
        if self.next == self.schema.columns().len() && value.is_ok() && !self.rest.is_empty() {
            value = Err("bytes after its last value");
        }
        if value.is_err() {
            self.next = self.schema.columns().len();
        }
        Some(value.map_err(|problem| Malformed { column: Some(column), problem }))
    }
}
