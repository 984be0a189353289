//! `parquet_rows`: reads the rows of a Parquet file as JSON objects.
//!
//! ```text
//!   end of the file ─► footer ─► row group, as a whole ─► some rows of each column ─► objects
//!                                  └──── the next one ◄──────────┘     (column, value)
//! ```
//!
//! Values have texts that databases accept, like in `avro_rows`: dates and times in ISO 8601,
//! bytes in base64, decimals with all digits.
//!
//! Memory contains the footer, one row group in its stored form, and a page and some rows of each
//! column. Row groups above `row_group_max` are rejected, and so are row groups whose pages or rows
//! grow many times when decoded. The sizes stated in the file are not trusted.
//!
//! A row with a value that has no such text becomes an event whose body is the object as a JSON
//! text, and whose header `problem` contains the reason. A sink that expects objects puts it into
//! the dead letters. Nested columns become objects and lists; maps become objects.

mod column;
mod footer;
mod group;
mod nested;
mod pages;
mod schema;
mod value;

use std::io::BufRead;
use std::sync::Arc;

use bytes::Bytes;
use formats::rows::PROBLEM;
use pipeline::units::ByteSize;
use pipeline::{
    BatchBuilder, BuildContext, BuildError, Component, Decoder, FileDecoder, FileError, FindEvent,
    MalformedMessage, Message, OneByOne, Parts, PartsDecoder, Piece, decode_message,
};
use schemars::JsonSchema;
use serde::Deserialize;

use footer::Footer;
use group::Group;

/// Settings of the `parquet_rows` decoder.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Size limit of a row group of a file, as it is stored; from 1B to 1GiB. One row group is in
    /// memory.
    #[serde(default = "pipeline::units::mib::<256>")]
    row_group_max: ByteSize,
}

impl Component for Config {
    const KIND: &'static str = "parquet_rows";
    type Role = dyn Decoder;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Decoder>, BuildError> {
        if self.row_group_max.0 == 0 || self.row_group_max > ByteSize::mib(1024) {
            return Err(BuildError::invalid("row_group_max", "must be from 1B to 1GiB"));
        }
        Ok(Box::new(ParquetRows { group_max: self.row_group_max.0 }))
    }
}

struct ParquetRows {
    group_max: u64,
}

impl ParquetRows {
    fn open(&self, file: Arc<dyn Parts>) -> OneByOne<File> {
        let group_max = self.group_max;
        OneByOne::new(File { file, group_max, footer: None, next: 0, group: None })
    }
}

impl Decoder for ParquetRows {
    fn decode(
        &self,
        message: &Message<'_>,
        events: &mut BatchBuilder,
    ) -> Result<(), MalformedMessage> {
        let file = self.open(Arc::new(InMemory(Bytes::copy_from_slice(message.bytes))));
        decode_message(file, message, events)
    }

    fn is_text(&self) -> bool {
        false
    }

    fn by_parts(&self) -> Option<&dyn PartsDecoder> {
        Some(self)
    }
}

impl PartsDecoder for ParquetRows {
    fn begin(&self, file: Arc<dyn Parts>) -> Box<dyn FileDecoder> {
        Box::new(self.open(file))
    }
}

/// A message used as a file.
struct InMemory(Bytes);

impl Parts for InMemory {
    fn length(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, at: u64, bytes: usize) -> std::io::Result<Bytes> {
        let begin = usize::try_from(at).unwrap_or(usize::MAX);
        let end = begin.checked_add(bytes).filter(|end| *end <= self.0.len());
        let end = end.ok_or(std::io::ErrorKind::UnexpectedEof)?;
        Ok(self.0.slice(begin..end))
    }
}

/// Returns an error for a malformed file, which is permanent.
fn malformed(problem: impl Into<String>) -> FileError {
    MalformedMessage { problem: problem.into() }.into()
}

/// A file, and the position in its rows.
struct File {
    file: Arc<dyn Parts>,
    group_max: u64,
    /// `None` until it is read.
    footer: Option<Footer>,
    /// Number of the next row group.
    next: usize,
    group: Option<Group>,
}

impl File {
    /// Reads the footer, if necessary.
    fn open(&mut self) -> Result<&Footer, FileError> {
        if self.footer.is_none() {
            self.footer = Some(Footer::read(&*self.file)?);
        }
        Ok(self.footer.as_ref().expect("it was read"))
    }

    /// Returns the row group with the next row; `None` at the end of the file.
    fn group(&mut self) -> Result<Option<&mut Group>, FileError> {
        self.open()?;
        let footer = self.footer.as_ref().expect("it was opened");
        while self.group.as_ref().is_none_or(Group::is_over) {
            self.group = None;
            if self.next == footer.groups() {
                return Ok(None);
            }
            self.group = Some(Group::read(&*self.file, footer, self.next, self.group_max)?);
            self.next += 1;
        }
        Ok(self.group.as_mut())
    }
}

impl FindEvent for File {
    fn find(&mut self, _: &mut dyn BufRead) -> Result<bool, FileError> {
        let Some(group) = self.group()? else { return Ok(false) };
        group.row()?;
        Ok(true)
    }

    fn put(&mut self, piece: &mut Piece<'_>) -> bool {
        let (body, problem) = self.group.as_ref().expect("it was found").written();
        let own = problem.map(|problem| (PROBLEM, problem));
        piece.put(body.as_bytes(), own.as_slice())
    }

    fn consume(&mut self) {
        self.group.as_mut().expect("it was found").give();
    }

    fn skip(&mut self, file: &mut dyn BufRead, events: u64) -> Result<(), FileError> {
        let mut left = events;
        let footer = self.open()?;
        // Do not fetch row groups that are skipped completely.
        let mut next = 0;
        while next < footer.groups() && footer.rows(next) <= left {
            left -= footer.rows(next);
            next += 1;
        }
        self.next = next;
        self.skip_found(file, left)
    }
}

#[cfg(test)]
pub(crate) mod tests;
