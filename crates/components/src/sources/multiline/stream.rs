//! Events of a stream: its messages as they are, or its lines joined.
//!
//! | an event of several lines ends | |
//! |---|---|
//! | before a line that begins one | |
//! | before a line with which it would have more than `bytes_max`, or more than `lines_max` lines | that line begins the next one, and is counted |
//! | before a line that was cut | which is an event by itself |
//! | when nothing has come for `timeout` | with its last line that has an end; what comes later is another event |
//! | at the end of the stream | with the last line, also where that lacks its end |
//!
//! Pure but for the clock of the runtime. No more is held than an event, a line and what was read.

use std::sync::Arc;

use bytes::BytesMut;
use pipeline::{Frame, Framing, FramingLost};
use tokio::time::Instant;

use super::{Joining, Next, Open};
use crate::framings::FramedStream;

/// A stream, cut into events.
pub(in crate::sources) struct EventStream {
    messages: FramedStream,
    lines: Option<Lines>,
}

/// [`EventStream::next`] or [`EventStream::rest`].
pub(in crate::sources) type NextEvent =
    fn(&mut EventStream, usize) -> Result<Option<Frame>, FramingLost>;

/// Lines on their way into events.
struct Lines {
    joining: Arc<Joining>,
    open: Open,
    /// Those of the event that is open, with a line feed behind each but the last.
    text: BytesMut,
    /// A line that was cut, behind the event that it has ended.
    cut: Option<Frame>,
    /// When the event that is open counts as ended.
    due: Option<Instant>,
    /// Events that were divided and not yet counted.
    divided: u64,
}

impl EventStream {
    /// Of messages of at most `message_max` bytes; where they are joined, they are lines.
    pub(in crate::sources) fn new(
        framing: &dyn Framing,
        message_max: usize,
        joining: Option<Arc<Joining>>,
    ) -> Self {
        Self::of(FramedStream::new(framing, message_max), joining)
    }

    /// Of lines of at most `line_max` bytes.
    pub(in crate::sources) fn lines(line_max: usize, joining: Option<Arc<Joining>>) -> Self {
        Self::of(FramedStream::lines(line_max), joining)
    }

    fn of(messages: FramedStream, joining: Option<Arc<Joining>>) -> Self {
        let lines = |joining| Lines {
            joining,
            open: Open::default(),
            text: BytesMut::new(),
            cut: None,
            due: None,
            divided: 0,
        };
        Self { messages, lines: joining.map(lines) }
    }

    /// Where the next bytes of the stream go.
    pub(in crate::sources) fn buffer(&mut self) -> &mut BytesMut {
        self.messages.buffer()
    }

    /// The next event that has ended, of at most `most` bytes unless it is a single message; `None`
    /// until more bytes come, which the last event is waited for from now on.
    ///
    /// # Errors
    /// As [`pipeline::Framer::next`].
    pub(in crate::sources) fn next(&mut self, most: usize) -> Result<Option<Frame>, FramingLost> {
        let Some(lines) = &mut self.lines else { return self.messages.next(false) };
        if let Some(cut) = lines.cut.take() {
            return Ok(Some(cut));
        }
        while let Some(line) = self.messages.next(false)? {
            if let Some(event) = lines.push(line, most) {
                return Ok(Some(event));
            }
        }
        lines.due = (lines.open.lines > 0).then(|| Instant::now() + lines.joining.timeout);
        Ok(None)
    }

    /// What is left when the stream has ended, event by event. [`EventStream::next`] has given all
    /// before it.
    ///
    /// # Errors
    /// As [`pipeline::Framer::next`].
    pub(in crate::sources) fn rest(&mut self, most: usize) -> Result<Option<Frame>, FramingLost> {
        let last = self.messages.next(true)?;
        let Some(lines) = &mut self.lines else { return Ok(last) };
        Ok(last.and_then(|line| lines.push(line, most)).or_else(|| lines.end()))
    }

    /// When the event that is open counts as ended: then [`EventStream::end`] gives it.
    pub(in crate::sources) fn due(&self) -> Option<Instant> {
        self.lines.as_ref().and_then(|lines| lines.due)
    }

    /// Ends the event that is open, at its last whole line.
    pub(in crate::sources) fn end(&mut self) -> Option<Frame> {
        self.lines.as_mut().and_then(Lines::end)
    }

    /// How many events were divided since this was asked for the last time.
    pub(in crate::sources) fn take_divided(&mut self) -> u64 {
        self.lines.as_mut().map_or(0, |lines| std::mem::take(&mut lines.divided))
    }
}

impl Lines {
    /// Adds a line; answers the event that has ended by it.
    fn push(&mut self, line: Frame, most: usize) -> Option<Frame> {
        if line.is_cut {
            let Some(before) = self.end() else { return Some(line) };
            self.cut = Some(line);
            return Some(before);
        }
        let next = self.joining.next(self.open, &line.message, most);
        self.divided += u64::from(next == Next::Divided);
        let ended = if next == Next::Same { None } else { self.end() };
        if self.open.lines > 0 {
            self.text.extend_from_slice(b"\n");
        }
        self.text.extend_from_slice(&line.message);
        self.joining.add(&mut self.open, &line.message, line.message.len() + 1);
        ended
    }

    /// Ends what is open: a line that was cut, or an event.
    fn end(&mut self) -> Option<Frame> {
        self.due = None;
        if let Some(cut) = self.cut.take() {
            return Some(cut);
        }
        let open = std::mem::take(&mut self.open);
        (open.lines > 0).then(|| Frame { message: self.text.split().freeze(), is_cut: false })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::oracle::{self, BYTES_MAX, LINE_MAX};
    use super::*;

    /// The events of a stream that comes in pieces of `at_a_time` bytes and ends, and how many were
    /// divided.
    fn events(stream: &str, at_a_time: usize, most: usize) -> (Vec<String>, u64) {
        let mut joined = EventStream::lines(LINE_MAX, Some(oracle::joining()));
        let (mut all, mut divided) = (Vec::new(), 0);
        for bytes in stream.as_bytes().chunks(at_a_time) {
            joined.buffer().extend_from_slice(bytes);
            all.extend(std::iter::from_fn(|| joined.next(most).unwrap()));
            divided += joined.take_divided();
            let held = joined.lines.as_ref().map_or(0, |lines| lines.text.len());
            assert!(held <= BYTES_MAX.max(LINE_MAX), "more is held than an event");
        }
        all.extend(std::iter::from_fn(|| joined.rest(most).unwrap()));
        let text = |frame: Frame| String::from_utf8(frame.message.to_vec()).unwrap();
        (all.into_iter().map(text).collect(), divided + joined.take_divided())
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_give_the_events_of_the_whole_stream(
            lines in prop::collection::vec("[>ab]{0,8}(\n|\r\n)", 0..30),
            last in "[>ab]{0,8}",
            at_a_time in 1_usize..40,
        ) {
            let stream = lines.concat() + &last;
            // What ends a line within an event is a line feed.
            let expected = oracle::events(&stream.replace("\r\n", "\n"));
            prop_assert_eq!(events(&stream, at_a_time, usize::MAX), expected);
        }
    }

    #[test]
    fn an_event_has_no_more_bytes_than_the_next_agents_take() {
        let all = [">a\nb", "c", ">d"].map(str::to_owned).to_vec();
        assert_eq!(events(">a\nb\nc\n>d\n", 99, 4), (all, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_quiet_for_long_ends_at_its_last_whole_line_and_bytes_put_that_off() {
        let mut joined = EventStream::lines(LINE_MAX, Some(oracle::joining()));
        let timeout = oracle::joining().timeout;
        let begun = Instant::now();
        assert_eq!((joined.next(99), joined.due()), (Ok(None), None));
        joined.buffer().extend_from_slice(b">a\nb\n");
        assert_eq!((joined.next(99), joined.due()), (Ok(None), Some(begun + timeout)));
        tokio::time::advance(timeout / 2).await;
        joined.buffer().extend_from_slice(b"ha");
        let put_off = begun + timeout / 2 + timeout;
        assert_eq!((joined.next(99), joined.due()), (Ok(None), Some(put_off)));
        assert_eq!(joined.end().unwrap().message, ">a\nb");
        assert_eq!((joined.end(), joined.due()), (None, None));
        joined.buffer().extend_from_slice(b"lf\n");
        assert_eq!(joined.next(99), Ok(None));
        let last = joined.rest(99).unwrap();
        assert_eq!(last.unwrap().message, "half", "what comes later is another event");
        assert_eq!(joined.rest(99), Ok(None));
    }
}
