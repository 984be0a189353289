//! Values of a column that wait for their row group.

use std::mem;

use ::parquet::basic::Type as Physical;
use ::parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArray,
    FixedLenByteArrayType, FloatType, Int32Type, Int64Type,
};
use ::parquet::errors::Result;
use ::parquet::file::writer::SerializedColumnWriter;
use bytes::Bytes;

use super::column::Column;
use super::value::Value;

/// Byte array rows per call of the library, which needs a handle for each.
const AT_ONCE: usize = 8 << 10;

/// Values in memory.
enum Values {
    Bool(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    /// Concatenated texts, and the end of each.
    Bytes(Vec<u8>, Vec<usize>),
    Fixed(Vec<FixedLenByteArray>),
}

/// A column of a row group in memory.
pub(super) struct Buffer {
    values: Values,
    /// Whether each row has a value; `None` if all have.
    levels: Option<Vec<i16>>,
}

impl Buffer {
    /// Creates an empty buffer.
    pub(super) fn new(column: &Column) -> Self {
        let levels = (!column.required).then(Vec::new);
        let values = match column.kind.physical() {
            Physical::BOOLEAN => Values::Bool(Vec::new()),
            Physical::INT32 => Values::Int32(Vec::new()),
            Physical::FLOAT => Values::Float(Vec::new()),
            Physical::DOUBLE => Values::Double(Vec::new()),
            Physical::BYTE_ARRAY => Values::Bytes(Vec::new(), Vec::new()),
            Physical::FIXED_LEN_BYTE_ARRAY => Values::Fixed(Vec::new()),
            Physical::INT64 | Physical::INT96 => Values::Int64(Vec::new()),
        };
        Self { values, levels }
    }

    /// Adds the value of a row. Returns the length of its text.
    ///
    /// # Panics
    /// The value has another type.
    pub(super) fn push(&mut self, value: Value<'_>) -> usize {
        if let Some(levels) = &mut self.levels {
            levels.push(i16::from(value != Value::Null));
        }
        match (&mut self.values, value) {
            (_, Value::Null) => {}
            (Values::Bool(values), Value::Bool(value)) => values.push(value),
            (Values::Int32(values), Value::Int32(value)) => values.push(value),
            (Values::Int64(values), Value::Int64(value)) => values.push(value),
            (Values::Float(values), Value::Float(value)) => values.push(value),
            (Values::Double(values), Value::Double(value)) => values.push(value),
            (Values::Fixed(values), Value::Fixed(value)) => {
                values.push(ByteArray::from(&value.to_be_bytes()[..]).into());
            }
            (Values::Bytes(texts, ends), Value::Bytes(value)) => {
                texts.extend_from_slice(&value);
                ends.push(texts.len());
                return value.len();
            }
            _ => unreachable!("a value has the type of its column"),
        }
        0
    }

    /// Writes all values and empties the buffer.
    ///
    /// # Errors
    /// Errors of the library.
    pub(super) fn write(&mut self, out: &mut SerializedColumnWriter<'_>) -> Result<()> {
        let levels = self.levels.as_mut().map(mem::take);
        let levels = levels.as_deref();
        match &mut self.values {
            Values::Bool(values) => all::<BoolType>(out, &mem::take(values), levels),
            Values::Int32(values) => all::<Int32Type>(out, &mem::take(values), levels),
            Values::Int64(values) => all::<Int64Type>(out, &mem::take(values), levels),
            Values::Float(values) => all::<FloatType>(out, &mem::take(values), levels),
            Values::Double(values) => all::<DoubleType>(out, &mem::take(values), levels),
            Values::Fixed(values) => all::<FixedLenByteArrayType>(out, &mem::take(values), levels),
            Values::Bytes(texts, ends) => texts_of(out, mem::take(texts), &mem::take(ends), levels),
        }
    }
}

fn all<T: DataType>(
    out: &mut SerializedColumnWriter<'_>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> Result<()> {
    out.typed::<T>().write_batch(values, levels, None).map(|_| ())
}

fn texts_of(
    out: &mut SerializedColumnWriter<'_>,
    texts: Vec<u8>,
    ends: &[usize],
    levels: Option<&[i16]>,
) -> Result<()> {
    let texts = Bytes::from(texts);
    let rows = levels.map_or(ends.len(), <[i16]>::len);
    let (mut start, mut at) = (0, 0);
    for first in (0..rows).step_by(AT_ONCE) {
        let place = first..rows.min(first + AT_ONCE);
        let levels = levels.map(|levels| &levels[place.clone()]);
        let count =
            levels.map_or(place.len(), |levels| levels.iter().filter(|it| **it > 0).count());
        let values = ends[at..at + count].iter().map(|end| {
            let text = texts.slice(start..*end);
            start = *end;
            ByteArray::from(text)
        });
        let values: Vec<ByteArray> = values.collect();
        at += count;
        out.typed::<ByteArrayType>().write_batch(&values, levels, None)?;
    }
    Ok(())
}
