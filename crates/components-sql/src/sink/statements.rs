//! The SQL texts, by dialect.
//!
//! ```text
//!   PostgreSQL   INSERT … SELECT c0::type, … FROM unnest($1::text[], …)   any number of rows
//!                COPY … FROM STDIN                                        many rows, to insert
//!   MySQL        INSERT … VALUES (?, …), (?, …), …                        a row for each (…)
//!   SQLite       INSERT … VALUES (?, …)                                   once for each row
//!   over ODBC    like MySQL, or MERGE for SQL Server and Oracle           a row for each (…)
//!   procedures   CALL p(a => $1::text::type, …)  SELECT f(…)  CALL p(?, …)  once for each row
//! ```

use std::fmt::Write;

use super::bound::text_of;
use super::config::Mode;
use super::row::{Row, Target};
use super::table::Table;
use super::value::Value;
use crate::dialect::Dialect;

/// How to write rows to a table.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) dialect: Dialect,
    /// Whether every parameter is a `?`.
    is_odbc: bool,
    /// The table, quoted.
    pub(super) table: String,
    pub(super) mode: Mode,
    pub(super) targets: Vec<Target>,
    /// Cast types of the targets, for PostgreSQL and ODBC.
    casts: Vec<String>,
    /// Their composite types, for PostgreSQL; or empty.
    composites: Vec<String>,
    /// The words before the values of an insert.
    overriding: &'static str,
    /// Indexes of the key columns among the targets.
    pub(super) key: Vec<usize>,
    rows_max: usize,
    /// Whether rows may use `COPY`.
    copies: bool,
    /// The keyword that calls the procedure.
    verb: &'static str,
}

/// Minimum number of rows for `COPY`, which needs a second round trip.
const COPY_ROWS_MIN: usize = 32;
/// Maximum number of placeholders in a statement: the limit of MySQL.
const PLACEHOLDERS_MAX: usize = 65_000;
/// Maximum bytes of values in a statement with several rows: well below `max_allowed_packet`.
const BYTES_MAX: usize = 1 << 20;

/// Returns the expression that converts a JSON list of composites.
fn list_of(object: &str, text: &str) -> String {
    format!(
        "ARRAY(SELECT CASE WHEN json_typeof(e.j) = 'object' THEN {object}, e.j) END FROM \
         pg_catalog.json_array_elements({text}::json) WITH ORDINALITY AS e(j, n) ORDER BY e.n)"
    )
}

impl Plan {
    pub(super) fn new(
        (dialect, is_odbc): (Dialect, bool),
        table: &Table,
        mode: Mode,
        targets: Vec<Target>,
        key: Vec<usize>,
        rows_max: usize,
    ) -> Self {
        let of = |target: &Target| {
            let column = table.column(&target.name);
            column.map(|it| (it.cast.clone(), it.composite.clone())).unwrap_or_default()
        };
        let (casts, composites): (Vec<_>, Vec<_>) = targets.iter().map(of).unzip();
        let copies = table.takes_copy
            && mode == Mode::Insert
            && !is_odbc
            && composites.iter().all(String::is_empty);
        let names: Vec<String> = targets.iter().map(|target| target.name.clone()).collect();
        Self {
            dialect,
            is_odbc,
            table: table.quoted.clone(),
            mode,
            targets,
            casts,
            composites,
            overriding: table.overriding(&names),
            key,
            rows_max,
            copies,
            verb: table.verb,
        }
    }

    /// Returns the expression of PostgreSQL that converts a text for this column. A composite is a
    /// JSON object, and a list of composites a JSON list, unless they have PostgreSQL's notation.
    fn converted(&self, text: &str, column: usize) -> String {
        let (cast, composite) = (&self.casts[column], &self.composites[column]);
        if composite.is_empty() {
            return format!("{text}::{cast}");
        }
        let object = format!("pg_catalog.json_populate_record(NULL::{composite}");
        format!(
            "CASE left({text}, 1) WHEN '{{' THEN {} ELSE {text}::{cast} END",
            match cast == composite {
                true => format!("{object}, {text}::json)"),
                false => format!("{text}::{cast} WHEN '[' THEN {}", list_of(&object, text)),
            }
        )
    }

    /// Returns how many of the first rows to write with one `COPY`: those with the same columns, or
    /// none if a statement with values is better.
    pub(super) fn copied(&self, rows: &[Row]) -> usize {
        let Some(first) = rows.first().filter(|_| self.copies) else { return 0 };
        let alike = rows.iter().take_while(|row| row.columns == first.columns).count();
        if alike < COPY_ROWS_MIN { 0 } else { alike }
    }

    /// Returns the statement for the lines of [`super::bound::copy_text`] with these columns.
    pub(super) fn copy(&self, columns: &[usize]) -> String {
        format!("COPY {} ({}) FROM STDIN", self.table, self.names(columns))
    }

    /// Returns how many of the first rows fit into one statement: rows with the same columns, and
    /// for PostgreSQL and SQL Server with different keys, because a statement may change a row only
    /// once.
    pub(super) fn fit(&self, rows: &[Row]) -> usize {
        let Some(first) = rows.first() else { return 0 };
        let most = self.rows_max.min(self.placeholders_max() / first.columns.len().max(1)).max(1);
        let changes_once = matches!(self.dialect, Dialect::Postgres | Dialect::SqlServer);
        let by_key = changes_once && self.mode.has_key();
        let (mut keys, mut bytes) = (std::collections::BTreeSet::new(), 0);
        for (place, row) in rows.iter().enumerate().take(most) {
            bytes += row.size();
            let is_over = place > 0 && bytes > BYTES_MAX;
            if is_over || row.columns != first.columns || by_key && !keys.insert(self.key_of(row)) {
                return place;
            }
        }
        rows.len().min(most)
    }

    /// Maximum number of values in a statement. Parameter arrays would allow any number of rows,
    /// but some drivers write only a part of an array and report success.
    fn placeholders_max(&self) -> usize {
        match self.dialect {
            // Rows are updated one by one.
            _ if !self.is_odbc || self.mode == Mode::Update => PLACEHOLDERS_MAX,
            Dialect::Postgres | Dialect::Mysql => 30_000,
            Dialect::SqlServer => 2000,
            Dialect::Sqlite => 900,
            Dialect::Oracle | Dialect::Standard => 1,
        }
    }

    fn key_of(&self, row: &Row) -> String {
        let mut text = String::new();
        for key in &self.key {
            // The debug format distinguishes all values.
            let _infallible = write!(text, "{:?} ", row.value(*key));
        }
        text
    }

    fn name(&self, column: usize) -> String {
        self.dialect.quote(&self.targets[column].name)
    }

    fn names(&self, columns: &[usize]) -> String {
        columns.iter().map(|column| self.name(*column)).collect::<Vec<_>>().join(", ")
    }

    /// Returns the columns to set: those outside of the key, or the key itself if there are no
    /// others.
    fn changed(&self, columns: &[usize]) -> Vec<usize> {
        let mut changed = columns.to_vec();
        changed.retain(|column| !self.key.contains(column));
        if changed.is_empty() { self.key.clone() } else { changed }
    }

    /// Returns the statement for `rows` rows with these columns.
    pub(super) fn statement(&self, columns: &[usize], rows: usize) -> String {
        match (self.dialect, self.mode) {
            (_, Mode::Call) => self.call(columns),
            (Dialect::Postgres, _) if !self.is_odbc => self.of_postgres(columns),
            (Dialect::SqlServer | Dialect::Oracle | Dialect::Standard, Mode::Upsert) => {
                self.merge(columns, rows)
            }
            _ => self.with_placeholders(columns, rows),
        }
    }

    /// Returns a call with these parameters.
    fn call(&self, columns: &[usize]) -> String {
        let value = |(at, column): (usize, &usize)| match self.dialect {
            Dialect::Postgres => {
                let value = self.converted(&format!("${}::text", at + 1), *column);
                format!("{} => {value}", self.name(*column))
            }
            _ => "?".to_owned(),
        };
        let values: Vec<String> = columns.iter().enumerate().map(value).collect();
        format!("{} {}({})", self.verb, self.table, values.join(", "))
    }

    /// Returns the placeholder of this column.
    fn mark(&self, column: usize) -> String {
        let cast = &self.casts[column];
        match self.dialect {
            Dialect::Postgres => format!("CAST(? AS text)::{cast}"),
            _ if cast.is_empty() => "?".to_owned(),
            _ => cast.clone(),
        }
    }

    /// Converts the values for an ODBC driver.
    pub(super) fn bound(&self, values: Vec<Value>) -> impl Iterator<Item = Value> {
        let as_text = self.dialect == Dialect::Postgres;
        values.into_iter().map(move |value| match as_text {
            true => text_of(&value).map_or(Value::Null, Value::Text),
            false => value,
        })
    }

    /// Returns the statement that updates or inserts rows.
    fn merge(&self, columns: &[usize], rows: usize) -> String {
        let (table, names) = (&self.table, self.names(columns));
        let (given, hint, end) = match self.dialect {
            Dialect::Oracle => {
                let named = |it: &usize| format!("{} AS {}", self.mark(*it), self.name(*it));
                let named: Vec<String> = columns.iter().map(named).collect();
                (format!("(SELECT {} FROM dual) u", named.join(", ")), "", "")
            }
            dialect => {
                let marks: Vec<String> = columns.iter().map(|it| self.mark(*it)).collect();
                let row = format!("({})", marks.join(", "));
                let given = format!("(VALUES {}) AS u ({names})", vec![&*row; rows].join(", "));
                match dialect {
                    // Without the lock, two statements could insert the same row.
                    Dialect::SqlServer => (given, " WITH (HOLDLOCK)", ";"),
                    _ => (given, "", ""),
                }
            }
        };
        let between = if self.dialect == Dialect::Oracle { "" } else { "AS " };
        let meets = |column: &usize| format!("r.{0} = u.{0}", self.name(*column));
        let meets = self.key.iter().map(meets).collect::<Vec<_>>().join(" AND ");
        let set: Vec<String> = columns
            .iter()
            .filter(|column| !self.key.contains(column))
            .map(|column| format!("r.{0} = u.{0}", self.name(*column)))
            .collect();
        // Key columns are not changed.
        let matched = match set.is_empty() {
            true => String::new(),
            false => format!(" WHEN MATCHED THEN UPDATE SET {}", set.join(", ")),
        };
        let values: Vec<String> =
            columns.iter().map(|column| format!("u.{}", self.name(*column))).collect();
        format!(
            "MERGE INTO {table}{hint} {between}r USING {given} ON ({meets}){matched} WHEN NOT \
             MATCHED THEN INSERT ({names}) VALUES ({}){end}",
            values.join(", ")
        )
    }

    fn of_postgres(&self, columns: &[usize]) -> String {
        let numbers = 0..columns.len();
        let arrays: Vec<_> = numbers.clone().map(|at| format!("${}::text[]", at + 1)).collect();
        let names: Vec<_> = numbers.map(|at| format!("c{at}")).collect();
        let (arrays, aliases) = (arrays.join(", "), names.join(", "));
        let cast = |column: usize| {
            let at = columns.iter().position(|other| *other == column).unwrap_or_default();
            self.converted(&format!("u.c{at}"), column)
        };
        let values = columns.iter().map(|column| cast(*column)).collect::<Vec<_>>().join(", ");
        let (table, names) = (&self.table, self.names(columns));
        let insert = format!(
            "INSERT INTO {table} ({names}){} SELECT {values} FROM unnest({arrays}) AS u({aliases})",
            self.overriding
        );
        match self.mode {
            Mode::Insert | Mode::Call => insert,
            Mode::Upsert => {
                let set = |column: &usize| format!("{0} = EXCLUDED.{0}", self.name(*column));
                let set = self.changed(columns).iter().map(set).collect::<Vec<_>>().join(", ");
                let key = self.names(&self.key);
                format!("{insert} ON CONFLICT ({key}) DO UPDATE SET {set}")
            }
            Mode::Update => {
                let set = |column: &usize| format!("{} = {}", self.name(*column), cast(*column));
                let set = self.changed(columns).iter().map(set).collect::<Vec<_>>().join(", ");
                let meets =
                    |column: &usize| format!("r.{} = {}", self.name(*column), cast(*column));
                let meets = self.key.iter().map(meets).collect::<Vec<_>>().join(" AND ");
                format!(
                    "WITH done AS (UPDATE {table} AS r SET {set} FROM unnest({arrays}) WITH \
                     ORDINALITY AS u({aliases}, n) WHERE {meets} RETURNING u.n) \
                     SELECT count(DISTINCT n) FROM done"
                )
            }
        }
    }

    fn with_placeholders(&self, columns: &[usize], rows: usize) -> String {
        let (table, names) = (&self.table, self.names(columns));
        if self.mode == Mode::Update {
            let pair = |column: &usize| format!("{} = {}", self.name(*column), self.mark(*column));
            let set: Vec<_> = self.changed(columns).iter().map(pair).collect();
            let meets: Vec<_> = self.key.iter().map(pair).collect();
            return format!("UPDATE {table} SET {} WHERE {}", set.join(", "), meets.join(" AND "));
        }
        let marks: Vec<String> = columns.iter().map(|column| self.mark(*column)).collect();
        let row = format!("({})", marks.join(", "));
        let rows = vec![&*row; rows].join(", ");
        let insert = format!("INSERT INTO {table} ({names}){} VALUES {rows}", self.overriding);
        if self.mode == Mode::Insert {
            return insert;
        }
        let changed = self.changed(columns);
        if self.dialect == Dialect::Mysql {
            let set = |column: &usize| format!("{0} = VALUES({0})", self.name(*column));
            let set = changed.iter().map(set).collect::<Vec<_>>().join(", ");
            return format!("{insert} ON DUPLICATE KEY UPDATE {set}");
        }
        let set = |column: &usize| format!("{0} = excluded.{0}", self.name(*column));
        let set = changed.iter().map(set).collect::<Vec<_>>().join(", ");
        format!("{insert} ON CONFLICT ({}) DO UPDATE SET {set}", self.names(&self.key))
    }

    /// Returns the columns of the placeholders of a row, in order.
    pub(super) fn order(&self, columns: &[usize]) -> Vec<usize> {
        if self.mode == Mode::Update {
            self.changed(columns).into_iter().chain(self.key.iter().copied()).collect()
        } else {
            columns.to_vec()
        }
    }
}
