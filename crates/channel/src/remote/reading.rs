//! Reads batches from the log for takes that the tail in memory cannot serve.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use pipeline::{Batch, IntervalSet, Ticket};
use tracing::error;

use super::core::Core;
use super::frames;
use super::log::{LogError, Place, READ_BYTES};
use super::state::{Ahead, Line};

impl Core {
    /// Reads a ticket that `consumer` holds; `None` if the log does not have it any more. Blocks.
    ///
    /// # Errors
    /// The log could not be read.
    pub(super) fn fetch(
        &self,
        consumer: &Arc<str>,
        ticket: Ticket,
    ) -> Result<Option<Batch>, LogError> {
        let _turn = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let from = {
            let mut state = self.state();
            if let Some(batch) = state.find(consumer, ticket) {
                return Ok(Some(batch));
            }
            state.section_of(ticket).map(|section| {
                let ahead = state.ahead.get(consumer);
                let next = ahead.filter(|ahead| (section.first..=ticket).contains(&ahead.ticket));
                next.map_or(section.id, |ahead| ahead.place)
            })
        };
        let ahead = from.map(|from| self.read_to(from, ticket)).transpose()?;
        let mut state = self.state();
        state.ahead.insert(consumer.clone(), ahead.unwrap_or_default());
        let found = state.find(consumer, ticket);
        if found.is_none() {
            // It is not looked for again.
            state.in_flight.strike(&IntervalSet::from(ticket..ticket + 1));
            drop(state);
            error!(channel = %self.name, place = self.log.name(), ticket,
                "a stored batch is missing from the Kafka topic of the channel, so its events are \
                 lost; check the retention and replication of the topic");
            self.incident("lost_batch", 1);
        }
        Ok(found)
    }

    /// Reads from a place on until `wanted` is read; skips batches before it.
    fn read_to(&self, from: Place, wanted: Ticket) -> Result<Ahead, LogError> {
        let mut ahead = Ahead { place: from, ..Ahead::default() };
        loop {
            let read = self.log.read(ahead.place, READ_BYTES)?;
            if read.is_empty() {
                return Ok(ahead);
            }
            for stored in read {
                ahead.place = stored.place + 1;
                let Some(put) = frames::read_put(self.origin, &stored.frame) else {
                    error!(channel = %self.name, place = self.log.name(), at = stored.place,
                        "a record in the Kafka topic of the channel is damaged, so its events are \
                         lost; check what else writes to the topic");
                    continue;
                };
                let mut ticket = put.ticket;
                for (identity, events, batch) in put.batches() {
                    let batch = batch.map_err(|error| {
                        LogError::Failed(std::io::Error::new(
                            std::io::ErrorKind::InvalidData,
                            error,
                        ))
                    })?;
                    if ticket >= wanted {
                        let line = Line { identity, events, at_ms: put.record.at_ms };
                        ahead.batches.insert(ticket, (line, batch));
                    }
                    ticket += 1;
                }
                ahead.ticket = ticket;
            }
            if ahead.ticket > wanted {
                return Ok(ahead);
            }
        }
    }

    /// Returns the lines of these tickets; reads them from the log if they are not in memory.
    /// Blocks.
    ///
    /// # Errors
    /// The log could not be read.
    pub(super) fn lines_of(
        &self,
        tickets: &IntervalSet,
    ) -> Result<BTreeMap<Ticket, Line>, LogError> {
        let mut lines = self.state().lines_of(tickets);
        for ticket in tickets.iter() {
            if lines.contains_key(&ticket) {
                continue;
            }
            let section = self.state().section_of(ticket).map(|section| section.id);
            let Some(begin) = section else { continue };
            let read = self.read_to(begin, ticket)?.batches;
            let wanted = read.into_iter().filter(|(found, _)| tickets.contains(*found));
            lines.extend(wanted.map(|(found, (line, _))| (found, line)));
        }
        Ok(lines)
    }
}
