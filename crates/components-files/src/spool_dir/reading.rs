//! Reads one file in pieces: each piece is the events of a batch and the position after them.
//! Blocks.
//!
//! The source reads lines as a stream; a piece ends at the end of a line. Formats that can be read
//! in parts have a `FileDecoder`. For other formats the source reads the whole file, and pieces are
//! runs of its events. A file that is transferred unchanged has pieces of its bytes.

mod lines;
mod transfer;

use std::collections::VecDeque;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use pipeline::env::{Disk, DiskFile, OpenMode};
use pipeline::file_position::{Fingerprint, HEAD_BYTES, shown};
use pipeline::{Batch, BatchBuilder, FileDecoder, FileError, Message, PieceLimits};

use super::config::Options;
use super::content::content;
use super::mark::{DONE, Sight, Unit};
use lines::Lines;
use transfer::Transfer;

/// Read size.
const READ_BYTES: usize = 128 << 10;

/// Events, and the position after them.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) batch: Batch,
    /// [`DONE`] after the last event.
    pub(super) end: u64,
    /// Lines that were cut.
    pub(super) cut: u64,
    /// Events that had no room for their next line.
    pub(super) divided: u64,
}

/// Reason why reading a file failed.
#[derive(Debug)]
pub(super) enum Problem {
    /// The content is invalid, permanently.
    Bad(String),
    /// The disk returned an error, which may be temporary.
    Unreadable(io::Error),
}

impl From<io::Error> for Problem {
    /// An error of a disk has a number; an error of a decompressor has none.
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(_) => Self::Unreadable(error),
            None => Self::Bad(format!("cannot decompress the file: {error}")),
        }
    }
}

impl From<FileError> for Problem {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Unreadable(error) => error.into(),
            FileError::Malformed(error) => Self::Bad(format!("cannot decode the file: {error}")),
        }
    }
}

/// An open file.
pub(super) struct Opened {
    pub(super) sight: Sight,
    /// Its first bytes.
    pub(super) head: Vec<u8>,
    bytes: FileBytes,
}

/// Access to the bytes of a file.
enum FileBytes {
    /// A stream of the decompressed bytes.
    InOrder(Box<dyn Read + Send>),
    /// Random access to the raw bytes.
    AsTheyAre(Arc<dyn DiskFile>),
}

/// Opens a file.
///
/// # Errors
/// Returns the operating system's error.
pub(super) fn open(disk: &dyn Disk, path: &Path, options: &Options) -> io::Result<Opened> {
    // Do not follow a link that replaces the file or a directory below `directory`.
    let below = path.strip_prefix(&options.directory).unwrap_or(path);
    let place = disk.canonical(&options.directory)?.join(below);
    let file = disk.open(&place, OpenMode { no_links: true, ..OpenMode::default() })?;
    let stat = file.stat()?;
    let head = file.read(0, HEAD_BYTES)?;
    let sight = Sight::new(path.to_owned(), &stat, Fingerprint::new(&head));
    let bytes = match options.pieces {
        Some(_) => FileBytes::AsTheyAre(file),
        None => FileBytes::InOrder(content(file, &head, options.compression)?),
    };
    Ok(Opened { sight, head, bytes })
}

/// Reads a file.
pub(super) struct Reading {
    content: Content,
    form: Form,
    /// Position of the next event.
    at: u64,
    /// Positions of the channels, in order: a piece ends at each.
    stops: Vec<u64>,
}

/// Attributes that all events of a file share.
struct Content {
    options: Arc<Options>,
    headers: Vec<(String, String)>,
}

/// Method of reading a file.
enum Form {
    /// Line by line.
    Lines(Lines),
    /// By a decoder for files.
    Pieces { reader: BufReader<Box<dyn Read + Send>>, decoder: Box<dyn FileDecoder> },
    /// Unchanged, in pieces of its bytes.
    Transferred(Box<Transfer>),
    /// As one message, read with the first piece.
    Whole { reader: Box<dyn Read + Send>, pieces: Option<VecDeque<Piece>> },
}

/// Returns the unit of positions with this decoder.
pub(super) fn unit(options: &Options) -> Unit {
    match options.pieces {
        Some(_) => Unit::BytesOfPieces,
        None if options.is_lines => Unit::Bytes,
        None => Unit::Events,
    }
}

impl Reading {
    /// Reads a file from the lowest of `standing`.
    pub(super) fn begin(
        options: Arc<Options>,
        opened: Opened,
        standing: &[u64],
    ) -> Result<Self, Problem> {
        let mut stops = standing.to_vec();
        stops.sort_unstable();
        let start = stops.first().copied().unwrap_or(0);
        let path = &opened.sight.path;
        let name = path.file_name().map(Path::new).unwrap_or(path);
        let header = |key: &Option<String>, value: &Path| {
            key.clone().map(|key| (key, shown(value).into_owned()))
        };
        let headers = [header(&options.file_header, path), header(&options.basename_header, name)];
        let headers = headers.into_iter().flatten().collect();
        let content = Content { options, headers };
        let Opened { sight, head, bytes } = opened;
        let mut at = start;
        let form = match bytes {
            FileBytes::AsTheyAre(file) => {
                let transfer = Transfer::begin(&content, file, sight, &head, start)?;
                Form::Transferred(Box::new(transfer))
            }
            FileBytes::InOrder(reader) if content.options.is_lines => {
                let (lines, begin) = Lines::begin(reader, content.options.charset, start)?;
                at = begin;
                Form::Lines(lines)
            }
            FileBytes::InOrder(reader) => match content.options.decoder.begin_file() {
                Some(mut decoder) => {
                    let mut reader = BufReader::with_capacity(READ_BYTES, reader);
                    decoder.skip_events(&mut reader, start)?;
                    Form::Pieces { reader, decoder }
                }
                None => Form::Whole { reader, pieces: None },
            },
        };
        Ok(Self { content, form, at, stops })
    }

    /// Returns the next piece.
    pub(super) fn next(&mut self, limits: PieceLimits) -> Result<Piece, Problem> {
        let until = self.stops.iter().copied().find(|stop| *stop > self.at);
        let Self { content, form, .. } = self;
        let piece = match form {
            Form::Lines(lines) => match (&content.options.joining, content.options.split_chars) {
                (Some(joining), _) => lines.joined(content, joining, self.at, until, limits)?,
                (None, Some(chars)) => lines.split(content, chars, self.at, until, limits)?,
                (None, None) => lines.next(content, self.at, until, limits)?,
            },
            Form::Transferred(transfer) => transfer.next(content, self.at, until, limits)?,
            Form::Pieces { reader, decoder } => {
                let mut events = BatchBuilder::default();
                let room = until.map_or(u64::MAX, |until| until - self.at);
                let room = usize::try_from(room).unwrap_or(usize::MAX);
                let limits = PieceLimits { events: limits.events.min(room), ..limits };
                let headers = content.headers();
                let is_more = decoder.next(reader, limits, &headers, &mut events)?;
                let end = if is_more { self.at + events.len() as u64 } else { DONE };
                Piece { batch: events.finish(), end, cut: 0, divided: 0 }
            }
            Form::Whole { reader, pieces } => {
                if pieces.is_none() {
                    *pieces = Some(runs(&content.whole(reader)?, &self.stops, limits));
                }
                let next = pieces.as_mut().and_then(VecDeque::pop_front);
                next.unwrap_or(Piece { batch: Batch::default(), end: DONE, cut: 0, divided: 0 })
            }
        };
        self.at = piece.end;
        Ok(piece)
    }
}

impl Content {
    /// Returns the headers of each event.
    fn headers(&self) -> Vec<(&str, &str)> {
        self.headers.iter().map(|(key, value)| (&**key, &**value)).collect()
    }

    fn decode(
        &self,
        bytes: &[u8],
        headers: &[(&str, &str)],
        events: &mut BatchBuilder,
    ) -> Result<(), Problem> {
        let message = Message { bytes, charset: None, headers };
        let decoded = self.options.decoder.decode(&message, events);
        Ok(decoded.map_err(FileError::Malformed)?)
    }

    /// Returns all events of a file that is read as one message.
    fn whole(&self, reader: &mut dyn Read) -> Result<Batch, Problem> {
        let Options { file_max, charset, decode_errors, is_text, .. } = *self.options;
        let mut bytes = Vec::new();
        reader.take(file_max + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > file_max {
            let problem = format!("the file is larger than {file_max} bytes; raise `file_max`");
            return Err(Problem::Bad(problem));
        }
        let mut events = BatchBuilder::default();
        if bytes.is_empty() {
            return Ok(events.finish());
        }
        if is_text {
            let (charset, mark) = charset.of_text(&bytes);
            let text = decode_errors.text(charset, &bytes[mark..], false);
            let text = text.map_err(|at| no_text((mark + at) as u64))?;
            self.decode(&text, &self.headers(), &mut events)?;
        } else {
            self.decode(&bytes, &self.headers(), &mut events)?;
        }
        Ok(events.finish())
    }
}

/// The text of a file is invalid from this byte on.
fn no_text(at: u64) -> Problem {
    Problem::Bad(format!("byte {at} is not valid in the charset of the file (`charset`)"))
}

/// Returns the events from the first of `stops` on as pieces within `limits`; a piece ends at each
/// further stop.
fn runs(all: &Batch, stops: &[u64], limits: PieceLimits) -> VecDeque<Piece> {
    let start = stops.first().copied().unwrap_or(0);
    let (mut part_of, mut ends) = (Vec::with_capacity(all.len()), Vec::new());
    let (mut events, mut bytes) = (0, 0);
    // Part 0 contains the events before the first stop.
    let mut part = 0;
    for (index, event) in (0_u64..).zip(all.iter()) {
        let length = event.body().len();
        let is_full = events >= limits.events || bytes + length > limits.bytes;
        if index >= start && (part == 0 || is_full || stops.contains(&index)) {
            if part > 0 {
                ends.push(index);
            }
            (part, events, bytes) = (part + 1, 0, 0);
        }
        (events, bytes) = (events + 1, bytes + length);
        part_of.push(part);
    }
    ends.push(DONE);
    let parts = all.split(&part_of).into_iter().skip(1);
    let piece = |(part, end): (Batch, u64)| Piece { batch: part, end, cut: 0, divided: 0 };
    parts.map(Into::into).zip(ends).map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_keep_their_limits_and_end_at_positions_of_channels() {
        let all = Batch::of((0..10).map(|n| n.to_string()));
        let show = |stops: &[u64], events, bytes| {
            let runs = runs(&all, stops, PieceLimits { bytes, events });
            runs.iter().map(|piece| (piece.batch.len(), piece.end)).collect::<Vec<_>>()
        };
        assert_eq!(show(&[0], 4, 99), [(4, 4), (4, 8), (2, DONE)]);
        assert_eq!(show(&[0], 99, 5), [(5, 5), (5, DONE)]);
        assert_eq!(show(&[3, 5, 6, DONE], 4, 99), [(2, 5), (1, 6), (4, DONE)]);
        assert_eq!(show(&[0], 99, 0).len(), 10, "an event alone is a piece");
        assert_eq!(show(&[10], 4, 99), []);
    }
}
