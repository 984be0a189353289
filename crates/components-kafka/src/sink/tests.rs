//! Tests of rejected settings, of the fields that an event sets, and of batch completion.

use std::path::Path;

use pipeline::testkit::build;
use pipeline::{BatchBuilder, BuildContext};
use serde_json::{Value, json};

use super::producer::Pending;
use super::*;

fn problem(settings: &Value) -> Option<String> {
    let cx = BuildContext::alone("out", Path::new("unused"), env::real());
    build::<Config>(settings, &cx).err().map(|error| error.to_string())
}

#[test]
fn rejects_invalid_settings_and_names_setting_and_remedy() {
    let good = json!({ "brokers": ["b:9092"], "topic": "logs" });
    assert_eq!(problem(&good), None);
    for (name, value, expected) in [
        ("brokers", json!([]), "at least one broker"),
        ("topic", json!(""), "the name of a topic"),
        ("in_flight_max", json!(0), "at least 1"),
        ("partition", json!(-1), "at least 0"),
        ("message_bytes_max", json!("1B"), "from 1kB"),
        ("timeout", json!("1ms"), "at least 1s"),
        ("ledger", json!({ "name": "" }), "ledger.name"),
        ("ledger", json!({ "origins_max": 0 }), "ledger.origins_max"),
        ("ledger", json!({ "bytes_max": "1B" }), "ledger.bytes_max"),
        ("properties", json!({ "transactional.id": "x" }), "properties.transactional.id"),
        ("compression", json!("brotli"), "brotli"),
        ("properties", json!({ "acks": "1" }), "properties.acks"),
        ("properties", json!({ "sasl.password": "x" }), "secret_properties"),
    ] {
        let mut settings = good.clone();
        settings[name] = value;
        let said = problem(&settings).unwrap_or_default();
        assert!(said.contains(expected), "{name}: {said}");
    }
}

#[test]
fn an_event_names_its_topic_partition_key_and_time() {
    let settings = json!({
        "brokers": ["b:9092"], "topic": "rest", "topic_header": "to", "partition_header": "part",
        "partition": 7, "timestamp_header": "at",
    });
    let config: Config = pipeline::Settings::from_json(&settings).read().unwrap();
    let cx = BuildContext::alone("out", Path::new("unused"), env::real());
    let target = config.target(&cx).unwrap();
    let mut builder = BatchBuilder::default();
    builder.push(b"a", &[("to", "logs"), ("part", "3"), ("key", "k"), ("at", "1700000000000")]);
    builder.push(b"b", &[]);
    builder.push(b"c", &[("part", "-1"), ("at", "soon")]);
    let batch = builder.finish();
    let found: Vec<_> = batch
        .iter()
        .map(|event| {
            let partition = target.partition(event);
            (target.topic(event), target.key(event), partition, target.timestamp(event))
        })
        .collect();
    let first = ("logs", Some("k"), Ok(Some(3)), Some(1_700_000_000_000));
    assert_eq!(found, [first, ("rest", None, Ok(Some(7)), None), ("rest", None, Err(()), None)]);
}

#[tokio::test]
async fn a_batch_is_done_when_the_last_answer_is_there() {
    let pending = Pending::new();
    pending.begin();
    pending.begin();
    pending.failed(1, Code::MessageSizeTooLarge);
    pending.end();
    pending.all_handed_over();
    pending.done_or_failed().await;
    let outcome = pending.outcome();
    tokio::pin!(outcome);
    let early = tokio::time::timeout(Duration::from_millis(20), &mut outcome).await;
    assert!(early.is_err(), "one message is with the client");
    pending.end();
    assert_eq!(outcome.await, [(1, Code::MessageSizeTooLarge)]);
}
