//! Converts values of the MySQL client, for selected rows and for rows of a log.

use mysql_async::consts::ColumnType as Type;

use crate::connection::MYSQL_BINARY;
use crate::value::Value;

/// Converts the values of a selected row.
pub(crate) fn values(row: mysql_async::Row) -> Vec<Value> {
    let columns = row.columns();
    let values = row.unwrap_raw().into_iter().zip(columns.iter());
    let convert = |(value, column): (Option<mysql_async::Value>, &mysql_async::Column)| {
        let is_binary = column.character_set() == MYSQL_BINARY;
        self::value(value.unwrap_or(mysql_async::Value::NULL), column.column_type(), is_binary)
    };
    values.map(convert).collect()
}

/// Converts a value of a column of this type. Texts are UTF-8.
pub(crate) fn value(value: mysql_async::Value, kind: Type, is_binary: bool) -> Value {
    use mysql_async::Value as Theirs;
    match value {
        Theirs::NULL => Value::Null,
        Theirs::Int(it) => Value::Int(it),
        Theirs::UInt(it) => Value::Uint(it),
        Theirs::Float(it) => Value::single(it),
        Theirs::Double(it) => Value::float(it),
        Theirs::Bytes(bytes) => match kind {
            Type::MYSQL_TYPE_BIT => {
                let number = bytes.iter().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
                Value::Uint(number)
            }
            Type::MYSQL_TYPE_JSON => Value::json(&text(bytes)),
            Type::MYSQL_TYPE_DECIMAL | Type::MYSQL_TYPE_NEWDECIMAL => Value::Text(text(bytes)),
            Type::MYSQL_TYPE_GEOMETRY => Value::Bytes(bytes),
            _ if is_binary => Value::Bytes(bytes),
            _ => Value::Text(text(bytes)),
        },
        Theirs::Date(year, month, day, hour, minute, second, micros) => {
            let date = format!("{year:04}-{month:02}-{day:02}");
            if matches!(kind, Type::MYSQL_TYPE_DATE | Type::MYSQL_TYPE_NEWDATE) {
                return Value::Text(date);
            }
            // Sessions use UTC, and so do types with a zone.
            let zone = matches!(kind, Type::MYSQL_TYPE_TIMESTAMP | Type::MYSQL_TYPE_TIMESTAMP2);
            let zone = if zone { "Z" } else { "" };
            let micros = fraction(micros);
            Value::Text(format!("{date}T{hour:02}:{minute:02}:{second:02}{micros}{zone}"))
        }
        Theirs::Time(is_negative, days, hours, minutes, seconds, micros) => {
            let (sign, hours) = (if is_negative { "-" } else { "" }, days * 24 + u32::from(hours));
            let micros = fraction(micros);
            Value::Text(format!("{sign}{hours:02}:{minutes:02}:{seconds:02}{micros}"))
        }
    }
}

fn fraction(micros: u32) -> String {
    match micros {
        0 => String::new(),
        _ => format!(".{micros:06}"),
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
