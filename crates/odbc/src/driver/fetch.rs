//! Columns and rows: in blocks where sizes are known and small, else one by one, in pieces.

use odbc_api::buffers::{AnyColumnBufferSlice, BufferDesc, ColumnarDynBuffer};
use odbc_api::parameter::{Binary, VarCell, VarKind, WideText};
use odbc_api::{
    Bit, ColumnDescription, Cursor, CursorImpl, CursorRow, DataType, Nullable, ResultSetMetadata,
};

use super::to_problem;
use crate::types::{Column, Kind, Problem, Value};
use crate::{BLOCK_BYTES, VALUE_BYTES_MAX};

/// Longest text or bytes that are fetched in blocks.
const SHORT: usize = 4000;
/// Rows of a block at most.
const BLOCK_ROWS: usize = 1000;
/// Units of a piece of a long value.
const PIECE: usize = 2048;
/// Pieces of a value at most, so that a driver that never says that it ends is given up.
const PIECES_MAX: usize = VALUE_BYTES_MAX / PIECE;

/// Numbers of types that the standard does not have, and drivers do.
mod numbers {
    pub(super) const GUID: i16 = -11;
    /// `datetimeoffset` of SQL Server.
    pub(super) const OFFSET: i16 = -155;
    /// `time` of SQL Server.
    pub(super) const TIME: i16 = -154;
    /// `xml` of SQL Server.
    pub(super) const XML: i16 = -152;
}

pub(super) fn described<S: odbc_api::handles::Statement>(
    cursor: &mut CursorImpl<S>,
) -> Result<Vec<Column>, Problem> {
    let count = cursor.num_result_cols().map_err(|error| to_problem(&error))?;
    let mut columns = Vec::new();
    for number in 1..=u16::try_from(count).unwrap_or_default() {
        let mut said = ColumnDescription::default();
        cursor.describe_col(number, &mut said).map_err(|error| to_problem(&error))?;
        let name = String::from_utf16_lossy(&said.name);
        let (mut kind, length) = kind_of(&said.data_type);
        let counts = matches!(kind, Kind::Int32 | Kind::Int64);
        if counts && cursor.column_is_unsigned(number).unwrap_or(false) {
            kind = match said.data_type {
                DataType::BigInt => Kind::Unsigned,
                DataType::Integer => Kind::Int64,
                _ => kind,
            };
        }
        columns.push(Column { name, kind, length });
    }
    Ok(columns)
}

fn kind_of(of: &DataType) -> (Kind, Option<usize>) {
    use DataType as T;
    let long = |length: Option<std::num::NonZeroUsize>| length.map(usize::from);
    match *of {
        T::Char { length }
        | T::WChar { length }
        | T::Varchar { length }
        | T::WVarchar { length } => (Kind::Text, long(length)),
        T::LongVarchar { .. } | T::WLongVarchar { .. } => (Kind::Text, None),
        T::Numeric { precision, scale } | T::Decimal { precision, scale } => {
            let scale = u32::try_from(scale);
            let precision = scale.map_or(0, |_| u32::try_from(precision).unwrap_or(0));
            (Kind::Decimal { precision, scale: scale.unwrap_or(0) }, None)
        }
        T::Integer | T::SmallInt | T::TinyInt => (Kind::Int32, None),
        T::BigInt => (Kind::Int64, None),
        T::Bit => (Kind::Bool, None),
        T::Real => (Kind::Single, None),
        T::Float { precision } if precision <= 24 => (Kind::Single, None),
        T::Float { .. } | T::Double => (Kind::Double, None),
        T::Date => (Kind::Date, Some(16)),
        T::Time { .. } => (Kind::Time, Some(32)),
        T::Timestamp { .. } => (Kind::Timestamp, Some(40)),
        T::Varbinary { length } | T::Binary { length } => (Kind::Bytes, long(length)),
        T::LongVarbinary { .. } => (Kind::Bytes, None),
        T::Other { data_type, .. } => match data_type.0 {
            numbers::GUID => (Kind::Guid, Some(40)),
            numbers::OFFSET => (Kind::Offset, Some(48)),
            numbers::TIME => (Kind::Time, Some(32)),
            numbers::XML => (Kind::Text, None),
            _ => (Kind::Other, None),
        },
        T::Unknown => (Kind::Other, None),
    }
}

/// The buffer of a column in a block; `None` where its size is not known or large.
pub(super) fn buffer(column: &Column) -> Option<BufferDesc> {
    let nullable = true;
    let short = column.length.filter(|length| *length <= SHORT);
    Some(match column.kind {
        Kind::Bool => BufferDesc::Bit { nullable },
        Kind::Int32 | Kind::Int64 => BufferDesc::I64 { nullable },
        Kind::Single => BufferDesc::F32 { nullable },
        Kind::Double => BufferDesc::F64 { nullable },
        Kind::Unsigned => BufferDesc::WText { max_str_len: 24 },
        Kind::Decimal { precision, .. } if precision > 0 => {
            BufferDesc::WText { max_str_len: precision as usize + 8 }
        }
        Kind::Bytes => BufferDesc::Binary { max_bytes: short? },
        // A sign of a text may be two units.
        _ => BufferDesc::WText { max_str_len: 2 * short? },
    })
}

fn bytes_of(buffer: BufferDesc) -> usize {
    match buffer {
        BufferDesc::WText { max_str_len } => 2 * max_str_len + 10,
        BufferDesc::Binary { max_bytes } => max_bytes + 8,
        _ => 16,
    }
}

pub(super) fn by_blocks(
    cursor: impl Cursor,
    columns: &[Column],
    buffers: &[BufferDesc],
    each: &mut dyn FnMut(Vec<Value>) -> bool,
) -> Result<(), Problem> {
    let bytes: usize = buffers.iter().copied().map(bytes_of).sum();
    let rows = (BLOCK_BYTES / bytes.max(1)).clamp(1, BLOCK_ROWS);
    let block = ColumnarDynBuffer::from_descs(rows, buffers.iter().copied());
    let mut cursor = cursor.bind_buffer(block).map_err(|error| to_problem(&error))?;
    while let Some(block) =
        cursor.fetch_with_truncation_check(true).map_err(|error| to_problem(&error))?
    {
        for row in 0..block.num_rows() {
            let value = |(at, column): (usize, &Column)| in_block(block.column(at), column, row);
            if !each(columns.iter().enumerate().map(value).collect()) {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn in_block(slice: AnyColumnBufferSlice<'_>, column: &Column, row: usize) -> Value {
    let value = match column.kind {
        Kind::Bool => {
            let value = slice.as_nullable_slice::<Bit>().and_then(|it| it.get(row).copied());
            value.map(|bit| Value::Bool(bit.0 != 0))
        }
        Kind::Int32 | Kind::Int64 => {
            slice.as_nullable_slice().and_then(|it| it.get(row).copied()).map(Value::Int)
        }
        Kind::Single => {
            slice.as_nullable_slice().and_then(|it| it.get(row).copied()).map(Value::Single)
        }
        Kind::Double => {
            slice.as_nullable_slice().and_then(|it| it.get(row).copied()).map(Value::Double)
        }
        Kind::Bytes => {
            slice.as_binary().and_then(|it| it.get(row)).map(|it| Value::Bytes(it.to_vec()))
        }
        _ => slice
            .as_wide_text()
            .and_then(|it| it.get(row))
            .map(|it| Value::Text(String::from_utf16_lossy(it))),
    };
    value.unwrap_or(Value::Null)
}

pub(super) fn by_rows(
    mut cursor: impl Cursor,
    columns: &[Column],
    each: &mut dyn FnMut(Vec<Value>) -> bool,
) -> Result<(), Problem> {
    while let Some(mut row) = cursor.next_row().map_err(|error| to_problem(&error))? {
        let (mut values, mut room) = (Vec::with_capacity(columns.len()), VALUE_BYTES_MAX);
        for (number, column) in (1..).zip(columns) {
            values.push(of_row(&mut row, number, column, &mut room)?);
        }
        if !each(values) {
            return Ok(());
        }
    }
    Ok(())
}

fn of_row(
    row: &mut CursorRow<'_>,
    number: u16,
    column: &Column,
    room: &mut usize,
) -> Result<Value, Problem> {
    Ok(match column.kind {
        Kind::Bool => fixed::<Bit>(row, number)?.map(|bit| Value::Bool(bit.0 != 0)),
        Kind::Int32 | Kind::Int64 => fixed(row, number)?.map(Value::Int),
        Kind::Single => fixed(row, number)?.map(Value::Single),
        Kind::Double => fixed(row, number)?.map(Value::Double),
        Kind::Bytes => pieces::<Binary>(row, column, number, room)?.map(Value::Bytes),
        _ => pieces::<WideText>(row, column, number, room)?
            .map(|units| Value::Text(String::from_utf16_lossy(&units))),
    }
    .unwrap_or(Value::Null))
}

fn fixed<T: odbc_api::Pod>(row: &mut CursorRow<'_>, number: u16) -> Result<Option<T>, Problem>
where
    Nullable<T>: odbc_api::parameter::CElement + odbc_api::handles::CDataMut,
{
    let mut value = Nullable::<T>::null();
    row.get_data(number, &mut value).map_err(|error| to_problem(&error))?;
    Ok(value.into_opt())
}

/// A value of whatever length, in pieces.
fn pieces<K: VarKind>(
    row: &mut CursorRow<'_>,
    column: &Column,
    number: u16,
    room: &mut usize,
) -> Result<Option<Vec<K::Element>>, Problem>
where
    VarCell<[K::Element; PIECE], K>: odbc_api::parameter::CElement + odbc_api::handles::CDataMut,
{
    let mut whole = Vec::new();
    for _ in 0..PIECES_MAX {
        let mut piece = VarCell::<[K::Element; PIECE], K>::NULL;
        row.get_data(number, &mut piece).map_err(|error| to_problem(&error))?;
        let Some(units) = piece.as_slice() else {
            return Ok((!whole.is_empty()).then_some(whole));
        };
        whole.extend_from_slice(units);
        let bytes = size_of_val(units);
        match room.checked_sub(bytes) {
            Some(rest) => *room = rest,
            None => break,
        }
        if piece.is_complete() {
            return Ok(Some(whole));
        }
    }
    Err(Problem::new(
        "22001",
        format!(
            "the values of a row up to the column `{}` exceed {} MiB: read parts of the column \
             with a `query`",
            column.name,
            VALUE_BYTES_MAX >> 20
        ),
    ))
}
