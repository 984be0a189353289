//! `csv`: one line per event with headers and body, quoted by RFC 4180; lines end with LF.
//!
//! A value is quoted if it contains the delimiter, a quote, CR or LF, or if it equals `null`, the
//! text for a missing header: `,""` is an empty value, `,` is a missing one.
//!
//! A column of a typed row comes before a header with its name; NULL is written like a missing
//! header.

use std::ops::Range;

use ::rows::{Malformed, Schema, Value};
use bytes::Bytes;
use pipeline::{
    BuildContext, BuildError, Component, Encoder, EventRef, Events, FileEncoder, FileKind,
    TableForm, TableStorage, Unwritable,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::typed;
use crate::csv;
use crate::rows::{SeenSchema, are_typed};

/// Name of the column with the body.
const BODY: &str = "body";
const QUOTE: u8 = b'"';

/// Settings of the `csv` encoder.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Columns in their order: names of headers, and `body` for the body. For a typed row: names of
    /// its columns or of headers, and `body` for the row as JSON.
    columns: Vec<String>,
    /// Whether the first line of each file contains the column names.
    #[serde(default)]
    names: bool,
    /// Delimiter between two columns: one ASCII character.
    #[serde(default = "default_delimiter")]
    delimiter: char,
    /// Text for a missing header, and for NULL.
    #[serde(default)]
    null: String,
}

fn default_delimiter() -> char {
    ','
}

impl Component for Config {
    const KIND: &'static str = "csv";
    type Role = dyn Encoder;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Encoder>, BuildError> {
        if self.columns.is_empty() {
            return Err(BuildError::invalid("columns", "must name at least one column"));
        }
        let is_plain = self.delimiter.is_ascii() && !"\"\r\n".contains(self.delimiter);
        if !is_plain {
            let problem = "must be an ASCII character other than a quote or a line break";
            return Err(BuildError::invalid("delimiter", problem));
        }
        let format = Format { delimiter: self.delimiter as u8, config: self };
        if csv::needs_quotes(format.config.null.as_bytes(), format.delimiter) {
            let problem = "must not contain the delimiter, a quote or a line break";
            return Err(BuildError::invalid("null", problem));
        }
        Ok(Box::new(format))
    }
}

/// Format of the lines.
#[derive(Clone)]
struct Format {
    config: Config,
    delimiter: u8,
}

impl Format {
    fn line<'a>(&self, out: &mut Vec<u8>, values: impl Iterator<Item = Option<&'a [u8]>>) {
        let before = out.len();
        let null = self.config.null.as_bytes();
        for (number, value) in values.enumerate() {
            if number > 0 {
                out.push(self.delimiter);
            }
            match value {
                Some(value) => csv::put(out, value, self.delimiter, null),
                None => out.extend_from_slice(null),
            }
        }
        // Readers skip an empty line.
        if out.len() == before {
            out.extend_from_slice(&[QUOTE, QUOTE]);
        }
        out.push(b'\n');
    }
}

impl Format {
    /// Returns an upper bound of the header line's length.
    fn names_bound(&self) -> u64 {
        self.config.columns.iter().map(|name| 2 * name.len() as u64 + 3).sum()
    }
}

impl Format {
    /// Appends the lines of events; some of them are typed rows.
    fn lines(&self, events: &Events, out: &mut Vec<u8>) {
        let (mut seen, mut row) = (SeenSchema::default(), Row::default());
        let has_body = self.config.columns.iter().any(|column| column == BODY);
        for event in events.iter() {
            let columns = self.config.columns.iter();
            match seen.schema(event) {
                Ok(Some(schema)) if row.read(schema, event, has_body).is_ok() => {
                    self.line(out, columns.map(|column| row.value(schema, event, column)));
                }
                _ => self.line(out, columns.map(|column| value(event, column))),
            }
        }
    }
}

/// The texts of a typed row.
#[derive(Default)]
struct Row {
    text: Vec<u8>,
    /// The text of each column; `None` for NULL.
    columns: Vec<Option<Range<usize>>>,
    object: Vec<u8>,
}

impl Row {
    fn read(
        &mut self,
        schema: &Schema,
        event: EventRef<'_>,
        has_body: bool,
    ) -> Result<(), Malformed> {
        self.text.clear();
        self.columns.clear();
        for value in schema.read(event.body())? {
            let (value, start) = (value?, self.text.len());
            value.put_text(&mut self.text);
            self.columns.push((value != Value::Null).then_some(start..self.text.len()));
        }
        if !has_body {
            return Ok(());
        }
        self.object.clear();
        schema.put_object(event.body(), &mut self.object)
    }

    fn value<'a>(&'a self, schema: &Schema, event: EventRef<'a>, column: &str) -> Option<&'a [u8]> {
        match schema.columns().iter().position(|it| it.name == column) {
            Some(at) => Some(&self.text[self.columns.get(at)?.clone()?]),
            None if column == BODY => Some(&self.object),
            None => value(event, column),
        }
    }
}

/// Returns the value of a column.
fn value<'a>(event: EventRef<'a>, column: &str) -> Option<&'a [u8]> {
    if column == BODY { Some(event.body()) } else { event.header(column).map(str::as_bytes) }
}

impl Encoder for Format {
    fn file_kind(&self) -> FileKind {
        FileKind { extension: "csv", content_type: "text/csv", is_lines: true }
    }

    fn concatenates(&self) -> bool {
        !self.config.names
    }

    fn unwritable(&self, events: &Events) -> Vec<Unwritable> {
        typed::malformed(events)
    }

    fn reads_rows(&self) -> bool {
        true
    }

    fn size_bound(&self, events: &Events) -> u64 {
        if are_typed(events) {
            let mut lines = Vec::new();
            self.lines(events, &mut lines);
            return lines.len() as u64 + self.names_bound();
        }
        // Each byte of a value may be a quote; each value has two quotes around it and a delimiter.
        let columns = &self.config.columns;
        let around = (columns.len() * (3 + self.config.null.len()) * events.len()) as u64;
        let bytes = |column: &String| match &**column {
            BODY => events.body_bytes(),
            name => events.values(name).flatten().map(|value| value.len() as u64).sum(),
        };
        2 * columns.iter().map(bytes).sum::<u64>() + around + self.names_bound()
    }

    fn table(&self) -> Option<TableForm> {
        let columns: Vec<_> = self.config.columns.iter().map(|name| (&**name, "string")).collect();
        let mut form = TableForm::new(TableStorage::Csv, &columns);
        let property = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        form.serde_properties = vec![
            property("separatorChar", &self.config.delimiter.to_string()),
            property("quoteChar", "\""),
            // Only quotes are escaped, by doubling, but the reader requires an escape character.
            property("escapeChar", "\u{1}"),
        ];
        if self.config.names {
            form.table_properties.push(property("skip.header.line.count", "1"));
        }
        Some(form)
    }

    fn begin(&self) -> Box<dyn FileEncoder> {
        Box::new(File { format: self.clone(), is_begun: !self.config.names })
    }
}

struct File {
    format: Format,
    /// True if the header line is written or not needed.
    is_begun: bool,
}

impl File {
    fn start(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if !std::mem::replace(&mut self.is_begun, true) {
            let names = self.format.config.columns.iter().map(|name| Some(name.as_bytes()));
            self.format.line(&mut out, names);
        }
        out
    }
}

impl FileEncoder for File {
    fn encode(&mut self, events: &Events) -> Bytes {
        let mut out = self.start();
        if are_typed(events) {
            self.format.lines(events, &mut out);
            return out.into();
        }
        for event in events.iter() {
            let columns = self.format.config.columns.iter();
            self.format.line(&mut out, columns.map(|column| value(event, column)));
        }
        out.into()
    }

    fn held_back(&self) -> u64 {
        if self.is_begun { 0 } else { self.format.names_bound() }
    }

    fn finish(&mut self) -> Bytes {
        self.start().into()
    }
}

#[cfg(test)]
mod tests {
    use csv_core::{ReadFieldResult, Reader, ReaderBuilder};
    use pipeline::{Batch, BatchBuilder, Choice, Settings};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::testkit::file;
    use super::*;

    fn batch() -> Batch {
        let mut builder = BatchBuilder::default();
        builder.push(b"plain", &[("host", "web-1"), ("path", "/a,b")]);
        builder.push(b"say \"hi\"\r\nbye \xff", &[("host", ""), ("path", "NULL")]);
        builder.push(b"", &[]);
        builder.finish()
    }

    #[test]
    fn quotes_values_if_needed_and_distinguishes_missing_from_empty() {
        let columns = ["host", "body", "path"];
        let settings = json!({ "type": "csv", "columns": columns, "names": true });
        assert_eq!(
            file(&settings, &[batch()]),
            b"host,body,path\nweb-1,plain,\"/a,b\"\n\
              \"\",\"say \"\"hi\"\"\r\nbye \xff\",NULL\n,\"\",\n"
        );
        let settings =
            json!({ "type": "csv", "columns": columns, "delimiter": "\t", "null": "NULL" });
        assert_eq!(
            file(&settings, &[batch()]),
            b"web-1\tplain\t/a,b\n\t\"say \"\"hi\"\"\r\nbye \xff\"\t\"NULL\"\nNULL\t\tNULL\n"
        );
    }

    #[test]
    fn the_names_stand_once_in_a_file_also_in_one_without_events() {
        let settings = json!({ "type": "csv", "columns": ["body"], "names": true });
        assert_eq!(file(&settings, &[]), b"body\n");
        assert_eq!(file(&settings, &[Batch::of(["a"]), Batch::of(["b"])]), b"body\na\nb\n");
    }

    #[test]
    fn no_line_is_empty_for_readers_pass_over_those() {
        let settings = json!({ "type": "csv", "columns": ["host"] });
        assert_eq!(file(&settings, &[batch()]), b"web-1\n\"\"\n\"\"\n");
    }

    /// Reads the lines of a file with another library.
    fn read(mut bytes: &[u8], delimiter: u8) -> Vec<Vec<Vec<u8>>> {
        let mut reader: Reader = ReaderBuilder::new().delimiter(delimiter).build();
        let (mut lines, mut line, mut field) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            let mut buffer = [0; 64];
            let (result, taken, written) = reader.read_field(bytes, &mut buffer);
            bytes = &bytes[taken..];
            field.extend_from_slice(&buffer[..written]);
            match result {
                ReadFieldResult::Field { record_end } => {
                    line.push(std::mem::take(&mut field));
                    if record_end {
                        lines.push(std::mem::take(&mut line));
                    }
                }
                ReadFieldResult::End => return lines,
                ReadFieldResult::InputEmpty | ReadFieldResult::OutputFull => {}
            }
        }
    }

    proptest! {
        #[test]
        fn reads_back_written_values(
            rows in prop::collection::vec(("[a\",;\\r\\n ]{0,6}", "[a\",;\\r\\n ]{0,6}"), 0..5),
            is_semicolon in any::<bool>(),
        ) {
            let mut builder = BatchBuilder::default();
            for (header, body) in &rows {
                builder.push(body.as_bytes(), &[("h", header)]);
            }
            let delimiter = if is_semicolon { ";" } else { "," };
            let settings =
                json!({ "type": "csv", "columns": ["h", "body"], "delimiter": delimiter });
            let read = read(&file(&settings, &[builder.finish()]), delimiter.as_bytes()[0]);
            let rows: Vec<Vec<Vec<u8>>> = rows
                .into_iter()
                .map(|(header, body)| vec![header.into_bytes(), body.into_bytes()])
                .collect();
            prop_assert_eq!(read, rows);
        }
    }

    #[test]
    fn settings_that_no_reader_could_follow_are_refused() {
        for (settings, names) in [
            (json!({ "columns": [] }), "columns"),
            (json!({ "columns": ["a"], "delimiter": "\"" }), "delimiter"),
            (json!({ "columns": ["a"], "delimiter": "\n" }), "delimiter"),
            (json!({ "columns": ["a"], "delimiter": "\u{e9}" }), "delimiter"),
            (json!({ "columns": ["a"], "null": "a,b" }), "null"),
        ] {
            let mut settings: Value = settings;
            settings["type"] = json!("csv");
            let choice = Settings::from_json(&settings).read::<Choice<dyn Encoder>>().unwrap();
            let cx = crate::alone("out", std::path::Path::new("unused"), env::real());
            let error = choice.build("encoder", &cx).map(drop).unwrap_err().to_string();
            assert!(error.contains(names), "{error}");
        }
    }
}
