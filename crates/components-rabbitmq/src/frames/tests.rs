//! Messages are complete however their bytes arrive, and exceeding a limit affects only one
//! message.

use amq_protocol::protocol::basic::Deliver;

use super::*;

/// Returns a delivery in the broker's format.
fn delivery(tag: u64, properties: AMQPProperties, body: &[u8]) -> Vec<u8> {
    let deliver = Deliver {
        consumer_tag: "c".into(),
        delivery_tag: tag,
        redelivered: false,
        exchange: "e".into(),
        routing_key: "k".into(),
    };
    let publish = Publish {
        exchange: "e".into(),
        routing_key: "k".into(),
        mandatory: false,
        immediate: false,
    };
    let sent = message(1, 4096, publish.clone(), properties, body).unwrap();
    let own = method(1, AMQPClass::Basic(Basic::Publish(publish)));
    let mut all = method(1, AMQPClass::Basic(Basic::Deliver(deliver)));
    all.extend(&sent[own.len()..]);
    all
}

fn tag_of(incoming: &Incoming) -> u64 {
    let Incoming::Content(Basic::Deliver(deliver), ..) = incoming else { panic!("{incoming:?}") };
    deliver.delivery_tag
}

#[test]
fn a_message_is_whole_however_its_bytes_come() {
    let body: Vec<u8> = (0..10_000u32).flat_map(u32::to_be_bytes).collect();
    let named = AMQPProperties::default().with_message_id("id".into());
    let mut bytes = heartbeat();
    bytes.extend(delivery(1, named.clone(), &body));
    bytes.extend(delivery(2, AMQPProperties::default(), b""));
    for step in [1, 7, 1000, bytes.len()] {
        let mut decoder = Decoder::new(1 << 20);
        let mut found = Vec::new();
        for part in bytes.chunks(step) {
            decoder.buffer.extend_from_slice(part);
            while let Some(incoming) = decoder.next().unwrap() {
                found.push(incoming);
            }
        }
        assert_eq!(found.iter().map(tag_of).collect::<Vec<_>>(), [1, 2]);
        let Incoming::Content(_, Ok(properties), whole) = &found[0] else { panic!() };
        assert_eq!((&**properties, whole), (&named, &Body::Whole(body.clone())));
    }
}

#[test]
fn a_body_over_the_limit_is_not_kept_and_the_next_message_comes() {
    let mut decoder = Decoder::new(9_999);
    let large = delivery(1, AMQPProperties::default(), &[0; 10_000]);
    decoder.buffer.extend_from_slice(&large);
    decoder.buffer.extend_from_slice(&delivery(2, AMQPProperties::default(), b"b"));
    let first = decoder.next().unwrap().unwrap();
    assert!(matches!(first, Incoming::Content(_, Ok(_), Body::Skipped(10_000))), "{first:?}");
    assert_eq!(tag_of(&decoder.next().unwrap().unwrap()), 2);
}

#[test]
fn properties_that_cannot_be_read_concern_their_message_alone() {
    let named = AMQPProperties::default().with_message_id("abcdef".into());
    let mut bytes = delivery(1, named, b"body");
    let at = bytes.windows(6).position(|it| it == b"abcdef").unwrap();
    bytes[at] = 0xff;
    let mut decoder = Decoder::new(100);
    decoder.buffer.extend_from_slice(&bytes);
    decoder.buffer.extend_from_slice(&delivery(2, AMQPProperties::default(), b""));
    let first = decoder.next().unwrap().unwrap();
    let Incoming::Content(_, Err(problem), Body::Whole(body)) = &first else { panic!("{first:?}") };
    assert!(problem.contains("cannot read") && body == b"body", "{problem}");
    assert_eq!(tag_of(&decoder.next().unwrap().unwrap()), 2);
}

/// Returns the frame of a header with only a table.
fn header_of(table: &[u8]) -> Vec<u8> {
    let payload = [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 << 5, 0][..], table].concat();
    let length = (payload.len() as u32).to_be_bytes();
    [&[2, 0, 1][..], &length, &payload, &[0xce]].concat()
}

#[test]
fn refuses_only_the_message_whose_headers_are_beyond_the_bounds() {
    let empty = delivery(1, AMQPProperties::default(), b"");
    let method = &empty[..empty.len() - header_of(b"").len()];
    let mut decoder = Decoder::new(100);
    for table in [tables::tests::nested(2_000), tables::tests::nested(20_000)] {
        decoder.buffer.extend_from_slice(&[method, &header_of(&table)].concat());
        let refused = decoder.next().unwrap().unwrap();
        let Incoming::Content(_, Err(problem), _) = &refused else { panic!("{refused:?}") };
        assert!(problem.contains("nested deeper than 64"), "{problem}");
    }
    // Within the bounds, and counted: a value of one byte takes dozens once it is decoded.
    let list = [&b"\x01hA"[..], &50_000_u32.to_be_bytes(), &[b'V'; 50_000]].concat();
    let table = [&(list.len() as u32).to_be_bytes()[..], &list].concat();
    decoder.buffer.extend_from_slice(&[method, &header_of(&table)].concat());
    assert!(matches!(decoder.next(), Ok(Some(Incoming::Content(_, Ok(_), _)))));
    assert!(decoder.held > 50_000 * 32, "{}", decoder.held);
}

#[test]
fn refuses_a_greeting_with_a_deep_table_and_methods_of_clients() {
    let method = |payload: &[u8]| {
        let length = (payload.len() as u32).to_be_bytes();
        let mut decoder = Decoder::new(100);
        let frame = [&[1, 0, 0][..], &length, payload, &[0xce]].concat();
        decoder.buffer.extend_from_slice(&frame);
        decoder.next().unwrap_err()
    };
    let deep = tables::tests::nested(2_000);
    let error = method(&[&[0, 10, 0, 10, 0, 9][..], &deep].concat());
    assert!(error.contains("greeting") && error.contains("nested deeper"), "{error}");
    let declare = [&[0, 50, 0, 10, 0, 0, 1, b'q', 0][..], &deep].concat();
    assert!(method(&declare).contains("only clients may send"));
}

#[test]
fn rejects_other_protocols_immediately() {
    for (bytes, cause) in [
        (b"AMQP\0\x01\0\0".as_slice(), "AMQP 1.0"),
        (b"HTTP/1.1 400", "does not speak"),
        (b"\x01\0\x01\xff\xff\xff\xff", "over the limit"),
        (b"\x08\0\0\0\0\0\0\0", "not match its length"),
        (b"\x03\0\x01\0\0\0\x01a\xce", "without its header"),
        (b"\x02\0\x01\0\0\0\x01a\xce", "without its method"),
    ] {
        let mut decoder = Decoder::new(100);
        decoder.buffer.extend_from_slice(bytes);
        let error = decoder.next().unwrap_err();
        assert!(error.contains(cause), "{error}");
    }
}

#[test]
fn properties_that_do_not_fit_into_a_frame_are_not_sent() {
    let publish =
        Publish { exchange: "".into(), routing_key: "k".into(), mandatory: true, immediate: false };
    let mut table = amq_protocol::types::FieldTable::default();
    let value = amq_protocol::types::AMQPValue::LongString(vec![b'a'; 5000].into());
    table.insert("h".into(), value);
    let properties = AMQPProperties::default().with_headers(table);
    assert_eq!(message(1, 4096, publish.clone(), properties.clone(), b""), None);
    assert!(message(1, 8192, publish, properties, b"").is_some());
}
