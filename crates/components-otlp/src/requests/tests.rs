//! OTLP records are forwarded unchanged, whatever they contain; other events become log records.

use pipeline::BatchBuilder;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::events::{Mapping, events_of};

const WIDE: Limits = Limits { records: usize::MAX, bytes: usize::MAX, header_attributes: true };

fn mapping(logs: Option<Form>, others: Form) -> Mapping {
    Mapping { logs, others, picked: Vec::new() }
}

/// Converts a request to events, and back.
fn round_trip(request: &Request, mapping: &Mapping, form: Form) -> Vec<Request> {
    let bytes = request.write(form);
    let events = events_of((request.signal(), form), &bytes, mapping, None).unwrap();
    assert_eq!((events.rejected, events.problem.as_str()), (0, ""));
    let (parts, unwritable) = requests_of(&events.batch, WIDE);
    assert!(unwritable.is_empty(), "{unwritable:?}");
    let places: Vec<usize> = parts.iter().flat_map(|part| part.places.clone()).collect();
    assert_eq!(places, (0..events.batch.len()).collect::<Vec<_>>());
    parts.into_iter().map(|part| part.request).collect()
}

fn logs(json: &Json) -> Request {
    Request::Logs(from_json(json.to_string().as_bytes()).unwrap())
}

/// Returns a request for each signal, with all optional data.
fn each_signal() -> [Request; 3] {
    let resource = json!({ "attributes": [
        { "key": "service.name", "value": { "stringValue": "shop" } },
        { "key": "n", "value": { "intValue": "9007199254740993" } },
    ], "droppedAttributesCount": 3, "entityRefs": [{ "type": "service", "idKeys": ["n"] }] });
    let scope = json!({ "name": "lib", "version": "1", "attributes": [
        { "key": "a", "value": { "arrayValue": { "values": [{ "doubleValue": 1.5 }, {}] } } },
    ] });
    let ids = |mut record: Json| {
        record["traceId"] = json!("5b8efff798038103d269b633813fc60c");
        record["spanId"] = json!("eee19b7ec3c1b174");
        record
    };
    let records = json!([
        ids(json!({ "timeUnixNano": "1544712660300000001", "severityNumber": 17, "flags": 1,
            "severityText": "ERROR", "body": { "stringValue": "a\nb" }, "eventName": "e",
            "observedTimeUnixNano": "1", "droppedAttributesCount": 2, "attributes": [
                { "key": "k", "value": { "boolValue": true } },
                { "key": "k", "value": { "bytesValue": "AAE=" } },
                { "key": "", "value": {} }, { "key": "none" } ] })),
        { "body": { "kvlistValue": { "values": [{ "key": "x", "value": { "intValue": "1" } }] } } },
        { "body": { "bytesValue": "/w==" } },
        { "body": { "intValue": "-5" } },
        { "body": {} },
        {},
    ]);
    [
        logs(&json!({ "resourceLogs": [
            { "resource": resource, "schemaUrl": "r", "scopeLogs": [
                { "scope": scope, "schemaUrl": "s", "logRecords": records },
                { "logRecords": [{ "body": { "stringValue": "" } }] } ] },
            { "scopeLogs": [{ "scope": {}, "logRecords": [{}] }] } ] })),
        Request::Traces(
            from_json(
                json!({ "resourceSpans": [{ "resource": resource,
            "scopeSpans": [{ "scope": scope, "spans": [
                ids(json!({ "name": "GET", "kind": 2, "parentSpanId": "eee19b7ec3c1b173",
                    "startTimeUnixNano": "1544712660000000000", "status": { "code": 2 },
                    "events": [{ "name": "e", "timeUnixNano": "5" }],
                    "links": [{ "traceId": "5b8efff798038103d269b633813fc60d" }] })),
            ] }] }] })
                .to_string()
                .as_bytes(),
            )
            .unwrap(),
        ),
        Request::Metrics(
            from_json(
                json!({ "resourceMetrics": [{ "resource": resource,
            "scopeMetrics": [{ "scope": scope, "metrics": [
                { "name": "m", "unit": "By", "sum": { "isMonotonic": true,
                    "aggregationTemporality": 2, "dataPoints": [
                        { "timeUnixNano": "7", "asInt": "5" }, { "asDouble": "NaN" },
                        { "asDouble": 1e300, "exemplars": [{ "asInt": "1" }] } ] } },
                { "name": "h", "histogram": { "dataPoints": [{ "count": "2", "sum": 3.0,
                    "bucketCounts": ["1", "1"], "explicitBounds": [0.5] }] } },
            ] }] }] })
                .to_string()
                .as_bytes(),
            )
            .unwrap(),
        ),
    ]
}

#[test]
fn a_request_of_each_signal_goes_on_as_it_came_in_each_form() {
    for request in &each_signal() {
        for form in [Form::Json, Form::Protobuf] {
            for mapping in [
                mapping(None, form),
                mapping(Some(Form::Json), Form::Json),
                mapping(Some(Form::Protobuf), Form::Protobuf),
            ] {
                let came = round_trip(request, &mapping, form);
                // NaN is not equal to itself, so compare the encoded requests.
                let came: Vec<Vec<u8>> = came.iter().map(|it| it.write(Form::Protobuf)).collect();
                assert_eq!(came, [request.write(Form::Protobuf)], "{mapping:?}: {request:?}");
            }
        }
    }
}

#[test]
fn other_events_are_log_records_with_their_headers_as_attributes() {
    let mut events = BatchBuilder::default();
    events.push(b"line", &[("host", "web-1"), ("timestamp", "1544712660300")]);
    events.push(b"\xff", &[("timestamp", "12:00")]);
    let batch = events.finish();
    let (parts, unwritable) = requests_of(&batch, WIDE);
    assert!(unwritable.is_empty());
    let Request::Logs(request) = &parts[0].request else { panic!("logs") };
    let records = &request.resource_logs[0].scope_logs[0].log_records;
    assert_eq!(records[0].time_unix_nano, 1_544_712_660_300_000_000);
    assert_eq!(records[0].attributes, [attribute("host", "web-1")]);
    assert_eq!(records[0].body.as_ref().unwrap().value, Some(Value::StringValue("line".into())));
    assert_eq!(records[1].attributes, [attribute("timestamp", "12:00")]);
    assert_eq!(records[1].body.as_ref().unwrap().value, Some(Value::BytesValue(vec![0xff])));
    let (parts, _) = requests_of(&batch, Limits { header_attributes: false, ..WIDE });
    let Request::Logs(request) = &parts[0].request else { panic!("logs") };
    assert!(request.resource_logs[0].scope_logs[0].log_records[0].attributes.is_empty());
}

#[test]
fn splits_requests_at_limits_and_signals() {
    let mut events = BatchBuilder::default();
    for at in 0..10 {
        events.push(format!("{at}").as_bytes(), &[(h::RESOURCE, "{}")]);
    }
    events.push(b"{\"name\":\"s\"}", &[(h::SIGNAL, "traces")]);
    events.push(b"x", &[]);
    let batch = events.finish();
    let places = |limits| -> Vec<Vec<usize>> {
        let (parts, _) = requests_of(&batch, limits);
        parts.into_iter().map(|part| part.places).collect()
    };
    let by_records = places(Limits { records: 4, ..WIDE });
    assert_eq!(by_records, [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9], vec![10], vec![11]]);
    let by_bytes = places(Limits { bytes: 1, ..WIDE });
    assert_eq!(by_bytes.len(), 12);
    for limit in [100, 250] {
        let (parts, _) = requests_of(&batch, Limits { bytes: limit, ..WIDE });
        assert!(parts.iter().all(|part| part.request.write(Form::Protobuf).len() <= limit));
    }
}

#[test]
fn names_an_invalid_record_and_leaves_nothing_in_the_request() {
    let mut events = BatchBuilder::default();
    events.push(b"good", &[(h::RESOURCE, "{}")]);
    for (name, value) in [
        (h::SIGNAL, "profiles"),
        (h::RESOURCE, "{\"attributes\":1}"),
        (h::SCOPE, "["),
        (h::SEVERITY, "high"),
        (h::TRACE_ID, "abc"),
        (h::ATTRIBUTES, "{\"values\":{}}"),
        (h::BODY, "xml"),
        (h::BODY, h::body::JSON),
        (h::SIGNAL, "metrics"),
    ] {
        events.push(b"bad", &[(name, value)]);
    }
    events.push(b"good", &[(h::RESOURCE, "{}")]);
    let (parts, unwritable) = requests_of(&events.finish(), WIDE);
    assert_eq!(
        unwritable.iter().map(|it| it.place).collect::<Vec<_>>(),
        (1..10).collect::<Vec<_>>()
    );
    assert!(unwritable[1].problem.contains("otlp.resource"), "{unwritable:?}");
    let places: Vec<usize> = parts.iter().flat_map(|part| part.places.clone()).collect();
    assert_eq!(places, [0, 10]);
    for part in &parts {
        let Request::Logs(request) = &part.request else { panic!("logs") };
        let scopes = request.resource_logs.iter().flat_map(|it| &it.scope_logs);
        assert!(scopes.clone().all(|it| !it.log_records.is_empty()), "{request:?}");
    }
}

fn any_value() -> impl Strategy<Value = Option<AnyValue>> {
    let leaf = prop_oneof![
        Just(None),
        ".*".prop_map(|it| Some(Value::StringValue(it))),
        any::<i64>().prop_map(|it| Some(Value::IntValue(it))),
        (-1e300..1e300).prop_map(|it| Some(Value::DoubleValue(it))),
        proptest::collection::vec(any::<u8>(), 0..9).prop_map(|it| Some(Value::BytesValue(it))),
    ];
    proptest::option::of(leaf.prop_map(|value| AnyValue { value }))
}

proptest! {
    #[test]
    fn any_log_record_goes_on_as_it_came(
        body in any_value(),
        attributes in proptest::collection::vec((".*", any_value()), 0..4),
        time: u64,
        severity_number in 0..30,
        severity_text in ".*",
        trace_id in proptest::collection::vec(any::<u8>(), 0..20),
        flags: u32,
    ) {
        let attributes = attributes.into_iter().map(|(key, value)| KeyValue {
            key, value, ..KeyValue::default()
        }).collect();
        let record = LogRecord {
            body, attributes, time_unix_nano: time, severity_number, severity_text, trace_id, flags,
            ..LogRecord::default()
        };
        let mut request = Request::new(Signal::Logs);
        request.begin_resource(None, String::new());
        request.begin_scope(None, String::new());
        request.push(Record::Log(record));
        for form in [Form::Json, Form::Protobuf] {
            let came = round_trip(&request, &mapping(None, Form::Json), form);
            prop_assert_eq!(&came, &[request.clone()]);
        }
    }
}
