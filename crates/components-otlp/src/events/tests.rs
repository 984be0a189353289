//! Tests of the event for each record, and of records that cannot be converted.

use proptest::prelude::*;
use prost::Message;
use serde_json::{Value as Json, json};

use super::*;

fn picked(header: &str, owner: Owner, key: &str) -> Picked {
    Picked { header: header.into(), owner, key: key.into() }
}

fn events(signal: Signal, json: &Json, max: Option<u64>) -> Result<Events, String> {
    let mapping = Mapping {
        logs: None,
        others: Form::Json,
        picked: vec![
            picked("service", Owner::Resource, "service.name"),
            picked("lib", Owner::Scope, "l"),
            picked("code", Owner::Record, "code"),
        ],
    };
    events_of((signal, Form::Json), json.to_string().as_bytes(), &mapping, max)
}

#[test]
fn a_log_record_is_its_body_with_the_rest_in_headers() {
    let text = |text: &str| json!({ "stringValue": text });
    let request = json!({ "resourceLogs": [{
        "resource": { "attributes": [{ "key": "service.name", "value": text("shop") }] },
        "scopeLogs": [{
            "scope": { "name": "x", "attributes": [{ "key": "l", "value": text("v") }] },
            "logRecords": [
                { "timeUnixNano": "1544712660300999999", "severityNumber": 9, "body": text("hello"),
                    "attributes": [{ "key": "code", "value": { "intValue": "-5" } }] },
                { "observedTimeUnixNano": "2000000" },
            ] }] }] });
    let events = events(Signal::Logs, &request, None).unwrap();
    let first = events.batch.iter().next().unwrap();
    assert_eq!(first.body(), b"hello");
    for (name, value) in [
        ("otlp.signal", "logs"),
        ("timestamp", "1544712660300"),
        ("otlp.time", "1544712660300999999"),
        ("otlp.severity", "9"),
        ("service", "shop"),
        ("lib", "v"),
        ("code", "-5"),
        ("otlp.attributes", r#"{"values":[{"key":"code","value":{"intValue":"-5"}}]}"#),
    ] {
        assert_eq!(first.header(name), Some(value), "{name}");
    }
    let second = events.batch.iter().nth(1).unwrap();
    assert_eq!(second.header("timestamp"), Some("2"));
    assert_eq!((second.header("otlp.time"), second.header("code")), (None, None));
    // Both share a resource, which is stored once.
    assert!(events.batch.shared_header("otlp.resource").is_some());
}

#[test]
fn records_that_are_too_large_are_counted_and_their_neighbours_are_taken() {
    let record = |length: usize| json!({ "body": { "stringValue": "x".repeat(length) } });
    let request = json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [
        record(10), record(900_000), record(10), record(800_000) ] }] }] });
    let all = events(Signal::Logs, &request, None).unwrap();
    assert_eq!((all.batch.len(), all.rejected), (4, 0));
    let some = events(Signal::Logs, &request, Some(500_000)).unwrap();
    assert_eq!((some.batch.len(), some.rejected), (2, 2));
    assert!(some.problem.contains("900"), "{}", some.problem);

    let key = "k".repeat(HEADER_BYTES_MAX);
    let request = json!({ "resourceMetrics": [{ "resource": { "attributes": [{ "key": key }] },
        "scopeMetrics": [{ "metrics": [{ "gauge": { "dataPoints": [{}, {}, {}] } }] }] }] });
    let none = events(Signal::Metrics, &request, None).unwrap();
    assert_eq!((none.batch.len(), none.rejected), (0, 3), "data points are counted");
}

#[test]
fn bytes_that_are_no_request_are_refused() {
    let mapping = Mapping { logs: None, others: Form::Json, picked: Vec::new() };
    for signal in Signal::ALL {
        for form in [Form::Json, Form::Protobuf] {
            let error = events_of((signal, form), b"\xff\xff", &mapping, None).unwrap_err();
            assert!(!error.is_empty());
        }
    }
}

proptest! {
    /// A valid request with some bytes changed, cut or repeated.
    #[test]
    fn any_bytes_are_taken_or_refused(
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..6),
        cut in any::<usize>(),
        logs in proptest::option::of(prop_oneof![Just(Form::Json), Just(Form::Protobuf)]),
    ) {
        let json = json!({ "resourceLogs": [{
            "resource": { "attributes": [{ "key": "a", "value": { "intValue": "1" } }] },
            "scopeLogs": [{ "logRecords": [{
                "traceId": "5b8efff798038103d269b633813fc60c", "severityNumber": 3,
                "body": { "kvlistValue": { "values": [{ "key": "k", "value": {} }] } },
            }] }] }] }).to_string().into_bytes();
        let request: ExportLogsServiceRequest = from_json(&json).unwrap();
        let mapping = Mapping { logs, others: Form::Json, picked: Vec::new() };
        for (form, mut bytes) in [(Form::Json, json), (Form::Protobuf, request.encode_to_vec())] {
            for (at, byte) in &changes {
                let at = at % bytes.len();
                bytes[at] = *byte;
            }
            if cut % 4 == 0 {
                bytes.truncate(cut % bytes.len());
            }
            for signal in Signal::ALL {
                let _taken_or_refused = events_of((signal, form), &bytes, &mapping, Some(90_000));
            }
        }
    }
}
