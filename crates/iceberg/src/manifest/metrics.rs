//! Statistics of columns in a manifest, by which readers skip files.
//!
//! Bounds of texts and bytes are cut like Iceberg does by default: to 16 characters or bytes, and
//! an upper bound is rounded up. If that is not possible, the bound is absent: readers then read a
//! file that they might have skipped, never the other way round.

use formats::avro::datum::{put_bytes, put_long};
use pipeline::{BoundValue, ColumnStatistics};
use serde_json::{Value, json};

use crate::avro::{optional, put_optional, record};
use crate::schema::{Schema, type_name};

/// Maximum number of columns with statistics, as in Iceberg.
const COLUMNS_MAX: usize = 100;
/// Maximum length of a bound, in characters or bytes.
const LENGTH_MAX: usize = 16;

/// Ids of the fields, of their keys and of their values.
const FIELDS: [([i32; 3], &str, &str); 6] = [
    ([108, 117, 118], "column_sizes", "long"),
    ([109, 119, 120], "value_counts", "long"),
    ([110, 121, 122], "null_value_counts", "long"),
    ([137, 138, 139], "nan_value_counts", "long"),
    ([125, 126, 127], "lower_bounds", "bytes"),
    ([128, 129, 130], "upper_bounds", "bytes"),
];

/// Returns the fields of a data file: lists of pairs, because keys of maps are texts in Avro.
pub(super) fn fields() -> impl Iterator<Item = Value> {
    FIELDS.into_iter().map(|([id, key, value], name, kind)| {
        let pair = record(
            &format!("k{key}_v{value}"),
            vec![
                json!({"name": "key", "type": "int", "field-id": key}),
                json!({"name": "value", "type": kind, "field-id": value}),
            ],
        );
        optional(id, name, json!({"type": "array", "logicalType": "map", "items": pair}))
    })
}

/// Writes the values of the fields.
pub(super) fn put(out: &mut Vec<u8>, columns: &[ColumnStatistics], schema: &Schema) {
    let columns = &columns[..columns.len().min(COLUMNS_MAX)];
    let counts: [fn(&ColumnStatistics) -> Option<u64>; 4] =
        [|it| Some(it.bytes), |it| Some(it.values), |it| it.nulls, |it| it.nans];
    for count in counts {
        let pairs = columns.iter().filter_map(|it| Some((it.id, count(it)?)));
        put_pairs(out, pairs.collect(), |out, count| put_long(out, count as i64));
    }
    for side in [Side::Lower, Side::Upper] {
        let pairs = columns.iter().filter_map(|column| {
            let kind = type_name(&schema.field(column.id)?.kind);
            let (lower, upper) = column.bounds.as_ref()?;
            let value = if side == Side::Lower { lower } else { upper };
            Some((column.id, bound(&kind, value, side)?))
        });
        put_pairs(out, pairs.collect(), |out, bound| put_bytes(out, &bound));
    }
}

/// Writes pairs, or null if there are none.
fn put_pairs<T>(out: &mut Vec<u8>, pairs: Vec<(i32, T)>, put: impl Fn(&mut Vec<u8>, T)) {
    put_optional(out, (!pairs.is_empty()).then_some(pairs), |out, pairs| {
        put_long(out, pairs.len() as i64);
        for (id, value) in pairs {
            put_long(out, id.into());
            put(out, value);
        }
        put_long(out, 0);
    });
}

/// The side of a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Lower,
    Upper,
}

/// Returns a bound of a column of this type in the table, in its binary form; `None` if it cannot
/// be expressed.
pub(crate) fn bound(kind: &str, value: &BoundValue, side: Side) -> Option<Vec<u8>> {
    let is_lower = side == Side::Lower;
    // Both zeros are equal, but some readers compare their bits.
    let zero = if is_lower { -0.0 } else { 0.0 };
    match (kind, value) {
        ("boolean", BoundValue::Bool(value)) => Some(vec![u8::from(*value)]),
        ("int" | "date", BoundValue::Int(value)) => Some(value.to_le_bytes().to_vec()),
        ("long", BoundValue::Int(value)) => Some(i64::from(*value).to_le_bytes().to_vec()),
        ("long" | "timestamp" | "timestamptz", BoundValue::Long(value)) => {
            Some(value.to_le_bytes().to_vec())
        }
        ("float", BoundValue::Float(value)) => {
            let value = if *value == 0.0 { zero } else { *value };
            Some(value.to_le_bytes().to_vec())
        }
        ("double", BoundValue::Float(_) | BoundValue::Double(_)) => {
            let value = match value {
                BoundValue::Float(value) => f64::from(*value),
                BoundValue::Double(value) => *value,
                _ => return None,
            };
            let value = if value == 0.0 { f64::from(zero) } else { value };
            Some(value.to_le_bytes().to_vec())
        }
        ("string", BoundValue::Bytes(text)) => text_bound(text, side),
        ("binary", BoundValue::Bytes(bytes)) if is_lower => {
            Some(bytes[..bytes.len().min(LENGTH_MAX)].to_vec())
        }
        ("binary", BoundValue::Bytes(bytes)) => upper_bytes(bytes),
        (decimal, BoundValue::Decimal(digits)) if decimal.starts_with("decimal(") => {
            Some(shortest(*digits))
        }
        _ => None,
    }
}

/// Returns a whole number as big-endian bytes, as few as possible.
fn shortest(number: i128) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let extra = bytes.windows(2).take_while(|pair| {
        let is_same_sign = pair[1] >> 7 == u8::from(number < 0);
        is_same_sign && pair[0] == if number < 0 { 0xff } else { 0 }
    });
    bytes[extra.count()..].to_vec()
}

/// Returns a bound of texts. The text may end in the middle of a character.
fn text_bound(text: &[u8], side: Side) -> Option<Vec<u8>> {
    let whole = match std::str::from_utf8(text) {
        Ok(text) => text,
        // A beginning is a lower bound, but no upper one.
        Err(error) if side == Side::Lower => {
            std::str::from_utf8(&text[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let Some((end, _)) = whole.char_indices().nth(LENGTH_MAX) else { return Some(whole.into()) };
    let begin = &whole[..end];
    if side == Side::Lower {
        return Some(begin.into());
    }
    begin.char_indices().rev().find_map(|(at, character)| {
        let next = match u32::from(character) + 1 {
            // No characters are there.
            0xd800 => '\u{e000}',
            next => char::from_u32(next)?,
        };
        Some(format!("{}{next}", &begin[..at]).into_bytes())
    })
}

fn upper_bytes(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.len() <= LENGTH_MAX {
        return Some(bytes.to_vec());
    }
    let last = bytes[..LENGTH_MAX].iter().rposition(|byte| *byte < u8::MAX)?;
    let mut upper = bytes[..=last].to_vec();
    upper[last] += 1;
    Some(upper)
}

#[cfg(test)]
mod tests;
