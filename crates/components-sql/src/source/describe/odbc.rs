//! Decides how to select columns over ODBC.
//!
//! For most databases, the driver's description of a type is sufficient. PostgreSQL and SQLite need
//! more, so that a row has the same body over ODBC as with the native client: the types from
//! PostgreSQL's catalog, and the type of each value from SQLite.

use ::odbc::{Column as Said, Kind as Given};
use tokio_postgres::types::{Kind as KindOfType, Type};

use super::{Described, decimal, not_ahead_in_mysql, of_postgres, of_sqlite};
use crate::database::Target;
use crate::dialect::Dialect;
use crate::error::SqlError;
use crate::meaning::{Meaning, TAGGED};
use crate::odbc::Odbc;
use crate::source::query::{Column, Kind as ColumnKind, Ordered};
use crate::source::wire::Wire;
use crate::value::Value;

/// PostgreSQL types whose texts have fewer than 64 characters.
const SHORT: [Type; 13] = [
    Type::BOOL,
    Type::INT2,
    Type::INT4,
    Type::INT8,
    Type::OID,
    Type::FLOAT4,
    Type::FLOAT8,
    Type::DATE,
    Type::TIME,
    Type::TIMETZ,
    Type::TIMESTAMP,
    Type::TIMESTAMPTZ,
    Type::UUID,
];

/// Returns the columns of `text`, a query without rows on the relation `all`.
///
/// # Errors
/// The database does not have them, or does not answer.
pub(super) async fn columns(
    connection: &mut Odbc,
    target: &Target,
    all: &str,
    text: String,
) -> Result<Vec<Described>, SqlError> {
    let limit = target.statement_timeout;
    let said = connection.call(target, move |session| session.describe(&text, limit)).await?;
    match connection.dialect {
        Dialect::Postgres => {
            let types = types(connection, target, all, &said).await?;
            let with_types = said.iter().zip(types);
            Ok(with_types.map(|(said, kind)| by_catalog(said, &kind)).collect())
        }
        Dialect::Sqlite => Ok(said.iter().map(tagged).collect()),
        dialect => Ok(said.iter().map(|said| by_driver(dialect, said)).collect()),
    }
}

/// Reads the types from PostgreSQL's catalog, with a row of NULLs because the table may be empty.
async fn types(
    connection: &mut Odbc,
    target: &Target,
    all: &str,
    said: &[Said],
) -> Result<Vec<Type>, SqlError> {
    let quote = |said: &Said| Dialect::Postgres.quote(&said.name);
    let oid = |said| format!("pg_catalog.pg_typeof(a.{})::oid", quote(said));
    let oids: Vec<String> = said.iter().map(oid).collect();
    let sql = format!(
        "SELECT t.oid::int8, t.typname::text, n.nspname::text, t.typtype::text, \
         t.typcategory::text FROM (SELECT ARRAY[{}] AS oids FROM (SELECT 1) AS one LEFT JOIN \
         (SELECT * FROM {all} LIMIT 0) AS a ON true) AS types \
         CROSS JOIN LATERAL unnest(oids) WITH ORDINALITY AS u(oid, place) \
         JOIN pg_catalog.pg_type d ON d.oid = u.oid JOIN pg_catalog.pg_type t \
         ON t.oid = CASE d.typtype WHEN 'd' THEN d.typbasetype ELSE d.oid END \
         JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace ORDER BY u.place",
        oids.join(", ")
    );
    let mut rows = connection.rows(target, &sql, &[]);
    let mut types = Vec::new();
    while let Some(row) = rows.recv().await {
        types.push(type_of(&row?));
    }
    match types.len() == said.len() {
        true => Ok(types),
        false => Err(SqlError::Misfit {
            problem: "the PostgreSQL catalog lacks the types of some columns; cast these columns \
                      to text in a `query`, and report this as a bug"
                .to_owned(),
        }),
    }
}

fn type_of(row: &[Value]) -> Type {
    let text = |at: usize| row.get(at).map(Value::text).unwrap_or_default();
    let oid = text(0).parse().unwrap_or_default();
    if let Some(known) = Type::from_oid(oid) {
        return known;
    }
    let kind = match (&*text(3), &*text(4)) {
        ("e", _) => KindOfType::Enum(Vec::new()),
        ("c", _) => KindOfType::Composite(Vec::new()),
        (_, "A") => KindOfType::Array(Type::TEXT),
        _ => KindOfType::Simple,
    };
    Type::new(text(1), oid, kind, text(2))
}

/// Describes a column like the PostgreSQL client.
fn by_catalog(said: &Said, kind: &Type) -> Described {
    let modifier = match said.kind {
        Given::Decimal { precision, scale } if *kind == Type::NUMERIC => {
            i32::try_from(precision << 16 | scale).unwrap_or_default() + 4
        }
        _ => -1,
    };
    let mut described = of_postgres(&said.name, kind, modifier);
    if SHORT.contains(kind) {
        // With a length, the driver fetches rows in blocks.
        described.column.selected.push_str("::varchar(64)");
        if let Ok(ordered) = &mut described.ordered {
            ordered.selected.push_str("::varchar(64)");
        }
    }
    described
}

/// Describes a column like the SQLite client.
fn tagged(said: &Said) -> Described {
    let mut described = of_sqlite(&said.name);
    let selected = TAGGED.replace("{}", &described.column.selected);
    described.column.selected.clone_from(&selected);
    described.column.meaning = Meaning::Tagged;
    if let Ok(ordered) = &mut described.ordered {
        ordered.selected = selected;
        ordered.meaning = Meaning::Tagged;
    }
    described
}

/// Describes a column by the driver's type.
pub(in crate::source) fn by_driver(dialect: Dialect, said: &Said) -> Described {
    let quoted = dialect.quote(&said.name);
    let meaning = match said.kind {
        Given::Timestamp => Meaning::Moment,
        Given::Offset => Meaning::Offset,
        Given::Unsigned => Meaning::Unsigned,
        _ => Meaning::Native,
    };
    let selected = match (dialect, said.kind) {
        // The session determines the format.
        (Dialect::Oracle, Given::Decimal { .. }) => format!("TO_CHAR({quoted})"),
        (Dialect::Oracle, Given::Timestamp) => of_oracle(&quoted),
        (Dialect::SqlServer, Given::Timestamp) => datetime2(&quoted),
        _ => quoted.clone(),
    };
    let kind = match said.kind {
        Given::Bool => ColumnKind::Bool,
        Given::Int32 => ColumnKind::Int32,
        Given::Int64 => ColumnKind::Int64,
        Given::Unsigned => decimal(20, 0),
        Given::Decimal { precision, scale } => decimal(precision, scale),
        Given::Single => ColumnKind::Float,
        Given::Double => ColumnKind::Double,
        Given::Date => ColumnKind::Date,
        _ => ColumnKind::Text,
    };
    let not_ahead = not_ahead(dialect, said.kind, &quoted);
    let ordered = form(dialect, said.kind, &quoted).map(|(selected, before, behind)| Ordered {
        name: quoted.clone(),
        selected,
        meaning: Meaning::Native,
        around: (before, behind),
        not_ahead,
    });
    let (name, wire) = (said.name.clone(), Wire::Cast);
    let column = Column { name, kind, selected, meaning, wire, is_list: false };
    Described { column, ordered, is_unknown: said.kind == Given::Other }
}

/// Returns the condition that a date or a time is not in the future.
fn not_ahead(dialect: Dialect, kind: Given, quoted: &str) -> Option<String> {
    let either = |one: &str, other: &str| format!("({quoted} <= {one} OR {quoted} <= {other})");
    let date = |of: &str| format!("CAST({of} AS date)");
    let oracle = ["SYS_EXTRACT_UTC(SYSTIMESTAMP)", "CAST(SYSTIMESTAMP AS TIMESTAMP)"];
    let server = ["SYSUTCDATETIME()", "SYSDATETIME()"];
    Some(match (dialect, kind) {
        (Dialect::Mysql, Given::Date) => not_ahead_in_mysql(quoted, true),
        (Dialect::Mysql, Given::Timestamp) => not_ahead_in_mysql(quoted, false),
        (Dialect::SqlServer, Given::Date) => either(&date(server[0]), &date(server[1])),
        (Dialect::SqlServer, Given::Timestamp) => either(server[0], server[1]),
        (Dialect::SqlServer, Given::Offset) => format!("{quoted} <= SYSDATETIMEOFFSET()"),
        (Dialect::Oracle, Given::Date | Given::Timestamp) => either(oracle[0], oracle[1]),
        (_, Given::Date) => format!("{quoted} <= CURRENT_DATE"),
        (_, Given::Timestamp | Given::Offset) => format!("{quoted} <= CURRENT_TIMESTAMP"),
        _ => return None,
    })
}

/// Formats a time of SQL Server with all digits, for each of its types.
fn datetime2(quoted: &str) -> String {
    format!("CONVERT(varchar(40), CAST({quoted} AS datetime2(7)), 121)")
}

/// Same for Oracle.
fn of_oracle(quoted: &str) -> String {
    format!("TO_CHAR(CAST({quoted} AS TIMESTAMP(9)))")
}

/// Returns the expression to select an ordering column, and the texts before and after the
/// parameter that convert the value back.
fn form(
    dialect: Dialect,
    kind: Given,
    quoted: &str,
) -> Result<(String, String, String), &'static str> {
    use Dialect::{Mysql, Oracle, SqlServer};
    let cast = |to: &str| (quoted.to_owned(), "CAST(".to_owned(), format!(" AS {to})"));
    let wrapped = |selected: String, before: &str, behind: &str| {
        (selected, before.to_owned(), behind.to_owned())
    };
    let as_char = format!("CAST({quoted} AS CHAR)");
    Ok(match (dialect, kind) {
        (Mysql, Given::Unsigned) => cast("UNSIGNED"),
        (_, Given::Int32 | Given::Int64 | Given::Unsigned | Given::Text | Given::Bytes) => {
            wrapped(quoted.to_owned(), "", "")
        }
        (Oracle, Given::Decimal { .. }) => wrapped(format!("TO_CHAR({quoted})"), "TO_NUMBER(", ")"),
        (Mysql, Given::Decimal { .. }) => wrapped(as_char, "CAST(", " AS DECIMAL(65,30))"),
        (_, Given::Decimal { precision, scale }) if precision > 0 => {
            cast(&format!("DECIMAL({precision}, {scale})"))
        }
        (_, Given::Date) => cast("DATE"),
        (SqlServer, Given::Timestamp) => wrapped(datetime2(quoted), "CAST(", " AS datetime2(7))"),
        (SqlServer, Given::Offset) => {
            let selected = format!("CONVERT(varchar(40), {quoted}, 121)");
            wrapped(selected, "CAST(", " AS datetimeoffset(7))")
        }
        (SqlServer, Given::Guid) => cast("uniqueidentifier"),
        (SqlServer, Given::Time) => cast("time(7)"),
        (Oracle, Given::Timestamp) => wrapped(of_oracle(quoted), "TO_TIMESTAMP(", ")"),
        (Mysql, Given::Timestamp) => wrapped(as_char, "CAST(", " AS DATETIME(6))"),
        (_, Given::Timestamp) => cast("TIMESTAMP"),
        (_, Given::Time) => cast("TIME"),
        _ => {
            return Err("its type does not support exact comparison; order by another column");
        }
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Table;
    use super::*;

    /// Returns a table ordered by a time and a number.
    fn table(dialect: Dialect, at: Given, id: Given) -> Table {
        let said = |name: &str, kind| Said { name: name.to_owned(), kind, length: None };
        let described = [said("AT", at), said("ID", id)].map(|said| by_driver(dialect, &said));
        let (mut order, mut columns) = (Vec::new(), Vec::new());
        for it in described {
            order.push(it.ordered.unwrap());
            columns.push(it.column);
        }
        Table {
            dialect,
            is_odbc: true,
            relation: dialect.quote_table("S.T"),
            condition: Some("X = 1".to_owned()),
            columns,
            order,
            not_ahead: None,
            timestamp: Some(dialect.millis(&dialect.quote("AT"))),
            has_json_texts: false,
            is_binary: false,
        }
    }

    fn row() -> Vec<Value> {
        vec![Value::Text("2026-01-31 12:00:00".to_owned()), Value::Int(7)]
    }

    #[test]
    fn statements_for_sql_server_are_those_of_its_dialect() {
        let table = table(Dialect::SqlServer, Given::Timestamp, Given::Int64);
        let page = table.page(Some(&row()), None, 10);
        assert_eq!(
            page.text,
            "SELECT TOP (10) CONVERT(varchar(40), CAST([AT] AS datetime2(7)), 121) AS aqueduct_0, \
             [ID] AS aqueduct_1, DATEDIFF_BIG(millisecond, '1970-01-01', [AT]) AS aqueduct_2, \
             CONVERT(varchar(40), CAST([AT] AS datetime2(7)), 121) AS aqueduct_3, [ID] AS \
             aqueduct_4 FROM [S].[T] WHERE 1 = 1 AND (X = 1\n) AND [AT] IS NOT NULL AND ([AT] >= \
             CAST(? AS datetime2(7)) AND ([AT] > CAST(? AS datetime2(7)) OR ([ID] > ?))) ORDER BY \
             [AT], [ID]"
        );
        assert_eq!(page.parameters.len(), 3);
        let window = table.window((None, None), &row(), Duration::from_millis(1500), 10).text;
        let earlier = "[AT] >= DATEADD(microsecond, -500000, DATEADD(second, -1, CAST(? AS \
                       datetime2(7))))";
        assert!(window.contains(earlier), "{window}");
        assert_eq!(
            table.boundary(false, None, 10).text,
            "SELECT TOP (1) CONVERT(varchar(40), CAST([AT] AS datetime2(7)), 121) AS aqueduct_0, \
             [ID] AS aqueduct_1 FROM (SELECT TOP (10) [AT], [ID] FROM [S].[T] WHERE 1 = 1 AND (X = \
             1\n) AND [AT] IS NOT NULL ORDER BY [AT], [ID]) AS aqueduct_page ORDER BY [AT] DESC, \
             [ID] DESC"
        );
    }

    #[test]
    fn rows_from_the_future_are_left_out_by_the_clock_of_the_database() {
        let at = |dialect, kind| {
            let mut table = table(dialect, kind, Given::Int64);
            table.not_ahead = table.order[0].not_ahead.clone();
            (table.page(None, None, 10).text, table.ahead().unwrap().text)
        };
        let (page, ahead) = at(Dialect::SqlServer, Given::Timestamp);
        let condition = "([AT] <= SYSUTCDATETIME() OR [AT] <= SYSDATETIME())";
        assert!(page.contains(&format!("[AT] IS NOT NULL AND {condition} ORDER BY")), "{page}");
        assert!(ahead.ends_with(&format!("AND NOT ({condition})")), "{ahead}");
        let (page, _) = at(Dialect::Oracle, Given::Timestamp);
        assert!(page.contains("\"AT\" <= SYS_EXTRACT_UTC(SYSTIMESTAMP) OR"), "{page}");
        let (page, _) = at(Dialect::Standard, Given::Date);
        assert!(page.contains("\"AT\" <= CURRENT_DATE ORDER BY"), "{page}");
        assert!(table(Dialect::Oracle, Given::Int64, Given::Int64).order[0].not_ahead.is_none());
    }

    #[test]
    fn statements_for_oracle_are_those_of_its_dialect() {
        let number = Given::Decimal { precision: 38, scale: 0 };
        let table = table(Dialect::Oracle, Given::Timestamp, number);
        let page = table.page(Some(&row()), None, 10).text;
        let behind = " FROM \"S\".\"T\" WHERE 1 = 1 AND (X = 1\n) AND \"AT\" IS NOT NULL AND \
                      (\"AT\" >= TO_TIMESTAMP(?) AND (\"AT\" > TO_TIMESTAMP(?) OR (\"ID\" > \
                      TO_NUMBER(?)))) \
                      ORDER BY \"AT\", \"ID\" FETCH FIRST 10 ROWS ONLY";
        assert!(page.ends_with(behind), "{page}");
        let first = "SELECT TO_CHAR(CAST(\"AT\" AS TIMESTAMP(9))) AS aqueduct_0, TO_CHAR(\"ID\") \
                     AS aqueduct_1, FLOOR(EXTRACT(DAY FROM (CAST(\"AT\" AS TIMESTAMP) - TIMESTAMP \
                     '1970-01-01 00:00:00')) * 86400000 + ";
        assert!(page.starts_with(first), "{page}");
        let window = table.window((None, None), &row(), Duration::from_millis(1500), 10).text;
        let earlier = "\"AT\" >= TO_TIMESTAMP(?) - NUMTODSINTERVAL(1.500000, 'SECOND')";
        assert!(window.contains(earlier), "{window}");
        let boundary = table.boundary(false, None, 10).text;
        let end = " FETCH FIRST 10 ROWS ONLY) aqueduct_page ORDER BY \"AT\" DESC, \"ID\" DESC \
                   FETCH FIRST 1 ROWS ONLY";
        assert!(boundary.ends_with(end), "{boundary}");
    }

    #[test]
    fn texts_of_drivers_become_the_values_that_they_are() {
        let value = |kind, text: &str| {
            let said = Said { name: "c".to_owned(), kind, length: None };
            by_driver(Dialect::SqlServer, &said).column.meaning.value(text.to_owned())
        };
        let text = |it: &str| Value::Text(it.to_owned());
        for (kind, given, expected) in [
            (Given::Timestamp, "2026-01-31 12:00:00.1234567", text("2026-01-31T12:00:00.1234567")),
            (
                Given::Offset,
                "2026-01-31 12:00:00.1234567 +02:00",
                text("2026-01-31T12:00:00.1234567+02:00"),
            ),
            (Given::Decimal { precision: 9, scale: 2 }, "1.10", text("1.10")),
            (Given::Unsigned, "18446744073709551615", Value::Uint(u64::MAX)),
            (Given::Guid, "6F9619FF-8B86-D011-B42D-00C04FC964FF", {
                text("6F9619FF-8B86-D011-B42D-00C04FC964FF")
            }),
            (Given::Date, "9999-12-31", text("9999-12-31")),
        ] {
            assert_eq!(value(kind, given), expected, "{given}");
        }
    }

    #[test]
    fn a_value_of_sqlite_has_the_type_that_it_is_stored_with() {
        for (given, expected) in [
            ("i-9223372036854775808", Value::Int(i64::MIN)),
            ("r0.10000000000000001", Value::Raw("0.1".to_owned())),
            ("rInf", Value::Text("Infinity".to_owned())),
            ("t610062", Value::Text("a\0b".to_owned())),
            ("b00ff", Value::Bytes(vec![0, 255])),
            ("x", Value::Text("x".to_owned())),
        ] {
            assert_eq!(Meaning::Tagged.value(given.to_owned()), expected, "{given}");
        }
    }
}
