//! Spans as a request of OTLP, in its JSON.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use pipeline::env::Entropy;
use pipeline::traces::{Attribute, Span};
use serde_json::{Value, json};

/// Kinds of spans, as OTLP numbers them.
const INTERNAL: u8 = 1;
const PRODUCER: u8 = 4;
const CONSUMER: u8 = 5;

/// Status of a failed span.
const ERROR: u8 = 2;

/// The common attributes of all spans of an agent.
pub(super) struct Resource {
    /// `service.name`.
    pub(super) service: String,
    /// `service.instance.id`.
    pub(super) instance: String,
}

/// The body of a request.
pub(super) fn request(resource: &Resource, spans: &[Span], entropy: &dyn Entropy) -> Bytes {
    let version = crate::version::VERSION;
    let spans: Vec<Value> = spans.iter().map(|it| span(it, entropy)).collect();
    let body = json!({ "resourceSpans": [{
        "resource": { "attributes": [
            text("service.name", &resource.service),
            text("service.instance.id", &resource.instance),
            text("service.version", version),
        ] },
        "scopeSpans": [{ "scope": { "name": "aqueduct", "version": version }, "spans": spans }],
    }] });
    body.to_string().into()
}

fn span(span: &Span, entropy: &dyn Entropy) -> Value {
    let root = span.trace.root();
    // Zero is no id.
    let id = if span.is_root { root } else { entropy.next_u64().max(1) };
    let kind = match span.name {
        "send" => PRODUCER,
        "put" if !span.is_root => CONSUMER,
        _ => INTERNAL,
    };
    let mut value = json!({
        "traceId": span.trace.to_string(),
        "spanId": format!("{id:016x}"),
        "name": span.name,
        "kind": kind,
        "startTimeUnixNano": nanos(span.began),
        "endTimeUnixNano": nanos(span.ended),
        "attributes": span.attributes.iter().map(attribute).collect::<Vec<_>>(),
    });
    if !span.is_root {
        value["parentSpanId"] = format!("{root:016x}").into();
    }
    if let Some(why) = &span.error {
        value["status"] = json!({ "code": ERROR, "message": why });
    }
    if let Some(whole) = span.part_of {
        let (trace, root) = (whole.to_string(), format!("{:016x}", whole.root()));
        value["links"] = json!([{ "traceId": trace, "spanId": root }]);
    }
    value
}

/// Numbers of 64 bits are texts in JSON.
fn nanos(at: SystemTime) -> String {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_nanos().to_string()
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn attribute((key, value): &(&'static str, Attribute)) -> Value {
    match value {
        Attribute::Text(value) => text(key, value),
        Attribute::Number(number) => {
            json!({ "key": key, "value": { "intValue": number.to_string() } })
        }
        Attribute::Texts(all) => {
            let all: Vec<Value> = all.iter().map(|it| json!({ "stringValue": it })).collect();
            json!({ "key": key, "value": { "arrayValue": { "values": all } } })
        }
    }
}
