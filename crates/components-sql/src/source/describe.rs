//! Describes the columns, and how to select each.

mod odbc;

use mysql_async::consts::{ColumnFlags, ColumnType};
use mysql_async::prelude::Queryable;
use tokio_postgres::types::{Kind, Type};

use super::config::{Mode, Options};
use super::query::{Column, Kind as ColumnKind, Ordered, Table};
use super::rows::Rows;
use super::wire::Wire;
use crate::connection::{Connection, MYSQL_BINARY};
use crate::dialect::Dialect;
use crate::error::SqlError;
use crate::meaning::Meaning;
use crate::value::Form;

/// Describes the columns.
///
/// # Errors
/// The database does not have the named objects, or they are unusable.
pub(super) async fn table(
    connection: &mut Connection,
    options: &Options,
) -> Result<Table, SqlError> {
    let target = &options.target;
    let dialect = connection.dialect();
    let mut table = Table::new(options, dialect, connection.is_odbc());
    let quoted = |names: &[String]| -> Vec<String> {
        // Qualify each name: SQLite treats an unknown quoted name as text, unless its client
        // forbids it.
        names.iter().map(|name| format!("aqueduct_all.{}", dialect.quote(name))).collect()
    };
    let mut names = quoted(&options.order);
    match options.columns.is_empty() {
        true => names.push("aqueduct_all.*".to_owned()),
        false => names.extend(quoted(&options.columns)),
    }
    // Use another name, so that a `*` can follow other columns.
    let all = dialect.named(&format!("SELECT * FROM {}", table.relation), "aqueduct_all");
    let text = format!("SELECT {} FROM {all} WHERE 1 = 0", names.join(", "));
    let described = match connection {
        Connection::Postgres(it) => {
            let statement = it.client.prepare(&text).await;
            let statement =
                statement.map_err(|error| SqlError::postgres(&target.address, &error))?;
            // Other formats are texts, which the server writes.
            table.is_binary = matches!(options.form, Form::Rows | Form::Csv { .. });
            let columns = statement.columns().iter();
            columns.map(|column| postgres(column, options.has_lists)).collect()
        }
        Connection::Mysql(it) => {
            let statement = it.prep(text).await;
            let statement = statement.map_err(|error| SqlError::mysql(&target.address, &error))?;
            statement.columns().iter().map(of_mysql).collect()
        }
        Connection::Sqlite(it) => {
            let columns = it.call(target, move |connection| {
                let statement = connection.prepare(&text)?;
                Ok(statement.column_names().map(of_sqlite).collect::<Vec<_>>())
            });
            columns.await?
        }
        Connection::Odbc(it) => odbc::columns(it, target, &all, text).await?,
    };
    let mut described: Vec<Described> = described;
    let columns = described.split_off(options.order.len().min(described.len()));
    for (name, described) in options.order.iter().zip(described) {
        table.order.push(described.ordered.map_err(|problem| SqlError::Misfit {
            problem: format!("cannot order rows by the column `{name}`: {problem}"),
        })?);
    }
    let by_time = table.order.first().filter(|it| it.is_time());
    if options.overlap.is_some() && by_time.is_none() {
        let problem = "`check_column` must be a date or a time in the mode `modified`; set \
                       `overlap = \"0s\"` for a column of another type";
        return Err(SqlError::Misfit { problem: problem.to_owned() });
    }
    // A SQLite column has no type; with an overlap it contains times.
    let is_known = dialect != Dialect::Sqlite || options.overlap.is_some();
    if options.mode == Mode::Modified && is_known {
        table.not_ahead = by_time.and_then(|it| it.not_ahead.clone());
    }
    let unknown: Vec<&str> =
        columns.iter().filter(|it| it.is_unknown).map(|it| &*it.column.name).collect();
    if !unknown.is_empty() {
        tracing::info!(columns = ?unknown, "columns of user-defined types are read as text");
    }
    table.columns = columns.into_iter().map(|it| it.column).collect();
    for column in table.columns.iter_mut().filter(|it| it.wire != Wire::Cast) {
        match table.is_binary {
            true => column.selected = table.dialect.quote(&column.name),
            // Texts, also of PostgreSQL over ODBC.
            false => column.wire = Wire::Cast,
        }
    }
    Ok(table)
}

/// Checks that no row lacks a key.
///
/// # Errors
/// A row lacks a key.
pub(super) async fn check_key(
    connection: &mut Connection,
    options: &Options,
    table: &Table,
) -> Result<(), SqlError> {
    if options.key.is_empty() {
        return Ok(());
    }
    let statement = table.nameless(&options.key);
    let mut rows = Rows::of(connection, &options.target, &statement).await?;
    match rows.next().await? {
        None => Ok(()),
        Some(_) => {
            let problem = "a row has NULL in a column of `key` and would be lost; set `key` to \
                           columns without NULL";
            Err(SqlError::Misfit { problem: problem.to_owned() })
        }
    }
}

pub(super) struct Described {
    pub(super) column: Column,
    ordered: Result<Ordered, &'static str>,
    /// Whether the type is unknown.
    is_unknown: bool,
}

/// Text types.
const TEXTS: [Type; 4] = [Type::TEXT, Type::VARCHAR, Type::BPCHAR, Type::NAME];

/// Types whose text is exact.
const TEXTUAL: [Type; 6] =
    [Type::NUMERIC, Type::DATE, Type::TIME, Type::TIMETZ, Type::UUID, Type::INTERVAL];

/// Maximum number of digits of a decimal in a columnar file.
const DIGITS_MAX: u32 = 38;

fn decimal(precision: u32, scale: u32) -> ColumnKind {
    match (1..=DIGITS_MAX).contains(&precision) && scale <= precision {
        true => ColumnKind::Decimal { precision, scale },
        false => ColumnKind::Text,
    }
}

/// Maps a PostgreSQL type to a columnar type. Types without a lossless counterpart become text.
fn kind_of_postgres(kind: &Type, modifier: i32) -> ColumnKind {
    match *kind {
        Type::BOOL => ColumnKind::Bool,
        Type::INT2 | Type::INT4 => ColumnKind::Int32,
        Type::INT8 | Type::OID => ColumnKind::Int64,
        Type::FLOAT4 => ColumnKind::Float,
        Type::FLOAT8 => ColumnKind::Double,
        Type::DATE => ColumnKind::Date,
        Type::TIMESTAMPTZ => ColumnKind::Timestamp,
        Type::JSON | Type::JSONB => ColumnKind::Json,
        Type::NUMERIC => {
            // Digits in the upper half, the scale in 11 bits, and 4 added to both.
            let digits = u32::try_from(modifier - 4).unwrap_or_default();
            decimal(digits >> 16, digits & 0x7ff)
        }
        _ => match kind.kind() {
            Kind::Array(_) | Kind::Composite(_) => ColumnKind::Json,
            _ => ColumnKind::Text,
        },
    }
}

/// Maps a MySQL type to a columnar type.
fn kind_of_mysql(column: &mysql_async::Column) -> ColumnKind {
    use ColumnType as T;
    let is_unsigned = column.flags().contains(ColumnFlags::UNSIGNED_FLAG);
    match column.column_type() {
        T::MYSQL_TYPE_TINY | T::MYSQL_TYPE_SHORT | T::MYSQL_TYPE_INT24 | T::MYSQL_TYPE_YEAR => {
            ColumnKind::Int32
        }
        T::MYSQL_TYPE_LONG if !is_unsigned => ColumnKind::Int32,
        T::MYSQL_TYPE_LONG => ColumnKind::Int64,
        T::MYSQL_TYPE_LONGLONG if !is_unsigned => ColumnKind::Int64,
        T::MYSQL_TYPE_LONGLONG => decimal(20, 0),
        T::MYSQL_TYPE_BIT => match column.column_length() {
            ..32 => ColumnKind::Int32,
            32..64 => ColumnKind::Int64,
            _ => decimal(20, 0),
        },
        T::MYSQL_TYPE_FLOAT => ColumnKind::Float,
        T::MYSQL_TYPE_DOUBLE => ColumnKind::Double,
        T::MYSQL_TYPE_TIMESTAMP => ColumnKind::Timestamp,
        T::MYSQL_TYPE_JSON => ColumnKind::Json,
        T::MYSQL_TYPE_NEWDECIMAL => {
            // Its length includes the sign and the point.
            let scale = u32::from(column.decimals());
            let others = u32::from(!is_unsigned) + u32::from(scale > 0);
            decimal(column.column_length().saturating_sub(others), scale)
        }
        _ => ColumnKind::Text,
    }
}

pub(super) fn of_postgres(name: &str, kind: &Type, modifier: i32) -> Described {
    let quoted = Dialect::Postgres.quote(name);
    let as_text = format!("{quoted}::text");
    let of_server = "(now() AT TIME ZONE (SELECT reset_val FROM pg_catalog.pg_settings WHERE name \
                     = 'TimeZone'))";
    let not_ahead = match *kind {
        Type::TIMESTAMPTZ => Some(format!("{quoted} <= now()")),
        Type::TIMESTAMP => {
            Some(format!("({quoted} <= now() AT TIME ZONE 'UTC' OR {quoted} <= {of_server})"))
        }
        Type::DATE => Some(format!(
            "({quoted} <= (now() AT TIME ZONE 'UTC')::date OR {quoted} <= {of_server}::date)"
        )),
        _ => None,
    };
    let (selected, meaning) = match kind {
        // A cast would remove trailing spaces of `char(n)`.
        _ if TEXTS.contains(kind) => (quoted.clone(), Meaning::Native),
        _ => match kind.kind() {
            Kind::Array(_) | Kind::Composite(_) => {
                (format!("to_json({quoted})::text"), Meaning::Json)
            }
            _ => (as_text.clone(), Meaning::from_type(kind)),
        },
    };
    let is_unknown = meaning == Meaning::Native
        && !TEXTS.contains(kind)
        && !TEXTUAL.contains(kind)
        && !matches!(kind.kind(), Kind::Enum(_));
    let quote = |name: &str| Dialect::Postgres.quote(name);
    let cast = format!("::text::{}.{}", quote(kind.schema()), quote(kind.name()));
    let around = (String::new(), cast);
    let ordered =
        Ordered { name: quoted, selected: as_text, meaning: Meaning::Native, around, not_ahead };
    let of = kind_of_postgres(kind, modifier);
    let (name, wire) = (name.to_owned(), Wire::of(kind, of));
    Described {
        column: Column { name, kind: of, selected, meaning, wire, is_list: false },
        ordered: Ok(ordered),
        is_unknown,
    }
}

/// Returns the column of an array as lists; `None` for other types, and for items whose binary
/// format is not read.
fn list_of_postgres(name: &str, kind: &Type, modifier: i32) -> Option<Column> {
    let Kind::Array(of) = kind.kind() else { return None };
    let kind = kind_of_postgres(of, modifier);
    let wire = match of.kind() {
        // The name of the value.
        Kind::Enum(_) => Wire::Text,
        _ => Wire::of(of, kind),
    };
    let (name, selected) = (name.to_owned(), Dialect::Postgres.quote(name));
    let column = Column { name, kind, selected, meaning: Meaning::Native, wire, is_list: true };
    (wire != Wire::Cast).then_some(column)
}

pub(super) fn of_mysql(column: &mysql_async::Column) -> Described {
    use ColumnType as T;
    let name = column.name_str().into_owned();
    let quoted = Dialect::Mysql.quote(&name);
    let (kind, flags) = (column.column_type(), column.flags());
    let cast =
        |to: &str| (format!("CAST({quoted} AS CHAR)"), "CAST(".to_owned(), format!(" AS {to})"));
    let plain = (quoted.clone(), String::new(), String::new());
    let form = match kind {
        _ if flags.intersects(ColumnFlags::ENUM_FLAG | ColumnFlags::SET_FLAG) => {
            Err("the database orders ENUM and SET by number but compares them as text; order by \
                 another column")
        }
        T::MYSQL_TYPE_TINY
        | T::MYSQL_TYPE_SHORT
        | T::MYSQL_TYPE_INT24
        | T::MYSQL_TYPE_LONG
        | T::MYSQL_TYPE_LONGLONG
        | T::MYSQL_TYPE_YEAR => Ok(plain),
        T::MYSQL_TYPE_DECIMAL | T::MYSQL_TYPE_NEWDECIMAL => Ok(cast("DECIMAL(65,30)")),
        T::MYSQL_TYPE_DATE | T::MYSQL_TYPE_NEWDATE => Ok(cast("DATE")),
        T::MYSQL_TYPE_DATETIME | T::MYSQL_TYPE_TIMESTAMP => Ok(cast("DATETIME(6)")),
        T::MYSQL_TYPE_TIME => Ok(cast("TIME(6)")),
        T::MYSQL_TYPE_STRING | T::MYSQL_TYPE_VAR_STRING | T::MYSQL_TYPE_VARCHAR => {
            match column.character_set() {
                MYSQL_BINARY => Ok((format!("HEX({quoted})"), "UNHEX(".to_owned(), ")".to_owned())),
                _ => Ok(plain),
            }
        }
        _ => Err("its type does not support exact comparison; order by another column"),
    };
    let not_ahead = match kind {
        T::MYSQL_TYPE_TIMESTAMP => Some(format!("{quoted} <= CURRENT_TIMESTAMP(6)")),
        T::MYSQL_TYPE_DATETIME => Some(not_ahead_in_mysql(&quoted, false)),
        T::MYSQL_TYPE_DATE => Some(not_ahead_in_mysql(&quoted, true)),
        _ => None,
    };
    let ordered = form.map(|(selected, before, behind)| Ordered {
        name: quoted.clone(),
        selected,
        meaning: Meaning::Native,
        around: (before, behind),
        not_ahead,
    });
    let kind = kind_of_mysql(column);
    let (meaning, wire) = (Meaning::Native, Wire::Cast);
    let column = Column { name, kind, selected: quoted, meaning, wire, is_list: false };
    Described { column, ordered, is_unknown: false }
}

/// Returns the condition that a date or a time without a zone is not in the future, for MySQL and
/// MariaDB.
fn not_ahead_in_mysql(quoted: &str, is_date: bool) -> String {
    let (utc, of_server) = (
        "UTC_TIMESTAMP(6)",
        // NULL if the server has no table for its zone.
        "coalesce(CONVERT_TZ(UTC_TIMESTAMP(6), '+00:00', @@GLOBAL.time_zone), UTC_TIMESTAMP(6))",
    );
    match is_date {
        true => format!("({quoted} <= DATE({utc}) OR {quoted} <= DATE({of_server}))"),
        false => format!("({quoted} <= {utc} OR {quoted} <= {of_server})"),
    }
}

/// Returns the condition that a time is not in the future, for SQLite, by the type of each value: a
/// text, or seconds or milliseconds since 1970.
fn not_ahead_in_sqlite(quoted: &str) -> String {
    let now = "max(julianday('now'), julianday('now', 'localtime'))";
    format!(
        "CASE typeof({quoted}) WHEN 'text' THEN coalesce(julianday({quoted}) <= {now}, {quoted} <= \
         strftime('%Y-%m-%d %H:%M:%f', 'now')) WHEN 'blob' THEN 1 ELSE {quoted} / CASE WHEN \
         abs({quoted}) >= 100000000000 THEN 1000.0 ELSE 1.0 END <= \
         ({now} - 2440587.5) * 86400.0 END"
    )
}

pub(super) fn of_sqlite(name: &str) -> Described {
    let quoted = Dialect::Sqlite.quote(name);
    let ordered = Ordered {
        name: quoted.clone(),
        selected: quoted.clone(),
        meaning: Meaning::Native,
        around: (String::new(), String::new()),
        // For any type.
        not_ahead: Some(not_ahead_in_sqlite(&quoted)),
    };
    // Each value of SQLite has its own type.
    let kind = ColumnKind::Text;
    let (name, meaning, wire) = (name.to_owned(), Meaning::Native, Wire::Cast);
    let column = Column { name, kind, selected: quoted, meaning, wire, is_list: false };
    Described { column, ordered: Ok(ordered), is_unknown: false }
}

fn postgres(column: &tokio_postgres::Column, has_lists: bool) -> Described {
    let (name, kind, modifier) = (column.name(), column.type_(), column.type_modifier());
    let mut described = of_postgres(name, kind, modifier);
    if has_lists && let Some(list) = list_of_postgres(name, kind, modifier) {
        described.column = list;
    }
    described
}
