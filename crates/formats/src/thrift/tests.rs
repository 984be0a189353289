//! Goal: both encodings equal Apache's library byte for byte, and no input costs more than its
//! bytes.
//!
//! Method: messages that Java's libthrift 0.14.1 wrote with Flume's own classes are seeds of the
//! fuzz target `thrift`. The tests read, rewrite and truncate them; `fuzz/` mutates them.

#![expect(clippy::disallowed_methods, reason = "the corpus is real files")]

use std::path::Path;

use proptest::prelude::*;

use super::*;

const BOTH: [(Protocol, &str); 2] = [(Protocol::Compact, "compact"), (Protocol::Binary, "binary")];

/// Returns the messages; other seeds are whole connections.
fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/thrift");
    let mut inputs: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|file| (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap()))
        .filter(|(name, _)| BOTH.iter().any(|(_, encoding)| name.starts_with(encoding)))
        .collect();
    inputs.sort();
    inputs
}

/// The message of this name, without the byte that names its encoding.
fn message(name: &str) -> Vec<u8> {
    let (_, input) = corpus().into_iter().find(|(found, _)| found == name).unwrap();
    input[1..].to_vec()
}

/// A body, and its headers.
type Event<'a> = (Vec<u8>, Vec<(&'a str, &'a str)>);

/// Returns the events of a call.
fn batch(protocol: Protocol, method: Method, message: &[u8]) -> Result<pipeline::Batch, Malformed> {
    let mut events = pipeline::BatchBuilder::default();
    read_events(protocol, method, message, &mut events).map(|()| events.finish())
}

fn events(batch: &pipeline::Batch) -> Vec<Event<'_>> {
    batch.iter().map(|event| (event.body().to_vec(), event.headers().collect())).collect()
}

/// Reads a message as either call; returns the number of events.
fn read_any(input: &[u8]) -> usize {
    let Some((first, message)) = input.split_first() else { return 0 };
    let protocol = if first & 1 == 0 { Protocol::Compact } else { Protocol::Binary };
    let _ = answer(protocol, 1, message);
    let methods = [Method::Append, Method::AppendBatch];
    methods
        .iter()
        .filter_map(|method| batch(protocol, *method, message).ok())
        .map(|b| b.len())
        .sum()
}

/// Wraps a message in a frame.
fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u32).to_be_bytes(), message].concat()
}

fn hex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

#[test]
fn reads_the_bytes_of_flumes_client() {
    for (protocol, name) in BOTH {
        let one = batch(protocol, Method::Append, &message(&format!("{name}-append"))).unwrap();
        assert_eq!(events(&one), [(b"hi".to_vec(), vec![("k", "v")])]);
        let two = batch(protocol, Method::AppendBatch, &message(&format!("{name}-batch"))).unwrap();
        let headers = vec![("host", "web-1"), ("ü", "ß")];
        assert_eq!(events(&two), [(b"one".to_vec(), headers), (Vec::new(), Vec::new())]);
        let many = batch(protocol, Method::AppendBatch, &message(&format!("{name}-many"))).unwrap();
        assert_eq!(many.len(), 20);
        let last = many.iter().last().unwrap();
        assert_eq!((last.body(), last.header("n")), (&b"line\n19"[..], Some("19")));
        let none =
            batch(protocol, Method::AppendBatch, &message(&format!("{name}-empty"))).unwrap();
        assert!(none.is_empty());
    }
}

#[test]
fn writes_the_bytes_of_flumes_client() {
    for (protocol, name) in BOTH {
        let golden = message(&format!("{name}-batch"));
        let read = batch(protocol, Method::AppendBatch, &golden).unwrap();
        let mut call = Events::new(protocol);
        assert!(read.iter().all(|event| call.push(&event, 1 << 20)));
        assert_eq!(call.call(1), framed(&golden), "{name}");
        assert!(call.is_empty());
    }
}

#[test]
fn answers_are_those_of_flumes_source() {
    let call = Head { name: "append".into(), kind: Kind::Call, sequence: 1 };
    let golden = "0000000e82410106617070656e6405000000";
    assert_eq!(status(Protocol::Compact, &call, Status::Ok), hex(golden));
    let golden = "0000001a8001000200000006617070656e64000000010800000000000000";
    assert_eq!(status(Protocol::Binary, &call, Status::Ok), hex(golden));
    for (protocol, name) in BOTH {
        let call = head(protocol, &message(&format!("{name}-unknown"))).unwrap();
        assert_eq!((&*call.name, call.sequence), ("nope", -7));
        let text = "Invalid method name: 'nope'";
        let written = exception(protocol, &call, Fault::UnknownMethod, text);
        assert_eq!(written, framed(&message(&format!("{name}-exception"))), "{name}");
    }
    let failed = answer(Protocol::Compact, 1, &message("compact-answer")).unwrap();
    assert_eq!(failed, Answer::Status(Ok(Status::Failed)));
    assert_eq!(answer(Protocol::Compact, 2, &message("compact-answer")), Err(Malformed::OtherCall));
}

#[test]
fn a_size_is_worth_no_more_than_the_bytes_behind_it() {
    let call = hex("8221010b617070656e644261746368");
    for (what, arguments) in [
        ("2 GiB of events", hex("19fcffffffff07")),
        ("2 GiB of headers", hex("191c1bffffffff0788")),
        ("a body of 2 GiB", hex("191c1b0018ffffffff07")),
        ("a list of 4 Gi flags, skipped", hex("29f1ffffffff0f")),
    ] {
        let message = [call.clone(), arguments].concat();
        let read = batch(Protocol::Compact, Method::AppendBatch, &message);
        assert_eq!(read, Err(Malformed::Short), "{what}");
    }
    let message = hex("800100010000000b617070656e644261746368000000010f00010cffffffff");
    let read = batch(Protocol::Binary, Method::AppendBatch, &message);
    assert_eq!(read, Err(Malformed::Invalid { what: "size", value: -1 }));
}

#[test]
fn nesting_that_is_skipped_has_a_limit() {
    for (depth, is_read) in [(20, true), (31, true), (33, false), (1_000_000, false)] {
        // Field 2 has nested structs; field 1 is missing.
        let mut message = hex("8221010b617070656e644261746368");
        message.push(0x2c);
        message.extend(vec![0x1c; depth - 1]);
        message.extend(vec![0; depth + 1]);
        let read = batch(Protocol::Compact, Method::AppendBatch, &message);
        let expected = match is_read {
            true => Malformed::Field { field: "events" },
            false => Malformed::Deep { max: 32 },
        };
        assert_eq!(read, Err(expected), "{depth}");
    }
}

#[test]
fn refuses_events_that_no_batch_can_contain() {
    let with = |headers: &[(&str, &str)], count: usize| {
        let mut call = Events::new(Protocol::Compact);
        let mut builder = pipeline::BatchBuilder::default();
        builder.push(b"", headers);
        let one = builder.finish();
        (0..count).for_each(|_| assert!(call.push(&one.iter().next().unwrap(), usize::MAX)));
        batch(Protocol::Compact, Method::AppendBatch, &call.call(1)[4..])
    };
    let names: Vec<String> = (0..1_001).map(|n| n.to_string()).collect();
    let headers: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "")).collect();
    assert_eq!(with(&headers[..1_000], 2).unwrap().len(), 2);
    assert!(matches!(with(&headers, 1), Err(Malformed::Headers(_))));
    assert!(matches!(with(&[("", "x")], 1), Err(Malformed::Headers(_))));
    // A header value that is not UTF-8: {"k": ff}.
    let message = hex("82210106617070656e641c1b0188016b01ff180000 00".replace(' ', "").as_str());
    assert_eq!(batch(Protocol::Compact, Method::Append, &message), Err(Malformed::NotUtf8));
}

#[test]
fn fields_are_there_once_and_unknown_ones_are_passed_over() {
    let call = "82210106617070656e64";
    let event = "1b00180178";
    for (what, arguments, is_read) in [
        ("as it is", format!("1c{event}0000"), true),
        (
            "further fields",
            format!("1c{event}158a01110029518a0100000021 00").replace(' ', ""),
            true,
        ),
        ("no body", "1c1b000000".into(), false),
        ("no headers", "1c2801780000".into(), false),
        ("two bodies", format!("1c{event}0804017a0000"), false),
        ("two events", format!("1c{event}000c02{event}0000"), false),
        ("no event", "00".into(), false),
        ("a text in place of the event", "18017800".into(), false),
        ("bytes behind it", format!("1c{event}000000"), false),
    ] {
        let message = hex(&format!("{call}{arguments}"));
        let read = batch(Protocol::Compact, Method::Append, &message);
        assert_eq!(read.is_ok(), is_read, "{what}: {read:?}");
    }
}

#[test]
fn another_encoding_is_named_with_what_helps() {
    let error = head(Protocol::Compact, &message("binary-append")).unwrap_err().to_string();
    assert!(error.contains("`protocol = \"binary\"`"), "{error}");
    let error = head(Protocol::Binary, &message("compact-append")).unwrap_err().to_string();
    assert!(error.contains("`protocol = \"compact\"`"), "{error}");
    // Without a version, as in old clients.
    let old = hex("00000006617070656e640100000005");
    let expected = Head { name: "append".into(), kind: Kind::Call, sequence: 5 };
    assert_eq!(head(Protocol::Binary, &old), Ok(expected));
}

#[test]
fn a_message_that_is_cut_is_never_read() {
    let inputs = corpus();
    let events: usize = inputs.iter().map(|(_, input)| read_any(input)).sum();
    assert_eq!(events, 2 * (1 + 2 + 20), "the corpus is read");
    for (name, input) in &inputs {
        for end in 0..input.len() {
            assert_eq!(read_any(&input[..end]), 0, "{name}, {end} bytes");
        }
    }
}

proptest! {
    #[test]
    fn events_survive_both_encodings(
        events in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 0..300),
             prop::collection::btree_map("[a-zä]{1,3}", ".{0,8}", 0..4)),
            1..40,
        ),
        sequence in any::<i32>(),
    ) {
        let mut builder = pipeline::BatchBuilder::default();
        for (body, headers) in &events {
            let headers: Vec<_> = headers.iter().map(|(k, v)| (&**k, &**v)).collect();
            builder.push(body, &headers);
        }
        let sent = builder.finish();
        for (protocol, _) in BOTH {
            let mut call = Events::new(protocol);
            prop_assert!(sent.iter().all(|event| call.push(&event, usize::MAX)));
            let frame = call.call(sequence);
            prop_assert_eq!(head(protocol, &frame[4..]).unwrap().sequence, sequence);
            let read = batch(protocol, Method::AppendBatch, &frame[4..]).unwrap();
            for (event, (body, headers)) in read.iter().zip(&events) {
                prop_assert_eq!(event.body(), body.as_slice());
                let read: std::collections::BTreeMap<String, String> = event
                    .headers().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
                prop_assert_eq!(&read, headers);
            }
            prop_assert_eq!(read.len(), events.len());
        }
    }
}
