//! Turns messages into events of a batch.

use std::fmt::Write as _;

use formats::avro::events::{Event, Events};
use pipeline::{Batch, BatchBuilder};
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers};
use support::text::push_bytes;

use super::config::Options;

/// A batch in progress.
#[derive(Default)]
pub(super) struct Gather {
    builder: BatchBuilder,
    /// Size of bodies, keys and headers so far.
    bytes: usize,
    /// Buffers for the texts of an event.
    partition: String,
    offset: String,
    timestamp: String,
    key: String,
    values: Vec<Option<String>>,
    /// Buffer for names and values of an event; empty between events.
    headers: Texts<'static>,
}

impl Gather {
    pub(super) fn len(&self) -> usize {
        self.builder.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn finish(&mut self) -> Batch {
        self.bytes = 0;
        std::mem::take(&mut self.builder).finish()
    }

    /// Adds a message. Returns `false` if it should be a Flume event but is not; its bytes then
    /// become the body.
    pub(super) fn push(&mut self, message: &BorrowedMessage<'_>, options: &Options) -> bool {
        let payload = message.payload().unwrap_or_default();
        write_over(&mut self.partition, message.partition());
        write_over(&mut self.offset, message.offset());
        let timestamp = message.timestamp().to_millis();
        write_over(&mut self.timestamp, timestamp.unwrap_or_default());
        if let Some(key) = message.key() {
            bytes_over(&mut self.key, key);
        }
        self.mapped(message, options);
        let mut headers = reuse(std::mem::take(&mut self.headers));
        if timestamp.is_some() {
            headers.push(("timestamp", &*self.timestamp));
        }
        if let Some(name) = &options.topic_header {
            headers.push((name, message.topic()));
        }
        headers.push(("partition", &self.partition));
        headers.push(("offset", &self.offset));
        if message.key().is_some() {
            headers.push(("key", &self.key));
        }
        for ((_, event), value) in options.headers.iter().zip(&self.values) {
            headers.extend(value.as_deref().map(|value| (&**event, value)));
        }
        let mut is_event = true;
        if options.is_flume_event {
            let parsed = whole(Events { bytes: payload, is_batch: false });
            is_event = parsed.is_some();
            if let Some((own, body)) = parsed {
                // Headers of the Flume event override others.
                headers.extend(own);
                self.builder.push(body, &headers);
            }
        }
        if !(options.is_flume_event && is_event) {
            self.builder.push(payload, &headers);
        }
        // The payload of a Flume event includes its headers.
        let values = headers.iter().map(|(_, value)| value.len()).sum::<usize>();
        self.bytes += payload.len() + values;
        self.headers = reuse(headers);
        is_event
    }

    /// Collects the values of the selected message headers, in the order of the settings. Uses the
    /// last one of duplicates.
    fn mapped(&mut self, message: &BorrowedMessage<'_>, options: &Options) {
        if options.headers.is_empty() {
            return;
        }
        self.values.resize(options.headers.len(), None);
        let given = message.headers();
        for ((wanted, _), text) in options.headers.iter().zip(&mut self.values) {
            let of_name = given.into_iter().flat_map(Headers::iter).filter(|one| one.key == wanted);
            match of_name.filter_map(|header| header.value).last() {
                Some(value) => bytes_over(text.get_or_insert_default(), value),
                None => *text = None,
            }
        }
    }
}

/// Reuses the allocation for another lifetime.
fn reuse<'a>(mut headers: Texts<'_>) -> Texts<'a> {
    headers.clear();
    headers.into_iter().map(|_| ("", "")).collect()
}

/// Names and values.
type Texts<'a> = Vec<(&'a str, &'a str)>;

/// Returns headers and body of the event; `None` unless the bytes contain exactly one.
fn whole<'a>(events: Events<'a>) -> Option<(Texts<'a>, &'a [u8])> {
    let mut found = None;
    let read = events.each(|Event { headers, body, .. }| {
        found = Some((headers.to_vec(), body));
        true
    });
    read.ok().and(found)
}

fn write_over(text: &mut String, number: impl std::fmt::Display) {
    text.clear();
    // Writing to a string does not fail.
    let _ = write!(text, "{number}");
}

fn bytes_over(text: &mut String, bytes: &[u8]) {
    text.clear();
    push_bytes(text, bytes);
}
