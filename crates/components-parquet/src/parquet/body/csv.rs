//! Bodies in CSV (RFC 4180), with field names from the settings.

use formats::csv::Csv;
use pipeline::{BuildError, Events};

use super::{Body, EachRow};
use crate::parquet::column::{Column, Source};
use crate::parquet::paths::Unread;
use crate::parquet::value::Found;

/// The format of lines.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) delimiter: char,
    pub(super) null: String,
}

/// The reader.
#[derive(Debug)]
pub(super) struct Bodies {
    csv: Csv,
    null: String,
    /// For each named value, in order, the columns that use it.
    takers: Vec<Vec<usize>>,
    /// Number of columns.
    columns: usize,
}

impl Bodies {
    /// Creates a reader of lines with these fields.
    ///
    /// # Errors
    /// The settings are wrong, or a column uses an unknown field.
    pub(super) fn new(
        fields: Vec<String>,
        lines: Lines,
        columns: &[Column],
    ) -> Result<Self, BuildError> {
        if fields.is_empty() {
            return Err(BuildError::invalid(
                "fields",
                "must list the values of a line if `format` is `csv`",
            ));
        }
        let Lines { delimiter, null } = lines;
        if !delimiter.is_ascii() || "\"\r\n".contains(delimiter) {
            let problem = "must be an ASCII character, and neither a quote nor a line end";
            return Err(BuildError::invalid("delimiter", problem));
        }
        let named: Vec<&String> = fields.iter().filter(|name| !name.is_empty()).collect();
        if let Some(index) = (1..named.len()).find(|index| named[..*index].contains(&named[*index]))
        {
            return Err(BuildError::invalid(
                "fields",
                format!("must be unique, but `{}` appears twice", named[index]),
            ));
        }
        let mut takers = vec![Vec::new(); named.len()];
        for (index, column) in columns.iter().enumerate() {
            let Source::Path(path) = &column.source else { continue };
            let name = path.join(".");
            let Some(at) = named.iter().position(|field| path.len() == 1 && **field == name) else {
                let problem = format!(
                    "`fields` has no `{name}`: use one of its names, `header:NAME` or `body`, and \
                     escape a dot in a name as `\\.`"
                );
                return Err(BuildError::invalid(format!("columns.{index}.from"), problem));
            };
            takers[at].push(index);
        }
        let csv = Csv::new(fields, delimiter as u8);
        Ok(Self { csv, null, takers, columns: columns.len() })
    }
}

impl Body for Bodies {
    fn each<'e>(&self, events: &'e Events, row: &mut EachRow<'_, 'e>) {
        let mut scratch = self.csv.scratch();
        let is_read = self.takers.iter().any(|takers| !takers.is_empty());
        for event in events.iter() {
            let mut found = vec![Found::Missing; self.columns];
            if !is_read {
                row(event, Ok(&found));
                continue;
            }
            let mut takers = self.takers.iter();
            let read = self.csv.parse(event.body(), &mut scratch, |_, text| {
                let takers = takers.next().filter(|_| *text != *self.null);
                takers
                    .into_iter()
                    .flatten()
                    .for_each(|column| found[*column] = Found::Text(text.as_bytes()));
            });
            let read = read.map_err(|problem| {
                Unread::Body(
                    format!(
                        "the body does not match `fields`: {problem}; correct the event, or \
                         `fields` and `delimiter` of the encoder"
                    )
                    .into(),
                )
            });
            row(event, read.map(|()| &found[..]));
        }
    }

    fn text_bound(&self, events: &Events, columns: &[Column]) -> Option<u64> {
        let is_text = |column: &&usize| columns[**column].is_bytes();
        let copies = |takers: &Vec<usize>| takers.iter().filter(is_text).count() as u64;
        Some(events.body_bytes() * self.takers.iter().map(copies).max().unwrap_or(0))
    }
}
