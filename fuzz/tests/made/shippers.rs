//! Data of Fluent Bit and Fluentd, Beats, and OpenTelemetry programs.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use rmp::encode as write;
use serde_json::{Value, json};

use super::Seed;

/// Returns all seeds.
pub(super) fn all() -> Vec<Seed> {
    [fluent(), lumberjack(), otlp()].concat()
}

fn seed(target: &'static str, name: &str, choices: &[u8], parts: &[&[u8]]) -> Seed {
    (target, name.to_owned(), [choices, &parts.concat()].concat())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Encodes a JSON value as MessagePack.
fn packed(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    match value {
        Value::Null => write::write_nil(&mut out).unwrap(),
        Value::Bool(is) => write::write_bool(&mut out, *is).unwrap(),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => drop(write::write_uint(&mut out, number).unwrap()),
            (_, Some(number)) => drop(write::write_sint(&mut out, number).unwrap()),
            _ => write::write_f64(&mut out, number.as_f64().unwrap()).unwrap(),
        },
        Value::String(text) => write::write_str(&mut out, text).unwrap(),
        Value::Array(values) => {
            write::write_array_len(&mut out, values.len() as u32).unwrap();
            values.iter().for_each(|value| out.extend(packed(value)));
        }
        Value::Object(fields) => {
            write::write_map_len(&mut out, fields.len() as u32).unwrap();
            for (name, value) in fields {
                write::write_str(&mut out, name).unwrap();
                out.extend(packed(value));
            }
        }
    }
    out
}

fn fluent() -> Vec<Seed> {
    let record =
        json!({ "log": "GET /", "host": { "name": "web-1" }, "n": -7, "r": 0.5, "a": [1] });
    let chunk = json!({ "chunk": "id-1" });
    let one = packed(&json!(["web", 1_700_000_000, record]));
    let asking = packed(&json!(["web", 1_700_000_000, record, chunk]));
    let several = json!([[1, record], [2, { "log": "é" }], [3, {}]]);
    let forward = packed(&json!(["web", several, { "chunk": "id-2", "size": 3 }]));
    let entries = [json!([1, record]), json!([2, { "log": "b" }])].map(|entry| packed(&entry));
    let entries = entries.concat();
    let bytes = |entries: &[u8], option: &Value| {
        let mut out = vec![0x93, 0xa3, b'w', b'e', b'b'];
        write::write_bin(&mut out, entries).unwrap();
        out.extend(packed(option));
        out
    };
    let plain = bytes(&entries, &json!({ "chunk": "id-3" }));
    let compressed = bytes(&gzip(&entries), &json!({ "chunk": "id-4", "compressed": "gzip" }));
    // A time with nanoseconds, and a record with bytes that are not text.
    let exact =
        [&b"\x93\xa3web\xd7\0"[..], &[0x65, 0x54, 0, 0, 0, 0, 0, 9], b"\x81\xa3log\xc4\x02\xff\0"];
    let ping = packed(&json!(["PING", "web-1", "salt", "00", "", ""]));
    vec![
        seed("fluent", "one", &[0, 6], &[&one]),
        seed("fluent", "asking", &[3, 2], &[&asking, &asking]),
        seed("fluent", "forward", &[3, 40], &[&forward]),
        seed("fluent", "packed", &[2, 11], &[&plain, &[0xc0], &one]),
        seed("fluent", "compressed", &[0, 90], &[&compressed, &asking]),
        seed("fluent", "exact-time", &[2, 3], &exact),
        seed("fluent", "names-in-names", &[0, 6], &[&one[..10], &[0x81; 40], &[0xc0; 41]]),
        seed("fluent", "login", &[4, 7], &[&ping, &one]),
    ]
}

fn lumberjack() -> Vec<Seed> {
    let window = |events: u32| [b"2W", &events.to_be_bytes()[..]].concat();
    let event = |number: u32| {
        let json = json!({
            "@timestamp": "2026-11-27T08:00:00Z", "message": format!("line {number}"),
            "host": { "name": "web-1" }, "tags": ["a", null, 1.5],
        });
        let json = json.to_string();
        let length = json.len() as u32;
        [b"2J", &number.to_be_bytes()[..], &length.to_be_bytes(), json.as_bytes()].concat()
    };
    let zlib = |frames: &[u8]| {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(frames).unwrap();
        let bytes = encoder.finish().unwrap();
        [b"2C", &(bytes.len() as u32).to_be_bytes()[..], &bytes].concat()
    };
    let pairs =
        b"1W\0\0\0\x011D\0\0\0\x01\0\0\0\x02\0\0\0\x07message\0\0\0\x01f\0\0\0\x04host\0\0\0\x01w";
    let two = [event(1), event(2)].concat();
    vec![
        seed("lumberjack", "plain", &[1, 5], &[&window(2), &two]),
        seed("lumberjack", "compressed", &[0, 30], &[&window(2), &zlib(&two)]),
        seed("lumberjack", "mixed", &[1, 9], &[&window(3), &zlib(&two), &event(3)]),
        seed("lumberjack", "pairs", &[1, 1], &[pairs]),
        seed("lumberjack", "unfinished", &[0, 200], &[&window(3), &event(1)]),
        seed("lumberjack", "windows", &[0, 60], &[&window(1), &event(1), &window(1), &event(2)]),
    ]
}

/// Encodes a length-delimited protobuf field.
fn field(number: u8, parts: &[&[u8]]) -> Vec<u8> {
    let bytes = parts.concat();
    [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], &bytes[..]].concat()
}

/// Encodes a protobuf field with a fixed number.
fn fixed(number: u8, value: u64) -> Vec<u8> {
    [&[number << 3 | 1], &value.to_le_bytes()[..]].concat()
}

fn otlp() -> Vec<Seed> {
    let text = |number: u8, text: &str| field(number, &[&field(1, &[text.as_bytes()])]);
    let host = field(1, &[&field(1, &[&field(1, &[b"host.name"]), &text(2, "web-1")])]);
    let scope = field(1, &[&field(1, &[b"lib"])]);
    // In a resource and a scope.
    let of = |record: &[u8]| field(1, &[&host, &field(2, &[&scope, &field(2, &[record])])]);
    let trace = field(9, &[&[7; 16]]);
    let log = [fixed(1, 1_700_000_000_000_000_000), vec![2 << 3, 9], text(5, "hello"), trace];
    let logs = of(&log.concat());
    let name = field(5, &[b"GET /"]);
    let span = [field(1, &[&[7; 16]]), field(2, &[&[8; 8]]), name, fixed(7, 1_700_000_000)];
    let traces = of(&span.concat());
    let point = [fixed(3, 1_700_000_000), fixed(4, 0x3ff0_0000_0000_0000)].concat();
    let gauge = field(5, &[&field(1, &[&point])]);
    let metrics = of(&[field(1, &[b"requests"]), gauge].concat());
    let json = json!({ "resourceLogs": [{
        "resource": { "attributes": [
            { "key": "host.name", "value": { "stringValue": "web-1" } },
        ] },
        "scopeLogs": [{ "scope": { "name": "lib" }, "logRecords": [
            { "timeUnixNano": "1544712660300999999", "severityNumber": 9, "severityText": "INFO",
                "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174",
                "body": { "stringValue": "hello" },
                "attributes": [{ "key": "code", "value": { "intValue": "-5" } }] },
            { "body": { "kvlistValue": { "values": [
                { "key": "a", "value": { "arrayValue": { "values": [{ "boolValue": true }] } } },
            ] } } },
        ] }] }] });
    let json = json.to_string();
    let padding = " ".repeat(3000);
    vec![
        seed("otlp", "byte-by-byte", &[4, 0], &[padding.as_bytes(), json.as_bytes()]),
        seed("otlp", "logs", &[0, 30], &[&logs]),
        seed("otlp", "logs-whole", &[49, 3], &[&logs, &logs]),
        seed("otlp", "logs-gzip", &[8, 60], &[&gzip(&logs)]),
        seed("otlp", "logs-json", &[4, 99], &[json.as_bytes()]),
        seed("otlp", "logs-json-gzip", &[60, 11], &[&gzip(json.as_bytes())]),
        seed("otlp", "traces", &[2, 7], &[&traces]),
        seed("otlp", "metrics", &[19, 200], &[&metrics]),
    ]
}
