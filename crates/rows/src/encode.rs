//! Writes a row.

use std::fmt;

use crate::{Decimal, MAGIC, Schema, Type, Value};

/// A value that does not have the type of its column, or a missing or additional value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mismatch {
    /// The index of the column.
    pub column: usize,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the value of column {} does not have its type", self.column)
    }
}

impl std::error::Error for Mismatch {}

/// A row in progress.
#[derive(Debug)]
pub struct RowWriter<'a> {
    schema: &'a Schema,
    out: &'a mut Vec<u8>,
    /// Offset of the NULL bits.
    nulls: usize,
    /// The next column.
    next: usize,
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
        let nulls = out.len();
        out.resize(nulls + self.null_bytes(), 0);
        RowWriter { schema: self, out, nulls, next: 0 }
    }
}

impl RowWriter<'_> {
    /// Appends the value of the next column.
    ///
    /// # Errors
    /// Fails if it does not have the type of the column, or there are no more columns.
    pub fn push(&mut self, value: Value<'_>) -> Result<(), Mismatch> {
        let column = self.next;
        let mismatch = Mismatch { column };
        let kind = self.schema.columns().get(column).ok_or(mismatch)?.kind;
        self.next += 1;
        let out = &mut *self.out;
        match (kind, value) {
            (_, Value::Null) => out[self.nulls + column / 8] |= 1 << (column % 8),
            (Type::Bool, Value::Bool(it)) => out.push(it.into()),
            (Type::Int32, Value::Int32(it)) | (Type::Date, Value::Date(it)) => {
                out.extend_from_slice(&it.to_le_bytes());
            }
            (Type::Int64, Value::Int64(it)) => out.extend_from_slice(&it.to_le_bytes()),
            (Type::Time, Value::Time(it)) if (0..=crate::NANOS_OF_DAY).contains(&it) => {
                out.extend_from_slice(&it.to_le_bytes());
            }
            (Type::Float32, Value::Float32(it)) => out.extend_from_slice(&it.to_le_bytes()),
            (Type::Float64, Value::Float64(it)) => out.extend_from_slice(&it.to_le_bytes()),
            (Type::Decimal { precision, scale }, Value::Decimal(it)) => {
                let fits = it.scale == scale && fits(it, precision);
                return if fits { put_decimal(it, precision, out) } else { Err(mismatch) };
            }
            (Type::Timestamp, Value::Timestamp(it))
            | (Type::TimestampUtc, Value::TimestampUtc(it))
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
            _ => return Err(mismatch),
        }
        Ok(())
    }

    /// Completes the row.
    ///
    /// # Errors
    /// Fails if columns have no value.
    pub fn finish(self) -> Result<(), Mismatch> {
        let is_complete = self.next == self.schema.columns().len();
        if is_complete { Ok(()) } else { Err(Mismatch { column: self.next }) }
    }
}

/// Decimals of at most this many digits take 8 bytes, others 16.
pub(crate) const DIGITS_INT64: u8 = 18;

/// Returns whether a decimal has at most `precision` digits.
pub(crate) fn fits(decimal: Decimal, precision: u8) -> bool {
    decimal.is_nan() || decimal.digits.unsigned_abs() < 10_u128.pow(precision.into())
}

fn put_decimal(decimal: Decimal, precision: u8, out: &mut Vec<u8>) -> Result<(), Mismatch> {
    match precision {
        ..=DIGITS_INT64 => {
            let digits = if decimal.is_nan() { i64::MIN } else { decimal.digits as i64 };
            out.extend_from_slice(&digits.to_le_bytes());
        }
        _ => out.extend_from_slice(&decimal.digits.to_le_bytes()),
    }
    Ok(())
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    let mut length = bytes.len() as u64;
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
}
