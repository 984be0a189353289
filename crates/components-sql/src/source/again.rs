//! Reads the rows of a table again, to compare them with stored ones.
//!
//! Reads them in one snapshot, up to the last row that the source has read; later rows are
//! excluded.

use bytes::Bytes;
use formats::calendar;
use pipeline::{BuildContext, SourceError};

use super::body::Values;
use super::config::{Config, Mode, Options};
use super::position::{self, Range, STATE, State};
use super::query::{Kind, Table};
use super::rows::Rows;
use super::{describe, failed, full, refused};
use crate::connection::Connection;
use crate::value::{Form, Value};

/// A table to read again.
pub struct Reread {
    connection: Connection,
    options: Options,
    table: Table,
    ranges: Vec<Range>,
}

impl Reread {
    /// Connects; `known` are the source's positions in the channel.
    ///
    /// # Errors
    /// The source has not read its table completely, or the database failed.
    pub async fn open(
        config: Config,
        known: &[(Bytes, Bytes)],
        cx: &BuildContext,
    ) -> Result<Self, SourceError> {
        let mut options = config.options(cx).map_err(|error| refused(error.to_string()))?;
        // Texts of the server check the typed values of the files by another way.
        options.form = Form::Json;
        let state: Option<State> = position::read(known, STATE).map_err(refused)?;
        let state = state
            .ok_or_else(|| refused("no row has been read yet; run the import first".to_owned()))?;
        if state.of != options.digest() {
            return Err(refused(
                "the settings of the table or its order differ from those with which the source \
                 read its rows; use these settings"
                    .to_owned(),
            ));
        }
        let ranges = ranges(&state, options.mode, options.has_nulls).map_err(refused)?;
        let target = &options.target;
        let mut connection = Connection::open(target).await.map_err(failed)?;
        full::begin_snapshot(&mut connection, target).await.map_err(failed)?;
        let table = describe::table(&mut connection, &options).await.map_err(failed)?;
        Ok(Self { connection, options, table, ranges })
    }

    /// Returns the columns with their types.
    pub fn columns(&self) -> Vec<(String, Kind)> {
        self.table.columns.iter().map(|it| (it.name.clone(), it.kind)).collect()
    }

    /// Returns the indexes of the key columns; all columns if there is no key.
    pub fn key(&self) -> Vec<usize> {
        let place = |name: &String| self.table.columns.iter().position(|it| it.name == *name);
        let key: Option<Vec<usize>> = self.options.key.iter().map(place).collect();
        let all = || (0..self.table.columns.len()).collect();
        key.filter(|key| !key.is_empty()).unwrap_or_else(all)
    }

    /// Passes the values of each row as texts to `take`; `None` for NULL.
    ///
    /// # Errors
    /// The database failed.
    pub async fn each(
        &mut self,
        mut take: impl FnMut(Vec<Option<String>>),
    ) -> Result<(), SourceError> {
        let rows_max = self.options.fetch_size;
        for range in &self.ranges {
            let (mut after, mut found) = (None, rows_max);
            while found == rows_max {
                found = 0;
                let statement = self.table.range(range, after.as_ref(), rows_max);
                let target = &self.options.target;
                let reading = Rows::of(&mut self.connection, target, &statement).await;
                let mut rows = reading.map_err(failed)?;
                while let Some(mut row) = rows.row(&self.table).await.map_err(failed)? {
                    found += 1;
                    let Values::Plain(values) = &row.values else {
                        unreachable!("the rows are read as text")
                    };
                    let texts = values.iter().map(|it| (*it != Value::Null).then(|| it.text()));
                    take(texts.collect());
                    after = Some(row.order.split_off(usize::from(range.in_nulls)));
                }
            }
        }
        Ok(())
    }
}

/// Returns the ranges that a source has read.
///
/// # Errors
/// It is not at its end.
fn ranges(state: &State, mode: Mode, has_nulls: bool) -> Result<Vec<Range>, String> {
    let up_to = |in_nulls, until| Range { number: 0, in_nulls, after: None, until };
    match mode {
        Mode::Modified => Err("a source with `mode = \"modified\"` stores every change, so a row \
                               of the table may be several events, and a comparison of the table \
                               is not possible"
            .to_owned()),
        Mode::Append => {
            Ok(state.cursor.iter().map(|last| up_to(false, Some(last.clone()))).collect())
        }
        Mode::Full if !state.plan.is_done => Err("the table is not completely read yet; run the \
                                                  same import again to complete it"
            .to_owned()),
        Mode::Full if !has_nulls => {
            Ok(state.plan.end.iter().map(|last| up_to(false, Some(last.clone()))).collect())
        }
        Mode::Full => {
            // Positions of earlier versions lack the end of the values.
            let values = up_to(false, state.plan.values_end.clone());
            let nulls = state.plan.end.iter().map(|last| up_to(true, Some(last.clone())));
            Ok([values].into_iter().chain(nulls).collect())
        }
    }
}

impl Kind {
    /// Normalizes the text of a value to the form in which all file formats return it: numbers
    /// without redundant digits, times in nanoseconds.
    pub fn canonical(self, text: String) -> String {
        match self {
            Self::Float => text.parse::<f32>().map_or(text, |it| it.to_string()),
            Self::Double => text.parse::<f64>().map_or(text, |it| it.to_string()),
            Self::Timestamp => calendar::nanos(&text).map_or(text, |at| at.to_string()),
            Self::Decimal { .. } if text.contains('.') => {
                let short = text.trim_end_matches('0').trim_end_matches('.');
                if short.is_empty() || short == "-0" { "0" } else { short }.to_owned()
            }
            _ => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::position::Plan;
    use super::*;

    #[test]
    fn skips_rows_after_the_last_one_that_was_read() {
        let last = |number| Some(vec![Value::Int(number)]);
        let plan = Plan { is_done: true, end: last(3), ..Plan::default() };
        let mut state = State { plan, ..State::default() };
        let until = |state: &State, mode, has_nulls| -> Vec<_> {
            let ranges = ranges(state, mode, has_nulls).unwrap();
            ranges.into_iter().map(|it| (it.in_nulls, it.until)).collect()
        };
        assert_eq!(until(&state, Mode::Full, false), [(false, last(3))]);
        state.plan.values_end = last(9);
        assert_eq!(until(&state, Mode::Full, true), [(false, last(9)), (true, last(3))]);
        state.plan.end = None;
        assert_eq!(until(&state, Mode::Full, false), [], "there were no rows");
        assert_eq!(until(&state, Mode::Full, true), [(false, last(9))], "none had NULL");
        assert_eq!(until(&state, Mode::Append, false), []);
        state.cursor = last(7);
        assert_eq!(until(&state, Mode::Append, false), [(false, last(7))]);
        assert!(ranges(&state, Mode::Modified, false).is_err());
        state.plan.is_done = false;
        assert!(ranges(&state, Mode::Full, false).unwrap_err().contains("not completely read"));
    }

    #[test]
    fn one_value_has_one_form() {
        let decimal = Kind::Decimal { precision: 9, scale: 3 };
        for (kind, texts) in [
            (decimal, &["1.5", "1.500"][..]),
            (decimal, &["0", "0.000", "-0.0"]),
            (decimal, &["-10", "-10.000"]),
            (Kind::Double, &["1e300", &format!("1{}", "0".repeat(300))]),
            (Kind::Float, &["0.5", "5e-1"]),
            (Kind::Double, &["Infinity", "inf"]),
            (Kind::Timestamp, &["2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000+00:00"]),
        ] {
            let forms: Vec<_> = texts.iter().map(|it| kind.canonical((*it).to_owned())).collect();
            assert!(forms.iter().all(|it| *it == forms[0]), "{kind:?} {forms:?}");
        }
        assert_eq!(Kind::Text.canonical("1.0".into()), "1.0");
        assert_eq!(Kind::Json.canonical("null".into()), "null", "JSON null is not NULL");
        assert_eq!(decimal.canonical("100".into()), "100");
    }
}
