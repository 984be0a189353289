//! Lines that are one event, in files that are finished.
//!
//! | an event ends | |
//! |---|---|
//! | before a line that begins one | |
//! | before a line with which it would have more than `bytes_max`, or more than `lines_max` lines | that line begins the next one, and is counted |
//! | before a line over `line_max` | which is an event by itself, cut as ever |
//! | at the end of the file | |
//! | where another channel stands | an earlier life with other settings may have ended one there |
//!
//! An event that damage follows has no end, and is not stored: where the disk refuses to read on,
//! all of it comes later.

use bytes::Buf;
use pipeline::{BatchBuilder, PieceLimits};

use super::super::{Content, Piece, Problem, no_text};
use super::Lines;
use crate::sources::multiline::{Joining, Next, Open};

/// An event that the buffer holds whole.
struct Event {
    lines: usize,
    /// Bytes of it, without its last line end.
    text: usize,
    /// Bytes with it.
    bytes: usize,
    /// It had no room for its next line.
    is_divided: bool,
}

impl Lines {
    /// The next events, the first of which begins at the byte `at`, up to the byte `until` at most.
    pub(in super::super) fn joined(
        &mut self,
        content: &Content,
        joining: &Joining,
        at: u64,
        until: Option<u64>,
        limits: PieceLimits,
    ) -> Result<Piece, Problem> {
        let (line_max, errors) = (content.options.line_max, content.options.decode_errors);
        // The limit is one of bodies.
        let bytes_max = limits.bytes / self.charset.growth();
        let until = until.and_then(|until| usize::try_from(until - at).ok());
        // The longest event, and as much behind it as shows that it ends.
        let longest = joining.bytes_max.max(line_max) + 2;
        self.fill(bytes_max.max(longest + line_max + 2))?;
        let headers = content.headers();
        let mut events = BatchBuilder::default();
        let (mut taken, mut found, mut divided) = (0, 0, 0);
        while let Some(event) = self.event(joining, taken, until, line_max, bytes_max) {
            let is_full = found >= limits.events || taken + event.bytes > bytes_max;
            if found > 0 && (is_full || until == Some(taken)) {
                break;
            }
            // Of a single line the decoder says whether it is an event.
            let length = if event.lines == 1 { event.bytes } else { event.text };
            let bytes = &self.buffer[taken..taken + length];
            match errors.text(self.charset, bytes, false) {
                Ok(text) if event.lines == 1 => content.decode(&text, &headers, &mut events)?,
                Ok(text) => events.push(&text, &headers),
                // What is before it goes first.
                Err(_) if found > 0 => break,
                Err(valid) => return Err(no_text(at + (taken + valid) as u64)),
            }
            (taken, found) = (taken + event.bytes, found + 1);
            divided += u64::from(event.is_divided);
        }
        if found == 0 && !self.buffer.is_empty() {
            let first = self.line(0).map_or(self.buffer.len(), |(line, _)| line);
            if first <= line_max
                && let Some(error) = self.broken.take()
            {
                return Err(error.into());
            }
            return self.long_line(content, at);
        }
        self.buffer.advance(taken);
        Ok(Piece { divided, ..self.piece(at + taken as u64, events, 0) })
    }

    /// The event that begins at `from`, of at most `most` bytes unless it is a single line; `None`
    /// if its end is not there, or its first line is too long. It goes no further than `until`.
    fn event(
        &self,
        joining: &Joining,
        from: usize,
        until: Option<usize>,
        line_max: usize,
        most: usize,
    ) -> Option<Event> {
        let (mut open, mut text) = (Open::default(), 0);
        let ended_by = loop {
            let at = from + open.bytes;
            let Some((line, length)) = self.line(at) else {
                // A CR may be the last byte of a line that is not too long.
                let is_ended = self.is_over || self.buffer.len() - at > line_max + 1;
                break is_ended.then_some(Next::Another)?;
            };
            if line > line_max {
                break Next::Another;
            }
            match joining.next(open, &self.buffer[at..at + line], most) {
                Next::Same if until == Some(at) && open.lines > 0 => break Next::Another,
                Next::Same => {}
                other => break other,
            }
            text = open.bytes + line;
            joining.add(&mut open, &self.buffer[at..at + line], length);
        };
        let event = || Event {
            lines: open.lines,
            text,
            bytes: open.bytes,
            is_divided: ended_by == Next::Divided,
        };
        (open.lines > 0).then(event)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read};
    use std::path::Path;
    use std::sync::{Arc, LazyLock};

    use pipeline::env::FileStat;
    use pipeline::file_position::Print;
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::super::{FileBytes, Opened, Reading};
    use super::*;
    use crate::sources::multiline::oracle::{self, BYTES_MAX, LINE_MAX};
    use crate::sources::spool_dir::config::{Config, Options};
    use crate::sources::spool_dir::mark::{DONE, Sight};

    /// Made once: a case of the model begins to read many times.
    static OPTIONS: LazyLock<Arc<Options>> = LazyLock::new(|| {
        let settings = json!({
            "directory": "/d", "line_max": format!("{LINE_MAX}B"), "multiline": oracle::settings(),
        });
        let config: Config = pipeline::Settings::from_json(&settings).read().unwrap();
        config.options(&crate::alone("in", Path::new("unused"), env::real())).unwrap()
    });
    static STAT: LazyLock<FileStat> =
        LazyLock::new(|| env::real().disk.stat(Path::new("/")).unwrap());

    /// Gives so many bytes at a time.
    struct Pieces(io::Cursor<Vec<u8>>, usize);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = buffer.len().min(self.1);
            self.0.read(&mut buffer[..most])
        }
    }

    fn opened(content: &str, at_a_time: usize) -> Opened {
        let stat = FileStat { len: content.len() as u64, ..*STAT };
        let sight = Sight::new("/d/a".into(), &stat, Print::of(content.as_bytes()));
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

    /// All pieces of a file from the first of `standing` on: their events, and where they end.
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
        /// Whatever the pieces are, wherever the source is killed, and wherever another channel
        /// stands: the events are those of the definition.
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
            // An empty line by itself is no event.
            expected.retain(|event| !event.is_empty());
            // Where the other channel stands: behind some of the pieces of an earlier life.
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
