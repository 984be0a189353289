//! Partition transforms of bounds: the value that all rows of a file have, if it is certain.
//!
//! `identity`, `truncate`, `year`, `month`, `day` and `hour` keep the order of values. So if they
//! map the lower and the upper bound of a column to one value, they map every value of the file to
//! it. `bucket` does not keep the order: it is certain only if all values are equal. `void` is
//! always NULL.

use pipeline::{BoundValue, ColumnStatistics};
use serde_json::{Value, json};

use crate::partition::PartitionValue;

/// Microseconds of an hour and a day.
const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

/// The type of a column that can be a source of partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Text,
    Bytes,
    Int,
    Long,
    Date,
    /// Microseconds since 1970.
    Time,
}

/// A partition transform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transform {
    Identity,
    Void,
    /// Multiples of the width; or a beginning with this many characters or bytes.
    Truncate(i64),
    /// Hash modulo this number.
    Bucket(u32),
    Year,
    Month,
    Day,
    Hour,
}

impl Source {
    /// Returns the type with this name in a schema.
    pub(crate) fn parse(kind: &str) -> Option<Self> {
        match kind {
            "string" => Some(Self::Text),
            "binary" => Some(Self::Bytes),
            "int" => Some(Self::Int),
            "long" => Some(Self::Long),
            "date" => Some(Self::Date),
            "timestamp" | "timestamptz" => Some(Self::Time),
            _ => None,
        }
    }

    /// Returns its type in Avro; `kind` is its name.
    fn avro(self, kind: &str) -> Value {
        match self {
            Self::Text => json!("string"),
            Self::Bytes => json!("bytes"),
            Self::Int => json!("int"),
            Self::Long => json!("long"),
            Self::Date => json!({"type": "int", "logicalType": "date"}),
            Self::Time => json!({"type": "long", "logicalType": "timestamp-micros",
                "adjust-to-utc": kind == "timestamptz"}),
        }
    }
}

impl Transform {
    /// Parses the name of a transform, such as `bucket[16]`; `None` if it is unknown or does not
    /// apply to this type.
    pub(crate) fn parse(name: &str, source: Source) -> Option<Self> {
        let is_time = matches!(source, Source::Date | Source::Time);
        let width = |prefix: &str| -> Option<u32> {
            name.strip_prefix(prefix)?.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
        };
        match name {
            "identity" => Some(Self::Identity),
            "void" => Some(Self::Void),
            "year" if is_time => Some(Self::Year),
            "month" if is_time => Some(Self::Month),
            "day" if is_time => Some(Self::Day),
            "hour" if source == Source::Time => Some(Self::Hour),
            _ => {
                let bucket = width("bucket").filter(|it| (1..=i32::MAX as u32).contains(it));
                let truncate = width("truncate").filter(|it| *it > 0 && !is_time);
                let truncate = truncate.map(|width| Self::Truncate(width.into()));
                bucket.map(Self::Bucket).or(truncate)
            }
        }
    }

    /// Returns the type of its values in Avro.
    pub(crate) fn avro(self, source: Source, kind: &str) -> Value {
        match self {
            Self::Bucket(_) | Self::Year | Self::Month | Self::Hour => json!("int"),
            Self::Day => Source::Date.avro(kind),
            Self::Identity | Self::Void | Self::Truncate(_) => source.avro(kind),
        }
    }

    /// Returns the value that all rows of a file have, from the statistics of the column; `None` if
    /// it is not certain that all have the same.
    pub(crate) fn of_all(
        self,
        source: Source,
        column: Option<&ColumnStatistics>,
    ) -> Option<Option<PartitionValue>> {
        if self == Self::Void {
            return Some(None);
        }
        let column = column?;
        match column.nulls? {
            0 => {}
            nulls if nulls == column.values => return Some(None),
            _ => return None,
        }
        let (lower, upper) = column.bounds.as_ref()?;
        if matches!(self, Self::Bucket(_)) && lower != upper {
            return None;
        }
        let values = [self.of(source, lower)?, self.of(source, upper)?];
        let [value, other] = values;
        (value == other).then_some(Some(value))
    }

    /// Transforms a value. The value of a text may be cut, but not to less than one character more
    /// than the width.
    fn of(self, source: Source, value: &BoundValue) -> Option<PartitionValue> {
        let whole = match value {
            BoundValue::Int(number) => Some(i64::from(*number)),
            BoundValue::Long(number) => Some(*number),
            _ => None,
        };
        match (self, source, value) {
            (_, Source::Text, BoundValue::Bytes(bytes)) => {
                let text = std::str::from_utf8(bytes).ok()?;
                self.of_text(text)
            }
            (_, Source::Bytes, BoundValue::Bytes(bytes)) => self.of_bytes(bytes),
            (_, Source::Int | Source::Long, _) => {
                let number = whole?;
                let truncated = match self {
                    Self::Identity => number,
                    Self::Truncate(width) => number.checked_sub(number.rem_euclid(width))?,
                    Self::Bucket(count) => return Some(bucket(&number.to_le_bytes(), count)),
                    _ => return None,
                };
                match source {
                    Source::Int => i32::try_from(truncated).ok().map(PartitionValue::Int),
                    _ => Some(PartitionValue::Long(truncated)),
                }
            }
            (_, Source::Date | Source::Time, _) => self.of_time(source, whole?),
            _ => None,
        }
    }

    fn of_text(self, text: &str) -> Option<PartitionValue> {
        match self {
            Self::Identity => Some(PartitionValue::Text(text.to_owned())),
            Self::Truncate(width) => {
                let width = usize::try_from(width).ok()?;
                let end = text.char_indices().nth(width).map_or(text.len(), |(end, _)| end);
                Some(PartitionValue::Text(text[..end].to_owned()))
            }
            Self::Bucket(count) => Some(bucket(text.as_bytes(), count)),
            _ => None,
        }
    }

    fn of_bytes(self, bytes: &[u8]) -> Option<PartitionValue> {
        match self {
            Self::Identity => Some(PartitionValue::Bytes(bytes.to_vec())),
            Self::Truncate(width) => {
                let width = usize::try_from(width).ok()?;
                Some(PartitionValue::Bytes(bytes[..bytes.len().min(width)].to_vec()))
            }
            Self::Bucket(count) => Some(bucket(bytes, count)),
            _ => None,
        }
    }

    /// Transforms days or microseconds since 1970.
    fn of_time(self, source: Source, number: i64) -> Option<PartitionValue> {
        let micros = source == Source::Time;
        let days = if micros { number.div_euclid(DAY) } else { number };
        let date = || {
            let days = jiff::Span::new().try_days(days).ok()?;
            jiff::civil::date(1970, 1, 1).checked_add(days).ok()
        };
        let whole = match self {
            Self::Identity if micros => return Some(PartitionValue::Long(number)),
            Self::Bucket(count) => return Some(bucket(&number.to_le_bytes(), count)),
            Self::Identity | Self::Day => days,
            Self::Hour => number.div_euclid(HOUR),
            Self::Year => i64::from(date()?.year()) - 1970,
            Self::Month => {
                let date = date()?;
                (i64::from(date.year()) - 1970) * 12 + i64::from(date.month()) - 1
            }
            Self::Truncate(_) | Self::Void => return None,
        };
        i32::try_from(whole).ok().map(PartitionValue::Int)
    }
}

/// Returns the bucket of a value.
fn bucket(bytes: &[u8], count: u32) -> PartitionValue {
    let hash = murmur3(bytes) & i32::MAX as u32;
    PartitionValue::Int((hash % count) as i32)
}

/// The hash Murmur3 with 32 bits and the seed 0.
fn murmur3(bytes: &[u8]) -> u32 {
    let mix = |word: u32| word.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let (words, rest) = bytes.as_chunks::<4>();
    let mut hash = words.iter().fold(0_u32, |hash, word| {
        let hash = (hash ^ mix(u32::from_le_bytes(*word))).rotate_left(13);
        hash.wrapping_mul(5).wrapping_add(0xe654_6b64)
    });
    let tail = rest.iter().rev().fold(0, |tail, byte| tail << 8 | u32::from(*byte));
    hash ^= mix(tail);
    hash ^= bytes.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests;
