//! Conversion of messages to events and of events to messages, for each body and value type.

use pipeline::{Batch as Events, Existing};

use super::*;

fn received(body: Body<Value>) -> Received {
    Message {
        header: None,
        delivery_annotations: None,
        message_annotations: None,
        properties: None,
        application_properties: None,
        body,
        footer: None,
    }
}

fn body(value: Value) -> Result<Vec<u8>, String> {
    event_of(received(Body::Value(AmqpValue(value))), &[]).map(|event| event.body.to_vec())
}

#[test]
fn text_bytes_and_single_values_are_bodies_and_all_else_is_named() {
    for (value, text) in [
        (Value::String("Zürich".into()), "Zürich"),
        (Value::Binary(b"ab".to_vec().into()), "ab"),
        (Value::Null, ""),
        (Value::Bool(true), "true"),
        (Value::Long(-7), "-7"),
        (Value::Double(0.5.into()), "0.5"),
        (Value::Char('ü'), "ü"),
    ] {
        assert_eq!(body(value).unwrap(), text.as_bytes());
    }
    let parts = Batch::new(vec![Data(b"a".to_vec().into()), Data(b"b".to_vec().into())]);
    assert_eq!(event_of(received(Body::Data(parts)), &[]).unwrap().body, "ab");
    assert_eq!(event_of(received(Body::Empty), &[]).unwrap().body, "");
    for (value, kind) in
        [(Value::Map(OrderedMap::new()), "a map"), (Value::List(vec![Value::Int(1)]), "a list")]
    {
        assert_eq!(body(value).unwrap_err(), kind);
    }
}

#[test]
fn properties_become_headers_and_those_of_the_message_win() {
    let mut message = received(Body::Empty);
    let given = [
        ("site", SimpleValue::String("Bern".into())),
        ("n", SimpleValue::Int(-3)),
        ("raw", SimpleValue::Binary(b"a\xff".to_vec().into())),
        ("none", SimpleValue::Null),
        ("JMSType", SimpleValue::String("of an application".into())),
    ];
    let given = given.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    message.application_properties = Some(ApplicationProperties(given));
    message.header = Some(Header { delivery_count: 2, ..Header::default() });
    message.properties = Some(Properties {
        message_id: Some(MessageId::Ulong(7)),
        creation_time: Some(1_700_000_000_123.into()),
        subject: Some("kind".into()),
        ..Properties::default()
    });
    assert!(is_repeated(&message));
    let wanted = [
        JmsHeader::JmsMessageId,
        JmsHeader::JmsTimestamp,
        JmsHeader::JmsType,
        JmsHeader::JmsReplyTo,
        JmsHeader::JmsRedelivered,
    ];
    let event = event_of(message, &wanted).unwrap();
    let headers: Vec<(&str, &str)> =
        event.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    let expected = [
        ("site", "Bern"),
        ("n", "-3"),
        ("raw", "a\\xff"),
        ("JMSType", "of an application"),
        ("JMSMessageID", "7"),
        ("JMSTimestamp", "1700000000123"),
        ("JMSType", "kind"),
        ("JMSRedelivered", "true"),
    ];
    assert_eq!(headers, expected);
}

#[test]
fn an_event_becomes_a_durable_message_with_its_headers_and_body() {
    let mut events = Events::of(["Zürich"]);
    events.set_header("site", "Bern", Existing::Replace);
    events.set_header("to", "queue-1", Existing::Replace);
    for form in [BodyForm::Bytes, BodyForm::Text] {
        let event = events.iter().next().unwrap();
        let message = message_of(event, form, Some("to"), Some("id-1".into())).unwrap();
        assert!(message.header.as_ref().unwrap().durable);
        assert_eq!(message.body.is_data(), form == BodyForm::Bytes);
        let event = event_of(message, &[JmsHeader::JmsMessageId]).unwrap();
        assert_eq!(event.body, "Zürich".as_bytes());
        let headers = [("site", "Bern"), ("JMSMessageID", "id-1")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(event.headers, headers);
    }
    let bytes = Events::of([b"\xff"]);
    let event = bytes.iter().next().unwrap();
    assert!(message_of(event, BodyForm::Bytes, None, None).is_ok());
    let error = message_of(event, BodyForm::Text, None, None).unwrap_err();
    assert!(error.contains("set `body = \"bytes\"`"), "{error}");
}
