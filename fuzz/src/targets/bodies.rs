//! Whole messages, as decoders read them: the body of a request, a file of a spool directory.

use std::path::Path;

use components::EDGE;
use pipeline::{BatchBuilder, BuildContext, Decoder, Message, Settings};
use serde_json::{Value, json};

use super::chosen;
use crate::rig::{ENV, Event, events};

/// A message of the form `json`, `lines` or `blob`, in some character set.
///
/// What `json` reads, written again as such a message, is read as the same.
pub(super) fn bodies(input: &[u8]) -> usize {
    let (choice, bytes) = chosen(input);
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

fn decoded(kind: &str, message: &Message<'_>) -> Option<Vec<Event>> {
    let cx = BuildContext::alone("in", Path::new("d"), ENV.clone());
    let entry = EDGE.find::<dyn Decoder>(kind).expect("it is a decoder of every program");
    let settings = Settings::from_json(&json!({}));
    let decoder = (entry.build)(&settings, &cx).expect("it needs no settings");
    let mut batch = BatchBuilder::default();
    decoder.decode(message, &mut batch).ok()?;
    Some(events(&batch.finish()))
}

/// As a client writes it; only texts can be written.
fn written((body, headers): &Event) -> Option<Value> {
    let headers: serde_json::Map<_, _> =
        headers.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let body = std::str::from_utf8(body).ok()?;
    Some(json!({ "headers": headers, "body": body }))
}
