//! Messages become events of a batch.

use std::fmt::Write as _;

use components::avro::events::{Event, Events};
use pipeline::{Batch, BatchBuilder};
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers};

use super::config::Options;

/// A batch that is being gathered.
#[derive(Default)]
pub(super) struct Gather {
    builder: BatchBuilder,
    /// Texts of one event, written over by the next.
    partition: String,
    offset: String,
    timestamp: String,
    key: String,
    values: Vec<String>,
}

impl Gather {
    pub(super) fn len(&self) -> usize {
        self.builder.len()
    }

    pub(super) fn body_bytes(&self) -> usize {
        self.builder.body_bytes()
    }

    pub(super) fn finish(&mut self) -> Batch {
        std::mem::take(&mut self.builder).finish()
    }

    /// Adds a message; says `false` if it is no event of Flume and should be one: then its bytes
    /// are the body.
    pub(super) fn push(&mut self, message: &BorrowedMessage<'_>, options: &Options) -> bool {
        let payload = message.payload().unwrap_or_default();
        write_over(&mut self.partition, message.partition());
        write_over(&mut self.offset, message.offset());
        let timestamp = message.timestamp().to_millis();
        write_over(&mut self.timestamp, timestamp.unwrap_or_default());
        let mut headers: Vec<(&str, &str)> = Vec::with_capacity(8);
        if timestamp.is_some() {
            headers.push(("timestamp", &self.timestamp));
        }
        if let Some(name) = &options.topic_header {
            headers.push((name, message.topic()));
        }
        headers.push(("partition", &self.partition));
        headers.push(("offset", &self.offset));
        if let Some(key) = message.key() {
            shown(&mut self.key, key);
            headers.push(("key", &self.key));
        }
        self.values.resize(options.headers.len(), String::new());
        let mut found: Vec<&str> = Vec::new();
        if let Some(given) = message.headers().filter(|_| !options.headers.is_empty()) {
            for ((wanted, event), text) in options.headers.iter().zip(&mut self.values) {
                let values = given.iter().filter(|header| header.key == wanted);
                let Some(value) = values.filter_map(|header| header.value).last() else { continue };
                shown(text, value);
                found.push(event);
            }
        }
        for ((_, event), text) in options.headers.iter().zip(&self.values) {
            if found.contains(&&**event) {
                headers.push((event, text));
            }
        }
        if !options.is_flume_event {
            self.builder.push(payload, &headers);
            return true;
        }
        let builder = &mut self.builder;
        let events = Events { bytes: payload, is_batch: false };
        let parsed = whole(events).map(|(own, body)| {
            // Its own headers have the last word.
            headers.extend(own);
            builder.push(body, &headers);
        });
        if parsed.is_none() {
            self.builder.push(payload, &headers);
        }
        parsed.is_some()
    }
}

/// Headers and body of the one event; `None` if the bytes are not exactly that.
fn whole<'a>(events: Events<'a>) -> Option<(Vec<(&'a str, &'a str)>, &'a [u8])> {
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

/// Bytes as text; what is no UTF-8 as `\xff`.
fn shown(text: &mut String, bytes: &[u8]) {
    text.clear();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
}
