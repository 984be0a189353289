//! Joins lines into events, in finished files.
//!
//! | an event ends | |
//! |---|---|
//! | before a line that begins one | |
//! | before a line with which it would exceed `bytes_max` or `lines_max` | that line begins the next event, and is counted |
//! | before a line over `line_max` | that line is a separate event, cut as usual |
//! | at the end of the file | |
//! | at the position of another channel | an earlier run with other settings may have ended an event there |
//!
//! If a read error follows an event, its end is unknown and it is not stored; it is read again when
//! the disk works.

use std::borrow::Cow;

use bytes::Buf;
use kit::multiline::Joining;
use kit::multiline::scan::Scan;
use pipeline::{BatchBuilder, PieceLimits};

use super::super::{Content, Piece, Problem, no_text};
use super::Lines;

/// Events at the beginning of the buffer.
struct Joined {
    batch: BatchBuilder,
    /// Bytes of the events in the buffer.
    bytes: usize,
    /// Events that had no room for their next line.
    divided: u64,
}

impl Lines {
    /// Returns the next events, from the byte `at` up to the byte `until` at most.
    pub(in super::super) fn joined(
        &mut self,
        content: &Content,
        joining: &Joining,
        at: u64,
        until: Option<u64>,
        limits: PieceLimits,
    ) -> Result<Piece, Problem> {
        let line_max = content.options.line_max;
        // The limit applies to event bodies.
        let bytes_max = limits.bytes / self.charset.growth();
        let until = until.and_then(|until| usize::try_from(until - at).ok());
        // A batch or the longest event, and enough bytes after it to detect its end.
        let longest = joining.bytes_max.max(line_max) + 2;
        self.fill(bytes_max.max(longest) + line_max + 2)?;
        let limits = PieceLimits { bytes: bytes_max, ..limits };
        if let Some(joined) = self.batch(content, joining, at, until, limits)? {
            self.buffer.advance(joined.bytes);
            let piece = self.piece(at + joined.bytes as u64, joined.batch, 0);
            return Ok(Piece { divided: joined.divided, ..piece });
        }
        if self.buffer.is_empty() {
            return Ok(self.piece(at, BatchBuilder::default(), 0));
        }
        let first = self.line(0).map_or(self.buffer.len(), |(line, _)| line);
        if first <= line_max
            && let Some(error) = self.broken.take()
        {
            return Err(error.into());
        }
        self.long_line(content, at)
    }

    /// Returns the events at the beginning of the buffer; `None` if the buffer does not contain the
    /// end of the first one.
    fn batch(
        &self,
        content: &Content,
        joining: &Joining,
        at: u64,
        until: Option<usize>,
        mut limits: PieceLimits,
    ) -> Result<Option<Joined>, Problem> {
        let headers = content.headers();
        'fewer: loop {
            let scan = self.scan(joining, until, content.options.line_max, limits);
            let Some(events) = scan.events(limits.bytes, limits.events) else { return Ok(None) };
            let mut batch = BatchBuilder::default();
            for event in events.iter() {
                let single = event.single().map(Cow::Borrowed);
                let bytes = single.clone().unwrap_or_else(|| event.text());
                match content.options.decode_errors.text(self.charset, &bytes, false) {
                    // For a single line, the decoder decides whether it is an event.
                    Ok(text) if single.is_some() => content.decode(&text, &headers, &mut batch)?,
                    Ok(text) => batch.push(&text, &headers),
                    Err(_) if event.start() > 0 => {
                        // Return the events before it first.
                        limits.bytes = event.start();
                        continue 'fewer;
                    }
                    Err(valid) => return Err(no_text(at + valid as u64)),
                }
            }
            return Ok(Some(Joined { batch, bytes: events.bytes, divided: events.divided }));
        }
    }

    /// Scans the lines of the buffer that a batch needs.
    fn scan<'a>(
        &'a self,
        joining: &'a Joining,
        until: Option<usize>,
        line_max: usize,
        limits: PieceLimits,
    ) -> Scan<'a> {
        let mut scan = Scan::new(joining, &self.buffer, limits.bytes);
        while !scan.is_over(limits.bytes, limits.events) {
            let line = self.line(scan.at()).filter(|(line, _)| *line <= line_max);
            match line {
                Some((line, _)) if until == Some(scan.at()) => {
                    scan.end_before(line);
                    break;
                }
                Some((line, bytes)) => scan.push(line, bytes),
                None => {
                    let rest = self.buffer.len() - scan.at();
                    // The last byte may be the CR of a line that is within the limit.
                    if until == Some(scan.at()) || self.is_over || rest > line_max + 1 {
                        scan.end();
                    }
                    break;
                }
            }
        }
        scan
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read};
    use std::path::Path;
    use std::sync::{Arc, LazyLock};

    use kit::multiline::oracle::{self, BYTES_MAX, LINE_MAX};
    use pipeline::env::FileStat;
    use pipeline::file_position::Fingerprint;
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::super::{FileBytes, Opened, Reading};
    use super::*;
    use crate::spool_dir::config::{Config, Options};
    use crate::spool_dir::mark::{DONE, Sight};

    /// Created once: each case of the model begins to read many times.
    static OPTIONS: LazyLock<Arc<Options>> = LazyLock::new(|| {
        let settings = json!({
            "directory": "/d", "line_max": format!("{LINE_MAX}B"), "multiline": oracle::settings(),
        });
        let config: Config = pipeline::Settings::from_json(&settings).read().unwrap();
        config.options(&formats::alone("in", Path::new("unused"), env::real())).unwrap()
    });
    static STAT: LazyLock<FileStat> =
        LazyLock::new(|| env::real().disk.stat(Path::new("/")).unwrap());

    /// A reader that returns a fixed number of bytes at a time.
    struct Pieces(io::Cursor<Vec<u8>>, usize);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = buffer.len().min(self.1);
            self.0.read(&mut buffer[..most])
        }
    }

    fn opened(content: &str, at_a_time: usize) -> Opened {
        let stat = FileStat { len: content.len() as u64, ..*STAT };
        let sight = Sight::new("/d/a".into(), &stat, Fingerprint::new(content.as_bytes()));
        let reader = Pieces(io::Cursor::new(content.as_bytes().to_vec()), at_a_time);
        Opened {
            sight,
            head: content.as_bytes().to_vec(),
            bytes: FileBytes::InOrder(Box::new(reader)),
        }
    }

    fn begin(content: &str, at_a_time: usize, standing: &[u64]) -> Reading {
        Reading::begin(OPTIONS.clone(), opened(content, at_a_time), standing).unwrap()
    }

    fn bodies(piece: &Piece) -> Vec<String> {
        let body = |event: pipeline::EventRef<'_>| String::from_utf8(event.body().to_vec());
        piece.batch.iter().map(|event| body(event).unwrap()).collect()
    }

    /// Returns all pieces of a file from the first of `standing` on: their events and end
    /// positions.
    fn all(content: &str, limits: PieceLimits, standing: &[u64]) -> Vec<(Vec<String>, u64)> {
        let mut reading = begin(content, 99, standing);
        let mut pieces = Vec::new();
        while pieces.last().is_none_or(|(_, end)| *end != DONE) {
            let piece = reading.next(limits).unwrap();
            pieces.push((bodies(&piece), piece.end));
        }
        pieces
    }

    proptest! {
        /// The events equal the definition for any piece size, any point of a kill, and any
        /// position of another channel.
        #[test]
        fn events_are_the_same_over_ends_of_reads_pieces_kills_and_channels(
            lines in prop::collection::vec("[>ab]{0,8}(\n|\r\n)", 0..30),
            last in "[>ab]{0,8}",
            at_a_time in 1_usize..40,
            limits in prop::collection::vec((BYTES_MAX..44, 1_usize..5, any::<bool>()), 1..9),
            ahead in 0_usize..9,
        ) {
            let content = lines.concat() + &last;
            let (mut expected, expected_divided) = oracle::events(&content);
            // A single empty line is not an event.
            expected.retain(|event| !event.is_empty());
            // The other channel has stored some pieces of an earlier run.
            let mut earlier = begin(&content, at_a_time, &[0]);
            let mut other = 0;
            for (bytes, events, _) in limits.iter().copied().cycle().take(ahead) {
                if other != DONE {
                    other = earlier.next(PieceLimits { bytes, events }).unwrap().end;
                }
            }
            let (mut at, mut stored, mut divided, mut met) = (0, Vec::new(), 0, other == 0);
            let mut reading = begin(&content, at_a_time, &[at, other.max(at)]);
            for (bytes, events, is_killed) in limits.iter().copied().cycle() {
                let piece = reading.next(PieceLimits { bytes, events }).unwrap();
                prop_assert!(piece.batch.len() <= events);
                stored.extend(bodies(&piece));
                (at, divided) = (piece.end, divided + piece.divided);
                met |= at == other;
                if at == DONE {
                    break;
                }
                if is_killed {
                    reading = begin(&content, at_a_time, &[at, other.max(at)]);
                }
            }
            prop_assert_eq!(stored, expected);
            prop_assert_eq!(divided, expected_divided);
            prop_assert!(met, "a piece ends where the other channel stands: {}", other);
        }
    }

    #[test]
    fn an_event_ends_where_an_earlier_life_with_other_settings_ended_one() {
        let limits = PieceLimits { bytes: 99, events: 9 };
        let pieces = all(">a\nb\nc\n>d\n", limits, &[0, 5]);
        let text = |events: &[&str]| events.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        assert_eq!(pieces[0], (text(&[">a\nb"]), 5), "nothing behind it comes twice");
        assert_eq!(pieces[1], (text(&["c", ">d"]), DONE));
    }

    #[test]
    fn an_event_over_what_the_next_agents_take_is_divided_and_not_refused() {
        let pieces = all(">a\nb\nc\n>d\n", PieceLimits { bytes: 5, events: 9 }, &[0]);
        let bodies: Vec<&[String]> = pieces.iter().map(|(bodies, _)| &**bodies).collect();
        assert_eq!(bodies.concat(), [">a\nb", "c", ">d"]);
    }

    #[test]
    fn an_event_that_an_error_of_the_disk_follows_is_not_stored_in_part() {
        struct Refuses;
        impl Read for Refuses {
            fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::from_raw_os_error(5))
            }
        }
        let before = opened(">a\nb\n>c\nd\n", 99);
        let FileBytes::InOrder(reader) = before.bytes else { panic!("it has lines") };
        let bytes = FileBytes::InOrder(Box::new(reader.chain(Refuses)));
        let opened = Opened { bytes, ..before };
        let mut reading = Reading::begin(OPTIONS.clone(), opened, &[0]).unwrap();
        let limits = PieceLimits { bytes: 99, events: 9 };
        let piece = reading.next(limits).unwrap();
        assert_eq!((piece.batch.iter().next().unwrap().body(), piece.end), (&b">a\nb"[..], 5));
        assert!(matches!(reading.next(limits), Err(Problem::Unreadable(_))));
    }
}
