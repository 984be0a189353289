//! Invalid settings, addresses of events, and temporary refusals.

use std::path::Path;

use fe2o3_amqp::types::definitions::{
    AmqpError as Condition, ConnectionError, Error, ErrorCondition, LinkError,
};
use pipeline::settings::Settings;
use pipeline::testkit::build;
use pipeline::{BatchBuilder, BuildContext, Epoch, Identity, Origin, Sequence};
use serde_json::{Value, json};

use super::sending::is_passing;
use super::*;

fn context() -> BuildContext {
    BuildContext::alone("out", Path::new("unused"), env::real())
}

fn good() -> Value {
    json!({
        "broker": { "urls": ["amqp://b:5672"] }, "address": "out", "destination_type": "queue",
    })
}

#[test]
fn rejects_invalid_settings_and_names_setting_and_remedy() {
    assert!(build::<Config>(&good(), &context()).is_ok());
    let both = ["amqp://a:5672", "amqps://b:5671"];
    for (name, value, expected) in [
        ("address", json!(""), "name of a queue or topic"),
        ("in_flight_max", json!(0), "must be at least 1"),
        ("body", json!("json"), "known: `bytes`, `text`"),
        ("destination_type", Value::Null, "destination_type"),
        ("broker", json!({ "urls": [] }), "at least one"),
        ("broker", json!({ "urls": ["tcp://b:61616"] }), "AMQP connector"),
        ("broker", json!({ "urls": both }), "or all with `amqps://`"),
        ("broker", json!({ "urls": ["amqp://b:5672"], "tls": {} }), "only with `amqps://`"),
        ("broker", json!({ "urls": ["amqp://b:5672"], "password": "x" }), "`user`"),
        ("broker", json!({ "urls": ["amqp://b:5672"], "idle_timeout": "0s" }), "from 1ms"),
    ] {
        let mut settings = good();
        settings[name] = value;
        let error = build::<Config>(&settings, &context()).err().unwrap().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

fn sink(more: &Value) -> Amqp {
    let mut settings = good();
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let config: Config = Settings::from_json(&settings).read().unwrap();
    Amqp {
        target: config.broker.target(&context()).unwrap(),
        address: config.address,
        address_header: config.address_header,
        destination_type: config.destination_type,
        body: config.body,
        places: Places::new(0),
        destinations: Destinations::new(config.destination_wait),
    }
}

#[test]
fn an_event_names_its_address_and_has_the_same_id_when_it_is_sent_again() {
    let sink = sink(&json!({ "address_header": "to", "body": "text" }));
    let mut builder = BatchBuilder::default();
    builder.push(b"a", &[("to", "special")]);
    builder.push(b"b", &[]);
    builder.push(b"c", &[("to", "")]);
    builder.push(b"\xff", &[]);
    let mut batch = builder.finish();
    let (origin, epoch) = (Origin([7; 16]), Epoch(1));
    batch.envelope.identity = Some(Identity { origin, epoch, sequence: Sequence(3) });
    let (first, refused) = sink.messages(&batch);
    let places: Vec<_> = first.iter().map(|it| (it.place, it.address.as_str())).collect();
    assert_eq!(places, [(0, "special"), (1, "out")]);
    let reasons: Vec<_> = refused.iter().map(|it| (it.place, it.reason)).collect();
    assert_eq!(reasons, [(2, "invalid_address"), (3, "not_text")]);
    let ids = |messages: &[Outgoing]| -> Vec<_> {
        messages
            .iter()
            .map(|it| it.message.message.properties.clone().unwrap().message_id.unwrap())
            .collect()
    };
    let again = sink.messages(&batch).0;
    assert_eq!(ids(&first), ids(&again));
    assert_ne!(ids(&first)[0], ids(&first)[1]);
    let expected = format!("{}/1/3-1", Origin([7; 16]));
    assert_eq!(ids(&first)[1], expected.into());
}

#[test]
fn only_full_addresses_and_broker_trouble_are_temporary_refusals() {
    let error = |condition: ErrorCondition| Error::new(condition, None, None);
    for passes in [
        Condition::ResourceLimitExceeded.into(),
        Condition::InternalError.into(),
        ErrorCondition::from(ConnectionError::ConnectionForced),
        ErrorCondition::from(LinkError::DetachForced),
    ] {
        assert!(is_passing(&error(passes)));
    }
    for stays in [
        Condition::InvalidField.into(),
        Condition::NotAllowed.into(),
        Condition::NotFound.into(),
        ErrorCondition::from(LinkError::MessageSizeExceeded),
        ErrorCondition::Custom("failed".into()),
    ] {
        assert!(!is_passing(&error(stays)));
    }
}
