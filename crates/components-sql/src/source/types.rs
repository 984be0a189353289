//! The conversions of column types, as a table for docs/types.md: it calls what a source calls.

use mysql_async::Column;
use mysql_async::consts::{ColumnFlags, ColumnType};
use tokio_postgres::types::Type;

use super::describe::{of_mysql, of_postgres, of_sqlite};
use super::kind::Kind;
use super::query;
use crate::connection::MYSQL_BINARY;

/// The conversion of a column type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversion {
    /// The database.
    pub database: &'static str,
    /// The type of the column.
    pub of: &'static str,
    /// The type of its values in a row.
    pub value: ::rows::Type,
    /// The type of its column in a file.
    pub file: Kind,
}

/// PostgreSQL types; a number with its digits: 12 and 2, in the upper and lower half, plus 4.
const POSTGRES: [(&str, Type, i32); 24] = [
    ("boolean", Type::BOOL, -1),
    ("smallint", Type::INT2, -1),
    ("integer", Type::INT4, -1),
    ("bigint", Type::INT8, -1),
    ("oid", Type::OID, -1),
    ("real", Type::FLOAT4, -1),
    ("double precision", Type::FLOAT8, -1),
    ("numeric(12,2)", Type::NUMERIC, (12 << 16) + 2 + 4),
    ("numeric; numeric with more than 38 digits", Type::NUMERIC, -1),
    ("date", Type::DATE, -1),
    ("time", Type::TIME, -1),
    ("time with time zone", Type::TIMETZ, -1),
    ("timestamp", Type::TIMESTAMP, -1),
    ("timestamp with time zone", Type::TIMESTAMPTZ, -1),
    ("interval", Type::INTERVAL, -1),
    ("uuid", Type::UUID, -1),
    ("text, varchar, char, name", Type::TEXT, -1),
    ("bytea", Type::BYTEA, -1),
    ("json, jsonb", Type::JSONB, -1),
    ("bit, varbit", Type::VARBIT, -1),
    ("inet", Type::INET, -1),
    ("xml", Type::XML, -1),
    ("arrays and composites", Type::INT4_ARRAY, -1),
    ("enumerations and all others", Type::MONEY, -1),
];

/// MySQL types: flags, length, and digits after the point.
const MYSQL: [(&str, ColumnType, ColumnFlags, u32, u8); 21] = {
    use ColumnType as T;
    let (none, unsigned) = (ColumnFlags::empty(), ColumnFlags::UNSIGNED_FLAG);
    [
        ("tinyint, smallint, mediumint, year", T::MYSQL_TYPE_SHORT, none, 6, 0),
        ("int", T::MYSQL_TYPE_LONG, none, 11, 0),
        ("int unsigned", T::MYSQL_TYPE_LONG, unsigned, 10, 0),
        ("bigint", T::MYSQL_TYPE_LONGLONG, none, 20, 0),
        ("bigint unsigned", T::MYSQL_TYPE_LONGLONG, unsigned, 20, 0),
        ("bit(1) to bit(31)", T::MYSQL_TYPE_BIT, unsigned, 31, 0),
        ("bit(32) to bit(63)", T::MYSQL_TYPE_BIT, unsigned, 63, 0),
        ("bit(64)", T::MYSQL_TYPE_BIT, unsigned, 64, 0),
        ("float", T::MYSQL_TYPE_FLOAT, none, 12, 31),
        ("double", T::MYSQL_TYPE_DOUBLE, none, 22, 31),
        ("decimal(12,2)", T::MYSQL_TYPE_NEWDECIMAL, none, 14, 2),
        ("decimal with more than 38 digits", T::MYSQL_TYPE_NEWDECIMAL, none, 67, 2),
        ("date, with zero dates", T::MYSQL_TYPE_DATE, none, 10, 0),
        ("datetime, with zero dates", T::MYSQL_TYPE_DATETIME, none, 26, 6),
        ("timestamp, without zero dates", T::MYSQL_TYPE_TIMESTAMP, none, 26, 6),
        ("time", T::MYSQL_TYPE_TIME, none, 10, 6),
        ("char, varchar, text, enum, set", T::MYSQL_TYPE_VAR_STRING, none, 80, 0),
        ("binary, varbinary", T::MYSQL_TYPE_VAR_STRING, ColumnFlags::BINARY_FLAG, 80, 0),
        ("blob", T::MYSQL_TYPE_BLOB, ColumnFlags::BINARY_FLAG, 80, 0),
        ("json of MySQL", T::MYSQL_TYPE_JSON, none, 80, 0),
        ("geometry", T::MYSQL_TYPE_GEOMETRY, ColumnFlags::BINARY_FLAG, 80, 0),
    ]
};

/// Returns the conversions of all databases.
pub fn conversions() -> Vec<Conversion> {
    let conversion = |database, of, column: query::Column| Conversion {
        database,
        of,
        value: column.in_row(),
        file: column.kind,
    };
    let postgres = POSTGRES.iter().map(|(of, kind, modifier)| {
        conversion("PostgreSQL", of, of_postgres("c", kind, *modifier).column)
    });
    let mysql = MYSQL.iter().map(|(of, kind, flags, length, decimals)| {
        let is_binary = flags.contains(ColumnFlags::BINARY_FLAG);
        let column = Column::new(*kind).with_flags(*flags).with_column_length(*length);
        let column = column.with_decimals(*decimals);
        let column = column.with_character_set(if is_binary { MYSQL_BINARY } else { 45 });
        conversion("MySQL, MariaDB", of, of_mysql(&column).column)
    });
    let sqlite = [conversion("SQLite", "every type", of_sqlite("c").column)];
    postgres.chain(mysql).chain(sqlite).collect()
}
