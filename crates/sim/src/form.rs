//! The format of files: an encoder and a codec, and a reader for their events.
//!
//! ```text
//!   seed ─► Form ─► `encoder = …`, `codec = …` of every collector
//!             └───► bytes of a visible file ─► events ─► books, shelves
//! ```
//!
//! The code of the `hdfs` source reads compression and Avro containers, and detects truncated
//! files. The Parquet library reads Parquet rows. No component reads SequenceFiles, so [`sequence`]
//! does.

mod sequence;

use std::io::{Cursor, Read};

use bytes::Bytes;
use formats::avro::container::Records;
use formats::avro::datum::Reader;
use formats::compression::Compression;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use serde::Deserialize;

use crate::dice::Dice;

/// An event read from a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its header `host`, in formats with headers.
    pub(crate) host: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// A file format.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Form {
    encoder: Encoder,
    codec: Codec,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Encoder {
    #[default]
    Text,
    HeaderAndText,
    Json,
    Csv,
    Avro,
    /// One record after the other.
    Sequence,
    /// Blocks of records, compressed by zstd.
    SequenceBlocks,
    /// Columns, in row groups.
    Parquet,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Codec {
    #[default]
    None,
    Gzip,
    Zstd,
    Bzip2,
}

const LINES: &[Encoder] = &[Encoder::Text, Encoder::HeaderAndText, Encoder::Json, Encoder::Csv];
const CONTAINERS: &[Encoder] =
    &[Encoder::Avro, Encoder::Sequence, Encoder::SequenceBlocks, Encoder::Parquet];

/// Maximum size of an Avro block in memory.
const BLOCK_MAX: usize = 16 << 20;

/// An event encoded as a line of JSON.
#[derive(Deserialize)]
struct Line {
    headers: std::collections::BTreeMap<String, String>,
    body: String,
}

impl Form {
    /// Draws a format for a seed. `joins`: concatenated files must be a valid file.
    pub(crate) fn draw(dice: &Dice, joins: bool) -> Self {
        if !joins && dice.chance(450) {
            return Self { encoder: *dice.pick(CONTAINERS), codec: Codec::None };
        }
        let codecs = [Codec::None, Codec::Gzip, Codec::Zstd, Codec::Bzip2];
        let codecs = if joins { &codecs[..3] } else { &codecs[..] };
        Self { encoder: *dice.pick(LINES), codec: *dice.pick(codecs) }
    }

    /// Returns whether the format differs from plain text lines.
    pub(crate) fn is_other(self) -> bool {
        self != Self::default()
    }

    /// Returns the settings `encoder` and `codec`, each as JSON.
    fn json(self) -> [&'static str; 2] {
        let encoder = match self.encoder {
            Encoder::Text => r#""text""#,
            Encoder::HeaderAndText => r#""header_and_text""#,
            Encoder::Json => r#""json""#,
            Encoder::Csv => r#"{"type":"csv","columns":["host","body"]}"#,
            // A block contains several batches, and a file several blocks.
            Encoder::Avro => r#"{"type":"avro","codec":"deflate","sync_interval":"2KiB"}"#,
            Encoder::Sequence => r#""sequence_file""#,
            Encoder::SequenceBlocks => concat!(
                r#"{"type":"sequence_file","compression":"block","#,
                r#""codec":"zstd","block_size":"2KiB"}"#
            ),
            // All open files of a sink share memory for two row groups.
            Encoder::Parquet => concat!(
                r#"{"type":"parquet","row_group_size":"64KiB","memory_max":"128KiB","columns":["#,
                r#"{"name":"host","type":"string","from":"header:host"},"#,
                r#"{"name":"body","type":"bytes","from":"body"}]}"#
            ),
        };
        let codec = match self.codec {
            Codec::None => r#""none""#,
            Codec::Gzip => r#""gzip""#,
            Codec::Zstd => r#""zstd""#,
            Codec::Bzip2 => r#""bzip2""#,
        };
        [encoder, codec]
    }

    /// Returns the settings of a sink.
    pub(crate) fn settings(self) -> String {
        // Convert the JSON members to TOML pairs.
        let [encoder, codec] = self.json().map(|json| json.replace("\":", "\" = "));
        format!("encoder = {encoder}\ncodec = {codec}\n")
    }

    /// Reads the events of a complete file.
    ///
    /// # Errors
    /// The file is truncated or damaged, and how.
    pub(crate) fn events(self, content: &[u8]) -> Result<Vec<Found>, String> {
        let compression = match self.codec {
            Codec::None => Compression::None,
            Codec::Gzip => Compression::Gzip,
            Codec::Zstd => Compression::Zstd,
            Codec::Bzip2 => Compression::Bzip2,
        };
        if content.is_empty() {
            return Err("it is empty".into());
        }
        let plain = plain(compression, content)?;
        match self.encoder {
            Encoder::Text => lines(&plain, |line| Some(Found { host: None, body: line.to_vec() })),
            Encoder::HeaderAndText => lines(&plain, in_front),
            Encoder::Json => lines(&plain, |line| {
                let Line { mut headers, body } = serde_json::from_slice(line).ok()?;
                Some(Found { host: headers.remove("host"), body: body.into() })
            }),
            Encoder::Csv => lines(&plain, |line| {
                let comma = line.iter().position(|byte| *byte == b',')?;
                found(&line[..comma], &line[comma + 1..])
            }),
            Encoder::Avro => avro(&plain),
            Encoder::Sequence | Encoder::SequenceBlocks => {
                let bodies = sequence::bodies(&plain)?.into_iter();
                Ok(bodies.map(|body| Found { host: None, body }).collect())
            }
            Encoder::Parquet => rows(plain),
        }
    }
}

fn found(host: &[u8], body: &[u8]) -> Option<Found> {
    let host = std::str::from_utf8(host).ok()?.to_owned();
    Some(Found { host: Some(host), body: body.to_vec() })
}

/// Decompresses the content.
fn plain(compression: Compression, content: &[u8]) -> Result<Vec<u8>, String> {
    let mut plain = Vec::new();
    let raw = Box::new(Cursor::new(Bytes::copy_from_slice(content)));
    let reading = compression.decompressed(raw, content);
    let read = reading.and_then(|mut reader| reader.read_to_end(&mut plain));
    read.map_err(|error| format!("it cannot be decompressed: {error}"))?;
    Ok(plain)
}

/// Parses an event from each line.
fn lines(plain: &[u8], event: impl Fn(&[u8]) -> Option<Found>) -> Result<Vec<Found>, String> {
    let of_line = |line: &[u8]| {
        let whole = line.strip_suffix(b"\n").and_then(&event);
        whole.ok_or_else(|| format!("a line is {:?}", String::from_utf8_lossy(line)))
    };
    plain.split_inclusive(|byte| *byte == b'\n').map(of_line).collect()
}

/// Parses `{host=edge-0, lane=1} body`. Headers contain no braces here.
fn in_front(line: &[u8]) -> Option<Found> {
    let end = line.iter().position(|byte| *byte == b'}')?;
    let headers = std::str::from_utf8(line[..end].strip_prefix(b"{")?).ok()?;
    let host = headers.split(", ").find_map(|header| header.strip_prefix("host="));
    found(host.unwrap_or_default().as_bytes(), line[end + 1..].strip_prefix(b" ")?)
}

fn avro(plain: &[u8]) -> Result<Vec<Found>, String> {
    let (mut events, mut damaged) = (Vec::new(), None);
    let mut records = Records::new(BLOCK_MAX, false);
    let mut rest = plain;
    loop {
        let more = records.next(&mut rest, |_, record, _| {
            match of_record(record) {
                Some(event) => events.push(event),
                None => damaged = Some(format!("a record is {record:?}")),
            }
            Some(record.len())
        });
        match more.map_err(|error| error.to_string())? {
            _ if damaged.is_some() => return Err(damaged.unwrap_or_default()),
            true => {}
            false => return Ok(events),
        }
    }
}

/// Reads the rows of a Parquet file with the columns of [`Form::json`].
fn rows(file: Vec<u8>) -> Result<Vec<Found>, String> {
    let damaged = |error: parquet::errors::ParquetError| error.to_string();
    let reader = SerializedFileReader::new(Bytes::from(file)).map_err(damaged)?;
    let rows = reader.get_row_iter(None).map_err(damaged)?;
    let event = |row: parquet::record::Row| {
        let host = row.get_string(0).ok().cloned();
        Ok(Found { host, body: row.get_bytes(1)?.data().to_vec() })
    };
    rows.map(|row| row.and_then(event).map_err(damaged)).collect()
}

/// Decodes Flume's event: a map of headers, and the body.
fn of_record(record: &[u8]) -> Option<Found> {
    let (mut reader, mut host) = (Reader::new(record), None);
    loop {
        let count = reader.block().ok()?;
        if count == 0 {
            break;
        }
        for _ in 0..count {
            let (name, value) = (reader.text().ok()?, reader.text().ok()?);
            if name == "host" {
                host = Some(value.to_owned());
            }
        }
    }
    let body = reader.bytes().ok()?.to_vec();
    reader.rest().is_empty().then_some(Found { host, body })
}

#[cfg(test)]
mod tests;
