//! Columns of a table, from the rows of a catalog.

use super::{Column, is_true, text};
use crate::sink::value::{Kind, Value};

/// Types of PostgreSQL with an empty text, besides strings.
const WITH_EMPTY: [&str; 10] = [
    "bytea",
    "char",
    "hstore",
    "ltree",
    "oidvector",
    "refcursor",
    "tsquery",
    "tsvector",
    "varbit",
    "xml",
];
/// Spatial types of MySQL.
const SPATIAL: [&str; 9] = [
    "geomcollection",
    "geometry",
    "geometrycollection",
    "linestring",
    "multilinestring",
    "multipoint",
    "multipolygon",
    "point",
    "polygon",
];

pub(super) fn of_postgres(row: &[Value]) -> Column {
    let composite = text(row, 7).to_owned();
    let kind = match (text(row, 2), text(row, 3)) {
        ("bytea", _) => Kind::Bytes,
        ("timestamptz", _) => Kind::Moment,
        ("timestamp", _) => Kind::Civil,
        ("date", _) => Kind::Date,
        ("time", _) => Kind::TimeOfDay,
        ("_json" | "_jsonb", _) => Kind::JsonArray,
        // The statement converts a list of objects.
        (_, "A") if composite.is_empty() => Kind::Array,
        _ => Kind::Text,
    };
    Column {
        name: text(row, 0).to_owned(),
        kind,
        is_text: text(row, 3) == "S" || WITH_EMPTY.contains(&text(row, 2)),
        cast: text(row, 1).to_owned(),
        is_required: is_true(row, 4),
        is_generated: is_true(row, 5),
        is_hidden: false,
        is_identity: is_true(row, 6),
        composite,
    }
}

pub(super) fn of_mysql(row: &[Value]) -> Column {
    let kind = match text(row, 1) {
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Kind::Bytes,
        // In the server's own form: the spatial reference system, and WKB.
        spatial if SPATIAL.contains(&spatial) => Kind::Bytes,
        "timestamp" | "datetime" => Kind::Civil,
        "date" => Kind::Date,
        "time" => Kind::TimeOfDay,
        "bit" => Kind::Bits,
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "float"
        | "double" | "year" => Kind::Number,
        _ => Kind::Text,
    };
    let is_text = kind == Kind::Bytes && !SPATIAL.contains(&text(row, 1))
        || ["char", "varchar", "enum", "set"].contains(&text(row, 1))
        || text(row, 1).ends_with("text");
    untyped(row, kind, is_text)
}

/// Describes a column without a cast.
pub(super) fn untyped(row: &[Value], kind: Kind, is_text: bool) -> Column {
    let (is_required, is_generated) = (is_true(row, 2), is_true(row, 3));
    Column {
        name: text(row, 0).to_owned(),
        kind,
        cast: String::new(),
        is_required,
        is_generated,
        is_text,
        is_hidden: is_true(row, 4),
        is_identity: false,
        composite: String::new(),
    }
}

pub(super) fn of_sql_server(row: &[Value]) -> Column {
    let (kind, cast) = match text(row, 1) {
        "binary" | "varbinary" | "image" => (Kind::Bytes, "CAST(? AS varbinary(max))"),
        "datetime" | "datetime2" | "smalldatetime" => (Kind::Civil, "CAST(? AS datetime2(7))"),
        "date" => (Kind::Date, ""),
        "time" => (Kind::TimeOfDay, ""),
        "datetimeoffset" => (Kind::Moment, "CAST(? AS datetimeoffset(7))"),
        "bit" | "tinyint" | "smallint" | "int" | "bigint" | "decimal" | "numeric" | "real"
        | "float" | "money" | "smallmoney" => (Kind::Number, ""),
        _ => (Kind::Text, ""),
    };
    let is_text = kind == Kind::Bytes
        || text(row, 1).ends_with("char")
        || ["text", "ntext", "xml"].contains(&text(row, 1));
    Column { cast: cast.to_owned(), ..untyped(row, kind, is_text) }
}

/// Describes an Oracle column, with the session's text formats. Timestamps are in UTC.
pub(super) fn of_oracle(row: &[Value]) -> Column {
    let name = text(row, 1);
    let (kind, cast) = match name {
        "RAW" | "BLOB" | "LONG RAW" => (Kind::Bytes, ""),
        "NUMBER" | "FLOAT" | "BINARY_FLOAT" | "BINARY_DOUBLE" => (Kind::Number, ""),
        _ if name.contains("TIME ZONE") => (Kind::Civil, "FROM_TZ(TO_TIMESTAMP(?), 'UTC')"),
        "DATE" => (Kind::Civil, "CAST(TO_TIMESTAMP(?) AS DATE)"),
        _ if name.starts_with("TIMESTAMP") => (Kind::Civil, "TO_TIMESTAMP(?)"),
        _ => (Kind::Text, ""),
    };
    // In Oracle, empty text is NULL.
    Column { cast: cast.to_owned(), ..untyped(row, kind, kind == Kind::Bytes) }
}

/// Describes a SQLite column, with SQLite's own rules for type names.
pub(super) fn of_sqlite(row: &[Value]) -> Column {
    let name = text(row, 1).to_uppercase();
    let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    let kind = if has(&["INT"]) {
        Kind::StrictInt
    } else if has(&["CHAR", "CLOB", "TEXT"]) || name.is_empty() {
        Kind::Text
    } else if has(&["BLOB"]) {
        Kind::Bytes
    } else if has(&["REAL", "FLOA", "DOUB"]) {
        Kind::StrictReal
    } else if has(&["TIMESTAMP", "DATETIME"]) {
        Kind::Civil
    } else if has(&["DATE", "TIME", "JSON", "UUID", "ANY"]) {
        Kind::Text
    } else {
        Kind::StrictNumeric
    };
    untyped(row, kind, has(&["CHAR", "CLOB", "TEXT", "BLOB"]) || name.is_empty())
}
