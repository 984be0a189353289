//! What is put at once: messages, and the releases of ids.

use std::collections::BTreeSet;

use peers::limits::{Cut, EVENT_OVERHEAD_BYTES};
use pipeline::{Batch, BatchBuilder};

use super::config::Headers;
use super::session::digest;
use crate::packets::{Publish, QoS};

/// Bytes of bodies from which on a round is full.
pub(super) const ROUND_BYTES: u64 = 1 << 20;

/// Messages that are put together, and what is answered then.
#[derive(Default)]
pub(super) struct Round {
    events: BatchBuilder,
    bytes: u64,
    /// Ids of messages of QoS 1, with their digests, in the order in which they came.
    pub(super) once: Vec<(u16, u32)>,
    /// Ids of messages of QoS 2, with their digests.
    pub(super) exact: Vec<(u16, u32)>,
    /// Ids that the broker has released.
    pub(super) released: BTreeSet<u16>,
}

impl Round {
    /// Whether there is nothing to put.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.released.is_empty()
    }

    /// Whether no further message belongs into it.
    pub(super) fn is_full(&self, batch_events: usize, batch_bytes: Option<u64>) -> bool {
        let cut = batch_bytes.map(Cut::within);
        let bytes = cut.as_ref().map_or(ROUND_BYTES, |cut| cut.body_bytes.min(ROUND_BYTES));
        let events = cut.as_ref().map_or(u64::MAX, |cut| cut.events);
        let (here, releases) = (self.events.len() as u64, self.released.len());
        here >= events.min(batch_events as u64) || self.bytes >= bytes || releases >= batch_events
    }

    /// Whether a message with so many bytes has to wait for the next round.
    pub(super) fn lacks_room(&self, message: &Publish, batch_bytes: Option<u64>) -> bool {
        let most = batch_bytes.map(|bytes| Cut::within(bytes).body_bytes);
        let here = !self.events.is_empty();
        here && most.is_some_and(|most| self.bytes + bytes_of(message) > most)
    }

    /// Adds a message.
    ///
    /// # Errors
    /// Its topic is no text.
    pub(super) fn push(&mut self, message: &Publish, to: &Headers) -> Result<(), String> {
        let topic = std::str::from_utf8(&message.topic);
        let topic = topic.map_err(|_| "a topic that is not UTF-8".to_owned())?;
        let mut headers = vec![(to.topic.as_str(), topic)];
        for pattern in &to.patterns {
            if pattern.headers(topic, &mut headers) {
                break;
            }
        }
        if let Some(properties) = &message.properties {
            for (name, value) in &properties.user_properties {
                if to.properties.iter().any(|wanted| wanted == name) {
                    headers.push((name, value));
                }
            }
            if let (Some(name), Some(value)) = (&to.content_type, &properties.content_type) {
                headers.push((name, value));
            }
        }
        if message.dup
            && let Some(name) = &to.repeat
        {
            headers.push((name, "true"));
        }
        // A header has one value: of two the first counts, and the topic is before all others.
        let mut names = BTreeSet::new();
        headers.retain(|(name, _)| names.insert(*name));
        self.events.push(&message.payload, &headers);
        self.bytes += bytes_of(message);
        match message.qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => self.once.push((message.pkid, digest(message))),
            QoS::ExactlyOnce => self.exact.push((message.pkid, digest(message))),
        }
        Ok(())
    }

    /// Its events; the ids stay.
    pub(super) fn batch(&mut self) -> Batch {
        std::mem::take(&mut self.events).finish()
    }
}

/// About what an event of the message takes in a batch.
fn bytes_of(message: &Publish) -> u64 {
    // The topic, its levels, and properties.
    let headers = 4 * message.topic.len() as u64;
    let properties = message.properties.as_ref().map_or(0, |it| {
        it.user_properties.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    });
    message.payload.len() as u64 + headers + properties as u64 + EVENT_OVERHEAD_BYTES
}
