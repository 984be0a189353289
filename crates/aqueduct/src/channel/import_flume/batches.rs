//! Groups waiting events of a Flume channel into batches, with the offsets after each batch.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use flume_channel::events::Next;
use flume_channel::{Event, Events, FlumeChannel};
use pipeline::batch::BatchBuilder;
use pipeline::{Batch, SourcePosition};

use super::report::Report;

/// The source name for the offsets. Names in a configuration cannot contain a space.
pub(super) const SOURCE: &str = "channel import-flume";
/// A batch is full at either limit.
const EVENTS_MAX: usize = 1000;
const BYTES_MAX: usize = 512 << 10;
/// Maximum number of header names in a batch: each name becomes a column.
const NAMES_MAX: usize = 1000;

/// Returns the key of each log in the channel's positions. A copy of a log has the same key.
pub(super) fn keys(flume: &FlumeChannel) -> io::Result<BTreeMap<u32, Bytes>> {
    let key = |fingerprint: u128| Bytes::copy_from_slice(&fingerprint.to_be_bytes());
    flume.logs().map(|log| Ok((log.id, key(log.fingerprint()?)))).collect()
}

/// Iterates over the waiting events in batches.
pub(super) struct Batches<'a> {
    events: Events<'a>,
    keys: BTreeMap<u32, Bytes>,
    /// Read, but not yet in a batch.
    next: Option<(u32, u64, Event)>,
    events_max: usize,
}

impl<'a> Batches<'a> {
    pub(super) fn new(flume: &'a FlumeChannel, keys: BTreeMap<u32, Bytes>) -> Self {
        Self { events: flume.events(), keys, next: None, events_max: EVENTS_MAX }
    }

    /// Uses smaller batches.
    #[cfg(test)]
    pub(super) fn with_events_max(self, events_max: usize) -> Self {
        Self { events_max, ..self }
    }

    /// Returns the next batch. Records unreadable events in the report.
    ///
    /// # Errors
    /// Reading from the disk fails.
    pub(super) fn next(&mut self, report: &mut Report) -> io::Result<Option<Batch>> {
        let mut builder = BatchBuilder::default();
        let mut done = BTreeMap::<u32, u64>::new();
        let (mut names, mut bytes) = (BTreeSet::<String>::new(), 0);
        while let Some((log, offset, event)) = self.read(report)? {
            for (name, _) in &event.headers {
                if !names.contains(name) {
                    names.insert(name.clone());
                }
            }
            let texts = event.headers.iter().map(|(name, value)| name.len() + value.len());
            bytes += event.body.len() + texts.sum::<usize>();
            let is_over = bytes > BYTES_MAX || names.len() > NAMES_MAX;
            if builder.len() == self.events_max || is_over && !builder.is_empty() {
                self.next = Some((log, offset, event));
                break;
            }
            let headers: Vec<(&str, &str)> =
                event.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
            builder.push(&event.body, &headers);
            done.insert(log, offset + 1);
        }
        if builder.is_empty() {
            return Ok(None);
        }
        let mut batch = builder.finish();
        let position = |(log, offset): (&u32, &u64)| SourcePosition {
            source: Arc::from(SOURCE),
            key: self.keys[log].clone(),
            value: Some(Bytes::copy_from_slice(&offset.to_be_bytes())),
            after: None,
        };
        batch.envelope.positions = done.iter().map(position).collect();
        Ok(Some(batch))
    }

    /// Returns the next readable event.
    fn read(&mut self, report: &mut Report) -> io::Result<Option<(u32, u64, Event)>> {
        if let Some(next) = self.next.take() {
            return Ok(Some(next));
        }
        while let Some((at, next)) = self.events.read_next()? {
            match next {
                Next::Event(event) => return Ok(Some((at.file(), at.offset(), event))),
                Next::Removed => report.removed += 1,
                Next::Damaged(damage) => report.lost(damage),
            }
        }
        Ok(None)
    }
}
