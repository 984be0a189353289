//! Writes a row.

use std::fmt;

use crate::{Column, Decimal, LargeDecimal, MAGIC, Nested, Schema, Type, Value};

/// A value that does not have the type of its column, or a missing or additional value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mismatch {
    /// The index of the column, or of the value within a nested one.
    pub column: usize,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the value of column {} does not have the type of its column; report this as a bug",
            self.column
        )
    }
}

impl std::error::Error for Mismatch {}

/// A row in progress, or a list, struct or map within it.
#[derive(Debug)]
pub struct RowWriter<'a> {
    shape: Shape<'a>,
    out: &'a mut Vec<u8>,
    /// Offset of the NULL bits. A list or map gets its count and its bits there at the end.
    start: usize,
    /// NULL bits of a list or map.
    nulls: Vec<u8>,
    /// Number of values so far; keys of a map are values.
    next: usize,
}

/// Types of the values.
#[derive(Debug, Clone, Copy)]
enum Shape<'a> {
    /// One value each.
    Fields(&'a [Column]),
    /// Any number.
    List(&'a Type),
    /// Any number of pairs.
    Map(&'a Type, &'a Type),
}

impl Schema {
    /// Appends a row to `out`.
    ///
    /// # Errors
    /// Fails if the values do not match the columns; `out` then ends with a part of the row.
    pub fn write<'v>(
        &self,
        values: impl IntoIterator<Item = Value<'v>>,
        out: &mut Vec<u8>,
    ) -> Result<(), Mismatch> {
        let mut row = self.begin(out);
        for value in values {
            row.push(value)?;
        }
        row.finish()
    }

    /// Begins a row at the end of `out`.
    pub fn begin<'a>(&'a self, out: &'a mut Vec<u8>) -> RowWriter<'a> {
        out.push(MAGIC);
        RowWriter::new(Shape::Fields(self.columns()), out)
    }
}

impl<'a> RowWriter<'a> {
    fn new(shape: Shape<'a>, out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        if let Shape::Fields(fields) = shape {
            out.resize(start + fields.len().div_ceil(8), 0);
        }
        Self { shape, out, start, nulls: Vec::new(), next: 0 }
    }

    /// Appends the value of the next column: in a list the next item, in a map the next key or its
    /// value.
    ///
    /// # Errors
    /// Fails if it does not have the type of the column, or there are no more columns.
    pub fn push(&mut self, value: Value<'_>) -> Result<(), Mismatch> {
        let mismatch = Mismatch { column: self.next };
        let kind = self.advance(matches!(value, Value::Null))?;
        put(kind, value, self.out).ok_or(mismatch)
    }

    /// Begins the list, struct or map of the next column. Call `finish` of the result.
    ///
    /// # Errors
    /// Fails if the column has another type, or there are no more columns.
    pub fn nest(&mut self) -> Result<RowWriter<'_>, Mismatch> {
        let mismatch = Mismatch { column: self.next };
        let shape = match self.advance(false)? {
            Type::List(item) => Shape::List(item),
            Type::Struct(fields) => Shape::Fields(fields),
            Type::Map { key, value } => Shape::Map(key, value),
            _ => return Err(mismatch),
        };
        Ok(RowWriter::new(shape, self.out))
    }

    /// Returns the type of the next value, and stores whether it is NULL.
    fn advance(&mut self, is_null: bool) -> Result<&'a Type, Mismatch> {
        let at = self.next;
        let mismatch = Mismatch { column: at };
        self.next += 1;
        let (kind, bit) = match self.shape {
            Shape::Fields(fields) => {
                let kind = &fields.get(at).ok_or(mismatch)?.kind;
                self.out[self.start + at / 8] |= u8::from(is_null) << (at % 8);
                return Ok(kind);
            }
            Shape::List(item) => (item, at),
            Shape::Map(key, _) if at.is_multiple_of(2) => {
                return if is_null { Err(mismatch) } else { Ok(key) };
            }
            Shape::Map(_, value) => (value, at / 2),
        };
        if bit.is_multiple_of(8) {
            self.nulls.push(0);
        }
        self.nulls[bit / 8] |= u8::from(is_null) << (bit % 8);
        Ok(kind)
    }

    /// Completes the row, or the list, struct or map.
    ///
    /// # Errors
    /// Fails if columns have no value, or a key of a map has none.
    pub fn finish(self) -> Result<(), Mismatch> {
        let count = match self.shape {
            Shape::Fields(fields) if self.next == fields.len() => return Ok(()),
            Shape::Fields(_) => return Err(Mismatch { column: self.next }),
            Shape::List(_) => self.next,
            Shape::Map(..) if self.next.is_multiple_of(2) => self.next / 2,
            Shape::Map(..) => return Err(Mismatch { column: self.next }),
        };
        let mut head = Vec::with_capacity(5 + self.nulls.len());
        put_length(count, &mut head);
        head.extend_from_slice(&self.nulls);
        self.out.splice(self.start..self.start, head);
        Ok(())
    }
}

/// Decimals of at most this many digits take 8 bytes.
pub(crate) const DIGITS_INT64: u8 = 18;
/// Decimals of at most this many digits take 16 bytes, others 32.
pub(crate) const DIGITS_INT128: u8 = 38;

/// Returns whether a decimal has at most `precision` digits.
pub(crate) fn fits(decimal: Decimal, precision: u8) -> bool {
    decimal.is_nan() || decimal.digits.unsigned_abs() < 10_u128.pow(precision.into())
}

/// Appends a value; `None` if it does not have this type.
fn put(kind: &Type, value: Value<'_>, out: &mut Vec<u8>) -> Option<()> {
    match (kind, value) {
        (_, Value::Null) => {}
        (Type::Bool, Value::Bool(it)) => out.push(it.into()),
        (Type::Int32, Value::Int32(it)) | (Type::Date, Value::Date(it)) => {
            out.extend_from_slice(&it.to_le_bytes());
        }
        (Type::Int64, Value::Int64(it)) => out.extend_from_slice(&it.to_le_bytes()),
        (Type::Uint8, Value::Uint8(it)) => out.push(it),
        (Type::Uint16, Value::Uint16(it)) => out.extend_from_slice(&it.to_le_bytes()),
        (Type::Uint32, Value::Uint32(it)) => out.extend_from_slice(&it.to_le_bytes()),
        (Type::Uint64, Value::Uint64(it)) => out.extend_from_slice(&it.to_le_bytes()),
        (Type::Time, Value::Time(it)) if (0..=crate::NANOS_OF_DAY).contains(&it) => {
            out.extend_from_slice(&it.to_le_bytes());
        }
        (Type::Float32, Value::Float32(it)) => out.extend_from_slice(&it.to_le_bytes()),
        (Type::Float64, Value::Float64(it)) => out.extend_from_slice(&it.to_le_bytes()),
        (Type::Decimal { precision, scale }, Value::Decimal(it)) if it.scale == *scale => {
            return put_decimal(it, *precision, out);
        }
        (Type::Decimal { precision, scale }, Value::LargeDecimal(it)) if it.scale == *scale => {
            return put_large(it, *precision, out);
        }
        (Type::Timestamp, Value::Timestamp(it)) | (Type::TimestampUtc, Value::TimestampUtc(it))
            if it.nanos < crate::NANOS =>
        {
            out.extend_from_slice(&it.seconds.to_le_bytes());
            out.extend_from_slice(&it.nanos.to_le_bytes());
        }
        (Type::Uuid, Value::Uuid(it)) => out.extend_from_slice(&it),
        (Type::Text, Value::Text(it)) | (Type::Json, Value::Json(it)) => {
            put_bytes(it.as_bytes(), out);
        }
        (Type::Bytes, Value::Bytes(it)) => put_bytes(it, out),
        (Type::List(_) | Type::Struct(_) | Type::Map { .. }, value) => {
            return put_nested(kind, value, out);
        }
        _ => return None,
    }
    Some(())
}

/// Copies a nested value of the same type.
fn put_nested(kind: &Type, value: Value<'_>, out: &mut Vec<u8>) -> Option<()> {
    let (Value::List(it) | Value::Struct(it) | Value::Map(it)) = value else { return None };
    let Nested { kind: own, bytes, .. } = it;
    if !std::ptr::eq(own, kind) && own != kind {
        return None;
    }
    if !matches!(kind, Type::Struct(_)) {
        put_length(it.len(), out);
    }
    out.extend_from_slice(bytes);
    Some(())
}

fn put_decimal(decimal: Decimal, precision: u8, out: &mut Vec<u8>) -> Option<()> {
    match precision {
        _ if precision > DIGITS_INT128 || !fits(decimal, precision) => return None,
        ..=DIGITS_INT64 => {
            let digits = if decimal.is_nan() { i64::MIN } else { decimal.digits as i64 };
            out.extend_from_slice(&digits.to_le_bytes());
        }
        _ => out.extend_from_slice(&decimal.digits.to_le_bytes()),
    }
    Some(())
}

fn put_large(decimal: LargeDecimal, precision: u8, out: &mut Vec<u8>) -> Option<()> {
    let fits = decimal.is_nan() || decimal.digits.fits(precision);
    if precision <= DIGITS_INT128 || !fits {
        return None;
    }
    out.extend_from_slice(&decimal.digits.to_le_bytes());
    Some(())
}

fn put_length(length: usize, out: &mut Vec<u8>) {
    let mut length = length as u64;
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_length(bytes.len(), out);
    out.extend_from_slice(bytes);
}
