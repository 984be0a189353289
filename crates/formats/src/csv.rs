//! Lines of a table in RFC 4180.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use memchr::memchr3;

const QUOTE: u8 = b'"';

/// Returns true if a value contains the delimiter, a quote, or a line end.
pub(crate) fn needs_quotes(value: &[u8], delimiter: u8) -> bool {
    memchr3(delimiter, QUOTE, b'\n', value).is_some() || value.contains(&b'\r')
}

/// Appends a value: quoted if necessary, or if it equals `null`, the text for a missing value.
pub fn put(out: &mut Vec<u8>, value: &[u8], delimiter: u8, null: &[u8]) {
    if value != null && !needs_quotes(value, delimiter) {
        out.extend_from_slice(value);
        return;
    }
    out.push(QUOTE);
    for (number, part) in value.split(|byte| *byte == QUOTE).enumerate() {
        if number > 0 {
            out.extend_from_slice(&[QUOTE, QUOTE]);
        }
        out.extend_from_slice(part);
    }
    out.push(QUOTE);
}

/// Calls `taken` with each line of a comma-separated table and its number from 1. All lines must
/// have as many columns as the first.
///
/// # Errors
/// Fails if a line has another number of columns, or `taken` fails.
pub fn each_line(
    text: &str,
    mut taken: impl FnMut(usize, &[&str]) -> Result<(), String>,
) -> Result<(), String> {
    let mut reader = Reader::new();
    // Unquoting never lengthens a value.
    let (mut out, mut ends) = (vec![0; text.len() + 1], vec![0; text.len() + 1]);
    let (mut input, mut written, mut fields) = (text.as_bytes(), 0, 0);
    let (mut number, mut columns) = (0, 0);
    loop {
        let (result, read, bytes, ended) =
            reader.read_record(input, &mut out[written..], &mut ends[fields..]);
        input = &input[read..];
        written += bytes;
        fields += ended;
        match result {
            ReadRecordResult::InputEmpty => continue,
            ReadRecordResult::End => return Ok(()),
            ReadRecordResult::Record => {}
            ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                return Err(format!("line {} is too long for the table", number + 1));
            }
        }
        number += 1;
        let starts = std::iter::once(0).chain(ends[..fields].iter().copied());
        let line = starts.zip(&ends[..fields]).map(|(start, end)| &out[start..*end]);
        let line: Result<Vec<&str>, _> = line.map(std::str::from_utf8).collect();
        let line = line.map_err(|_| format!("line {number} is not UTF-8"))?;
        columns = if number == 1 { fields } else { columns };
        if fields != columns {
            return Err(format!("line {number} has {fields} columns instead of {columns}"));
        }
        taken(number, &line)?;
        (written, fields) = (0, 0);
    }
}

/// Parser of single lines: names of columns, and the delimiter.
#[derive(Debug)]
pub struct Csv {
    columns: Vec<String>,
    delimiter: u8,
}

/// State that is reused between lines.
pub struct Scratch {
    reader: Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Csv {
    /// Creates a parser of lines with these columns. A column with an empty name is omitted.
    pub fn new(columns: Vec<String>, delimiter: u8) -> Self {
        Self { columns, delimiter }
    }

    /// Creates the state for [`Csv::parse`].
    pub fn scratch(&self) -> Scratch {
        // In this version of the library, a clone of a reader lacks its tables.
        let reader = ReaderBuilder::new().delimiter(self.delimiter).build();
        Scratch { reader, text: vec![0; 1024], ends: vec![0; self.columns.len() + 1] }
    }

    /// Calls a function with the name and value of each column.
    ///
    /// # Errors
    /// Fails if it is not one line with as many columns as names, or not UTF-8; the function may
    /// have been called for some values.
    pub fn parse<'a, 's>(
        &'a self,
        line: &[u8],
        scratch: &'s mut Scratch,
        mut put: impl FnMut(&'a str, &'s str),
    ) -> Result<(), &'static str> {
        let Scratch { reader, text, ends } = scratch;
        reader.reset();
        // Unquoting never lengthens a value.
        text.resize(text.len().max(line.len()), 0);
        let (mut input, mut written, mut fields) = (line, 0, 0);
        loop {
            let (result, read, bytes, ended) =
                reader.read_record(input, &mut text[written..], &mut ends[fields..]);
            input = &input[read..];
            written += bytes;
            fields += ended;
            match result {
                // An empty input marks the end of the text, which ends the line.
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::Record => break,
                ReadRecordResult::OutputFull => text.resize(text.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => {
                    return Err("the line has more values than `fields` has names");
                }
                ReadRecordResult::End => return Err("the line is empty"),
            }
        }
        if !input.is_empty() {
            return Err("more than one line");
        }
        if fields != self.columns.len() {
            return Err("the number of values in the line differs from the number of names in \
                        `fields`");
        }
        let (mut start, text) = (0, &*text);
        for (name, end) in self.columns.iter().zip(&ends[..fields]) {
            let value = std::str::from_utf8(&text[start..*end]).map_err(|_| "not UTF-8")?;
            start = *end;
            if !name.is_empty() {
                put(name, value);
            }
        }
        Ok(())
    }
}
