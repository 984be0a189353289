//! Estimates the memory to decode a request, before decoding it. Pure.
//!
//! A record of two bytes needs some hundred bytes in memory: a request of 8 MiB with empty records,
//! which gzip compresses to 8 KiB, needs almost a gigabyte. So the messages within a request are
//! counted first, by skipping through its bytes, and memory is reserved by their number.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost_reflect::{Kind, MessageDescriptor};

use crate::events::Form;
use crate::proto::{
    ExportLogsServiceRequest, ExportMetricsServiceRequest, ExportTraceServiceRequest, Json,
};
use crate::signal::Signal;

/// Maximum nesting of messages; deeper requests are rejected.
const DEPTH_MAX: usize = 100;

/// Approximate memory of a decoded message: a record, an attribute, a value.
const MESSAGE_BYTES: u64 = 224;

/// Same for a JSON object, which is decoded as a tree of values and a dynamic message first.
const OBJECT_BYTES: u64 = 640;

/// Returns the approximate memory to decode this request, including its body. Invalid bytes count
/// as far as they are read.
pub(crate) fn weight((signal, form): (Signal, Form), body: &[u8]) -> u64 {
    let within = match form {
        Form::Json => OBJECT_BYTES * body.iter().filter(|byte| **byte == b'{').count() as u64,
        Form::Protobuf => {
            let schema = match signal {
                Signal::Logs => ExportLogsServiceRequest::descriptor(),
                Signal::Traces => ExportTraceServiceRequest::descriptor(),
                Signal::Metrics => ExportMetricsServiceRequest::descriptor(),
            };
            let mut messages = 0;
            let _malformed = count(body, &schema, 1, &mut messages);
            MESSAGE_BYTES * messages
        }
    };
    body.len() as u64 + within
}

/// Counts the messages within a message. `None` if the bytes become invalid.
fn count(
    mut bytes: &[u8],
    schema: &MessageDescriptor,
    depth: usize,
    messages: &mut u64,
) -> Option<()> {
    while !bytes.is_empty() {
        let (number, wire) = decode_key(&mut bytes).ok()?;
        if wire != WireType::LengthDelimited {
            skip_field(wire, number, &mut bytes, DecodeContext::default()).ok()?;
            continue;
        }
        let length = usize::try_from(decode_varint(&mut bytes).ok()?).ok()?;
        let held;
        (held, bytes) = bytes.split_at_checked(length)?;
        let kind = schema.get_field(number).map(|field| field.kind());
        if let Some(Kind::Message(schema)) = kind {
            *messages += 1;
            if depth < DEPTH_MAX {
                count(held, &schema, depth + 1, messages)?;
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::proto::{KeyValue, LogRecord, ResourceLogs, ScopeLogs, to_json};

    fn request(records: usize) -> ExportLogsServiceRequest {
        let record = LogRecord { attributes: vec![KeyValue::default()], ..LogRecord::default() };
        let scope_logs =
            vec![ScopeLogs { log_records: vec![record; records], ..ScopeLogs::default() }];
        ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }],
        }
    }

    #[test]
    fn each_message_within_a_request_has_its_weight_in_both_forms() {
        let request = request(1000);
        let body = request.encode_to_vec();
        // A resource, a scope, and records with an attribute each.
        let expected = body.len() as u64 + 2002 * MESSAGE_BYTES;
        assert_eq!(weight((Signal::Logs, Form::Protobuf), &body), expected);
        // Plus the request itself.
        let body = to_json(&request);
        let expected = body.len() as u64 + 2003 * OBJECT_BYTES;
        assert_eq!(weight((Signal::Logs, Form::Json), body.as_bytes()), expected);
    }

    #[test]
    fn an_invalid_request_weighs_its_bytes() {
        for bytes in [
            &b"\x0a\xff"[..],
            b"\x0a\x02\x12",
            b"\x07",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        ] {
            assert_eq!(weight((Signal::Metrics, Form::Protobuf), bytes), bytes.len() as u64);
        }
    }
}
