//! Finds batches by name, and by the location of their lines.

use std::sync::Arc;

use pipeline::file_position::LineRange;
use pipeline::{ChannelError, Identity, IntervalSet, KeySet};

use super::Inspection;
use crate::durable::log::records::{PutRecord, StateRecord};
use crate::durable::log::segment::Kind;
use crate::durable::read::reader;
use crate::positions::Positions;

/// A batch whose segment still exists, delivered or not.
#[derive(Debug, Clone)]
pub struct Traced {
    /// Its name.
    pub identity: Option<Identity>,
    /// When it was stored, in milliseconds since 1970.
    pub at_ms: u64,
    /// Its events.
    pub events: u64,
    /// The locations of its lines, for a source that reads files.
    pub lines: Vec<TracedLines>,
    /// The consumers that have not committed it.
    pub waits_for: Vec<Arc<str>>,
}

/// Lines of a file, and the source that read them.
#[derive(Debug, Clone)]
pub struct TracedLines {
    /// The source.
    pub source: Arc<str>,
    /// The lines.
    pub stretch: LineRange,
}

impl Inspection {
    /// Passes every batch of every segment to `each`, oldest first, including batches without
    /// events, which carry positions of sources. A segment is removed some time after the last
    /// consumer has committed all of it.
    ///
    /// # Errors
    /// The disk could not be read.
    pub fn traced(&self, mut each: impl FnMut(Traced)) -> Result<(), ChannelError> {
        for record in self.segments() {
            let scanned = match self.scan(&record) {
                Ok(scanned) => scanned,
                Err(ChannelError::Disk { source, .. }) if self.is_gone(&source) => continue,
                Err(error) => return Err(error),
            };
            // A segment begins with the positions of the sources.
            let mut stood = Positions::default();
            for frame in &scanned.frames {
                match frame.header.kind {
                    Kind::State => {
                        if let Some(state) = StateRecord::decode(frame.envelope.clone()) {
                            stood = state.positions.into_owned();
                        }
                    }
                    Kind::Put => {
                        if let Some(put) = PutRecord::decode(frame.envelope.clone()) {
                            self.traced_put(&put, frame.header.ticket, &mut stood, &mut each);
                        }
                    }
                    Kind::Ack | Kind::Consumers | Kind::Forget => {}
                }
            }
        }
        Ok(())
    }

    fn traced_put(
        &self,
        put: &PutRecord,
        mut ticket: u64,
        stood: &mut Positions,
        each: &mut impl FnMut(Traced),
    ) {
        for item in &put.items {
            let lines = item.positions.iter().filter_map(|position| {
                let before = stood.at(position).map(|value| &value[..]);
                let stretch = LineRange::between(before, position.value.as_ref()?)?;
                Some(TracedLines { source: position.source.clone(), stretch })
            });
            let lines = lines.collect();
            stood.apply(&item.positions);
            let mut waits_for = Vec::new();
            if item.events > 0 {
                let acked = self.recovered.tickets.in_flight.acked();
                let waiting = acked.filter(|(_, acked)| !acked.contains(ticket));
                waits_for.extend(waiting.map(|(name, _)| name.clone()));
                ticket += 1;
            }
            let (identity, events) = (item.identity, u64::from(item.events));
            each(Traced { identity, at_ms: put.at_ms, events, lines, waits_for });
        }
    }

    /// Returns the `keys` that are stored under tickets other than `acked`.
    ///
    /// # Errors
    /// The disk could not be read.
    pub(crate) fn stored_outside(
        &self,
        acked: &IntervalSet,
        keys: &KeySet,
    ) -> Result<KeySet, ChannelError> {
        let mut waiting = KeySet::default();
        for record in self.segments() {
            let all = IntervalSet::from(record.first..record.first + record.tickets);
            let wanted = all.difference(acked);
            if !wanted.is_empty() {
                let index = reader::index_of(&self.scan(&record)?, &record);
                waiting.insert_all(&index.describe(&wanted).0.intersection(keys));
            }
        }
        Ok(waiting)
    }
}
