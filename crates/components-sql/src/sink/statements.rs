//! The texts of statements, by dialect.
//!
//! ```text
//!   PostgreSQL   INSERT … SELECT c0::type, … FROM unnest($1::text[], …)   any number of rows
//!                COPY … FROM STDIN                                        many rows, to insert
//!   MySQL        INSERT … VALUES (?, …), (?, …), …                        a row for each (…)
//!   SQLite       INSERT … VALUES (?, …)                                   once for each row
//!   by ODBC      as MySQL, or MERGE for SQL Server and Oracle             a row for each (…)
//!   procedures   CALL p(a => $1::text::type, …)  SELECT f(…)  CALL p(?, …)  once for each row
//! ```

use std::fmt::Write;

use super::bound::text_of;
use super::config::Mode;
use super::row::{Row, Target};
use super::table::Table;
use super::value::Value;
use crate::dialect::Dialect;

/// How rows go into a table.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) dialect: Dialect,
    /// Every parameter is a `?`.
    is_odbc: bool,
    /// The table, quoted.
    pub(super) table: String,
    pub(super) mode: Mode,
    pub(super) targets: Vec<Target>,
    /// Types of the targets, for casts: of PostgreSQL, and by ODBC.
    casts: Vec<String>,
    /// Places of the key's columns among the targets.
    pub(super) key: Vec<usize>,
    rows_max: usize,
    /// Rows may go by `COPY`.
    copies: bool,
    /// How the procedure is called.
    verb: &'static str,
}

/// Rows from which on `COPY` is worth its second round trip.
const COPY_ROWS_MIN: usize = 32;
/// Most placeholders of a statement: what MySQL allows.
const PLACEHOLDERS_MAX: usize = 65_000;
/// Most bytes of values in a statement, but for a single row: well below `max_allowed_packet`.
const BYTES_MAX: usize = 1 << 20;

impl Plan {
    pub(super) fn new(
        (dialect, is_odbc): (Dialect, bool),
        table: &Table,
        mode: Mode,
        targets: Vec<Target>,
        key: Vec<usize>,
        rows_max: usize,
    ) -> Self {
        let cast = |target: &Target| {
            table.column(&target.name).map(|column| column.cast.clone()).unwrap_or_default()
        };
        let casts = targets.iter().map(cast).collect();
        let copies = table.takes_copy && mode == Mode::Insert && !is_odbc;
        let (table, verb) = (table.quoted.clone(), table.verb);
        Self { dialect, is_odbc, table, mode, targets, casts, key, rows_max, copies, verb }
    }

    /// How many of the rows at the front go by one `COPY`: all that have the same columns, or none
    /// where a statement with values is better.
    pub(super) fn copied(&self, rows: &[Row]) -> usize {
        let Some(first) = rows.first().filter(|_| self.copies) else { return 0 };
        let alike = rows.iter().take_while(|row| row.columns == first.columns).count();
        if alike < COPY_ROWS_MIN { 0 } else { alike }
    }

    /// The statement that takes lines of [`super::bound::copy_text`] with these columns.
    pub(super) fn copy(&self, columns: &[usize]) -> String {
        format!("COPY {} ({}) FROM STDIN", self.table, self.names(columns))
    }

    /// How many of the rows at the front go into one statement: rows with the same columns, and for
    /// PostgreSQL and SQL Server with different keys, since a statement changes a row once.
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

    /// Most values of a statement. An array of parameters would have any number of rows; but a
    /// driver may put some of an array and call that a success.
    fn placeholders_max(&self) -> usize {
        match self.dialect {
            // Rows are changed one by one.
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
            // What a value looks like tells it from all others.
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

    /// What is set, among these columns: those that are not of the key, or the key itself if there
    /// are no others.
    fn changed(&self, columns: &[usize]) -> Vec<usize> {
        let mut changed = columns.to_vec();
        changed.retain(|column| !self.key.contains(column));
        if changed.is_empty() { self.key.clone() } else { changed }
    }

    /// The statement for rows with these columns; `rows` of them with MySQL and by ODBC.
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

    /// A call with these parameters.
    fn call(&self, columns: &[usize]) -> String {
        let value = |(at, column): (usize, &usize)| match self.dialect {
            Dialect::Postgres => {
                format!("{} => ${}::text::{}", self.name(*column), at + 1, self.casts[*column])
            }
            _ => "?".to_owned(),
        };
        let values: Vec<String> = columns.iter().enumerate().map(value).collect();
        format!("{} {}({})", self.verb, self.table, values.join(", "))
    }

    /// What stands for a value of this column.
    fn mark(&self, column: usize) -> String {
        let cast = &self.casts[column];
        match self.dialect {
            Dialect::Postgres => format!("CAST(? AS text)::{cast}"),
            _ if cast.is_empty() => "?".to_owned(),
            _ => cast.clone(),
        }
    }

    /// The values as a driver of ODBC takes them.
    pub(super) fn bound(&self, values: Vec<Value>) -> impl Iterator<Item = Value> {
        let as_text = self.dialect == Dialect::Postgres;
        values.into_iter().map(move |value| match as_text {
            true => text_of(&value).map_or(Value::Null, Value::Text),
            false => value,
        })
    }

    /// A row is changed, or made.
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
                    // Without the lock, two of them would make the same row.
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
        // A column that rows are found by is not changed.
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
            format!("u.c{at}::{}", self.casts[column])
        };
        let values = columns.iter().map(|column| cast(*column)).collect::<Vec<_>>().join(", ");
        let (table, names) = (&self.table, self.names(columns));
        let insert = format!(
            "INSERT INTO {table} ({names}) SELECT {values} FROM unnest({arrays}) AS u({aliases})"
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
        let insert =
            format!("INSERT INTO {table} ({names}) VALUES {}", vec![&*row; rows].join(", "));
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

    /// The columns whose values a statement with placeholders takes for a row, in their order.
    pub(super) fn order(&self, columns: &[usize]) -> Vec<usize> {
        if self.mode == Mode::Update {
            self.changed(columns).into_iter().chain(self.key.iter().copied()).collect()
        } else {
            columns.to_vec()
        }
    }
}
