//! The waiting events, one after the other.
//!
//! Each log is read from front to back, so that one offset describes its progress. The log whose
//! next event is the oldest in the queue comes first. Events of one log are therefore in the order
//! in which they were written; those in several logs are nearly in the order of the queue.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::ops::Bound;

use crate::channel::FlumeChannel;
use crate::log::{Damage, Window};
use crate::record::{Event, Kind, Pointer, Step};
use crate::replay::Place;

/// Number of logs whose current window stays in memory.
const WINDOWS_MAX: usize = 16;

/// The result of reading a waiting event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The event.
    Event(Event),
    /// Flume's integrity tool has removed it.
    Removed,
    /// It cannot be read.
    Damaged(Damage),
}

/// The waiting events of a channel.
pub struct Events<'a> {
    channel: &'a FlumeChannel,
    /// The next event of each log, by its place in the queue.
    heads: BinaryHeap<Reverse<(Place, Pointer)>>,
    windows: BTreeMap<u32, Window>,
}

impl<'a> Events<'a> {
    pub(crate) fn new(channel: &'a FlumeChannel) -> Self {
        let mut events = Self { channel, heads: BinaryHeap::new(), windows: BTreeMap::new() };
        let firsts = channel.logs.keys().filter_map(|id| Pointer::of_log(*id));
        firsts.for_each(|first| events.push(Bound::Included(first), first.file()));
        events
    }

    /// Makes the first event of `log` from `from` on its next.
    fn push(&mut self, from: Bound<Pointer>, log: u32) {
        let next = self.channel.waiting.range((from, Bound::Unbounded)).next();
        if let Some((at, place)) = next.filter(|(at, _)| at.file() == log) {
            self.heads.push(Reverse((*place, *at)));
        }
    }

    /// The next event with its place.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn read_next(&mut self) -> io::Result<Option<(Pointer, Next)>> {
        let Some(Reverse((_, at))) = self.heads.pop() else { return Ok(None) };
        let id = at.file();
        self.push(Bound::Excluded(at), id);
        if self.windows.len() > WINDOWS_MAX {
            self.windows.clear();
        }
        let log = self.channel.logs.get(&id).expect("every waiting event is of a log that is open");
        let window = self.windows.entry(id).or_default();
        let damaged = |problem| {
            let (path, offset) = (log.path.clone(), at.offset());
            Next::Damaged(Damage { path, offset, problem, torn: false })
        };
        Ok(Some((
            at,
            match log.step(window, at.offset())? {
                Step::Record(record, _) => match record.kind {
                    Kind::Put(event) => Next::Event(event),
                    _ => damaged("the position does not contain an event"),
                },
                Step::Removed(_) => Next::Removed,
                Step::Damaged { problem, .. } => damaged(problem),
                Step::End | Step::More(_) => damaged("the log ends before this position"),
            },
        )))
    }
}
