//! Splits a stream into events: its messages, or its lines joined.
//!
//! | an event of several lines ends | |
//! |---|---|
//! | before a line that begins one | |
//! | with the last part of a line of a container | where parts are joined |
//! | before a line with which it would exceed `bytes_max` or `lines_max` | that line begins the next event, and is counted |
//! | before a line that was cut | that line is a separate event |
//! | when no data has arrived for `timeout` | after its last complete line; a later line begins another event |
//! | at the end of the stream | with the last line, even without its line end |
//!
//! Each stream of a container has its own open event. Pure, except for the runtime's clock. It
//! keeps at most one event per stream, one line, and the bytes of a read.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;
use formats::framings::FramedStream;
use pipeline::{Frame, Framing, FramingLost};
use tokio::time::Instant;

use super::{Joining, LANES, Next, Open};

/// A stream, cut into events.
pub struct EventStream {
    messages: FramedStream,
    lines: Option<Lines>,
}

/// [`EventStream::next`] or [`EventStream::rest`].
pub type NextEvent = fn(&mut EventStream, usize) -> Result<Option<Frame>, FramingLost>;

/// Lines and the events that they form.
struct Lines {
    joining: Arc<Joining>,
    lanes: [Lane; LANES],
    /// Ended events.
    ended: VecDeque<Frame>,
    /// Time at which the open events count as ended.
    due: Option<Instant>,
    /// Number of divided events that are not counted yet.
    divided: u64,
}

/// The open event of one stream.
#[derive(Default)]
struct Lane {
    open: Open,
    /// Its lines, with a line feed after each except the last.
    text: BytesMut,
}

impl EventStream {
    /// Of messages of at most `message_max` bytes; where they are joined, they are lines.
    pub fn new(framing: &dyn Framing, message_max: usize, joining: Option<Arc<Joining>>) -> Self {
        Self::of(FramedStream::new(framing, message_max), joining)
    }

    /// Of lines of at most `line_max` bytes.
    pub fn lines(line_max: usize, joining: Option<Arc<Joining>>) -> Self {
        Self::of(FramedStream::lines(line_max), joining)
    }

    fn of(messages: FramedStream, joining: Option<Arc<Joining>>) -> Self {
        let lines = |joining| Lines {
            joining,
            lanes: Default::default(),
            ended: VecDeque::new(),
            due: None,
            divided: 0,
        };
        Self { messages, lines: joining.map(lines) }
    }

    /// Where the next bytes of the stream go.
    pub fn buffer(&mut self) -> &mut BytesMut {
        self.messages.buffer()
    }

    /// Returns the next ended event of at most `most` bytes, or a longer single message; `None` if
    /// more bytes are needed, which starts the timeout of the last event.
    ///
    /// # Errors
    /// As [`pipeline::Framer::next`].
    pub fn next(&mut self, most: usize) -> Result<Option<Frame>, FramingLost> {
        let Some(lines) = &mut self.lines else { return self.messages.next(false) };
        loop {
            if let Some(event) = lines.ended.pop_front() {
                return Ok(Some(event));
            }
            let Some(line) = self.messages.next(false)? else { break };
            lines.push(line, most);
        }
        lines.due = lines.is_open().then(|| Instant::now() + lines.joining.timeout);
        Ok(None)
    }

    /// Returns the rest of an ended stream, event by event, after [`EventStream::next`] has
    /// returned `None`.
    ///
    /// # Errors
    /// As [`pipeline::Framer::next`].
    pub fn rest(&mut self, most: usize) -> Result<Option<Frame>, FramingLost> {
        let last = self.messages.next(true)?;
        let Some(lines) = &mut self.lines else { return Ok(last) };
        if let Some(line) = last {
            lines.push(line, most);
        }
        Ok(lines.end())
    }

    /// When the open events count as ended: then [`EventStream::end`] returns them.
    pub fn due(&self) -> Option<Instant> {
        self.lines.as_ref().and_then(|lines| lines.due)
    }

    /// Ends the open events, at their last whole lines: returns one of them, until none is left.
    pub fn end(&mut self) -> Option<Frame> {
        self.lines.as_mut().and_then(Lines::end)
    }

    /// How many events were divided since this was asked for the last time.
    pub fn take_divided(&mut self) -> u64 {
        self.lines.as_mut().map_or(0, |lines| std::mem::take(&mut lines.divided))
    }
}

impl Lines {
    fn is_open(&self) -> bool {
        self.lanes.iter().any(|lane| lane.open.lines > 0)
    }

    /// Adds a line, and the events that it ends.
    fn push(&mut self, line: Frame, most: usize) {
        let Self { joining, lanes, ended, divided, .. } = self;
        if line.is_cut {
            ended.extend(lanes.iter_mut().filter_map(Lane::end));
            ended.push_back(line);
            return;
        }
        let text = joining.line(&line.message);
        let lane = &mut lanes[text.lane];
        let next = joining.next(lane.open, text, most);
        *divided += u64::from(next == Next::Divided);
        if next != Next::Same {
            ended.extend(lane.end());
        }
        if lane.open.lines > 0 {
            lane.text.extend_from_slice(b"\n");
        }
        lane.text.extend_from_slice(&line.message);
        joining.add(&mut lane.open, text, line.message.len() + 1);
        if joining.is_complete(lane.open) {
            ended.extend(lane.end());
        }
    }

    /// Ends an open event, after the ended events.
    fn end(&mut self) -> Option<Frame> {
        self.due = None;
        self.ended.pop_front().or_else(|| self.lanes.iter_mut().find_map(Lane::end))
    }
}

impl Lane {
    /// Ends the open event.
    fn end(&mut self) -> Option<Frame> {
        let open = std::mem::take(&mut self.open);
        (open.lines > 0).then(|| Frame { message: self.text.split().freeze(), is_cut: false })
    }
}

#[cfg(test)]
mod tests {
    use pipeline::units::ByteSize;
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::Multiline;
    use super::super::oracle::{self, BYTES_MAX, LINE_MAX};
    use super::*;

    /// Returns the events of a stream that arrives in pieces of `at_a_time` bytes, and the number
    /// of divided events.
    fn events(stream: &str, at_a_time: usize, most: usize) -> (Vec<String>, u64) {
        let mut joined = EventStream::lines(LINE_MAX, Some(oracle::joining()));
        let (mut all, mut divided) = (Vec::new(), 0);
        for bytes in stream.as_bytes().chunks(at_a_time) {
            joined.buffer().extend_from_slice(bytes);
            all.extend(std::iter::from_fn(|| joined.next(most).unwrap()));
            divided += joined.take_divided();
            let held = joined.lines.as_ref().map_or(0, |lines| lines.lanes[0].text.len());
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
            // Lines within an event end with a line feed.
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

    #[tokio::test(start_paused = true)]
    async fn a_whole_line_of_a_container_is_an_event_immediately_and_streams_never_mix() {
        let joining = |settings: serde_json::Value| {
            let multiline: Multiline = pipeline::Settings::from_json(&settings).read().unwrap();
            Arc::new(multiline.joining(ByteSize::mib(1)).unwrap())
        };
        let read = |joining: Arc<Joining>| {
            let mut joined = EventStream::lines(99, Some(joining));
            let log = b"t stdout P a\nt stderr F x\nt stdout F b\nt stderr F +y\nt stdout F c\n";
            joined.buffer().extend_from_slice(log);
            let mut events: Vec<Frame> =
                std::iter::from_fn(|| joined.next(99).expect("a framing of lines")).collect();
            let whole = events.len();
            let is_due = joined.due().is_some();
            events.extend(std::iter::from_fn(|| joined.end()));
            let text = |frame: &Frame| String::from_utf8(frame.message.to_vec()).unwrap();
            (events.iter().map(text).collect::<Vec<_>>(), whole, is_due)
        };
        let whole = "t stdout P a\nt stdout F b";
        let parts = ["t stderr F x", whole, "t stderr F +y", "t stdout F c"];
        let parts = parts.map(str::to_owned).to_vec();
        assert_eq!(read(joining(json!({ "container": true }))), (parts, 4, false));
        let trace = [whole, "t stdout F c", "t stderr F x\nt stderr F +y"];
        let trace = trace.map(str::to_owned).to_vec();
        assert_eq!(read(joining(json!({ "continue": "F \\+" }))), (trace, 1, true));
    }
}
