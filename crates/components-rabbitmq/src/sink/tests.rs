//! Invalid settings, and the outcome of events.

use std::path::Path;

use pipeline::settings::Settings;
use pipeline::testkit::build;
use pipeline::{BatchBuilder, BuildContext, Epoch, Identity, Origin, Sequence};
use serde_json::{Value, json};

use super::*;

fn context() -> BuildContext {
    BuildContext::alone("out", Path::new("unused"), env::real())
}

fn good() -> Value {
    json!({ "broker": { "urls": ["amqp://b:5672"] }, "exchange": "logs" })
}

#[test]
fn rejects_invalid_settings_and_names_setting_and_remedy() {
    assert!(build::<Config>(&good(), &context()).is_ok());
    let both = ["amqp://a:5672", "amqps://b:5671"];
    for (name, value, expected) in [
        ("exchange", json!(""), "set the name of the queue"),
        ("exchange", json!("a".repeat(256)), "at most 255"),
        ("routing_key", json!("a.%{b"), "no `}`"),
        ("routing_key", json!("%{}"), "has no header name"),
        ("routing_key", json!("a".repeat(256)), "at most 255"),
        ("unroutable", json!("drop"), "known: `dead_letter`, `retry`"),
        ("message_max", json!("1B"), "from 1KiB to 1GiB"),
        ("in_flight_max", json!(0), "must be at least 1"),
        ("broker", json!({ "urls": both }), "or all with `amqps://`"),
        ("broker", json!({ "urls": ["amqp://b:5672"], "tls": {} }), "only with `amqps://`"),
        ("broker", json!({ "urls": ["amqp://b:5672"], "password": "x" }), "`user`"),
        ("broker", json!({ "urls": ["amqp://b:5672"], "virtual_host": "" }), "not be empty"),
    ] {
        let mut settings = good();
        settings[name] = value;
        let error = build::<Config>(&settings, &context()).err().unwrap().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn an_event_selects_its_routing_key_and_keeps_its_id_when_resent() {
    let mut settings = good();
    settings["routing_key"] = json!("logs.%{site}");
    settings["message_max"] = json!("1KiB");
    let config: Config = Settings::from_json(&settings).read().unwrap();
    let sink = config.rabbit(&context()).unwrap();
    let mut builder = BatchBuilder::default();
    let long = "a".repeat(251);
    builder.push(b"a", &[("site", "Bern")]);
    builder.push(b"b", &[]);
    builder.push(b"c", &[("site", &long)]);
    builder.push(&[0; 1025], &[("site", "")]);
    builder.push(b"d", &[("site", ""), (&"n".repeat(256), "")]);
    builder.push(b"e", &[("site", "")]);
    let mut batch = builder.finish();
    let (origin, epoch) = (Origin([7; 16]), Epoch(1));
    batch.envelope.identity = Some(Identity { origin, epoch, sequence: Sequence(3) });
    let (first, refused) = sink.messages(&batch);
    let keys: Vec<_> = first.iter().map(|it| (it.place, it.routing_key.as_str())).collect();
    assert_eq!(keys, [(0, "logs.Bern"), (5, "logs.")]);
    let reasons: Vec<_> = refused.iter().map(|it| (it.place, it.reason)).collect();
    let expected =
        [(1, "invalid_address"), (2, "invalid_address"), (3, "too_large"), (4, "too_large")];
    assert_eq!(reasons, expected);
    let ids = |messages: &[Outgoing<'_>]| -> Vec<String> {
        let id = |it: &Outgoing<'_>| it.properties.message_id().clone().unwrap().to_string();
        messages.iter().map(id).collect()
    };
    assert_eq!(ids(&first), ids(&sink.messages(&batch).0));
    assert_eq!(ids(&first)[1], format!("{}/1/3-5", Origin([7; 16])));
    // Without an identity, message ids still differ within a batch: the sink identifies returned
    // messages by them.
    batch.envelope.identity = None;
    let (once, again) = (ids(&sink.messages(&batch).0), ids(&sink.messages(&batch).0));
    assert!(once[0] != once[1] && once[0] != again[0], "{once:?} {again:?}");
}
