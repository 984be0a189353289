//! Joins lines of a file into events, and finds the places at which the file may be divided.
//!
//! Lines of one event are adjacent, except in the log of a container: there, lines of stdout and
//! stderr alternate, and each stream has its own open event. A file's position is a single offset,
//! so the file is divided only at a border: an offset that no event spans.
//!
//! ```text
//!   stdout  a1 ── a2        b1 ── b2   c1
//!   stderr        x1 ── x2
//!          │                │          │
//!        border           border     border, once a line shows that b has ended
//! ```
//!
//! If the data between two borders exceeds a batch, all open events end. Pure.

use std::borrow::Cow;
use std::collections::BTreeSet;

use formats::container_log;
use jiff::Timestamp;

use super::{Joining, LANES, Next, Open};

/// Lines of a file from a border on.
pub struct Scan<'a> {
    joining: &'a Joining,
    data: &'a [u8],
    /// Maximum size of an event.
    most: usize,
    lanes: [Lane; LANES],
    lines: Vec<Line>,
    /// Offsets that no event spans so far, in order.
    borders: Vec<Border>,
    /// Number of events so far.
    events: usize,
    /// Offset after the last line.
    at: usize,
    /// True if the next line, which was not added, has no room in its event.
    divides: bool,
}

/// The open event of one stream.
#[derive(Debug, Default, Clone, Copy)]
struct Lane {
    open: Open,
    /// Its number, and the offset of its beginning.
    event: usize,
    first: usize,
    /// The last line of the stream.
    last: Option<Line>,
}

/// A line.
#[derive(Debug, Clone, Copy)]
struct Line {
    /// Number of its event.
    event: usize,
    start: usize,
    /// Length without and with its line end.
    len: usize,
    bytes: usize,
    /// True if the event before it had no room for it.
    divides: bool,
}

/// An offset between two lines.
#[derive(Debug, Clone, Copy)]
struct Border {
    at: usize,
    /// Number of lines and events before it.
    lines: usize,
    events: usize,
}

/// Events up to a border.
pub struct Events<'a> {
    data: &'a [u8],
    /// Lines, ordered by event.
    lines: Vec<Line>,
    /// Bytes of the file.
    pub bytes: usize,
    /// Events that had no room for their next line.
    pub divided: u64,
    /// Whether lines of several events alternate.
    pub is_mixed: bool,
}

/// One event.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    data: &'a [u8],
    lines: &'a [Line],
}

impl<'a> Scan<'a> {
    /// Of `data`, which begins at a border. An event has at most `most` bytes.
    pub fn new(joining: &'a Joining, data: &'a [u8], most: usize) -> Self {
        Self {
            joining,
            data,
            most,
            lanes: [Lane::default(); LANES],
            lines: Vec::new(),
            borders: Vec::new(),
            events: 0,
            at: 0,
            divides: false,
        }
    }

    /// Byte after the last line.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Adds the next line, of `len` bytes, and of `bytes` bytes with its end.
    pub fn push(&mut self, len: usize, bytes: usize) {
        let data = self.data;
        let line = self.joining.line(&data[self.at..self.at + len]);
        let lane = &mut self.lanes[line.lane];
        let next = self.joining.next(lane.open, line, self.most);
        if next == Next::Same && lane.open.lines > 0 {
            // The event spans the borders after its beginning.
            while self.borders.pop_if(|border| border.at > lane.first).is_some() {}
        } else {
            if self.at > 0 {
                let (at, lines, events) = (self.at, self.lines.len(), self.events);
                self.borders.push(Border { at, lines, events });
            }
            (lane.open, lane.event, lane.first) = (Open::default(), self.events, self.at);
            self.events += 1;
        }
        self.joining.add(&mut lane.open, line, bytes);
        if self.joining.is_complete(lane.open) {
            lane.open = Open::default();
        }
        let (event, start, divides) = (lane.event, self.at, next == Next::Divided);
        let line = Line { event, start, len, bytes, divides };
        lane.last = Some(line);
        self.lines.push(line);
        self.at += bytes;
    }

    /// Whether there are more lines than fit a batch of these limits.
    pub fn is_over(&self, bytes: usize, events: usize) -> bool {
        // A single event is divided where it has no room.
        self.events > 1 && (self.at > bytes || self.events > events)
    }

    /// Ends all open events.
    pub fn end(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.open = Open::default());
    }

    /// Ends all open events before a line of `len` bytes.
    pub fn end_before(&mut self, len: usize) {
        let data = self.data;
        let line = self.joining.line(&data[self.at..self.at + len]);
        let open = self.lanes[line.lane].open;
        self.divides = self.joining.next(open, line, self.most) == Next::Divided;
        self.end();
    }

    /// Ends the open events of a container's stream that printed nothing for long, while the other
    /// one printed lines: by the times that the runtime wrote.
    pub fn end_quiet(&mut self) {
        let is_open = |lane: &&mut Lane| lane.open.lines > 0;
        if self.lanes.iter().filter(|lane| lane.last.is_some()).count() < 2 {
            return;
        }
        let time = |line: Line| -> Option<Timestamp> {
            let text = self.data.get(line.start..line.start + line.len)?;
            container_log::parse(text)?.time.parse().ok()
        };
        let Some(latest) = self.lanes.iter().filter_map(|lane| time(lane.last?)).max() else {
            return;
        };
        for lane in self.lanes.iter_mut().filter(is_open) {
            let quiet = lane.last.and_then(time).map(|last| latest.duration_since(last));
            if quiet.is_some_and(|quiet| quiet.unsigned_abs() >= self.joining.timeout) {
                lane.open = Open::default();
            }
        }
    }

    /// The events that have ended, of at most `bytes` bytes of the file and `events` events, unless
    /// the first one alone has more; `None` if more lines have to show where they end.
    pub fn events(mut self, bytes: usize, events: usize) -> Option<Events<'a>> {
        let open = self.lanes.iter().filter(|lane| lane.open.lines > 0);
        let until = open.map(|lane| lane.first).min().unwrap_or(self.at);
        let end = Border { at: self.at, lines: self.lines.len(), events: self.events };
        let borders = self.borders.iter().chain([&end]);
        let mut borders = borders.filter(|border| border.at > 0 && border.at <= until).copied();
        let first = borders.next();
        let fits = |border: &Border| border.at <= bytes && border.events <= events;
        let last = borders.take_while(fits).last();
        let fitting = last.or(first.filter(|border| border.events == 1 || fits(border)));
        let is_over = self.is_over(bytes, events);
        let (border, cut) = match fitting {
            Some(border) => (border, 0),
            None if is_over => self.forced(bytes, events),
            None => return None,
        };
        // The line after the border shows whether the event before it was divided.
        let divides = self.lines.iter().take(border.lines + 1).filter(|line| line.divides);
        let at_end = self.divides && border.lines == self.lines.len();
        let divided = divides.count() as u64 + u64::from(at_end) + cut;
        self.lines.truncate(border.lines);
        let is_mixed = !self.lines.is_sorted_by_key(|line| line.event);
        if is_mixed {
            self.lines.sort_by_key(|line| line.event);
        }
        Some(Events { data: self.data, lines: self.lines, bytes: border.at, divided, is_mixed })
    }

    /// Returns the border after as many lines as fit, at least one, and the number of events that
    /// span it.
    fn forced(&self, bytes: usize, events: usize) -> (Border, u64) {
        let ends = |line: &Line| line.start + line.bytes;
        let fits = |line: &&Line| ends(line) <= bytes && line.event < events;
        let lines = self.lines.iter().take_while(fits).count().max(1).min(self.lines.len());
        let (before, after) = self.lines.split_at(lines);
        let begun = before.iter().map(|line| line.event + 1).max().unwrap_or(0);
        let spanning: BTreeSet<usize> =
            after.iter().map(|line| line.event).filter(|event| *event < begun).collect();
        let at = before.last().map_or(0, ends);
        (Border { at, lines, events: begun }, spanning.len() as u64)
    }
}

impl<'a> Events<'a> {
    /// Each event, in the order in which they begin.
    pub fn iter(&self) -> impl Iterator<Item = Event<'_>> {
        let events = self.lines.chunk_by(|one, next| one.event == next.event);
        events.map(|lines| Event { data: self.data, lines })
    }
}

impl<'a> Event<'a> {
    /// The byte at which it begins.
    pub fn start(&self) -> usize {
        self.lines.first().map_or(0, |line| line.start)
    }

    /// Its text without the last line end.
    pub fn text(&self) -> Cow<'a, [u8]> {
        let Some((last, before)) = self.lines.split_last() else { return Cow::default() };
        let is_whole = self.lines.is_sorted_by(|one, next| one.start + one.bytes == next.start);
        if is_whole {
            return Cow::Borrowed(&self.data[self.start()..last.start + last.len]);
        }
        let mut text = Vec::new();
        for line in before {
            text.extend_from_slice(&self.data[line.start..line.start + line.bytes]);
        }
        text.extend_from_slice(&self.data[last.start..last.start + last.len]);
        Cow::Owned(text)
    }

    /// The line with its end, where the event is a single line.
    pub fn single(&self) -> Option<&'a [u8]> {
        let [line] = self.lines else { return None };
        Some(&self.data[line.start..line.start + line.bytes])
    }
}

#[cfg(test)]
mod tests;
