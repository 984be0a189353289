//! Splits the bytes of a read into batches of lines, without copying.

use bytes::Bytes;
use kit::multiline::Joining;
use memchr::{memchr, memchr_iter, memrchr};
use pipeline::Batch;

use super::multiline;

/// Size of the sample that decides whether lines are short.
const SAMPLE: usize = 1 << 10;
/// Maximum average length of short lines.
const SHORT_MAX: usize = 32;
/// Block size for counting lines.
const BLOCK: usize = 4 << 10;

/// Limits of a batch and a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Maximum length of a line, without its LF; the rest is cut off.
    pub(super) line_bytes: usize,
    /// Maximum size of a batch; a longer line gets its own batch.
    pub(super) batch_bytes: usize,
    /// Maximum number of lines in a batch.
    pub(super) batch_events: usize,
}

impl Limits {
    /// Returns the size of a read: a batch, or the longest line and the byte that ends it.
    pub(super) fn read_bytes(self) -> usize {
        self.batch_bytes.max(self.line_bytes + 1)
    }
}

/// Continuation after the given bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The last line may continue: without LF it is ignored.
    Open,
    /// As `Open`, and no further line belongs to the last event.
    Quiet,
    /// End of file: a last line without LF is a line.
    Line,
    /// The rest of the last line, which is skipped because the line is too long.
    Cut,
}

/// First piece of the data.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Whole lines. The last one lacks its LF if `unended`. If lines are joined, `divided` counts
    /// the events that had no room for their next line.
    Lines { lines: Lines, bytes: usize, unended: bool, divided: u64 },
    /// Joined lines that differ from `data`: lines of several events alternate, or the last line
    /// lacks its LF. For each event: its length without the final LF, and its offset in `data`.
    Made {
        text: Vec<u8>,
        lengths: Vec<u32>,
        starts: Vec<usize>,
        bytes: usize,
        is_unended: bool,
        divided: u64,
    },
    /// Kept part of a line that is too long; the rest of the line is skipped.
    Long { kept: usize },
    /// Rest of a line that was too long; `ended` if it includes the LF.
    Rest { bytes: usize, ended: bool },
    /// Not enough data to decide.
    Nothing,
}

/// Lines of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lines {
    /// Length of each line, without LF.
    Measured(Vec<u32>),
    /// Number of lines, if they are so short that lengths would cost more than they save.
    Short(usize),
}

impl Default for Lines {
    fn default() -> Self {
        Self::Short(0)
    }
}

impl Lines {
    /// Number of lines.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Measured(lengths) => lengths.len(),
            Self::Short(events) => *events,
        }
    }

    /// Appends `other`, the lines of `others`; `data` holds the current lines.
    pub(super) fn append(&mut self, data: &[u8], other: Self, others: &[u8]) {
        match (&mut *self, other) {
            (Self::Short(0), other) => *self = other,
            (Self::Measured(lengths), Self::Measured(more)) => lengths.extend(more),
            (Self::Measured(lengths), Self::Short(_)) => lengths.extend(lengths_of(others)),
            (Self::Short(events), Self::Short(more)) => *events += more,
            (Self::Short(_), Self::Measured(more)) => {
                *self = Self::Measured(lengths_of(data).chain(more).collect());
            }
        }
    }

    /// Creates a batch from `data`.
    pub(super) fn into_batch(self, data: Bytes) -> Batch {
        match self {
            Self::Measured(lengths) => Batch::of_lines(data, &lengths),
            Self::Short(events) => Batch::of_short_lines(data, events),
        }
    }
}

/// Returns the lengths of lines that all have their LF.
fn lengths_of(lines: &[u8]) -> impl Iterator<Item = u32> {
    let mut start = 0;
    memchr_iter(b'\n', lines).map(move |at| {
        let length = at - start;
        start = at + 1;
        length as u32
    })
}

/// Returns the first piece of `data`. `skipping` = it starts in the rest of a line that was too
/// long. `joining` joins lines to events; without it each line is an event.
pub(super) fn next_piece(
    data: &[u8],
    skipping: bool,
    end: End,
    limits: Limits,
    joining: Option<&Joining>,
) -> Piece {
    if data.is_empty() {
        return Piece::Nothing;
    }
    if skipping {
        return match memchr(b'\n', data) {
            Some(at) => Piece::Rest { bytes: at + 1, ended: true },
            None => Piece::Rest { bytes: data.len(), ended: false },
        };
    }
    if let Some(joining) = joining {
        return multiline::next_piece(joining, data, end, limits);
    }
    if are_short(data) {
        let (events, bytes) = short_lines(data, limits);
        // Otherwise the first line exceeds the batch or the line limit, which is handled below.
        if events > 0 {
            let lines = Lines::Short(events);
            return Piece::Lines { lines, bytes, unended: false, divided: 0 };
        }
    }
    let (lengths, bytes) = whole_lines(data, limits);
    if lengths.is_empty() {
        return first_line(data, end, limits.line_bytes);
    }
    Piece::Lines { lines: Lines::Measured(lengths), bytes, unended: false, divided: 0 }
}

/// Returns true if the first lines are short. Requires at least one line.
fn are_short(data: &[u8]) -> bool {
    let sample = &data[..data.len().min(SAMPLE)];
    memchr_iter(b'\n', sample).count() * SHORT_MAX > sample.len()
}

/// Returns the lines of one batch, without their lengths.
fn short_lines(data: &[u8], limits: Limits) -> (usize, usize) {
    let whole = whole_bytes(data, limits);
    let mut events = 0;
    for (number, block) in data[..whole].chunks(BLOCK).enumerate() {
        let more = memchr_iter(b'\n', block).count();
        if events + more >= limits.batch_events {
            let last = limits.batch_events - events;
            let end = memchr_iter(b'\n', block).take(last).last().map_or(0, |at| at + 1);
            return (limits.batch_events, number * BLOCK + end);
        }
        events += more;
    }
    (events, whole)
}

/// Returns the size of the lines that fit into a batch.
fn whole_bytes(data: &[u8], limits: Limits) -> usize {
    let Limits { line_bytes, batch_bytes, .. } = limits;
    let data = &data[..data.len().min(batch_bytes)];
    let mut end = 0;
    while let Some(at) = memrchr(b'\n', &data[end..data.len().min(end + line_bytes + 1)]) {
        end += at + 1;
    }
    end
}

/// Returns the lengths of the lines of one batch, and their total size.
fn whole_lines(data: &[u8], limits: Limits) -> (Vec<u32>, usize) {
    let Limits { line_bytes, batch_bytes, batch_events } = limits;
    let mut lengths = Vec::with_capacity((data.len().min(batch_bytes) / 64).min(batch_events) + 1);
    let mut start = 0;
    let fits = |start: usize, next: usize| start == 0 || next <= batch_bytes;
    for at in memchr_iter(b'\n', data) {
        let length = at - start;
        if length > line_bytes || !fits(start, at + 1) || lengths.len() == batch_events {
            break;
        }
        lengths.push(length as u32);
        start = at + 1;
    }
    (lengths, start)
}

/// Returns the first line of `data`, which is too long or lacks its LF.
pub(super) fn first_line(data: &[u8], end: End, line_bytes: usize) -> Piece {
    if data.len() > line_bytes {
        return Piece::Long { kept: line_bytes };
    }
    match end {
        End::Open | End::Quiet => Piece::Nothing,
        End::Cut => Piece::Long { kept: data.len() },
        End::Line => {
            let lines = Lines::Measured(vec![data.len() as u32]);
            Piece::Lines { lines, bytes: data.len(), unended: true, divided: 0 }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { line_bytes: 4, batch_bytes: 12, batch_events: 3 };

    /// Splits all of `data` into batches of lines; `+` marks the kept part of a long line.
    fn cut(data: &[u8], end: End, limits: Limits) -> Vec<Vec<String>> {
        let (mut at, mut skipping, mut batches) = (0, false, Vec::new());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        loop {
            let rest = &data[at..];
            match next_piece(rest, skipping, end, limits, None) {
                Piece::Nothing => return batches,
                Piece::Rest { bytes, ended } => (at, skipping) = (at + bytes, !ended),
                Piece::Long { kept } => {
                    batches.push(vec![text(&rest[..kept]) + "+"]);
                    (at, skipping) = (at + kept, true);
                }
                Piece::Lines { lines: Lines::Short(events), bytes, .. } => {
                    let lines: Vec<String> =
                        rest[..bytes].split_inclusive(|byte| *byte == b'\n').map(text).collect();
                    assert_eq!(lines.len(), events);
                    batches.push(lines.iter().map(|line| line.replace('\n', "")).collect());
                    at += bytes;
                }
                Piece::Lines { lines: Lines::Measured(lengths), bytes, unended, .. } => {
                    let (mut start, mut lines) = (0, Vec::new());
                    for length in lengths {
                        lines.push(text(&rest[start..start + length as usize]));
                        start += length as usize + 1;
                    }
                    assert_eq!(start, bytes + usize::from(unended));
                    batches.push(lines);
                    at += bytes;
                }
                Piece::Made { .. } => unreachable!("lines are not joined here"),
            }
        }
    }

    #[test]
    fn lines_are_cut_as_they_are_empty_ones_and_carriage_returns_too() {
        let lines = cut(b"a\r\n\n\0\xff\nlate", End::Open, LIMITS);
        assert_eq!(lines, [["a\r", "", "\0\u{fffd}"]]);
    }

    #[test]
    fn a_last_line_without_an_end_is_held_until_nothing_can_follow() {
        assert_eq!(cut(b"a\nlate", End::Open, LIMITS), [["a"]]);
        assert_eq!(cut(b"a\nlate", End::Line, LIMITS), [["a"], ["late"]]);
        assert_eq!(cut(b"a\nlate", End::Cut, LIMITS), [["a"], ["late+"]]);
    }

    #[test]
    fn a_long_line_is_cut_once_and_its_rest_passed_over() {
        for rest in ["5", "56789"] {
            let data = format!("ab\n1234{rest}\ncd\n");
            let expected: [&[&str]; 3] = [&["ab"], &["1234+"], &["cd"]];
            assert_eq!(cut(data.as_bytes(), End::Open, LIMITS), expected);
        }
        assert_eq!(cut(b"1234\n", End::Open, LIMITS), [["1234"]]);
        assert_eq!(cut(b"12345", End::Open, LIMITS), [["1234+"]]);
    }

    #[test]
    fn a_batch_of_short_lines_ends_at_its_lines_wherever_these_end() {
        let data: Vec<u8> =
            (0..5 * BLOCK).map(|at| if at % 7 == 6 { b'\n' } else { b'a' }).collect();
        let lines = data.len() / 7;
        for batch_events in [1, BLOCK / 7, BLOCK / 7 + 1, lines - 1, lines] {
            let limits = Limits { line_bytes: 100, batch_bytes: data.len(), batch_events };
            assert_eq!(short_lines(&data, limits), (batch_events, batch_events * 7));
        }
    }

    #[test]
    fn a_batch_ends_at_its_bytes_and_at_its_lines() {
        let expected: [&[&str]; 2] = [&["1", "2", "3"], &["4"]];
        assert_eq!(cut(b"1\n2\n3\n4\n", End::Open, LIMITS), expected);
        let expected: [&[&str]; 2] = [&["1234", "1234"], &["12"]];
        assert_eq!(cut(b"1234\n1234\n12\n", End::Open, LIMITS), expected);
    }

    proptest! {
        #[test]
        fn short_lines_are_cut_as_long_ones_are(
            data in "[ab\n]{0,60}",
            line in 1_usize..6,
            bytes in 1_usize..20,
            events in 1_usize..9,
        ) {
            let limits = Limits { line_bytes: line, batch_bytes: bytes, batch_events: events };
            let (lengths, expected) = whole_lines(data.as_bytes(), limits);
            // `short_lines` leaves a first line over the batch size to the other function.
            if lengths.first().is_some_and(|first| *first as usize + 1 > bytes) {
                prop_assert_eq!(short_lines(data.as_bytes(), limits), (0, 0));
            } else {
                prop_assert_eq!(short_lines(data.as_bytes(), limits), (lengths.len(), expected));
            }
        }

        #[test]
        fn no_byte_of_a_line_that_fits_is_lost(data in "[ab\n]{0,40}") {
            let limits = Limits { line_bytes: 100, batch_bytes: 9, batch_events: 4 };
            let lines: Vec<String> = cut(data.as_bytes(), End::Line, limits).concat();
            let expected: Vec<&str> = data.split_inclusive('\n').collect();
            let expected: Vec<&str> = expected.iter().map(|line| line.trim_end()).collect();
            prop_assert_eq!(lines, expected);
        }
    }
}
