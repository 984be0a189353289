//! `sequence_file`: reads the values of Hadoop's SequenceFiles, version 6, as events.
//!
//! ```text
//!   head ─► record or block ─► value ─┬─ Text, BytesWritable ─► body, or input of a decoder
//!             sync marks checked      └─ a class of Sqoop ────► {"id":7,…} by `columns`
//! ```
//!
//! The file names the class of its values. Bytes and texts are used directly, as in files written
//! by Flume and `aqueduct import`. Sqoop writes values of a generated class that does not describe
//! its columns: an `int` and a `float` both have four bytes. Such a file is read with the types in
//! the settings, and rejected without them. If a value does not match these types, or is longer,
//! the file ends with an error before it becomes an event.
//!
//! Keys are skipped, unless `key_header` keeps them.
//!
//! | module | contents |
//! |---|---|
//! | `records` | the layout: head, records, blocks, sync marks |
//! | `columns` | a value of a Sqoop class: pure |
//! | `times` | times as in Java: pure |

mod columns;
mod records;
#[cfg(test)]
mod tests;
mod times;

use std::collections::VecDeque;
use std::io::BufRead;
use std::sync::Arc;

use components::rows::PROBLEM;
use components::sequence::{BYTES_CLASS, TEXT_CLASS};
use jiff::tz::TimeZone;
use pipeline::units::ByteSize;
use pipeline::{
    BatchBuilder, BuildContext, BuildError, Choice, Component, Decoder, Deferred, FileDecoder,
    FileError, MalformedMessage, Message, PieceLimits, decode_message,
};
use schemars::JsonSchema;
use serde::Deserialize;

use columns::{Column, Columns};
pub use records::value_class;
use records::{Head, Record, Records};

/// Settings of the `sequence_file` decoder.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What a value of the class `Text` or `BytesWritable` holds: a decoder of messages, such as
    /// `delimited` or `json`; with settings of its own as a table with `type`. Unless set the value
    /// is the body of an event.
    #[serde(default)]
    decoder: Option<Choice<dyn Decoder>>,
    /// Columns of values of a class that Sqoop has generated, in the order of the class, with the
    /// types of its fields: `{ name = "id", type = "integer" }`. Other types are `long`, `float`,
    /// `double`, `boolean`, `string`, `big_decimal`, `date`, `time`, `timestamp` and `bytes`. Files
    /// of another class than `Text` and `BytesWritable` need them.
    #[serde(default)]
    columns: Vec<Column>,
    /// Time zone of the process of Java that wrote `columns`, such as `Europe/Berlin`: times are
    /// those of that zone then, and without one. Unless set they are moments of UTC.
    #[serde(default)]
    zone: Option<String>,
    /// Header that gets the key, if that is a number or a text. None unless set.
    #[serde(default)]
    key_header: Option<String>,
    /// Largest record, and largest part of a block, as it is and after decompression; from 1B to
    /// 256MiB. One is held in memory.
    #[serde(default = "default_record_max")]
    record_max: ByteSize,
}

fn default_record_max() -> ByteSize {
    ByteSize::mib(16)
}

impl Component for Config {
    const KIND: &'static str = "sequence_file";
    type Role = dyn Decoder;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Decoder>, BuildError> {
        if self.record_max.0 == 0 || self.record_max > ByteSize::mib(256) {
            return Err(BuildError::invalid("record_max", "must be from 1B to 256MiB"));
        }
        if self.key_header.as_ref().is_some_and(String::is_empty) {
            return Err(BuildError::invalid("key_header", "a header has a name"));
        }
        let zone = match &self.zone {
            Some(name) => Some(TimeZone::get(name).map_err(|_| {
                let problem = format!("`{name}` is no time zone, such as `Europe/Berlin`");
                BuildError::invalid("zone", problem)
            })?),
            None => None,
        };
        let decoder = match self.decoder {
            Some(choice) => Some(choice.build("decoder", cx)?),
            None => None,
        };
        Ok(Box::new(SequenceFile(Arc::new(Form {
            decoder,
            columns: Columns::new(self.columns, zone),
            key_header: self.key_header,
            record_max: self.record_max.0 as usize,
        }))))
    }
}

/// How to read files.
struct Form {
    decoder: Option<Box<dyn Decoder>>,
    columns: Columns,
    key_header: Option<String>,
    record_max: usize,
}

/// The meaning of a value.
#[derive(Clone, Copy)]
enum Meaning {
    Text,
    Bytes,
    Sqoop,
}

fn malformed(problem: impl Into<String>) -> FileError {
    MalformedMessage { problem: problem.into() }.into()
}

impl Form {
    /// # Errors
    /// Values of this class cannot be read.
    fn meaning(&self, class: &str) -> Result<Meaning, FileError> {
        let meaning = match class {
            TEXT_CLASS => Meaning::Text,
            BYTES_CLASS => Meaning::Bytes,
            _ if self.columns.is_empty() => {
                return Err(malformed(format!(
                    "its values are of the class `{class}`, which does not say what it holds. If \
                     Sqoop has generated it, name the fields of the class and their types in \
                     `columns`; else write the rows as text, Avro or Parquet"
                )));
            }
            _ => return Ok(Meaning::Sqoop),
        };
        match self.columns.is_empty() {
            true => Ok(meaning),
            false => Err(malformed(format!(
                "its values are of the class `{class}`, which has no `columns`: leave them out"
            ))),
        }
    }

    /// Adds the events of a record.
    ///
    /// # Errors
    /// The value does not match its class.
    fn put(
        &self,
        (head, meaning): (&Head, Meaning),
        record: &Record<'_>,
        made: &mut VecDeque<Made>,
    ) -> Result<(), FileError> {
        let key = self.key_header.clone().zip(head.key(record.key));
        let key: Vec<_> = key.into_iter().collect();
        let of_class = |problem: String| malformed(format!("record {}: {problem}", record.number));
        let value = match meaning {
            Meaning::Text => records::text(record.value).map_err(of_class)?,
            Meaning::Bytes => records::bytes(record.value).map_err(of_class)?,
            Meaning::Sqoop => {
                let mut body = String::new();
                let problem = self.columns.object(record.value, &mut body).map_err(|problem| {
                    let class = &head.value_class;
                    of_class(format!(
                        "its value of the class `{class}` does not have the types of `columns`: \
                         {problem}; name them as the fields of that class are"
                    ))
                })?;
                made.push_back(Made::new(body.into_bytes(), key, problem));
                return Ok(());
            }
        };
        let Some(decoder) = &self.decoder else {
            made.push_back(Made::new(value.to_vec(), key, None));
            return Ok(());
        };
        let headers: Vec<_> = key.iter().map(|(name, key)| (&**name, &**key)).collect();
        let message = Message { bytes: value, charset: None, headers: &headers };
        let mut events = BatchBuilder::default();
        match decoder.decode(&message, &mut events) {
            Ok(()) => made.extend(events.finish().iter().map(|event| {
                let headers = event.headers();
                let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
                Made::new(event.body().to_vec(), headers.collect(), None)
            })),
            // A JSON text, which no sink mistakes for an object.
            Err(MalformedMessage { problem }) => {
                let body = serde_json::Value::from(String::from_utf8_lossy(value)).to_string();
                made.push_back(Made::new(body.into_bytes(), key, Some(problem)));
            }
        }
        Ok(())
    }
}

/// An event that is not yet returned.
struct Made {
    body: Vec<u8>,
    headers: Vec<(String, String)>,
}

impl Made {
    fn new(body: Vec<u8>, mut headers: Vec<(String, String)>, problem: Option<String>) -> Self {
        headers.extend(problem.map(|problem| (PROBLEM.to_owned(), problem)));
        Self { body, headers }
    }
}

struct SequenceFile(Arc<Form>);

impl SequenceFile {
    fn begin(&self) -> File {
        File {
            records: Records::new(self.0.record_max),
            form: self.0.clone(),
            made: VecDeque::new(),
            broken: Deferred::default(),
        }
    }
}

impl Decoder for SequenceFile {
    fn decode(
        &self,
        message: &Message<'_>,
        events: &mut BatchBuilder,
    ) -> Result<(), MalformedMessage> {
        decode_message(self.begin(), message, events)
    }

    fn is_text(&self) -> bool {
        false
    }

    fn begin_file(&self) -> Option<Box<dyn FileDecoder>> {
        Some(Box::new(self.begin()))
    }
}

/// A file, and the position in its events.
struct File {
    form: Arc<Form>,
    records: Records,
    /// Events of the last record that are not yet returned.
    made: VecDeque<Made>,
    /// Why reading stops after the events before.
    broken: Deferred,
}

impl File {
    /// Makes sure that an event is available. Returns `false` at the end of the file.
    fn fill(&mut self, file: &mut dyn BufRead) -> Result<bool, FileError> {
        while self.made.is_empty() {
            let Some(head) = self.records.head(file)? else { return Ok(false) };
            let meaning = self.form.meaning(&head.value_class)?;
            let Some((head, record)) = self.records.next(file)? else { return Ok(false) };
            self.form.put((head, meaning), &record, &mut self.made)?;
        }
        Ok(true)
    }
}

impl FileDecoder for File {
    fn pass_over(&mut self, file: &mut dyn BufRead, events: u64) -> Result<(), FileError> {
        // Detect wrong columns now, before a program waits for a fix.
        self.fill(file)?;
        for _ in 0..events {
            if !self.fill(file)? {
                return Err(malformed("it has fewer events than were read of it"));
            }
            self.made.pop_front();
        }
        Ok(())
    }

    fn next(
        &mut self,
        file: &mut dyn BufRead,
        limits: PieceLimits,
        headers: &[(&str, &str)],
        events: &mut BatchBuilder,
    ) -> Result<bool, FileError> {
        self.broken.come()?;
        let (mut taken, mut bytes) = (0, 0);
        loop {
            match self.fill(file) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) => return self.broken.behind(taken, error),
            }
            let Some(Made { body, headers: own }) = self.made.front() else { return Ok(false) };
            if limits.is_full(taken, bytes, body.len()) {
                return Ok(true);
            }
            let brings = |name: &str| own.iter().any(|(other, _)| other == name);
            let of_file = headers.iter().copied().filter(|(name, _)| !brings(name));
            let own = own.iter().map(|(name, value)| (&**name, &**value));
            events.push(body, &of_file.chain(own).collect::<Vec<_>>());
            (taken, bytes) = (taken + 1, bytes + body.len());
            self.made.pop_front();
        }
    }
}
