//! The description of a table: its columns, their types, and required values.

mod columns;
mod procedure;
mod questions;

use super::config::Mode;
use super::problem::SinkProblem;
use super::row::{Reading, Row, Target, ValueSource};
use super::session::Session;
use super::value::{Kind, Value};
use crate::dialect::Dialect;
use crate::error::SqlError;
use crate::source::marks;
use columns::{of_mysql, of_oracle, of_postgres, of_sql_server, of_sqlite, untyped};
use procedure::procedure;
use questions::{
    MYSQL, MYSQL_ENGINE, MYSQL_UNIQUE, ORACLE, POSTGRES, POSTGRES_COPY, SQL_SERVER, SQLITE,
    STANDARD,
};

/// A table, as its database describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    /// Its quoted name.
    pub(super) quoted: String,
    columns: Vec<Column>,
    /// Columns of each unique index; only for MySQL.
    unique: Vec<Vec<String>>,
    /// Whether `COPY` has the same effect as `INSERT`; only for PostgreSQL.
    pub(super) takes_copy: bool,
    /// The keyword that calls it, if it is a procedure, whose parameters are the columns.
    pub(super) verb: &'static str,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    name: String,
    kind: Kind,
    /// Its type without length, for PostgreSQL casts; for ODBC the placeholder, if not `?`.
    pub(super) cast: String,
    /// Whether it is NOT NULL without a default.
    is_required: bool,
    /// Whether the database generates its value.
    is_generated: bool,
    /// Whether it accepts an empty text.
    is_text: bool,
    /// Whether `SELECT *` leaves it out.
    is_hidden: bool,
    /// Whether a statement must override the generated value; only for PostgreSQL.
    pub(super) is_identity: bool,
    /// The composite type of the column or of its elements, for PostgreSQL casts; or empty.
    pub(super) composite: String,
}

/// Splits a name, `table` or `schema.table`.
fn parts(name: &str) -> (Option<&str>, &str) {
    match name.split_once('.') {
        Some((schema, table)) => (Some(schema), table),
        None => (None, name),
    }
}

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
    /// Describes the target: the table of this name, or the procedure.
    ///
    /// # Errors
    /// Same as [`Self::describe`] and [`procedure`].
    pub(super) async fn of(
        session: &mut Session,
        name: &str,
        mode: Mode,
    ) -> Result<Self, SinkProblem> {
        match mode {
            Mode::Call => procedure(session, name).await,
            Mode::Insert | Mode::Update | Mode::Upsert => Self::describe(session, name).await,
        }
    }

    /// Describes the table of this name.
    ///
    /// # Errors
    /// It is missing or not transactional, or the database does not answer.
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
        Ok(Self { quoted, columns, unique, takes_copy, verb: "" })
    }

    /// Returns the writable columns that are hidden or not, and whether each accepts an empty text.
    pub(super) fn writable(&self, is_hidden: bool) -> Vec<(String, bool)> {
        let written = self.columns.iter().filter(|column| !column.is_generated);
        let written = written.filter(|column| column.is_hidden == is_hidden);
        written.map(|column| (column.name.clone(), column.is_text)).collect()
    }

    /// Returns the words that make an insert into these columns override generated values.
    pub(super) fn overriding(&self, columns: &[String]) -> &'static str {
        let mut written = columns.iter().filter_map(|name| self.column(name));
        match written.any(|column| column.is_identity) {
            true => " OVERRIDING SYSTEM VALUE",
            false => "",
        }
    }

    /// Checks that rows with values for these columns can be written.
    ///
    /// # Errors
    /// A column does not exist, or a required one is missing.
    pub(super) fn check_columns(&self, columns: &[String]) -> Result<(), SinkProblem> {
        let is_lacking = |name: &&String| self.column(name).is_none_or(|it| it.is_generated);
        if let Some(name) = columns.iter().find(is_lacking) {
            let problem = format!("{} has no column `{name}`", self.quoted);
            return Err(SinkProblem::Table { problem });
        }
        let required = self.columns.iter().find(|it| it.is_required && !columns.contains(&it.name));
        required.map_or(Ok(()), |Column { name, .. }| {
            let problem = format!(
                "column `{name}` of {} requires a value, but the events have none: add it, or give \
                 the column a default",
                self.quoted
            );
            Err(SinkProblem::Table { problem })
        })
    }

    /// Returns a required parameter for which a call has no value.
    pub(super) fn lacking(&self, targets: &[Target], row: &Row) -> Option<&str> {
        let is_given = |name: &str| row.columns.iter().any(|at| targets[*at].name == name);
        let mut required = self.columns.iter().filter(|it| it.is_required);
        required.find(|it| !is_given(&it.name)).map(|it| &*it.name)
    }

    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Returns the target columns, and the indexes of the key columns.
    ///
    /// # Errors
    /// A column does not exist or gets no value, or no index covers the key.
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
                    "setting `columns.{name}`: {} has no such column, or the database generates \
                     its value",
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
                from: ValueSource::Field(name.clone()),
            }));
        } else if mode != Mode::Update {
            let lacks = |column: &&Column| {
                column.is_required && reading.columns.iter().all(|(name, _)| *name != column.name)
            };
            if let Some(column) = self.columns.iter().find(lacks) {
                return settled(format!(
                    "column `{}` of {} requires a value: add it to `columns`, or give the column a \
                     default",
                    column.name, self.quoted
                ));
            }
        }
        if mode == Mode::Call {
            // Values must be in parameter order.
            let place = |name: &String| self.columns.iter().position(|it| it.name == *name);
            targets.sort_by_key(|target| place(&target.name));
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
                "setting `key`: {} has no unique index on exactly these columns: create one, or \
                 set `key` to the columns of an existing one",
                self.quoted
            ));
        }
        Ok((targets, places))
    }
}

/// Rejects tables without transactions, which would keep rows after a rollback.
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
                "table `{name}` has the engine `{engine}`, which has no transactions: run `ALTER \
                 TABLE {name} ENGINE = InnoDB`"
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
