//! Parses server-sent events, by the rules of the WHATWG. Pure.
//!
//! Lines end with CR, LF or both. An event is complete only after its empty line, so that a partial
//! event is dropped when a connection breaks. Comments are ignored. Unlike in the rules, events are
//! truncated at their limit, and invalid UTF-8 in data is kept.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr2;

/// Bytes of a line outside of its data: the field name.
const FIELD_BYTES: usize = 16;

/// Maximum length of an event type.
const TYPE_BYTES_MAX: usize = 256;

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its data lines, joined by LF.
    pub(crate) data: Bytes,
    /// Its type, if it has one.
    pub(crate) kind: Option<String>,
    /// Whether its data was truncated.
    pub(crate) is_cut: bool,
}

/// The state of the parser.
#[derive(Debug, Default)]
pub(crate) struct Sse {
    /// Maximum size of an event's data.
    data_max: usize,
    /// Leading bytes of the buffer without a line end.
    searched: usize,
    /// Whether the last line ended with CR, so that an LF belongs to it.
    after_cr: bool,
    /// Whether the rest of a long line is being skipped.
    passes_over: bool,
    /// Whether reading has started, after which a byte order mark is not allowed.
    is_begun: bool,
    data: Vec<u8>,
    has_data: bool,
    is_cut: bool,
    kind: Option<String>,
    /// The id of this event and of later ones, if the event completes.
    id: Option<String>,
    /// The id after the last complete event.
    last_id: Option<String>,
    retry: Option<Duration>,
}

impl Sse {
    /// Starts a stream whose events have at most `data_max` bytes.
    pub(crate) fn new(data_max: usize) -> Self {
        Self { data_max, ..Self::default() }
    }

    /// Consumes bytes of `stream` up to the end of the next event; `None` if it is incomplete.
    /// Leaves at most a partial line.
    pub(crate) fn next(&mut self, stream: &mut BytesMut) -> Option<Event> {
        loop {
            if self.after_cr && !stream.is_empty() {
                self.after_cr = false;
                if stream[0] == b'\n' {
                    self.advance(stream, 1);
                }
            }
            let end = memchr2(b'\r', b'\n', &stream[self.searched..]).map(|at| self.searched + at);
            let Some(end) = end else {
                self.without_end(stream);
                return None;
            };
            self.after_cr = stream[end] == b'\r';
            let line = stream.split_to(end).freeze();
            self.advance(stream, 1);
            if std::mem::take(&mut self.passes_over) {
                continue;
            }
            if let Some(event) = self.line(&line, line.len() > self.data_max + FIELD_BYTES) {
                return Some(event);
            }
        }
    }

    /// Returns the id after the last complete event or line, where a server can continue.
    pub(crate) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// Returns the reconnection delay requested by the server, once.
    pub(crate) fn take_retry(&mut self) -> Option<Duration> {
        self.retry.take()
    }

    /// Returns whether an event is incomplete.
    pub(crate) fn is_within_event(&self, stream: &BytesMut) -> bool {
        self.has_data || !stream.is_empty()
    }

    fn advance(&mut self, stream: &mut BytesMut, bytes: usize) {
        stream.advance(bytes);
        self.searched = 0;
    }

    /// Handles a buffer without a line end: does not wait for the end of a long line.
    fn without_end(&mut self, stream: &mut BytesMut) {
        self.searched = stream.len();
        if self.passes_over {
            self.advance(stream, stream.len());
        } else if stream.len() > self.data_max + FIELD_BYTES {
            let line = stream.split().freeze();
            self.searched = 0;
            self.passes_over = true;
            self.line(&line, true);
        }
    }

    fn line(&mut self, line: &[u8], is_cut: bool) -> Option<Event> {
        let first = !std::mem::replace(&mut self.is_begun, true);
        let mark = "\u{feff}".as_bytes();
        let line = if first { line.strip_prefix(mark).unwrap_or(line) } else { line };
        if line.is_empty() {
            return self.dispatch();
        }
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"data" => self.add_data(value),
            // A truncated id or type would be a different one.
            b"event" if !is_cut && value.len() <= TYPE_BYTES_MAX => {
                self.kind = std::str::from_utf8(value).ok().map(str::to_owned);
            }
            b"id" if !is_cut && !value.contains(&0) => {
                if let Ok(id) = std::str::from_utf8(value) {
                    self.id = Some(id.to_owned());
                }
            }
            b"retry" if !is_cut && !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let millis = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                self.retry = millis.map(Duration::from_millis);
            }
            _ => {}
        }
        None
    }

    fn add_data(&mut self, value: &[u8]) {
        if std::mem::replace(&mut self.has_data, true) && self.data.len() < self.data_max {
            self.data.push(b'\n');
        }
        let room = self.data_max - self.data.len();
        self.is_cut |= value.len() > room;
        self.data.extend_from_slice(&value[..value.len().min(room)]);
    }

    fn dispatch(&mut self) -> Option<Event> {
        if self.id.is_some() {
            self.last_id = self.id.take();
        }
        let kind = self.kind.take().filter(|kind| !kind.is_empty());
        let is_cut = std::mem::take(&mut self.is_cut);
        let has_data = std::mem::take(&mut self.has_data);
        let data = std::mem::take(&mut self.data).into();
        has_data.then_some(Event { data, kind, is_cut })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Parses a stream in chunks of `piece` bytes. Returns data, type, and the id after each event.
    fn read(stream: &[u8], piece: usize, data_max: usize) -> Vec<(String, String, String)> {
        let (mut sse, mut buffer, mut seen) = (Sse::new(data_max), BytesMut::new(), Vec::new());
        for bytes in stream.chunks(piece) {
            buffer.extend_from_slice(bytes);
            while let Some(event) = sse.next(&mut buffer) {
                let mut data = String::from_utf8_lossy(&event.data).into_owned();
                data.push_str(if event.is_cut { "…" } else { "" });
                let id = sse.last_id().unwrap_or("-").to_owned();
                seen.push((data, event.kind.unwrap_or_default(), id));
            }
            assert!(buffer.len() <= data_max + FIELD_BYTES + piece, "more than a line is left");
        }
        seen
    }

    fn plain(stream: &str) -> Vec<String> {
        let read = read(stream.as_bytes(), 3, 1000);
        read.into_iter().map(|(data, kind, id)| format!("{data}|{kind}|{id}")).collect()
    }

    #[test]
    fn the_examples_of_the_rules_are_read_as_they_say() {
        assert_eq!(plain("data: YHOO\ndata: +2\ndata: 10\n\n"), ["YHOO\n+2\n10||-"]);
        let stream = ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\n\
                      data:  third event\n\n";
        let expected = ["first event||1", "second event||", " third event||"];
        assert_eq!(plain(stream), expected);
        // The last block is incomplete and therefore dropped.
        assert_eq!(plain("data\n\ndata\ndata\n\ndata:"), ["||-", "\n||-"]);
        assert_eq!(plain("data:test\n\ndata: test\n\n"), ["test||-", "test||-"]);
        assert_eq!(plain("event: add\ndata: 7\n\ndata: 8\n\n"), ["7|add|-", "8||-"]);
        assert_eq!(plain("\u{feff}data: x\r\rdata: y\r\n\r\ndata: z\n\n").len(), 3);
        assert_eq!(plain("event: e\nid: 4\n\ndata: x\n\n"), ["x||4"]);
        assert_eq!(plain("id: 1\ndata: x\n\nid: a\0b\ndata: y\n\n"), ["x||1", "y||1"]);
    }

    #[test]
    fn an_id_counts_when_its_event_is_whole() {
        let (mut sse, mut buffer) =
            (Sse::new(100), BytesMut::from("id: 1\ndata: a\n\nid: 2\ndata"));
        assert!(sse.next(&mut buffer).is_some() && sse.next(&mut buffer).is_none());
        assert_eq!(sse.last_id(), Some("1"));
        assert!(sse.is_within_event(&buffer));
        buffer.extend_from_slice(b": b\n");
        assert!(sse.next(&mut buffer).is_none() && sse.is_within_event(&buffer));
        buffer.extend_from_slice(b"\n");
        assert!(sse.next(&mut buffer).is_some());
        assert_eq!(sse.last_id(), Some("2"));
        assert!(!sse.is_within_event(&buffer));
    }

    #[test]
    fn the_pause_that_a_server_asks_for_is_kept_once() {
        let (mut sse, mut buffer) = (Sse::new(100), BytesMut::from("retry: 1500\nretry: soon\n"));
        assert!(sse.next(&mut buffer).is_none());
        assert_eq!(sse.take_retry(), Some(Duration::from_millis(1500)));
        assert_eq!(sse.take_retry(), None);
    }

    #[test]
    fn cuts_long_events_and_reads_the_next_one() {
        let long = "x".repeat(100);
        let stream = format!("data: {long}\n\nid: {long}\ndata: 12345\ndata: 6789\n\ndata: y\n\n");
        for piece in [1, 7, 500] {
            let expected = [("xxxxxxxx…", ""), ("12345\n67…", ""), ("y", "")];
            let read = read(stream.as_bytes(), piece, 8);
            let shown: Vec<_> = read.iter().map(|it| (it.0.as_str(), it.1.as_str())).collect();
            assert_eq!(shown, expected, "{piece}");
        }
    }

    fn block() -> impl Strategy<Value = String> {
        let line = prop::sample::select(&[
            "data: a", "data:b", "data", "id: 1", "id", "event: e", ": hm", "retry: 5", "", "", "x",
        ]);
        let end = prop::sample::select(&["\n", "\r\n", "\r"]);
        let lines = prop::collection::vec((line, end), 0..30);
        lines.prop_map(|lines| lines.iter().map(|(line, end)| format!("{line}{end}")).collect())
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_give_the_events_of_the_whole_stream(
            stream in block(),
            piece in 1_usize..40,
            data_max in 1_usize..8,
        ) {
            let bytes = stream.as_bytes();
            let whole = read(bytes, bytes.len().max(1), data_max);
            prop_assert_eq!(read(bytes, piece, data_max), whole);
        }

        #[test]
        fn any_bytes_are_read_alike_in_pieces_of_any_size(
            stream in prop::collection::vec(any::<u8>(), 0..200),
            piece in 1_usize..40,
        ) {
            prop_assert_eq!(read(&stream, piece, 1000), read(&stream, stream.len().max(1), 1000));
        }
    }
}
