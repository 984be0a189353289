//! Reads the statistics of columns from the footer of a file.
//!
//! Only columns at the top level have statistics: nested ones have several values in a row. Bounds
//! of numbers with a floating point need a known number of NaN, because a NaN is outside of them.

use std::cmp::Ordering;

use ::parquet::basic::ConvertedType;
use ::parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use ::parquet::file::statistics::Statistics;
use pipeline::{BoundValue, ColumnStatistics, FileEnd};

/// Bytes after the footer: its length, and the end marker.
const END: usize = 8;

/// Reads the last bytes of a file. A damaged footer has no statistics.
pub(super) fn read(end: &[u8]) -> FileEnd {
    let Some((rest, tail)) = end.split_last_chunk::<END>() else {
        return FileEnd::Needs(END as u64);
    };
    let length = u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]) as usize;
    if length > rest.len() {
        return FileEnd::Needs(length as u64 + END as u64);
    }
    let footer = ParquetMetaDataReader::decode_metadata(&rest[rest.len() - length..]);
    FileEnd::Statistics(footer.map(|footer| of_columns(&footer)).unwrap_or_default())
}

fn of_columns(footer: &ParquetMetaData) -> Vec<ColumnStatistics> {
    let columns = footer.file_metadata().schema_descr().columns().iter().enumerate();
    let of_column = |(at, column): (usize, &::parquet::schema::types::ColumnDescPtr)| {
        let info = column.self_type().get_basic_info();
        let is_top = column.path().parts().len() == 1 && column.max_rep_level() == 0;
        let id = (is_top && info.has_id()).then(|| info.id())?;
        let chunks = footer.row_groups().iter().map(|group| group.column(at));
        chunks.map(|chunk| of_chunk(id, chunk)).reduce(|one, other| join(&one, &other))
    };
    columns.filter_map(of_column).collect()
}

fn of_chunk(id: i32, chunk: &ColumnChunkMetaData) -> ColumnStatistics {
    let statistics = chunk.statistics();
    let values = chunk.num_values().unsigned_abs();
    let nulls = statistics.and_then(Statistics::null_count_opt);
    let (bounds, nans) = match statistics {
        None => (None, None),
        Some(statistics) => {
            let is_decimal = chunk.column_descr().converted_type() == ConvertedType::DECIMAL;
            // Old writers, which this flag stands for, ordered some types in another way.
            let is_ordered = !statistics.is_min_max_deprecated();
            let bounds = is_ordered.then(|| bounds(statistics, is_decimal)).flatten();
            (bounds, statistics.nan_count_opt())
        }
    };
    let is_float = matches!(statistics, Some(Statistics::Float(_) | Statistics::Double(_)));
    // The writer counts no NaN if all values are nulls.
    let nans = nans.or((nulls == Some(values)).then_some(0)).filter(|_| is_float);
    let bounds = bounds.filter(|_| !is_float || nans.is_some());
    let bytes = chunk.compressed_size().unsigned_abs();
    ColumnStatistics { id, bytes, values, nulls, nans, bounds }
}

/// Returns the bounds; `None` if there are none, or only of NaN.
fn bounds(statistics: &Statistics, is_decimal: bool) -> Option<(BoundValue, BoundValue)> {
    fn both<T: Clone>(
        (low, high): (Option<&T>, Option<&T>),
        bound: impl Fn(T) -> Option<BoundValue>,
    ) -> Option<(BoundValue, BoundValue)> {
        Some((bound(low?.clone())?, bound(high?.clone())?))
    }
    let decimal = |bytes: &[u8]| {
        let mut whole = match bytes.first()? >> 7 {
            0 => [0; 16],
            _ => [0xff; 16],
        };
        whole.get_mut(16_usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
        Some(BoundValue::Decimal(i128::from_be_bytes(whole)))
    };
    match statistics {
        Statistics::Boolean(it) => {
            both((it.min_opt(), it.max_opt()), |value| Some(BoundValue::Bool(value)))
        }
        Statistics::Int32(it) => both((it.min_opt(), it.max_opt()), |value| {
            Some(if is_decimal {
                BoundValue::Decimal(value.into())
            } else {
                BoundValue::Int(value)
            })
        }),
        Statistics::Int64(it) => both((it.min_opt(), it.max_opt()), |value| {
            Some(if is_decimal {
                BoundValue::Decimal(value.into())
            } else {
                BoundValue::Long(value)
            })
        }),
        Statistics::Float(it) => both((it.min_opt(), it.max_opt()), |value| {
            (!value.is_nan()).then_some(BoundValue::Float(value))
        }),
        Statistics::Double(it) => both((it.min_opt(), it.max_opt()), |value| {
            (!value.is_nan()).then_some(BoundValue::Double(value))
        }),
        Statistics::ByteArray(it) if !is_decimal => both((it.min_opt(), it.max_opt()), |value| {
            Some(BoundValue::Bytes(value.data().to_vec()))
        }),
        Statistics::FixedLenByteArray(it) if is_decimal => {
            both((it.min_opt(), it.max_opt()), |value| decimal(value.data()))
        }
        _ => None,
    }
}

/// Combines the statistics of two row groups.
fn join(one: &ColumnStatistics, other: &ColumnStatistics) -> ColumnStatistics {
    let sum = |one: Option<u64>, other: Option<u64>| Some(one? + other?);
    let has_values = |it: &ColumnStatistics| {
        it.nulls.is_none_or(|nulls| it.values > nulls + it.nans.unwrap_or(0))
    };
    let bounds = match (&one.bounds, &other.bounds) {
        // A row group with nulls and NaN only has no bounds, and needs none.
        (None, bounds) if !has_values(one) => bounds.clone(),
        (bounds, None) if !has_values(other) => bounds.clone(),
        (Some(one), Some(other)) => joined(one, other),
        _ => None,
    };
    ColumnStatistics {
        id: one.id,
        bytes: one.bytes + other.bytes,
        values: one.values + other.values,
        nulls: sum(one.nulls, other.nulls),
        nans: sum(one.nans, other.nans),
        bounds,
    }
}

fn joined(
    one: &(BoundValue, BoundValue),
    other: &(BoundValue, BoundValue),
) -> Option<(BoundValue, BoundValue)> {
    let low = match one.0.compare(&other.0)? {
        Ordering::Greater => &other.0,
        _ => &one.0,
    };
    let high = match one.1.compare(&other.1)? {
        Ordering::Less => &other.1,
        _ => &one.1,
    };
    Some((low.clone(), high.clone()))
}

#[cfg(test)]
mod tests;
