//! Complete messages, as decoders read them: the body of a request, a file of a spool directory.

use std::path::Path;

use components::EDGE;
use pipeline::{BatchBuilder, BuildContext, Decoder, Message, PieceLimits, Settings};
use serde_json::{Value, json};

use super::chosen;
use crate::rig::{ENV, Event, events};

/// A message for `json`, `lines` or `blob`, in some character set; or a file for `avro`.
///
/// Events read by `json` survive a round trip.
pub(super) fn bodies(input: &[u8]) -> usize {
    let (choice, bytes) = chosen(input);
    if choice >= 128 {
        return file(bytes, choice % 64);
    }
    let kind = ["json", "json", "lines", "blob"][choice % 4];
    let charset = [None, Some("utf-8"), Some("utf-16"), Some("utf-32")][choice / 4 % 4];
    let Some(read) = decoded(kind, &Message { bytes, charset, headers: &[("site", "fra")] }) else {
        return 0;
    };
    if kind == "json" {
        let text = Value::Array(read.iter().filter_map(written).collect()).to_string();
        let message = Message { bytes: text.as_bytes(), charset: None, headers: &[] };
        let again = decoded("json", &message).expect("what was read can be sent");
        let texts = read.iter().filter(|event| written(event).is_some());
        assert!(again.iter().eq(texts), "it comes back as it was");
    }
    read.len()
}

/// Reads the events of a container file, in pieces. Reading that continues after some of them
/// returns the others, and a message with the same bytes has the same events.
fn file(bytes: &[u8], passed: usize) -> usize {
    let whole = pieces(bytes, 0, 3);
    if let Some(whole) = &whole {
        let rest = pieces(bytes, passed.min(whole.len()), 1000).expect("it was read before");
        assert!(rest.iter().eq(&whole[passed.min(whole.len())..]), "reading goes on where it was");
    }
    let message = Message { bytes, charset: None, headers: &[] };
    if let Some(message) = decoded("avro", &message) {
        assert_eq!(Some(message), whole, "a message is read as a file is");
    }
    whole.map_or(0, |events| events.len())
}

/// Returns all events after the first ones, if the file is complete.
fn pieces(mut file: &[u8], passed: usize, events_max: usize) -> Option<Vec<Event>> {
    let decoder = built("avro");
    let mut reading = decoder.begin_file().expect("it reads files");
    reading.skip_events(&mut file, passed as u64).ok()?;
    let limits = PieceLimits { bytes: 1 << 20, events: events_max };
    let mut all = Vec::new();
    loop {
        let mut piece = BatchBuilder::default();
        let is_more = reading.next(&mut file, limits, &[], &mut piece).ok()?;
        assert!(piece.len() <= events_max && (!is_more || !piece.is_empty()));
        all.extend(events(&piece.finish()));
        if !is_more {
            return Some(all);
        }
    }
}

fn built(kind: &str) -> Box<dyn Decoder> {
    let cx = BuildContext::alone("in", Path::new("d"), ENV.clone());
    let entry = EDGE.find::<dyn Decoder>(kind).expect("it is a decoder of every program");
    let settings = match kind {
        "avro" => json!({ "block_max": "16KiB" }),
        _ => json!({}),
    };
    (entry.build)(&Settings::from_json(&settings), &cx).expect("it needs no other settings")
}

fn decoded(kind: &str, message: &Message<'_>) -> Option<Vec<Event>> {
    let decoder = built(kind);
    let mut batch = BatchBuilder::default();
    decoder.decode(message, &mut batch).ok()?;
    Some(events(&batch.finish()))
}

/// Encodes an event like a client; only text can be encoded.
fn written((body, headers): &Event) -> Option<Value> {
    let headers: serde_json::Map<_, _> =
        headers.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let body = std::str::from_utf8(body).ok()?;
    Some(json!({ "headers": headers, "body": body }))
}
