//! A batch says the same before and after each trip, and hostile bytes are refused, not trusted.

use proptest::prelude::*;

use super::*;

type PlainEvent = (Vec<u8>, Vec<(String, String)>);

fn events() -> impl Strategy<Value = Vec<PlainEvent>> {
    let header = ("[a-d]", "[a-zäö]{0,4}");
    // Long ones at the borders where lengths become wider.
    let long = prop_oneof![250_usize..260, 65_530_usize..65_540];
    let body = prop_oneof![
        20 => prop::collection::vec(any::<u8>(), 0..20),
        1 => (any::<u8>(), long).prop_map(|(byte, len)| vec![byte; len]),
    ];
    let event = (body, prop::collection::vec(header, 0..4));
    prop::collection::vec(event, 0..12)
}

fn build(events: &[PlainEvent]) -> Batch {
    let mut builder = BatchBuilder::default();
    for (body, headers) in events {
        let headers: Vec<_> = headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        builder.push(body, &headers);
    }
    builder.finish()
}

fn last_value<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

proptest! {
    #[test]
    fn a_batch_comes_back_from_its_bytes(plain in events()) {
        let batch = build(&plain);
        let bytes = batch.encode();
        prop_assert_eq!(bytes.len(), batch.encoded_len());
        let back = Batch::decode(bytes.clone()).unwrap();
        prop_assert_eq!(&back, &batch);
        prop_assert_eq!(back.encode(), bytes);
        for (event, (body, headers)) in back.events().zip(&plain) {
            prop_assert_eq!(event.body(), body.as_slice());
            for name in ["a", "b", "c", "d"] {
                prop_assert_eq!(event.header(name), last_value(headers, name));
            }
        }
    }

    #[test]
    fn damaged_bytes_are_refused_or_safe_to_read(plain in events(), short in any::<bool>(), at in any::<prop::sample::Index>(), to in any::<u8>(), cut in any::<bool>()) {
        let batch = if short { released_short_lines() } else { build(&plain) };
        let mut bytes = batch.encode().to_vec();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = to }
        if let Ok(batch) = Batch::decode(bytes.into()) {
            for event in batch.events() {
                let _ = (event.body().len(), event.headers().count());
            }
        }
    }

    #[test]
    fn splitting_keeps_every_event_and_its_order(plain in events(), count in 1_usize..5) {
        let batch = build(&plain);
        let part_of: Vec<usize> = (0..batch.len()).map(|event| event % count).collect();
        let parts = batch.split(&part_of);
        prop_assert_eq!(parts.iter().map(Batch::len).sum::<usize>(), batch.len());
        for (number, part) in parts.into_iter().enumerate() {
            let mut kept = batch.clone();
            kept.retain(|event| event.index() % count == number);
            prop_assert_eq!(&part, &kept);
            let bodies = |batch: &Batch| batch.events().map(|e| e.body().to_vec()).collect::<Vec<_>>();
            let own = plain.iter().skip(number).step_by(count).map(|(body, _)| body.clone());
            prop_assert_eq!(bodies(&part), own.collect::<Vec<_>>());
            prop_assert_eq!(Batch::decode(part.encode()).unwrap(), part);
        }
    }

    #[test]
    fn the_values_of_a_header_are_those_of_its_events(plain in events()) {
        let mut batch = build(&plain);
        batch.set_header("shared", "v", Existing::Keep);
        for name in ["a", "b", "shared", "of nobody"] {
            let each: Vec<_> = batch.events().map(|event| event.header(name)).collect();
            prop_assert_eq!(batch.values(name).collect::<Vec<_>>(), each);
        }
    }

    #[test]
    fn a_header_is_set_where_it_may_be(plain in events(), replace in any::<bool>()) {
        let mut batch = build(&plain);
        batch.set_header("a", "new", if replace { Existing::Replace } else { Existing::Keep });
        for (event, (_, headers)) in batch.events().zip(&plain) {
            let old = last_value(headers, "a").filter(|_| !replace);
            prop_assert_eq!(event.header("a"), Some(old.unwrap_or("new")));
        }
        prop_assert_eq!(Batch::decode(batch.encode()).unwrap(), batch);
    }
}

#[test]
fn lines_are_taken_over_as_they_were_read() {
    let read = Bytes::from_static(b"first\r\n\nlast\n");
    let batch = Batch::of_lines(read.clone(), &[6, 0, 4]);
    let bodies: Vec<&[u8]> = batch.events().map(|event| event.body()).collect();
    assert_eq!(bodies, [b"first\r".as_slice(), b"", b"last"]);
    assert_eq!(batch.lines().map(|lines| lines.as_ptr()), Some(read.as_ptr()));
}

fn short_lines(bodies: &[Vec<u8>]) -> Batch {
    let lines =
        bodies.iter().flat_map(|body| [body.as_slice(), b"\n"].concat()).collect::<Vec<_>>();
    Batch::of_short_lines(lines.into(), bodies.len())
}

proptest! {
    #[test]
    fn short_lines_are_what_they_are_with_their_lengths_beside_them(bodies in prop::collection::vec("[^\n]{0,40}", 0..40), count in 1_usize..4) {
        let bodies: Vec<Vec<u8>> = bodies.into_iter().map(String::into_bytes).collect();
        let (short, stored) = (short_lines(&bodies), Batch::of(&bodies));
        prop_assert_eq!(&short, &stored);
        prop_assert_eq!(short.encoded_len() + short.len(), stored.encoded_len());
        prop_assert_eq!(&Batch::decode(short.encode()).unwrap(), &stored);
        prop_assert_eq!(&short.moved_to(short.encode()), &stored);
        let part_of: Vec<usize> = (0..bodies.len()).map(|event| event % count).collect();
        for (part, expected) in short.split(&part_of).iter().zip(stored.split(&part_of)) {
            prop_assert_eq!(&Batch::decode(part.encode()).unwrap(), &expected);
        }
    }
}

#[test]
fn other_short_lines_have_another_fingerprint() {
    let lines: Vec<Vec<u8>> = (0..10_000).map(|line| format!("{line}").into_bytes()).collect();
    let fingerprint = short_lines(&lines).fingerprint();
    let mut others =
        vec![lines[1..].to_vec(), lines[..9_999].to_vec(), lines.clone(), lines.clone()];
    others[2][5_000] = b"longer".to_vec();
    others[3].swap(0, 9_999);
    for other in others {
        assert_ne!(short_lines(&other).fingerprint(), fingerprint);
    }
    let mut with_header = short_lines(&lines);
    with_header.set_header("host", "relay", Existing::Keep);
    assert_eq!(with_header.fingerprint(), fingerprint, "a relay sets headers");
}

/// Two events, a shared header and a column, as each version of the layout has them.
const VERSIONS: [&str; 3] = [
    "0101010001000000020000000800000010000000050000000100010000006876\
     0100010000006b0100000001000080310100000002000000780a797a0a",
    "0201010001000100020000000800000010000000050000000100010000006876\
     0100010000006b0100000001000080310102780a797a0a",
    "0301010001000000020000000800000010000000050000000100010000006876\
     0100010000006b010000000100008031780a797a0a",
];

fn released() -> Batch {
    let mut batch =
        build(&[(b"x".to_vec(), vec![("k".into(), "1".into())]), (b"yz".to_vec(), vec![])]);
    batch.set_header("h", "v", Existing::Keep);
    batch
}

fn released_short_lines() -> Batch {
    let mut batch = short_lines(&[b"x".to_vec(), b"yz".to_vec()]);
    batch.set_header("h", "v", Existing::Keep);
    batch.set_column("k", [Some("1"), None].into_iter());
    batch
}

#[test]
fn what_is_written_is_version_2_and_of_short_lines_version_3() {
    for (batch, version) in [(released(), VERSIONS[1]), (released_short_lines(), VERSIONS[2])] {
        let hex: String = batch.encode().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, version);
    }
}

#[test]
fn every_released_layout_is_read_and_handed_on_as_it_is() {
    for hex in VERSIONS {
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let bytes: Bytes = (0..hex.len()).step_by(2).map(byte).collect();
        let mut batch = Batch::decode(bytes.clone()).unwrap();
        assert_eq!((&batch, batch.encode()), (&released(), bytes));
        // A header more, and it is encoded anew.
        batch.set_header("i", "w", Existing::Keep);
        assert_eq!(Batch::decode(batch.encode()).unwrap(), batch);
    }
}

#[test]
fn a_layout_or_width_that_is_not_known_is_refused() {
    let bytes = |batch: &Batch, at: usize, byte: u8| {
        let mut bytes = batch.encode().to_vec();
        bytes[at] = byte;
        Batch::decode(bytes.into())
    };
    let contradicts = |section| Err(DecodeError::Inconsistent { section });
    assert_eq!(bytes(&released(), 0, 4), Err(DecodeError::Version { found: 4 }));
    assert_eq!(bytes(&released(), 6, 3), contradicts("header"));
    assert_eq!(bytes(&released(), 6, 0), contradicts("header"));
    assert_eq!(bytes(&released_short_lines(), 6, 1), contradicts("header"));
    assert_eq!(bytes(&released_short_lines(), 1, 0), contradicts("lengths"));
    assert_eq!(bytes(&released_short_lines(), 8, 3), contradicts("columns"));
}

#[test]
fn two_names_alike_are_refused() {
    let mut batch = Batch::of(["x"]);
    batch.set_header("aa", "1", Existing::Keep);
    batch.set_header("ab", "2", Existing::Keep);
    let mut bytes = batch.encode().to_vec();
    let at = bytes.windows(2).position(|pair| pair == b"ab").unwrap();
    bytes[at + 1] = b'a';
    assert_eq!(Batch::decode(bytes.into()), Err(DecodeError::Inconsistent { section: "headers" }));
}

proptest! {
    #[test]
    fn a_batch_is_the_same_when_its_bytes_have_moved(plain in events()) {
        let mut batch = build(&plain);
        batch.set_header("host", "web-1", Existing::Keep);
        let moved = batch.moved_to(batch.encode());
        prop_assert_eq!(&moved, &batch);
        prop_assert_eq!(moved.encode(), batch.encode());
        prop_assert_eq!(batch.pieces().concat(), batch.encode());
        let again = moved.moved_to(Bytes::from(moved.encode().to_vec()));
        prop_assert_eq!(&again, &Batch::decode(moved.encode()).unwrap());
    }
}
