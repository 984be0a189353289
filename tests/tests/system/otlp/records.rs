//! Numbered records of all signals, as OTLP JSON in the format of the Collector, so that output and
//! input can be compared.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Records per request to the first Collector.
pub(super) const BATCH: usize = 60;

/// Names of a signal in OTLP, and the place of a record's number.
pub(super) struct Signal {
    pub(super) path: &'static str,
    pub(super) resources: &'static str,
    scopes: &'static str,
    records: &'static str,
    number: &'static str,
    record: fn(usize) -> Value,
}

pub(super) const SIGNALS: [Signal; 3] = [
    Signal {
        path: "/v1/logs",
        resources: "resourceLogs",
        scopes: "scopeLogs",
        records: "logRecords",
        number: "/timeUnixNano",
        record: log_record,
    },
    Signal {
        path: "/v1/traces",
        resources: "resourceSpans",
        scopes: "scopeSpans",
        records: "spans",
        number: "/startTimeUnixNano",
        record: span,
    },
    Signal {
        path: "/v1/metrics",
        resources: "resourceMetrics",
        scopes: "scopeMetrics",
        records: "metrics",
        number: "/sum/dataPoints/0/timeUnixNano",
        record: metric,
    },
];

/// The time of record 0, in nanoseconds.
const FIRST_TIME: u64 = 1_700_000_000_000_000_000;

fn time(number: usize) -> String {
    (FIRST_TIME + number as u64).to_string()
}

fn attributes(number: usize) -> Value {
    let list = json!([{ "doubleValue": 1.5 }, { "stringValue": "ü" }]);
    let inner = json!([{ "key": "a", "value": { "boolValue": true } }]);
    json!([
        { "key": "n", "value": { "intValue": number.to_string() } },
        { "key": "list", "value": { "arrayValue": { "values": list } } },
        { "key": "inner", "value": { "kvlistValue": { "values": inner } } },
        { "key": "raw", "value": { "bytesValue": "AP8B" } },
        { "key": "text", "value": { "stringValue": "x".repeat(200) } },
    ])
}

/// Returns a log record with a text, bytes, another value or nothing as its body.
fn log_record(number: usize) -> Value {
    let mut record = json!({
        "timeUnixNano": time(number),
        "observedTimeUnixNano": "1700000000000000001",
        "severityNumber": 17,
        "severityText": "ERROR",
        "eventName": "sold",
        "attributes": attributes(number),
        "droppedAttributesCount": 2,
        "flags": 1,
        "traceId": format!("{:032x}", number + 1),
        "spanId": format!("{:016x}", number + 2),
    });
    let value = json!([{ "key": "line", "value": { "intValue": number.to_string() } }]);
    record["body"] = match number % 5 {
        0 => json!({ "bytesValue": "/wD+" }),
        1 => json!({ "kvlistValue": { "values": value } }),
        2 => json!({}),
        _ => json!({ "stringValue": format!("line-{number}") }),
    };
    record
}

fn span(number: usize) -> Value {
    let event = json!({ "timeUnixNano": time(number), "name": "e", "droppedAttributesCount": 1 });
    let link = json!({ "traceId": format!("{:032x}", 7), "spanId": format!("{:016x}", 8) });
    json!({
        "traceId": format!("{:032x}", number + 1),
        "spanId": format!("{:016x}", number + 2),
        "parentSpanId": format!("{:016x}", number + 3),
        "traceState": "a=b",
        "name": "pay",
        "kind": 2,
        "startTimeUnixNano": time(number),
        "endTimeUnixNano": time(number + 5),
        "attributes": attributes(number),
        "events": [event],
        "links": [link],
        "status": { "code": 2, "message": "late" },
    })
}

fn metric(number: usize) -> Value {
    json!({
        "name": "sold",
        "unit": "1",
        "description": "things",
        "sum": {
            "aggregationTemporality": 2,
            "isMonotonic": true,
            "dataPoints": [{
                "attributes": attributes(number),
                "startTimeUnixNano": FIRST_TIME.to_string(),
                "timeUnixNano": time(number),
                "asInt": number.to_string(),
            }],
        },
    })
}

/// Adjacent records share a resource and a scope; there are two of each.
fn resource(number: usize) -> Value {
    let name = json!({ "stringValue": if number % 20 < 10 { "shop" } else { "stock" } });
    json!({ "attributes": [{ "key": "service.name", "value": name }] })
}

fn scope(number: usize) -> Value {
    json!({ "name": "lib", "version": if number % 10 < 5 { "1.2" } else { "1.3" } })
}

/// Combines a record with its resource and scope.
fn whole(resource: &Value, scope: &Value, record: &Value) -> Value {
    json!({ "resource": resource, "scope": scope, "record": record })
}

/// Returns the request that begins with this record.
pub(super) fn request(first: usize) -> Value {
    let signal = signal_of(first);
    let one = |number: usize| {
        json!({
            "resource": resource(number),
            signal.scopes: [{ "scope": scope(number), signal.records: [(signal.record)(number)] }],
        })
    };
    json!({ signal.resources: (first..first + BATCH).map(one).collect::<Vec<_>>() })
}

/// Returns the signal of a request: all signals in turn.
pub(super) fn signal_of(number: usize) -> &'static Signal {
    &SIGNALS[number / BATCH % SIGNALS.len()]
}

/// Counts the records of an accepted request. Each must be unchanged.
pub(super) fn count(signal: &Signal, request: &Value, taken: &mut BTreeMap<usize, usize>) {
    let list = |value: &Value, name| value[name].as_array().expect("a list").clone();
    for of_resource in list(request, signal.resources) {
        for of_scope in list(&of_resource, signal.scopes) {
            for record in list(&of_scope, signal.records) {
                let time = record.pointer(signal.number).and_then(Value::as_str);
                let time: u64 = time.expect("a time").parse().expect("a number");
                let number = usize::try_from(time - FIRST_TIME).expect("one of this test");
                assert_eq!(signal.path, signal_of(number).path);
                let expected = whole(&resource(number), &scope(number), &(signal.record)(number));
                assert_eq!(whole(&of_resource["resource"], &of_scope["scope"], &record), expected);
                *taken.entry(number).or_default() += 1;
            }
        }
    }
}
