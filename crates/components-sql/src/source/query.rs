//! The statements: pages of rows in an order that is resumed behind a row, without `OFFSET`.

use std::time::Duration;

use super::config::Options;
use super::position::Range;
use crate::dialect::Dialect;
use crate::meaning::Meaning;
use crate::value::{Tuple, Value};

/// What a file of columns can have in a column: the type of its values as they stand in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number of 64 bits.
    Int64,
    /// A number of 32 bits.
    Float,
    /// A number of 64 bits.
    Double,
    /// A number with so many digits, and so many of them behind the point.
    Decimal {
        /// All digits.
        precision: u32,
        /// Those behind the point.
        scale: u32,
    },
    /// A date.
    Date,
    /// A time in UTC.
    Timestamp,
    /// JSON.
    Json,
    /// A text: all else.
    Text,
}

/// A column that is read.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// What is selected for it.
    pub(super) selected: String,
    pub(super) meaning: Meaning,
}

/// A column that rows are ordered by.
#[derive(Debug, Clone)]
pub(super) struct Ordered {
    /// Its name, in quotes.
    pub(super) name: String,
    /// What is selected for it: a form that can be given back without a loss.
    pub(super) selected: String,
    /// What that text means.
    pub(super) meaning: Meaning,
    /// What stands before and behind the parameter that is compared with it.
    pub(super) around: (String, String),
    /// Of dates and times: the condition that a value is not after the clock of the database. A
    /// time without a zone counts in UTC and in the zone of the server.
    pub(super) not_ahead: Option<String>,
}

impl Ordered {
    /// Its values are dates or times.
    pub(super) fn is_time(&self) -> bool {
        self.not_ahead.is_some()
    }
}

/// What is read, in words of the database.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) dialect: Dialect,
    /// Every parameter is a `?`.
    pub(super) is_odbc: bool,
    pub(super) relation: String,
    pub(super) condition: Option<String>,
    pub(super) columns: Vec<Column>,
    pub(super) order: Vec<Ordered>,
    /// The condition of rows that are read by now. A row from the future would be the last one in
    /// the order, and all that are changed before its time would count as read.
    pub(super) not_ahead: Option<String>,
    /// What is selected for the header `timestamp`.
    pub(super) timestamp: Option<String>,
}

/// A statement and its parameters.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Statement {
    pub(super) text: String,
    pub(super) parameters: Vec<Value>,
}

/// Which side of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Behind,
    UpTo,
}

impl Table {
    /// With the texts that do not depend on the columns.
    pub(super) fn of(options: &Options, dialect: Dialect, is_odbc: bool) -> Self {
        let timestamp = options.timestamp_column.as_ref();
        Self {
            dialect,
            is_odbc,
            relation: options.relation.text(dialect),
            condition: options.condition.clone(),
            columns: Vec::new(),
            order: Vec::new(),
            not_ahead: None,
            timestamp: timestamp.map(|name| dialect.millis(&dialect.quote(name))),
        }
    }

    /// Rows behind `after` and up to `until`, this many at most.
    pub(super) fn page(
        &self,
        after: Option<&Tuple>,
        until: Option<&Tuple>,
        rows: u32,
    ) -> Statement {
        let order = &self.order[..];
        self.select(&self.selected(), order, rows, |statement| {
            statement.push(" AND ").not_null(order);
            if let Some(not_ahead) = &self.not_ahead {
                statement.push(" AND ").push(not_ahead);
            }
            self.between(statement, order, after, until);
        })
    }

    /// Number of rows that are left out because their times are after the clock of the database.
    pub(super) fn ahead(&self) -> Option<Statement> {
        let not_ahead = self.not_ahead.as_ref()?;
        Some(self.select("count(*)", &[], 1, |statement| {
            statement.push(" AND NOT (").push(not_ahead).push(")");
        }))
    }

    /// Rows of the window: behind `floor`, at most `overlap` older than the cursor, and up to it.
    pub(super) fn window(
        &self,
        (after, floor): (Option<&Tuple>, Option<&Tuple>),
        cursor: &Tuple,
        overlap: Duration,
        rows: u32,
    ) -> Statement {
        let order = &self.order[..];
        self.select(&self.selected(), order, rows, |statement| {
            if let (Some(first), Some(value)) = (order.first(), cursor.first()) {
                statement.push(" AND ").push(&first.name).push(" >= ");
                self.earlier(statement, first, value, overlap);
            }
            self.between(statement, order, floor, Some(cursor));
            self.between(statement, order, after, None);
        })
    }

    /// Rows of a range behind `after`.
    pub(super) fn range(&self, range: &Range, after: Option<&Tuple>, rows: u32) -> Statement {
        let order = self.order_of(range.in_nulls);
        self.select(&self.selected(), order, rows, |statement| {
            self.part(statement, range.in_nulls);
            self.between(statement, order, after, range.until.as_ref());
        })
    }

    /// The last of so many rows behind `after`.
    pub(super) fn boundary(&self, in_nulls: bool, after: Option<&Tuple>, rows: u32) -> Statement {
        let order = self.order_of(in_nulls);
        let names: Vec<&str> = order.iter().map(|it| &*it.name).collect();
        let inner = self.select(&names.join(", "), order, rows, |statement| {
            self.part(statement, in_nulls);
            self.between(statement, order, after, None);
        });
        let selected = named(order.iter().map(|it| &*it.selected));
        let descending: Vec<String> = names.iter().map(|name| format!("{name} DESC")).collect();
        let page = self.dialect.named(&inner.text, "aqueduct_page");
        let (first, last) = self.dialect.limit(1);
        let descending = descending.join(", ");
        let text = format!("SELECT {first}{selected} FROM {page} ORDER BY {descending}{last}");
        Statement { text, ..inner }
    }

    /// A row that cannot be named: a column of the key is NULL in it.
    pub(super) fn nameless(&self, key: &[String]) -> Statement {
        let nulls: Vec<String> =
            key.iter().map(|name| format!("{} IS NULL", self.dialect.quote(name))).collect();
        let condition = format!(" AND ({})", nulls.join(" OR "));
        self.select("'nameless'", &[], 1, |statement| {
            statement.push(&condition);
        })
    }

    /// Number of all rows that meet the condition.
    pub(super) fn count(&self) -> Statement {
        self.select("count(*)", &[], 1, |_| {})
    }

    /// What rows are ordered by where the first column is NULL, or is not.
    pub(super) fn order_of(&self, in_nulls: bool) -> &[Ordered] {
        &self.order[usize::from(in_nulls)..]
    }

    /// Everything that a row has, in the order of `rows::Row`.
    fn selected(&self) -> String {
        let order = self.order.iter().map(|it| &*it.selected);
        let columns = self.columns.iter().map(|it| &*it.selected);
        named(order.chain(self.timestamp.as_deref()).chain(columns))
    }

    fn select(
        &self,
        selected: &str,
        order: &[Ordered],
        rows: u32,
        conditions: impl FnOnce(&mut Statement),
    ) -> Statement {
        let mut statement = Statement::default();
        let (first, last) = self.dialect.limit(rows);
        statement.push("SELECT ").push(&first).push(selected).push(" FROM ").push(&self.relation);
        statement.push(" WHERE 1 = 1");
        if let Some(condition) = &self.condition {
            // A comment at its end ends with its line.
            statement.push(" AND (").push(condition).push("\n)");
        }
        conditions(&mut statement);
        if !order.is_empty() {
            let names: Vec<&str> = order.iter().map(|it| &*it.name).collect();
            statement.push(" ORDER BY ").push(&names.join(", "));
        }
        statement.push(&last);
        statement
    }

    /// Rows whose first column is NULL, or those where it is not.
    fn part(&self, statement: &mut Statement, in_nulls: bool) {
        match in_nulls {
            true => {
                let first = self.order.first().map(|it| &*it.name).unwrap_or_default();
                statement.push(" AND ").push(first).push(" IS NULL");
            }
            false => {
                statement.push(" AND ").not_null(&self.order);
            }
        }
    }

    fn between(
        &self,
        statement: &mut Statement,
        order: &[Ordered],
        after: Option<&Tuple>,
        until: Option<&Tuple>,
    ) {
        for (row, side) in [(after, Side::Behind), (until, Side::UpTo)] {
            let Some(row) = row else { continue };
            statement.push(" AND ");
            match self.dialect.compares_rows() {
                true => self.compare(statement, order, row, side),
                false => self.compare_each(statement, order, row, side),
            }
        }
    }

    /// By a comparison of rows, for which an index is used.
    fn compare(&self, statement: &mut Statement, order: &[Ordered], row: &Tuple, side: Side) {
        let names: Vec<&str> = order.iter().map(|it| &*it.name).collect();
        let sign = if side == Side::Behind { ">" } else { "<=" };
        statement.push(&format!("({}) {sign} (", names.join(", ")));
        for (at, (column, value)) in order.iter().zip(row).enumerate() {
            if at > 0 {
                statement.push(", ");
            }
            self.parameter(statement, column, value);
        }
        statement.push(")");
    }

    /// Column by column: MySQL uses no index for a comparison of rows, and others have none.
    fn compare_each(&self, statement: &mut Statement, order: &[Ordered], row: &Tuple, side: Side) {
        let (Some((column, rest)), Some((value, values))) =
            (order.split_first(), row.split_first())
        else {
            statement.push("1 = 1");
            return;
        };
        let sign = match (side, rest.is_empty()) {
            (Side::Behind, true) => " > ",
            (Side::UpTo, true) => " <= ",
            (Side::Behind, false) => " >= ",
            (Side::UpTo, false) => " <= ",
        };
        statement.push("(").push(&column.name).push(sign);
        self.parameter(statement, column, value);
        if !rest.is_empty() {
            let sign = if side == Side::Behind { " > " } else { " < " };
            statement.push(" AND (").push(&column.name).push(sign);
            self.parameter(statement, column, value);
            statement.push(" OR ");
            self.compare_each(statement, rest, &values.to_vec(), side);
            statement.push(")");
        }
        statement.push(")");
    }

    fn parameter(&self, statement: &mut Statement, column: &Ordered, value: &Value) {
        statement.parameters.push(value.clone());
        let number = statement.parameters.len();
        let mark = match self.dialect {
            _ if self.is_odbc => "?".to_owned(),
            Dialect::Postgres => format!("${number}"),
            Dialect::Sqlite => format!("?{number}"),
            _ => "?".to_owned(),
        };
        statement.push(&column.around.0).push(&mark).push(&column.around.1);
    }

    /// The value less a time.
    fn earlier(&self, statement: &mut Statement, column: &Ordered, value: &Value, by: Duration) {
        if let (Dialect::Sqlite, Value::Text(text)) = (self.dialect, value) {
            let between = if text.contains('T') { "T" } else { " " };
            statement.push(&format!("strftime('%Y-%m-%d{between}%H:%M:%f', "));
            self.parameter(statement, column, value);
            statement.push(&format!(", '-{:.3} seconds')", by.as_secs_f64()));
            return;
        }
        let (before, behind) = self.dialect.earlier(by);
        statement.push(&before);
        self.parameter(statement, column, value);
        statement.push(&behind);
    }

    /// The values of an order as they stand in a position.
    pub(super) fn tuple(&self, in_nulls: bool, mut values: Tuple) -> Tuple {
        for (value, column) in values.iter_mut().zip(self.order_of(in_nulls)) {
            column.meaning.apply(value);
        }
        values
    }
}

/// With names that no column has: `ORDER BY` would take a form of a column for the column itself,
/// and order numbers as texts.
fn named<'a>(selected: impl Iterator<Item = &'a str>) -> String {
    let named = selected.enumerate().map(|(at, it)| format!("{it} AS aqueduct_{at}"));
    named.collect::<Vec<_>>().join(", ")
}

impl Statement {
    fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// The first column has a value.
    fn not_null(&mut self, order: &[Ordered]) -> &mut Self {
        match order.first() {
            Some(first) => self.push(&first.name).push(" IS NOT NULL"),
            None => self.push("1 = 1"),
        }
    }
}
