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

use super::nest::Cell;
use super::shape::Leaf;
use super::value::Value;

/// Byte array values per call of the library, which needs a handle for each.
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

/// A leaf of a row group in memory.
pub(super) struct Buffer {
    values: Values,
    /// How many of the fields around each value exist; `None` if all must exist.
    defs: Option<Vec<i16>>,
    /// In which list each value begins a new item; `None` outside of lists.
    reps: Option<Vec<i16>>,
    /// Definition level of a value.
    max_def: i16,
}

/// Levels of the values that are written.
#[derive(Clone, Copy)]
struct Levels<'a> {
    defs: Option<&'a [i16]>,
    reps: Option<&'a [i16]>,
    max_def: i16,
}

impl Buffer {
    /// Creates an empty buffer.
    pub(super) fn new(leaf: &Leaf) -> Self {
        let defs = (leaf.max_def > 0).then(Vec::new);
        let reps = (leaf.max_rep > 0).then(Vec::new);
        let values = match leaf.kind.physical() {
            Physical::BOOLEAN => Values::Bool(Vec::new()),
            Physical::INT32 => Values::Int32(Vec::new()),
            Physical::FLOAT => Values::Float(Vec::new()),
            Physical::DOUBLE => Values::Double(Vec::new()),
            Physical::BYTE_ARRAY => Values::Bytes(Vec::new(), Vec::new()),
            Physical::FIXED_LEN_BYTE_ARRAY => Values::Fixed(Vec::new()),
            Physical::INT64 | Physical::INT96 => Values::Int64(Vec::new()),
        };
        Self { values, defs, reps, max_def: leaf.max_def }
    }

    /// Adds a value, or a place without a value. Returns the length of its text.
    ///
    /// # Panics
    /// The value has another type.
    pub(super) fn push(&mut self, Cell { value, def, rep, .. }: Cell<'_>) -> usize {
        if let Some(defs) = &mut self.defs {
            defs.push(def);
        }
        if let Some(reps) = &mut self.reps {
            reps.push(rep);
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
            (Values::Fixed(values), Value::Wide(value)) => {
                let mut bytes = value.to_le_bytes();
                bytes.reverse();
                values.push(ByteArray::from(&bytes[..]).into());
            }
            (
                Values::Bytes(texts, ends),
                value @ (Value::Bytes(_) | Value::Text(_) | Value::Json(_)),
            ) => {
                let length = value.put(texts);
                ends.push(texts.len());
                return length;
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
        let (defs, reps) = (self.defs.as_mut().map(mem::take), self.reps.as_mut().map(mem::take));
        let levels = Levels { defs: defs.as_deref(), reps: reps.as_deref(), max_def: self.max_def };
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
    levels: Levels<'_>,
) -> Result<()> {
    out.typed::<T>().write_batch(values, levels.defs, levels.reps).map(|_| ())
}

fn texts_of(
    out: &mut SerializedColumnWriter<'_>,
    texts: Vec<u8>,
    ends: &[usize],
    levels: Levels<'_>,
) -> Result<()> {
    let texts = Bytes::from(texts);
    let places = levels.defs.map_or(ends.len(), <[i16]>::len);
    let (mut start, mut at, mut first) = (0, 0, 0);
    while first < places {
        let mut end = places.min(first + AT_ONCE);
        // A call begins with a row, not within a list.
        while levels.reps.is_some_and(|reps| end < places && reps[end] > 0) {
            end += 1;
        }
        let defs = levels.defs.map(|defs| &defs[first..end]);
        let is_value = |def: &&i16| **def == levels.max_def;
        let count = defs.map_or(end - first, |defs| defs.iter().filter(is_value).count());
        let values = ends[at..at + count].iter().map(|end| {
            let text = texts.slice(start..*end);
            start = *end;
            ByteArray::from(text)
        });
        let values: Vec<ByteArray> = values.collect();
        at += count;
        let reps = levels.reps.map(|reps| &reps[first..end]);
        out.typed::<ByteArrayType>().write_batch(&values, defs, reps)?;
        first = end;
    }
    Ok(())
}
