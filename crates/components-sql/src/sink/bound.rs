//! Converts values for the clients.

use std::error::Error;
use std::fmt::Write;

use bytes::BytesMut;
use rusqlite::types::{ToSqlOutput, ValueRef};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use super::row::Row;
use super::value::Value;
use crate::connection::MYSQL_BINARY;

/// Returns the text that PostgreSQL converts to the column's type.
pub(super) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Int(number) => Some(number.to_string()),
        Value::Real(number) => Some(number.to_string()),
        Value::Text(text) => Some(text.clone()),
        Value::Bytes(bytes) => {
            let mut text = String::with_capacity(2 + 2 * bytes.len());
            text.push_str("\\x");
            for byte in bytes {
                let _infallible = write!(text, "{byte:02x}");
            }
            Some(text)
        }
    }
}

/// Writes rows in the text format of `COPY`.
pub(super) fn copy_text(rows: &[Row], out: &mut Vec<u8>) {
    for row in rows {
        for (number, value) in row.values.iter().enumerate() {
            if number > 0 {
                out.push(b'\t');
            }
            match value {
                Value::Null => out.extend_from_slice(b"\\N"),
                Value::Text(text) => escaped(text.as_bytes(), out),
                other => escaped(text_of(other).unwrap_or_default().as_bytes(), out),
            }
        }
        out.push(b'\n');
    }
}

fn escaped(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\\' | b'\t' | b'\n' | b'\r'))
    {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(match rest[at] {
            b'\t' => b"\\t",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            _ => b"\\\\",
        });
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

impl ToSql for Value {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(number) => number.to_sql(ty, out),
            Self::Real(number) => number.to_sql(ty, out),
            Self::Text(text) => text.to_sql(ty, out),
            Self::Bytes(bytes) => bytes.to_sql(ty, out),
        }
    }

    /// The sink's statements name the types of their values.
    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

pub(super) fn of_postgres(row: &tokio_postgres::Row) -> Result<Vec<Value>, tokio_postgres::Error> {
    let value = |(at, column): (usize, &tokio_postgres::Column)| {
        Ok(match *column.type_() {
            Type::INT8 => row.try_get::<_, Option<i64>>(at)?.map(Value::Int),
            Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(at)?.map(Value::Bytes),
            _ => row.try_get::<_, Option<String>>(at)?.map(Value::Text),
        }
        .unwrap_or(Value::Null))
    };
    row.columns().iter().enumerate().map(value).collect()
}

pub(super) fn to_mysql(value: Value) -> mysql_async::Value {
    match value {
        Value::Null => mysql_async::Value::NULL,
        Value::Int(number) => mysql_async::Value::Int(number),
        Value::Real(number) => mysql_async::Value::Double(number),
        Value::Text(text) => mysql_async::Value::Bytes(text.into_bytes()),
        Value::Bytes(bytes) => mysql_async::Value::Bytes(bytes),
    }
}

pub(super) fn of_mysql(row: mysql_async::Row) -> Vec<Value> {
    let columns = row.columns();
    let values = columns.iter().zip(row.unwrap_raw());
    values
        .map(|(column, value)| match value {
            Some(mysql_async::Value::Int(number)) => Value::Int(number),
            Some(mysql_async::Value::UInt(number)) => {
                Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
            }
            Some(mysql_async::Value::Bytes(bytes)) => {
                if column.character_set() == MYSQL_BINARY {
                    return Value::Bytes(bytes);
                }
                Value::Text(String::from_utf8_lossy(&bytes).into_owned())
            }
            // The sink's statements return no other types.
            _ => Value::Null,
        })
        .collect()
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(number) => ValueRef::Integer(*number),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

pub(super) fn of_sqlite(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Int(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_owned()),
    }
}

pub(super) fn to_odbc(value: Value) -> odbc::Value {
    match value {
        Value::Null => odbc::Value::Null,
        Value::Int(number) => odbc::Value::Int(number),
        Value::Real(number) => odbc::Value::Double(number),
        Value::Text(text) => odbc::Value::Text(text),
        Value::Bytes(bytes) => odbc::Value::Bytes(bytes),
    }
}

pub(super) fn of_odbc(value: odbc::Value) -> Value {
    match value {
        odbc::Value::Null => Value::Null,
        odbc::Value::Bool(it) => Value::Int(it.into()),
        odbc::Value::Int(number) => Value::Int(number),
        odbc::Value::Single(number) => Value::Real(number.into()),
        odbc::Value::Double(number) => Value::Real(number),
        odbc::Value::Text(text) => Value::Text(text),
        odbc::Value::Bytes(bytes) => Value::Bytes(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_control_characters_of_copy() {
        let text = |text: &str| Value::Text(text.to_owned());
        let row = |values: Vec<Value>| Row { columns: (0..values.len()).collect(), values };
        let rows = [
            row(vec![Value::Null, text("\\N"), text(""), Value::Int(-7)]),
            row(vec![text("a\tb\r\n\\."), Value::Bytes(vec![0, 255]), text("é"), Value::Null]),
        ];
        let mut out = Vec::new();
        copy_text(&rows, &mut out);
        let expected = "\\N\t\\\\N\t\t-7\na\\tb\\r\\n\\\\.\t\\\\x00ff\té\t\\N\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
