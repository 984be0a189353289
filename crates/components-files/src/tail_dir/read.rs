//! One read of one file: turns bytes into chunks with their positions.

use std::borrow::Cow;
use std::io;
use std::ops::Range;

use bytes::Bytes;
use kit::multiline::{EVENT_DIVIDED, Joining};
use memchr::memmem;
use pipeline::{Batch, Existing};
use tokio::time::Instant;

use super::chunk::{Chunk, Outcome, Part};
use super::file::{File, FileId, Leg};
use super::identity::{Fingerprint, HEAD_BYTES, TAIL_BYTES};
use super::lines::{End, Limits, Lines, Piece, next_piece};
use super::multiline;
use super::names::shown;
use super::open_handles::is_out_of_files;
use super::tailer::Tailer;

/// Header of an event that contains only the beginning of its line.
const TRUNCATED: &str = "truncated";

/// Lines of a read, with the file's positions before and after them.
struct Cut {
    lines: What,
    start: u64,
    offset: u64,
    skipping: bool,
    tail: Fingerprint,
}

enum What {
    /// Whole lines, and their range in the buffer.
    Lines(Range<usize>, Lines),
    /// A line that differs from the bytes in the file.
    Made(Batch),
    /// Events that differ from the bytes in the file, and their offsets in the file.
    Joined(Batch, Vec<u64>),
}

/// Result of splitting a read.
struct Cuts {
    cuts: Vec<Cut>,
    /// Offset after the read.
    offset: u64,
    skipping: bool,
    tail: Fingerprint,
    long_lines: u64,
    late_lines: u64,
    /// Events that had no room for their next line.
    divided: u64,
}

impl Tailer {
    /// Reads a file once.
    pub(super) fn read(&mut self, id: FileId, now: Instant, chunks: &mut Vec<Chunk>) -> Outcome {
        let outcome = match self.try_read(id, now, chunks) {
            // It was moved or deleted since the last survey; the next survey finds it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Outcome::End),
            // Logged once for all files; retried after the next survey.
            Err(error) if is_out_of_files(&error) => Ok(Outcome::End),
            outcome => outcome,
        };
        let Some(file) = self.files.get_mut(id) else { return Outcome::End };
        let problem = outcome.as_ref().err().map(io::Error::kind);
        let before = std::mem::replace(&mut file.problem, problem);
        let place = shown(&file.place);
        match outcome {
            Ok(outcome) => {
                if before.is_some() {
                    tracing::info!(source = %self.source, file = %place, "file is readable again");
                }
                return outcome;
            }
            Err(error) if before != problem => {
                tracing::warn!(source = %self.source, file = %place, %error,
                    "cannot read file; its events wait; retrying; check its permissions");
                self.count_anomaly("unreadable", 1);
            }
            Err(_) => {}
        }
        Outcome::End
    }

    fn try_read(
        &mut self,
        id: FileId,
        now: Instant,
        chunks: &mut Vec<Chunk>,
    ) -> io::Result<Outcome> {
        let Some((handle, stat)) = self.open(id)? else {
            // Another file is at its place: the next survey finds the file.
            return Ok(Outcome::End);
        };
        let Some(file) = self.files.get_mut(id) else { return Ok(Outcome::End) };
        if !file.note(&stat, now) {
            self.truncated(id, now);
            return Ok(Outcome::End);
        }
        let late = file.late_line_is_due(now, self.options.late_line_after);
        let leg = file.leg();
        let (offset, skipping) = (file.position.offset, file.position.skipping);
        let (head, tail) = (file.position.head, file.position.tail);
        let joining = self.options.joining.as_ref();
        let limits = self.options.limits;
        let room =
            joining.map_or(limits.read_bytes(), |joining| multiline::read_bytes(joining, limits));
        let quiet = file.is_quiet(now, joining);
        let limit = leg.limit.map_or(u64::MAX, |mark| mark.offset);
        let until = stat.len.min(limit).min(offset + room as u64);
        let known = usize::from(tail.len);
        let wanted = known + (until - offset) as usize;
        let is_alone = file.outstanding > 0
            || leg != Leg::ALL
            || self.options.offset_header.is_some()
            || !self.bundle.is_little(wanted);
        if !is_alone && !self.bundle.fits(wanted) {
            return Ok(Outcome::BundleFull);
        }
        let from = offset - known as u64;
        let alone = is_alone.then(|| self.buffers.read(&*handle, from, wanted)).transpose()?;
        let buffer = match &alone {
            Some(buffer) => buffer,
            None => self.bundle.read(&*handle, from, wanted, &self.buffers)?,
        };
        if !tail.fits(buffer) {
            self.truncated(id, now);
            return Ok(Outcome::End);
        }
        let read_end = offset + (buffer.len() - known) as u64;
        let end = file.end(read_end, leg.limit, late, quiet);
        let at = Beginning { known, offset, skipping };
        let mut cuts = cut(buffer, at, end, limits, self.options.joining.as_ref());
        if self.options.strip_cr {
            cuts.strip_cr(buffer);
        }
        // Discard the read if the file was replaced or rewritten.
        let head_bytes = HEAD_BYTES.min(usize::try_from(cuts.offset).unwrap_or(HEAD_BYTES));
        let head_bytes = head_bytes.max(usize::from(head.len));
        let beginning = match buffer.get(..head_bytes).filter(|_| from == 0) {
            Some(beginning) => Cow::Borrowed(beginning),
            None => Cow::Owned(handle.read(0, head_bytes)?),
        };
        if !head.fits(&beginning) {
            self.truncated(id, now);
            return Ok(Outcome::End);
        }
        if let Some(mark) = leg.limit.filter(|mark| mark.offset == cuts.offset) {
            cuts.skipping = mark.skipping;
        }
        let Some(file) = self.files.get_mut(id) else { return Ok(Outcome::End) };
        file.position.head = Fingerprint::new(&beginning);
        let all = cuts.offset + (read_end - cuts.offset) >= stat.len;
        if all && cuts.offset < limit {
            file.looked = Some((stat.len, stat.modified));
            let is_open = self.options.joining.is_some() && !quiet && cuts.offset < stat.len;
            self.open_events.note(id, file, is_open);
        }
        let more = !all || cuts.offset == limit;
        self.count_anomalies(&cuts);
        self.hand_on(id, alone, cuts, leg.targets.as_deref(), chunks);
        Ok(if more { Outcome::More } else { Outcome::End })
    }

    fn count_anomalies(&self, cuts: &Cuts) {
        let counted = [
            ("line_cut", cuts.long_lines),
            ("late_line", cuts.late_lines),
            (EVENT_DIVIDED, cuts.divided),
        ];
        for (reason, times) in counted.into_iter().filter(|(_, times)| *times > 0) {
            self.count_anomaly(reason, times);
        }
    }

    /// Turns the lines into chunks or into a part of the bundle, and advances the file. `alone` is
    /// the buffer of the read, unless the bundle holds it.
    fn hand_on(
        &mut self,
        id: FileId,
        alone: Option<Bytes>,
        cuts: Cuts,
        targets: Option<&[usize]>,
        chunks: &mut Vec<Chunk>,
    ) {
        let Self { files, bundle, source, options, .. } = self;
        let Some(file) = files.get_mut(id) else { return };
        let is_plain = match cuts.cuts.as_slice() {
            [Cut { lines: What::Lines(_, lines), .. }] => bundle.may_have(lines),
            all => all.is_empty(),
        };
        let taken_out = || (!is_plain).then(|| Bytes::copy_from_slice(bundle.last_read()));
        let buffer = alone.or_else(taken_out);
        let last = cuts.cuts.len();
        for (number, cut) in (1..).zip(cuts.cuts) {
            step(file, cut.offset, cut.skipping, cut.tail);
            let position = file.stored_position(source);
            let bytes = cut.lines.body_bytes();
            let part = Part { file: id, end: Some(cut.offset), bytes, ends_read: number == last };
            let path = shown(&file.position.path);
            let mut starts = None;
            let mut batch = match (cut.lines, &buffer) {
                (What::Lines(at, lines), Some(buffer)) => lines.into_batch(buffer.slice(at)),
                (What::Lines(at, lines), None) => {
                    bundle.push(at, lines, &path, position, part);
                    continue;
                }
                (What::Made(batch), _) => batch,
                (What::Joined(batch, at), _) => {
                    starts = Some(at);
                    batch
                }
            };
            if let Some(name) = &options.file_header {
                batch.set_header(name, &path, Existing::Replace);
            }
            if let Some(name) = &options.offset_header {
                let starts = starts.unwrap_or_else(|| offsets(&batch, cut.start));
                let starts: Vec<String> = starts.iter().map(u64::to_string).collect();
                batch.set_column(name, starts.iter().map(|start| Some(start.as_str())));
            }
            batch.envelope.positions.push(position);
            chunks.push(Chunk {
                batch,
                targets: targets.map(<[usize]>::to_vec),
                parts: vec![part],
            });
        }
        if last > 0 {
            file.outstanding += 1;
            file.stored = true;
        }
        step(file, cuts.offset, cuts.skipping, cuts.tail);
    }
}

impl Cuts {
    /// Removes the CR before the LF of each line of `buffer`. Lines without one are not copied.
    fn strip_cr(&mut self, buffer: &[u8]) {
        for cut in &mut self.cuts {
            let What::Lines(at, _) = &cut.lines else { continue };
            let lines = &buffer[at.clone()];
            if memmem::find(lines, b"\r\n").is_none() {
                continue;
            }
            let (mut text, mut lengths, mut starts) = (Vec::new(), Vec::new(), Vec::new());
            let mut start = cut.start;
            for line in lines.split_inclusive(|byte| *byte == b'\n') {
                let body = line.strip_suffix(b"\n").unwrap_or(line);
                let body = body.strip_suffix(b"\r").unwrap_or(body);
                text.extend_from_slice(body);
                text.push(b'\n');
                lengths.push(body.len() as u32);
                starts.push(start);
                start += line.len() as u64;
            }
            cut.lines = What::Joined(Batch::of_lines(text.into(), &lengths), starts);
        }
    }
}

impl What {
    /// Bytes of the lines, without their LFs.
    fn body_bytes(&self) -> u64 {
        match self {
            Self::Lines(at, lines) => (at.len() - lines.len()) as u64,
            Self::Made(batch) | Self::Joined(batch, _) => batch.body_bytes(),
        }
    }
}

fn step(file: &mut File, offset: u64, skipping: bool, tail: Fingerprint) {
    (file.position.offset, file.position.skipping) = (offset, skipping);
    file.position.tail = tail;
}

/// Start of a read.
#[derive(Clone, Copy)]
struct Beginning {
    /// Bytes in the buffer before it, which were read earlier.
    known: usize,
    offset: u64,
    /// True if it is in the rest of a line that was cut.
    skipping: bool,
}

/// Splits all of `buffer` into batches.
fn cut(
    buffer: &[u8],
    beginning: Beginning,
    end: End,
    limits: Limits,
    joining: Option<&Joining>,
) -> Cuts {
    let Beginning { known, offset, mut skipping } = beginning;
    let mut at = known;
    let mut cuts = Vec::new();
    let (mut long_lines, mut late_lines, mut all_divided) = (0, 0, 0);
    let tail = |at: usize| Fingerprint::new(&buffer[at.saturating_sub(TAIL_BYTES)..at]);
    let offset_at = |at: usize| offset + (at - known) as u64;
    loop {
        let rest = &buffer[at..];
        let start = offset_at(at);
        let lines = match next_piece(rest, skipping, end, limits, joining) {
            Piece::Nothing => break,
            Piece::Rest { bytes, ended } => {
                (at, skipping) = (at + bytes, !ended);
                continue;
            }
            Piece::Long { kept } => {
                long_lines += 1;
                let mut batch = ended_line(&rest[..kept]);
                batch.set_header(TRUNCATED, "true", Existing::Replace);
                (at, skipping) = (at + kept, true);
                What::Made(batch)
            }
            Piece::Made { text, lengths, starts, bytes, is_unended, divided } => {
                late_lines += u64::from(is_unended);
                all_divided += divided;
                let starts = starts.iter().map(|start| offset_at(at + start)).collect();
                at += bytes;
                What::Joined(Batch::of_lines(text.into(), &lengths), starts)
            }
            Piece::Lines { bytes, unended: true, .. } => {
                late_lines += 1;
                let line = &rest[..bytes];
                at += bytes;
                What::Made(ended_line(line))
            }
            Piece::Lines { lines, bytes, unended: false, divided } => {
                at += bytes;
                all_divided += divided;
                What::Lines(at - bytes..at, lines)
            }
        };
        cuts.push(Cut { lines, start, offset: offset_at(at), skipping, tail: tail(at) });
    }
    let (offset, tail, divided) = (offset_at(at), tail(at), all_divided);
    Cuts { cuts, offset, skipping, tail, long_lines, late_lines, divided }
}

/// Creates a batch of one line that lacks its LF in the file.
fn ended_line(line: &[u8]) -> Batch {
    let mut body = Vec::with_capacity(line.len() + 1);
    body.extend_from_slice(line);
    body.push(b'\n');
    Batch::of_lines(body.into(), &[line.len() as u32])
}

/// Returns the offset of each line of `batch`, whose first line begins at `start`.
fn offsets(batch: &Batch, start: u64) -> Vec<u64> {
    let mut next = start;
    let begins = batch.iter().map(|event| {
        let begin = next;
        next += event.body().len() as u64 + 1;
        begin
    });
    begins.collect()
}
