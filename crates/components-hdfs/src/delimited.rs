//! `delimited`: converts delimited lines, as Sqoop and Hive write them, to JSON objects.
//!
//! ```text
//!   7,"a, b",\N   ─►   {"id":"7","name":"a, b","note":null}
//! ```
//!
//! Every value is a text or NULL; the column's type tells a database how to interpret it. A file is
//! read record by record, whatever its size.
//!
//! A record with a wrong number of values becomes an event whose body is the unchanged record and
//! whose header `problem` contains the reason. A sink that expects objects puts it into the dead
//! letters. A record that starts like an object might be one by chance, so its body is a JSON text
//! instead. A quote without an end would swallow the rest of the file; in this case the record ends
//! with its line, and becomes such an event.

mod record;

use std::io::BufRead;
use std::sync::Arc;

use formats::rows::PROBLEM;
use pipeline::units::ByteSize;
use pipeline::{
    BuildContext, BuildError, Component, Decoder, FileError, FileFormat, FindEvent,
    MalformedMessage, OneByOne, Piece,
};
use schemars::JsonSchema;
use serde::Deserialize;

use record::{Dialect, Scanner, Value, values};

/// Consumed bytes from which on the buffer is compacted.
const GIVEN_MAX: usize = 64 << 10;

/// Settings of the `delimited` decoder.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Names of the values of a record, in their order.
    fields: Vec<String>,
    /// Delimiter between two values: one ASCII character.
    #[serde(default = "defaults::delimiter")]
    delimiter: char,
    /// Delimiter after each record: one ASCII character. A carriage return before a line feed is
    /// part of the delimiter.
    #[serde(default = "defaults::line_end")]
    line_end: char,
    /// Quote character of values that contain delimiters or line ends. Default: none; a quote is
    /// then part of the text.
    #[serde(default)]
    quote: Option<char>,
    /// Escape character in front of a literal character. Default: none.
    #[serde(default)]
    escape: Option<char>,
    /// Text that means NULL. A quoted value is never NULL.
    #[serde(default)]
    null: String,
    /// Names of values that are not text, such as numbers. An empty value of these is NULL.
    #[serde(default)]
    non_text: Vec<String>,
    /// Text that means NULL in a field of `non_text`. Default: as `null`.
    #[serde(default)]
    null_non_text: Option<String>,
    /// Size limit of a record.
    #[serde(default = "pipeline::units::mib::<1>")]
    record_max: ByteSize,
}

mod defaults {
    pub(super) fn delimiter() -> char {
        ','
    }

    pub(super) fn line_end() -> char {
        '\n'
    }
}

impl Component for Config {
    const KIND: &'static str = "delimited";
    type Role = dyn Decoder;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Decoder>, BuildError> {
        let invalid = |setting: &str, problem: &str| Err(BuildError::invalid(setting, problem));
        if self.fields.is_empty() {
            return invalid(
                "fields",
                "must name every value of a record, in the order of the values",
            );
        }
        if let Some(name) = self.non_text.iter().find(|name| !self.fields.contains(name)) {
            let problem = format!("must list names of `fields`, but `{name}` is not one of them");
            return Err(BuildError::invalid("non_text", problem));
        }
        if self.record_max.0 == 0 || self.record_max > ByteSize::mib(16) {
            return invalid("record_max", "must be from 1B to 16MiB");
        }
        let given = [
            ("delimiter", Some(self.delimiter)),
            ("line_end", Some(self.line_end)),
            ("quote", self.quote),
            ("escape", self.escape),
        ];
        for (number, (setting, character)) in given.iter().enumerate() {
            if character.is_some_and(|it| !it.is_ascii()) {
                return invalid(setting, "must be an ASCII character");
            }
            let same = given[..number].iter().find(|(_, other)| other == character);
            if let (Some((other, _)), Some(_)) = (same, character) {
                let problem = format!("must differ from `{other}`");
                return Err(BuildError::invalid(*setting, problem));
            }
        }
        let byte = |character: char| character as u8;
        let null_non_text = self.null_non_text.unwrap_or_else(|| self.null.clone());
        let field = |name: String| {
            let is_text = !self.non_text.contains(&name);
            let null = if is_text { &self.null } else { &null_non_text };
            Field { quoted: serde_json::Value::from(name).to_string(), is_text, null: null.clone() }
        };
        Ok(Box::new(Delimited(Arc::new(Form {
            fields: self.fields.into_iter().map(field).collect(),
            dialect: Dialect {
                delimiter: byte(self.delimiter),
                line_end: byte(self.line_end),
                quote: self.quote.map(byte),
                escape: self.escape.map(byte),
            },
            record_max: self.record_max.0 as usize,
        }))))
    }
}

/// A field of each record.
struct Field {
    /// Its name, as JSON.
    quoted: String,
    is_text: bool,
    null: String,
}

/// How to parse records.
struct Form {
    fields: Vec<Field>,
    dialect: Dialect,
    record_max: usize,
}

impl Form {
    /// Overwrites `body` with the object of a record.
    ///
    /// # Errors
    /// Why the text is not a record.
    fn object(&self, record: &[u8], body: &mut Vec<u8>) -> Result<(), String> {
        let values = values(record, &self.dialect)?;
        let (found, named) = (values.len(), self.fields.len());
        if found != named {
            return Err(format!("the record has {found} values, but `fields` names {named}"));
        }
        body.clear();
        for (number, (field, value)) in self.fields.iter().zip(&values).enumerate() {
            body.push(if number == 0 { b'{' } else { b',' });
            body.extend_from_slice(field.quoted.as_bytes());
            body.push(b':');
            if field.is_null(value, record) {
                body.extend_from_slice(b"null");
                continue;
            }
            let text = std::str::from_utf8(&value.text);
            let text = text.map_err(|_| format!("value {} is not UTF-8", number + 1))?;
            // Writing to memory does not fail, and any text is valid JSON.
            let _ = serde_json::to_writer(&mut *body, text);
        }
        body.push(b'}');
        Ok(())
    }
}

impl Field {
    fn is_null(&self, value: &Value, record: &[u8]) -> bool {
        let Some(bare) = &value.bare else { return false };
        let written = &record[bare.clone()];
        written == self.null.as_bytes() || (!self.is_text && written.is_empty())
    }
}

struct Delimited(Arc<Form>);

impl FileFormat for Delimited {
    type File = OneByOne<File>;
    const IS_TEXT: bool = true;

    fn begin(&self, _is_message: bool) -> OneByOne<File> {
        OneByOne::new(File::new(self.0.clone()))
    }
}

/// A file of records.
struct File {
    form: Arc<Form>,
    /// Bytes read, and the start of those not yet returned.
    buffer: Vec<u8>,
    start: usize,
    /// File offset of the buffer.
    before: u64,
    scanner: Scanner,
    /// The next record, if already found.
    found: Option<Found>,
    body: Vec<u8>,
}

/// A record in the buffer.
#[derive(Clone, Copy)]
struct Found {
    /// End of the record, and start of the next one; relative to `start`.
    end: usize,
    next: usize,
}

impl File {
    fn new(form: Arc<Form>) -> Self {
        Self {
            form,
            buffer: Vec::new(),
            start: 0,
            before: 0,
            scanner: Scanner::default(),
            found: None,
            body: Vec::new(),
        }
    }

    fn find_record(&mut self, file: &mut dyn BufRead) -> Result<Option<Found>, FileError> {
        let Form { dialect, record_max, .. } = &*self.form;
        loop {
            let text = &self.buffer[self.start..];
            let end = self.scanner.end(text, dialect);
            if let Some(end) = end.filter(|end| *end <= *record_max) {
                return Ok(Some(trimmed(text, end, dialect)));
            }
            let is_long = end.is_some() || text.len() > *record_max;
            let more = if is_long { &[] } else { file.fill_buf()? };
            if !more.is_empty() {
                if self.start > GIVEN_MAX {
                    self.buffer.drain(..self.start);
                    self.before += self.start as u64;
                    self.start = 0;
                }
                self.buffer.extend_from_slice(more);
                let bytes = more.len();
                file.consume(bytes);
                continue;
            }
            if text.is_empty() {
                return Ok(None);
            }
            if is_long || self.scanner.is_quoted() {
                let plain = Dialect { quote: None, ..dialect.clone() };
                let end = Scanner::default().end(text, &plain);
                if let Some(end) = end.filter(|end| *end <= *record_max) {
                    return Ok(Some(trimmed(text, end, dialect)));
                }
            }
            if is_long {
                let at = self.before + self.start as u64;
                let problem = format!(
                    "the record at byte {at} is longer than {record_max} bytes; raise \
                     `record_max`, or check `quote` and `line_end`"
                );
                return Err(MalformedMessage { problem }.into());
            }
            // The last record may lack a line end.
            return Ok(Some(Found { end: text.len(), next: text.len() }));
        }
    }
}

/// Returns the record that ends at a line end.
fn trimmed(text: &[u8], end: usize, dialect: &Dialect) -> Found {
    let is_pair = dialect.line_end == b'\n' && text[..end].ends_with(b"\r");
    Found { end: end - usize::from(is_pair), next: end + 1 }
}

impl FindEvent for File {
    fn find(&mut self, file: &mut dyn BufRead) -> Result<bool, FileError> {
        loop {
            if self.found.is_none() {
                self.found = self.find_record(file)?;
            }
            match self.found {
                None => return Ok(false),
                // With a single field, an empty line is a record with an empty value.
                Some(found) if found.end > 0 || self.form.fields.len() == 1 => return Ok(true),
                Some(_) => self.consume(),
            }
        }
    }

    fn put(&mut self, piece: &mut Piece<'_>) -> bool {
        let found = self.found.expect("it was found");
        let record = &self.buffer[self.start..self.start + found.end];
        let problem = self.form.object(record, &mut self.body).err();
        let body = match &problem {
            None => &self.body,
            Some(_) if record.trim_ascii_start().starts_with(b"{") => {
                let text = String::from_utf8_lossy(record);
                self.body = serde_json::Value::from(text).to_string().into_bytes();
                &self.body
            }
            Some(_) => record,
        };
        piece.put(body, problem.as_deref().map(|problem| (PROBLEM, problem)).as_slice())
    }

    fn consume(&mut self) {
        self.start += self.found.take().map_or(0, |found| found.next);
        self.scanner = Scanner::default();
    }
}

#[cfg(test)]
mod tests;
