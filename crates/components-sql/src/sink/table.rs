//! What the database says of a table: its columns, their types, and what they need.

use super::config::Mode;
use super::problem::SinkProblem;
use super::row::{From, Reading, Target};
use super::session::Session;
use super::value::{Kind, Value};
use crate::dialect::Dialect;
use crate::error::SqlError;
use crate::source::marks;

/// A table, as its database describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    /// Its name, quoted.
    pub(super) quoted: String,
    columns: Vec<Column>,
    /// Columns of each unique index; of MySQL alone.
    unique: Vec<Vec<String>>,
    /// `COPY` does with rows what `INSERT` does; of PostgreSQL alone.
    pub(super) takes_copy: bool,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    name: String,
    kind: Kind,
    /// Its type without length, as PostgreSQL casts to it; by ODBC what stands for its value, if
    /// that is not `?`.
    pub(super) cast: String,
    /// NULL is not allowed, and there is no default.
    is_required: bool,
    /// The database makes its value.
    is_generated: bool,
    /// An empty text is a value of it.
    is_text: bool,
}

/// A name, `table` or `schema.table`, in its parts.
fn parts(name: &str) -> (Option<&str>, &str) {
    match name.split_once('.') {
        Some((schema, table)) => (Some(schema), table),
        None => (None, name),
    }
}

const POSTGRES: &str = "\
SELECT a.attname::text, quote_ident(n.nspname) || '.' || quote_ident(t.typname), \
 coalesce(b.typname, t.typname)::text, coalesce(b.typcategory, t.typcategory)::text, \
 (a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND a.attgenerated = '')::int::bigint, \
 (a.attgenerated <> '')::int::bigint \
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
 JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
 LEFT JOIN pg_catalog.pg_type b ON t.typtype = 'd' AND b.oid = t.typbasetype \
WHERE a.attrelid = to_regclass($1::text) AND a.attnum > 0 AND NOT a.attisdropped \
ORDER BY a.attnum";

/// `COPY` passes over rules, is refused where rows have policies, and takes values for columns
/// whose values the database always makes.
const POSTGRES_COPY: &str = "\
SELECT (c.relkind IN ('r', 'p') AND NOT c.relrowsecurity AND NOT c.relhasrules AND NOT EXISTS \
 (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attidentity = 'a') \
 )::int::bigint \
FROM pg_catalog.pg_class c WHERE c.oid = to_regclass($1::text)";

const MYSQL: &str = "\
SELECT CAST(column_name AS CHAR), CAST(data_type AS CHAR), \
 is_nullable = 'NO' AND column_default IS NULL AND extra NOT LIKE '%auto_increment%' \
  AND extra NOT LIKE '%GENERATED%', \
 extra LIKE '%GENERATED%' \
FROM information_schema.columns \
WHERE table_schema = coalesce(?, database()) AND table_name = ? ORDER BY ordinal_position";

const MYSQL_UNIQUE: &str = "\
SELECT CAST(index_name AS CHAR), CAST(column_name AS CHAR) FROM information_schema.statistics \
WHERE non_unique = 0 AND table_schema = coalesce(?, database()) AND table_name = ? \
ORDER BY index_name, seq_in_index";

const MYSQL_ENGINE: &str = "\
SELECT CAST(engine AS CHAR) FROM information_schema.tables \
WHERE table_schema = coalesce(?, database()) AND table_name = ?";

const SQLITE: &str = "\
SELECT name, type, \"notnull\" = 1 AND dflt_value IS NULL AND NOT (pk = 1 AND \
 upper(type) = 'INTEGER'), hidden IN (2, 3) FROM pragma_table_xinfo(?, coalesce(?, 'main'))";

const SQL_SERVER: &str = "\
SELECT c.name, t.name, \
 CASE WHEN c.is_nullable = 0 AND c.default_object_id = 0 THEN 1 ELSE 0 END, \
 CASE WHEN c.is_computed = 1 OR c.is_identity = 1 OR t.name = 'timestamp' THEN 1 ELSE 0 END \
FROM sys.columns c JOIN sys.types t ON t.user_type_id = c.system_type_id \
WHERE c.object_id = OBJECT_ID(?) ORDER BY c.column_id";

const ORACLE: &str = "\
SELECT column_name, data_type, \
 CASE WHEN nullable = 'N' AND default_length IS NULL AND identity_column = 'NO' THEN 1 ELSE 0 END, \
 CASE WHEN virtual_column = 'YES' THEN 1 ELSE 0 END \
FROM all_tab_cols \
WHERE owner = coalesce(CAST(? AS VARCHAR2(128)), SYS_CONTEXT('USERENV', 'CURRENT_SCHEMA')) \
 AND table_name = ? AND hidden_column = 'NO' ORDER BY column_id";

const STANDARD: &str = "\
SELECT column_name, data_type, \
 CASE WHEN is_nullable = 'NO' AND column_default IS NULL THEN 1 ELSE 0 END, 0 \
FROM information_schema.columns WHERE table_name = ? \
 AND (CAST(? AS VARCHAR(128)) IS NULL OR table_schema = ?) ORDER BY ordinal_position";

fn text(row: &[Value], at: usize) -> &str {
    match row.get(at) {
        Some(Value::Text(text)) => text,
        _ => "",
    }
}

fn is_true(row: &[Value], at: usize) -> bool {
    row.get(at).and_then(Value::int).is_some_and(|number| number != 0)
}

fn given(text: Option<&str>) -> Value {
    text.map_or(Value::Null, |text| Value::Text(text.to_owned()))
}

impl Table {
    /// Asks for the table of this name.
    ///
    /// # Errors
    /// It is not there, not one that transactions cover, or the database does not answer.
    pub(super) async fn describe(session: &mut Session, name: &str) -> Result<Self, SinkProblem> {
        let dialect = session.dialect();
        let quoted = dialect.quote_table(name);
        let (schema, table) = parts(name);
        let names = vec![given(schema), given(Some(table))];
        let columns = match dialect {
            Dialect::Postgres => {
                let text = if session.is_odbc() { marks(POSTGRES) } else { POSTGRES.to_owned() };
                let rows = session.query(&text, vec![Value::Text(quoted.clone())]).await?;
                rows.iter().map(|row| of_postgres(row)).collect::<Vec<_>>()
            }
            Dialect::Mysql => {
                let rows = session.query(MYSQL, names.clone()).await?;
                rows.iter().map(|row| of_mysql(row)).collect()
            }
            Dialect::Sqlite => {
                let names = vec![given(Some(table)), given(schema)];
                let rows = session.query(SQLITE, names).await?;
                rows.iter().map(|row| of_sqlite(row)).collect()
            }
            Dialect::SqlServer => {
                let rows = session.query(SQL_SERVER, vec![Value::Text(quoted.clone())]).await?;
                rows.iter().map(|row| of_sql_server(row)).collect()
            }
            Dialect::Oracle => {
                let rows = session.query(ORACLE, names.clone()).await?;
                rows.iter().map(|row| of_oracle(row)).collect()
            }
            Dialect::Standard => {
                let names = vec![given(Some(table)), given(schema), given(schema)];
                let rows = session.query(STANDARD, names).await?;
                rows.iter().map(|row| untyped(row, Kind::Text, true)).collect()
            }
        };
        if columns.is_empty() {
            return Err(SinkProblem::NoTable { table: name.to_owned() });
        }
        let unique = match dialect {
            Dialect::Mysql => {
                check_engine(session, name, names.clone()).await?;
                unique_of_mysql(session, names).await?
            }
            _ => Vec::new(),
        };
        let takes_copy = match dialect {
            Dialect::Postgres if !session.is_odbc() => {
                let rows = session.query(POSTGRES_COPY, vec![Value::Text(quoted.clone())]).await?;
                rows.first().is_some_and(|row| is_true(row, 0))
            }
            _ => false,
        };
        Ok(Self { quoted, columns, unique, takes_copy })
    }

    /// The columns that take values, and whether an empty text is a value of each.
    pub(super) fn taking(&self) -> Vec<(String, bool)> {
        let taking = self.columns.iter().filter(|column| !column.is_generated);
        taking.map(|column| (column.name.clone(), column.is_text)).collect()
    }

    /// Checks that rows with values for these columns can go in.
    ///
    /// # Errors
    /// A column is not there, or one is needed and not among them.
    pub(super) fn check_columns(&self, columns: &[String]) -> Result<(), SinkProblem> {
        let taking = self.taking();
        let lacking = columns.iter().find(|name| taking.iter().all(|(other, _)| other != *name));
        if let Some(name) = lacking {
            let problem = format!("{} has no column `{name}`", self.quoted);
            return Err(SinkProblem::Table { problem });
        }
        let required = self.columns.iter().find(|it| it.is_required && !columns.contains(&it.name));
        required.map_or(Ok(()), |Column { name, .. }| {
            let problem = format!(
                "column `{name}` of {} takes no NULL and has no default: rows need a value for it",
                self.quoted
            );
            Err(SinkProblem::Table { problem })
        })
    }

    /// A column.
    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The columns that events have values for, and the places of those of the key.
    ///
    /// # Errors
    /// A column is not there or gets no value, or no index finds rows by the key.
    pub(super) fn targets(
        &self,
        reading: &Reading,
        mode: Mode,
        key: &[String],
    ) -> Result<(Vec<Target>, Vec<usize>), SinkProblem> {
        let settled = |problem: String| Err(SinkProblem::Table { problem });
        let mut targets = Vec::new();
        for (name, from) in &reading.columns {
            let Some(column) = self.column(name).filter(|column| !column.is_generated) else {
                return settled(format!(
                    "setting `columns.{name}`: {} has no such column, or makes its value itself",
                    self.quoted
                ));
            };
            targets.push(Target { name: name.clone(), kind: column.kind, from: from.clone() });
        }
        if reading.columns.is_empty() {
            let written = self.columns.iter().filter(|column| !column.is_generated);
            targets.extend(written.map(|Column { name, kind, .. }| Target {
                name: name.clone(),
                kind: *kind,
                from: From::Field(name.clone()),
            }));
        } else if mode != Mode::Update {
            let lacks = |column: &&Column| {
                column.is_required && reading.columns.iter().all(|(name, _)| *name != column.name)
            };
            if let Some(column) = self.columns.iter().find(lacks) {
                return settled(format!(
                    "column `{}` of {} takes no NULL and has no default: say in `columns` where \
                     its value is, or give it a default",
                    column.name, self.quoted
                ));
            }
        }
        let mut places = Vec::new();
        for name in key {
            let Some(place) = targets.iter().position(|target| target.name == *name) else {
                return settled(format!("setting `key`: {} has no column `{name}`", self.quoted));
            };
            places.push(place);
        }
        let is_key = |index: &Vec<String>| {
            index.len() == key.len() && key.iter().all(|name| index.contains(name))
        };
        if mode == Mode::Upsert && !self.unique.is_empty() && !self.unique.iter().any(is_key) {
            return settled(format!(
                "setting `key`: no unique index of {} has exactly these columns: make one, or name \
                 the columns of one",
                self.quoted
            ));
        }
        Ok((targets, places))
    }
}

fn of_postgres(row: &[Value]) -> Column {
    let kind = match (text(row, 2), text(row, 3)) {
        ("bytea", _) => Kind::Bytes,
        ("timestamptz", _) => Kind::Moment,
        ("timestamp", _) => Kind::Civil,
        (_, "A") => Kind::Array,
        _ => Kind::Text,
    };
    Column {
        name: text(row, 0).to_owned(),
        kind,
        is_text: text(row, 3) == "S" || kind == Kind::Bytes,
        cast: text(row, 1).to_owned(),
        is_required: is_true(row, 4),
        is_generated: is_true(row, 5),
    }
}

fn of_mysql(row: &[Value]) -> Column {
    let kind = match text(row, 1) {
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Kind::Bytes,
        "timestamp" | "datetime" => Kind::Civil,
        "bit" => Kind::StrictInt,
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "float"
        | "double" | "year" => Kind::Number,
        _ => Kind::Text,
    };
    let is_text = kind == Kind::Bytes
        || ["char", "varchar", "enum", "set"].contains(&text(row, 1))
        || text(row, 1).ends_with("text");
    untyped(row, kind, is_text)
}

/// A column to whose type nothing is cast.
fn untyped(row: &[Value], kind: Kind, is_text: bool) -> Column {
    let (is_required, is_generated) = (is_true(row, 2), is_true(row, 3));
    let (name, cast) = (text(row, 0).to_owned(), String::new());
    Column { name, kind, cast, is_required, is_generated, is_text }
}

fn of_sql_server(row: &[Value]) -> Column {
    let (kind, cast) = match text(row, 1) {
        "binary" | "varbinary" | "image" => (Kind::Bytes, "CAST(? AS varbinary(max))"),
        "datetime" | "datetime2" | "smalldatetime" => (Kind::Civil, "CAST(? AS datetime2(7))"),
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

/// By the forms that its session has for texts. Moments are those of UTC.
fn of_oracle(row: &[Value]) -> Column {
    let name = text(row, 1);
    let (kind, cast) = match name {
        "RAW" | "BLOB" | "LONG RAW" => (Kind::Bytes, ""),
        "NUMBER" | "FLOAT" | "BINARY_FLOAT" | "BINARY_DOUBLE" => (Kind::Number, ""),
        _ if name.contains("TIME ZONE") => (Kind::Civil, "FROM_TZ(TO_TIMESTAMP(?), 'UTC')"),
        "DATE" => (Kind::Civil, "CAST(TO_TIMESTAMP(?) AS DATE)"),
        _ if name.starts_with("TIMESTAMP") => (Kind::Civil, "TO_TIMESTAMP(?)"),
        _ => (Kind::Text, ""),
    };
    // An empty text is NULL in Oracle.
    Column { cast: cast.to_owned(), ..untyped(row, kind, kind == Kind::Bytes) }
}

/// By the rules that SQLite itself has for the names of types.
fn of_sqlite(row: &[Value]) -> Column {
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

/// A table that transactions do not cover would keep what is rolled back.
async fn check_engine(
    session: &mut Session,
    name: &str,
    names: Vec<Value>,
) -> Result<(), SinkProblem> {
    let rows = session.query(MYSQL_ENGINE, names).await?;
    let engine = rows.first().map_or("", |row| text(row, 0)).to_owned();
    match engine.as_str() {
        "InnoDB" | "RocksDB" | "ROCKSDB" | "TokuDB" | "ndbcluster" => Ok(()),
        _ => Err(SinkProblem::Table {
            problem: format!(
                "table `{name}` has the engine `{engine}`, which has no transactions: ALTER TABLE \
                 {name} ENGINE = InnoDB"
            ),
        }),
    }
}

async fn unique_of_mysql(
    session: &mut Session,
    names: Vec<Value>,
) -> Result<Vec<Vec<String>>, SqlError> {
    let rows = session.query(MYSQL_UNIQUE, names).await?;
    let by_index = rows.chunk_by(|one, other| text(one, 0) == text(other, 0));
    Ok(by_index.map(|index| index.iter().map(|row| text(row, 1).to_owned()).collect()).collect())
}

#[cfg(test)]
mod tests;
