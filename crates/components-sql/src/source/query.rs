//! The statements: pages of rows that continue after a row, without `OFFSET`.

use std::time::Duration;

use super::config::Options;
pub(super) use super::kind::Kind;
use super::position::Range;
use super::wire::Wire;
use crate::dialect::Dialect;
use crate::meaning::Meaning;
use crate::value::{Tuple, Value};

/// A column to read.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// The selected expression.
    pub(super) selected: String,
    pub(super) meaning: Meaning,
    /// How PostgreSQL sends the values of typed rows.
    pub(super) wire: Wire,
    /// Its values are arrays of PostgreSQL, and `kind` and `wire` describe their items.
    pub(super) is_list: bool,
}

/// A column that orders the rows.
#[derive(Debug, Clone)]
pub(super) struct Ordered {
    /// Its quoted name.
    pub(super) name: String,
    /// The selected expression, which allows a lossless comparison.
    pub(super) selected: String,
    /// How to interpret the text.
    pub(super) meaning: Meaning,
    /// The texts before and after the parameter in a comparison.
    pub(super) around: (String, String),
    /// For dates and times: the condition that a value is not after the database's clock. A time
    /// without a zone is checked in UTC and in the server's zone.
    pub(super) not_ahead: Option<String>,
}

impl Ordered {
    /// Returns whether its values are dates or times.
    pub(super) fn is_time(&self) -> bool {
        self.not_ahead.is_some()
    }
}

/// The relation in the database's dialect.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) dialect: Dialect,
    /// Whether every parameter is a `?`.
    pub(super) is_odbc: bool,
    pub(super) relation: String,
    pub(super) condition: Option<String>,
    pub(super) columns: Vec<Column>,
    pub(super) order: Vec<Ordered>,
    /// The condition that excludes rows from the future. Otherwise such a row would become the
    /// cursor, and all rows changed before its time would count as read.
    pub(super) not_ahead: Option<String>,
    /// The expression for the header `timestamp`.
    pub(super) timestamp: Option<String>,
    /// Whether JSON values are texts.
    pub(super) has_json_texts: bool,
    /// Whether PostgreSQL sends the values of columns in their binary format.
    pub(super) is_binary: bool,
}

/// A statement and its parameters.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Statement {
    pub(super) text: String,
    pub(super) parameters: Vec<Value>,
}

/// A side of a row in a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Behind,
    UpTo,
}

impl Table {
    /// Creates the parts that do not depend on the columns.
    pub(super) fn new(options: &Options, dialect: Dialect, is_odbc: bool) -> Self {
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
            has_json_texts: options.has_json_texts,
            is_binary: false,
        }
    }

    /// Returns up to `rows` rows after `after` and up to `until`.
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

    /// Counts the rows that are excluded because their time is after the database's clock.
    pub(super) fn ahead(&self) -> Option<Statement> {
        let not_ahead = self.not_ahead.as_ref()?;
        Some(self.select("count(*)", &[], 1, |statement| {
            statement.push(" AND NOT (").push(not_ahead).push(")");
        }))
    }

    /// Returns the rows of the window: after `floor`, at most `overlap` older than the cursor, and
    /// up to it.
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

    /// Returns the rows of a range after `after`.
    pub(super) fn range(&self, range: &Range, after: Option<&Tuple>, rows: u32) -> Statement {
        let order = self.order_of(range.in_nulls);
        self.select(&self.selected(), order, rows, |statement| {
            self.part(statement, range.in_nulls);
            self.between(statement, order, after, range.until.as_ref());
        })
    }

    /// Returns the last of the next `rows` rows after `after`.
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

    /// Returns a row without a key: one of its key columns is NULL.
    pub(super) fn nameless(&self, key: &[String]) -> Statement {
        let nulls: Vec<String> =
            key.iter().map(|name| format!("{} IS NULL", self.dialect.quote(name))).collect();
        let condition = format!(" AND ({})", nulls.join(" OR "));
        self.select("'nameless'", &[], 1, |statement| {
            statement.push(&condition);
        })
    }

    /// Returns the index of a column with MySQL's zero `TIMESTAMP`; `None` if no column can have
    /// one.
    pub(super) fn zeros(&self) -> Option<Statement> {
        let zero = |(at, column): (usize, &Column)| {
            let name = self.dialect.quote(&column.name);
            (column.kind == Kind::Timestamp)
                .then(|| (format!("{name} = '0000-00-00 00:00:00'"), at))
        };
        let zeros: Vec<_> = self.columns.iter().enumerate().filter_map(zero).collect();
        let cases: Vec<_> = zeros.iter().map(|(is, at)| format!("WHEN {is} THEN {at}")).collect();
        let any: Vec<_> = zeros.iter().map(|(is, _)| &**is).collect();
        let selected = format!("CASE {} END", cases.join(" "));
        (!any.is_empty()).then(|| {
            self.select(&selected, &[], 1, |statement| {
                statement.push(" AND (").push(&any.join(" OR ")).push(")");
            })
        })
    }

    /// Counts all rows that match the condition.
    pub(super) fn count(&self) -> Statement {
        self.select("count(*)", &[], 1, |_| {})
    }

    /// Returns the order of the rows with or without NULL in the first column.
    pub(super) fn order_of(&self, in_nulls: bool) -> &[Ordered] {
        &self.order[usize::from(in_nulls)..]
    }

    /// Returns all selected expressions, in the order of `rows::Row`.
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
            // A comment at the end of the condition ends with the line.
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

    /// Selects the rows whose first column is NULL, or is not.
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

    /// Compares whole rows, which uses an index.
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

    /// Compares column by column: MySQL uses no index for row comparisons, and others lack them.
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

    /// Subtracts a duration from a value.
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

    /// Returns the values of an order as a position stores them.
    pub(super) fn tuple(&self, in_nulls: bool, mut values: Tuple) -> Tuple {
        for (value, column) in values.iter_mut().zip(self.order_of(in_nulls)) {
            column.meaning.apply(value);
        }
        values
    }
}

/// Assigns aliases that no column has: otherwise `ORDER BY` would use an expression with the
/// column's name, and order numbers as texts.
fn named<'a>(selected: impl Iterator<Item = &'a str>) -> String {
    let named = selected.enumerate().map(|(at, it)| format!("{it} AS aqueduct_{at}"));
    named.collect::<Vec<_>>().join(", ")
}

impl Statement {
    fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Requires that the first column is not NULL.
    fn not_null(&mut self, order: &[Ordered]) -> &mut Self {
        match order.first() {
            Some(first) => self.push(&first.name).push(" IS NOT NULL"),
            None => self.push("1 = 1"),
        }
    }
}
