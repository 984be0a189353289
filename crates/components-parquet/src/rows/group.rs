//! A row group in memory, in its stored form. Decodes a few rows at a time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use ::parquet::column::page::PageReader;
use ::parquet::errors::{ParquetError, Result as ParquetResult};
use ::parquet::file::reader::{ChunkReader, Length};
use ::parquet::file::serialized_reader::SerializedPageReader;
use bytes::buf::Reader;
use bytes::{Buf, Bytes, BytesMut};
use formats::rows::put_text;
use pipeline::{FileError, Parts};

use super::column::Column;
use super::footer::Footer;
use super::malformed;
use super::nested::Node;
use super::pages::{self, Bounded};

/// Bytes per fetch.
const PART_BYTES: usize = 8 << 20;
/// Rows to decode per column, and their approximate total size.
const ROWS_MAX: u64 = 1024;
const ROWS_BYTES: u64 = 4 << 20;
/// Size of a decoded list entry.
const ENTRY_BYTES: u64 = 64;
/// Number of entries that any row may have.
const ENTRIES: u64 = 1 << 12;
/// Maximum size of the decompressed pages, as a multiple of `row_group_max`.
const PAGE_TIMES: u64 = 16;

pub(super) struct Group {
    columns: Vec<Column>,
    fields: Arc<[(String, Node)]>,
    /// Number of the row group, for messages.
    number: usize,
    /// Rows left.
    left: u64,
    at_once: u64,
    /// Maximum size of the decoded rows of all columns, whatever the file states.
    decoded_max: usize,
    /// The next row, if already requested.
    body: String,
    problem: Option<String>,
    is_written: bool,
}

impl Group {
    /// Fetches a row group.
    ///
    /// # Errors
    /// The file cannot be read, is damaged, or the row group is larger than `bytes_max`.
    pub(super) fn read(
        file: &dyn Parts,
        footer: &Footer,
        number: usize,
        bytes_max: u64,
    ) -> Result<Self, FileError> {
        let metadata = footer.group(number);
        let damaged = |error: &dyn std::fmt::Display| {
            malformed(format!("cannot read row group {number}: {error}"))
        };
        let (mut begin, mut end) = (u64::MAX, 0);
        for column in metadata.columns() {
            let first = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
            let bytes = u64::try_from(column.compressed_size()).ok();
            let range = u64::try_from(first).ok().zip(bytes);
            let range = range.and_then(|(first, bytes)| Some((first, first.checked_add(bytes)?)));
            let Some((first, behind)) = range.filter(|it| it.1 <= file.length()) else {
                return Err(damaged(&"a column exceeds the file"));
            };
            (begin, end) = (begin.min(first), end.max(behind));
        }
        let bytes = end.saturating_sub(begin);
        if bytes > bytes_max {
            return Err(malformed(format!(
                "row group {number} has {bytes} bytes, but `row_group_max` is {bytes_max}; raise \
                 it if there is enough memory"
            )));
        }
        let chunk = Arc::new(Chunk { begin, bytes: fetch(file, begin, bytes as usize)? });
        let rows = footer.rows(number);
        let mut decompressed = 0;
        for column in metadata.columns() {
            let (first, length) = column.byte_range();
            let stored = chunk.at(first, Some(length as usize)).map_err(|error| damaged(&error))?;
            decompressed += pages::decompressed(&stored).map_err(|error| damaged(&error))?;
        }
        let most = bytes_max + PAGE_TIMES * bytes;
        if decompressed > most {
            return Err(malformed(format!(
                "row group {number} has {decompressed} bytes after decompression, but the limit is \
                 {most}; raise `row_group_max` if there is enough memory"
            )));
        }
        let columns =
            footer.columns.iter().zip(metadata.columns()).map(|((name, form), column)| {
                let pages = SerializedPageReader::new(chunk.clone(), column, rows as usize, None);
                let pages = pages.map_err(|error| damaged(&error))?;
                let came = Arc::new(AtomicU64::new(0));
                let most = ENTRIES.max(bytes_max / ENTRY_BYTES);
                let descriptor = column.column_descr_ptr();
                let pages: Box<dyn PageReader> = match descriptor.max_rep_level() {
                    0 => Box::new(pages),
                    _ => Box::new(Bounded { pages, came: came.clone(), most }),
                };
                Ok(Column::new(name.clone(), *form, (descriptor, came), pages))
            });
        let columns = columns.collect::<Result<_, FileError>>()?;
        let bytes = u64::try_from(metadata.total_byte_size()).unwrap_or_default();
        let of_row = (bytes / rows.max(1)).max(1);
        Ok(Self {
            columns,
            fields: footer.fields.clone(),
            number,
            left: rows,
            at_once: (ROWS_BYTES / of_row).clamp(1, ROWS_MAX),
            decoded_max: bytes_max as usize,
            body: String::new(),
            problem: None,
            is_written: false,
        })
    }

    /// Returns whether no rows are left.
    pub(super) fn is_over(&self) -> bool {
        self.left == 0
    }

    /// Reads the next row. Repeats the row until [`Self::give`].
    ///
    /// # Errors
    /// The row group is damaged.
    pub(super) fn row(&mut self) -> Result<(), FileError> {
        if !self.is_written {
            self.decode()?;
            self.write()?;
        }
        Ok(())
    }

    /// Returns the body of the row that was read, and why it is not a valid row, if so.
    pub(super) fn written(&self) -> (&str, Option<&str>) {
        (&self.body, self.problem.as_deref())
    }

    /// Consumes the row.
    pub(super) fn give(&mut self) {
        self.left -= 1;
        self.is_written = false;
    }

    /// Makes sure that each column has the next row.
    fn decode(&mut self) -> Result<(), FileError> {
        let rows = self.left.min(self.at_once) as usize;
        let mut decoded: usize = self.columns.iter().map(Column::bytes).sum();
        let all = self.decoded_max.min(ROWS_BYTES as usize);
        let full = all / self.columns.len().max(1);
        for column in self.columns.iter_mut().filter(|column| column.is_empty()) {
            decoded -= column.bytes();
            let most = self.decoded_max.saturating_sub(decoded);
            // The library panics on some damaged pages.
            let read = catch_unwind(AssertUnwindSafe(|| column.read(rows, (full, most))));
            let read =
                read.unwrap_or_else(|_| Err(ParquetError::General("a page is damaged".to_owned())));
            read.map_err(|error| {
                malformed(format!(
                    "cannot read the column `{}` of row group {}: {error}",
                    column.path, self.number
                ))
            })?;
            decoded += column.bytes();
        }
        Ok(())
    }

    /// Overwrites the body with the next row.
    fn write(&mut self) -> Result<(), FileError> {
        self.body.clear();
        self.problem = None;
        for (at, (name, field)) in self.fields.iter().enumerate() {
            self.body.push(if at == 0 { '{' } else { ',' });
            self.body.push_str(name);
            self.body.push(':');
            let mut problem = None;
            field.write(&mut self.columns, &mut self.body, &mut problem);
            if let (Some(problem), None) = (problem, &self.problem) {
                self.problem = Some(format!("{name}: {problem}"));
            }
        }
        self.body.push('}');
        if let Some(column) = self.columns.iter().find(|it| !it.is_between_rows()) {
            return Err(malformed(format!(
                "the file is damaged: in row group {}, the column `{}` has another number of rows \
                 than the other columns; write the file again",
                self.number, column.path
            )));
        }
        if self.problem.is_some() {
            // A JSON text, which no sink mistakes for an object.
            let object = std::mem::take(&mut self.body);
            put_text(&object, &mut self.body);
        }
        self.is_written = true;
        Ok(())
    }
}

/// Fetches this many bytes of a file, part by part.
fn fetch(file: &dyn Parts, begin: u64, bytes: usize) -> Result<Bytes, FileError> {
    let mut fetched = BytesMut::with_capacity(bytes);
    while fetched.len() < bytes {
        let part = PART_BYTES.min(bytes - fetched.len());
        fetched.extend_from_slice(&file.read_at(begin + fetched.len() as u64, part)?);
    }
    Ok(fetched.freeze())
}

/// The bytes of a file from `begin` on.
struct Chunk {
    begin: u64,
    bytes: Bytes,
}

impl Chunk {
    fn at(&self, start: u64, length: Option<usize>) -> ParquetResult<Bytes> {
        let begin = start.checked_sub(self.begin).and_then(|it| usize::try_from(it).ok());
        let end = match (begin, length) {
            (Some(begin), Some(length)) => begin.checked_add(length),
            _ => Some(self.bytes.len()),
        };
        match begin.zip(end) {
            Some((begin, end)) if begin <= end && end <= self.bytes.len() => {
                Ok(self.bytes.slice(begin..end))
            }
            _ => Err(ParquetError::EOF("a page exceeds its row group".to_owned())),
        }
    }
}

impl Length for Chunk {
    fn len(&self) -> u64 {
        self.begin + self.bytes.len() as u64
    }
}

impl ChunkReader for Chunk {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        self.at(start, None).map(Buf::reader)
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        self.at(start, Some(length))
    }
}
