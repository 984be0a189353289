//! A batch is unchanged by each round trip, and hostile bytes are rejected.

use std::borrow::Cow;

use proptest::prelude::*;

use super::encoding::HEADER_BYTES;
use super::*;
use crate::{Epoch, Origin, Sequence};

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

fn runs() -> impl Strategy<Value = Vec<(Option<String>, usize)>> {
    prop::collection::vec((prop::option::of("[ab]{0,9}"), 0_usize..9), 0..6)
}

fn each_of(runs: &[(Option<String>, usize)]) -> impl Iterator<Item = Option<&str>> {
    runs.iter().flat_map(|(value, events)| std::iter::repeat_n(value.as_deref(), *events))
}

/// As many events as the runs have, with the header `k`.
fn in_runs(runs: &[(Option<String>, usize)]) -> Batch {
    let mut batch = Batch::of(each_of(runs).map(|_| "body"));
    batch.set_runs("k", runs.iter().map(|(value, events)| (value.as_deref(), *events)));
    batch
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
        for (event, (body, headers)) in back.iter().zip(&plain) {
            prop_assert_eq!(event.body(), body.as_slice());
            for name in ["a", "b", "c", "d"] {
                prop_assert_eq!(event.header(name), last_value(headers, name));
            }
        }
    }

    #[test]
    fn values_in_runs_are_those_of_their_events(runs in runs(), count in 1_usize..4) {
        let mut batch = in_runs(&runs);
        let each: Vec<Option<&str>> = each_of(&runs).collect();
        let back = Batch::decode(batch.encode()).unwrap();
        for batch in [&batch.events, &back.events, &batch.moved_to(batch.encode())] {
            prop_assert_eq!(batch.values("k").collect::<Vec<_>>(), each.clone());
            prop_assert!(batch.iter().map(|event| event.header("k")).eq(each.iter().copied()));
        }
        prop_assert_eq!(batch.encode().len(), batch.encoded_len());
        prop_assert_eq!(batch.pieces().concat(), batch.encode());
        let part_of: Vec<usize> = (0..batch.len()).map(|event| event % count).collect();
        for (number, part) in batch.split(&part_of).iter().enumerate() {
            let expected: Vec<_> = each.iter().skip(number).step_by(count).copied().collect();
            prop_assert!(part.iter().map(|event| event.header("k")).eq(expected.iter().copied()));
            prop_assert_eq!(&Batch::decode(part.encode()).unwrap().events, part);
        }
        batch.set_header("k", "new", Existing::Keep);
        prop_assert!(batch.values("k").eq(each.iter().map(|value| value.or(Some("new")))));
    }

    #[test]
    fn damaged_bytes_are_refused_or_safe_to_read(
        plain in events(),
        of in 0..3,
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let batch = match of {
            0 => build(&plain),
            1 => released_short_lines(),
            _ => released_runs(),
        };
        let mut bytes = batch.encode().to_vec();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = to }
        if let Ok(batch) = Batch::decode(bytes.into()) {
            for event in batch.iter() {
                let _ = (event.body().len(), event.headers().count());
            }
            prop_assert_eq!(batch.values("k").count(), batch.len());
        }
    }

    #[test]
    fn splitting_keeps_every_event_and_its_order(plain in events(), count in 1_usize..5) {
        let batch = build(&plain);
        let part_of: Vec<usize> = (0..batch.len()).map(|event| event % count).collect();
        let parts = batch.split(&part_of);
        prop_assert_eq!(parts.iter().map(Events::len).sum::<usize>(), batch.len());
        for (number, part) in parts.into_iter().enumerate() {
            let mut kept = batch.clone();
            kept.retain(|event| event.index() % count == number);
            prop_assert_eq!(&part, &kept.events);
            let bodies = |part: &Events| part.iter().map(|e| e.body().to_vec()).collect::<Vec<_>>();
            let own = plain.iter().skip(number).step_by(count).map(|(body, _)| body.clone());
            prop_assert_eq!(bodies(&part), own.collect::<Vec<_>>());
            prop_assert_eq!(Batch::decode(part.encode()).unwrap().events, part);
        }
    }

    #[test]
    fn the_values_of_a_header_are_those_of_its_events(plain in events()) {
        let mut batch = build(&plain);
        batch.set_header("shared", "v", Existing::Keep);
        for name in ["a", "b", "shared", "of none"] {
            let each: Vec<_> = batch.iter().map(|event| event.header(name)).collect();
            prop_assert_eq!(batch.values(name).collect::<Vec<_>>(), each);
        }
    }

    #[test]
    fn a_header_is_set_where_it_may_be(plain in events(), replace in any::<bool>()) {
        let mut batch = build(&plain);
        batch.set_header("a", "new", if replace { Existing::Replace } else { Existing::Keep });
        for (event, (_, headers)) in batch.iter().zip(&plain) {
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
    let bodies: Vec<&[u8]> = batch.iter().map(|event| event.body()).collect();
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
    fn short_lines_are_what_they_are_with_their_lengths(
        bodies in prop::collection::vec("[^\n]{0,40}", 0..40),
        count in 1_usize..4,
    ) {
        let bodies: Vec<Vec<u8>> = bodies.into_iter().map(String::into_bytes).collect();
        let (short, stored) = (short_lines(&bodies), Batch::of(&bodies));
        prop_assert_eq!(&short, &stored);
        prop_assert_eq!(short.encoded_len() + short.len(), stored.encoded_len());
        prop_assert_eq!(&Batch::decode(short.encode()).unwrap(), &stored);
        prop_assert_eq!(&short.moved_to(short.encode()), &stored.events);
        let part_of: Vec<usize> = (0..bodies.len()).map(|event| event % count).collect();
        for (part, expected) in short.split(&part_of).iter().zip(stored.split(&part_of)) {
            prop_assert_eq!(&Batch::decode(part.encode()).unwrap().events, &expected);
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

#[test]
fn a_value_that_many_neighbours_have_is_stored_once() {
    let path = "/var/log/nginx/access.log".to_owned();
    let run = |number: usize| (Some(format!("{path}.{number}")), 1_000);
    let (alike, runs) = (in_runs(&[run(1), run(1)]), in_runs(&[run(1), run(2), run(3), run(1)]));
    assert!(alike.is_uniform() && alike.encoded_len() < 2_000 * 6 + 100);
    assert!(runs.encoded_len() < 4_000 * 6 + 300, "{}", runs.encoded_len());
    let mut builder = BatchBuilder::default();
    for event in runs.iter() {
        builder.push(event.body(), &event.headers().collect::<Vec<_>>());
    }
    assert_eq!(builder.finish().encode(), runs.encode());
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

/// Three lines of one file and one of another.
fn released_runs() -> Batch {
    let mut batch = Batch::of(["1", "2", "3", "4"]);
    batch.set_header("h", "v", Existing::Keep);
    batch.set_runs("k", [(Some("a.log"), 3), (None, 1)].into_iter());
    batch
}

#[test]
fn values_in_runs_are_written_as_version_4() {
    let hex: String = released_runs().encode().iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = "0401010001000100040000000800000020000000080000000100010000006876\
                    010005000000020000006b03000000040000000500000005000080612e6c6f67\
                    01010101310a320a330a340a";
    assert_eq!(hex, expected);
}

#[test]
fn writes_version_2_and_version_3_for_short_lines() {
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
        // With another header, it is encoded again.
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
    assert_eq!(bytes(&released(), 0, 5), Err(DecodeError::Version { found: 5 }));
    assert_eq!(bytes(&released(), 6, 3), contradicts("header"));
    assert_eq!(bytes(&released(), 6, 0), contradicts("header"));
    assert_eq!(bytes(&released_short_lines(), 6, 1), contradicts("header"));
    assert_eq!(bytes(&released_short_lines(), 1, 0), contradicts("lengths"));
    assert_eq!(bytes(&released_short_lines(), 8, 3), contradicts("columns"));
    let (runs, first, last) = (HEADER_BYTES + 8 + 6, HEADER_BYTES + 8 + 11, HEADER_BYTES + 8 + 15);
    for (at, byte) in [(runs, 3), (first, 0), (first, 4), (last, 3), (last, 5)] {
        assert_eq!(bytes(&released_runs(), at, byte), contradicts("columns"), "{byte} at {at}");
    }
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
        prop_assert_eq!(&moved, &batch.events);
        prop_assert_eq!(moved.encode(), batch.encode());
        prop_assert_eq!(batch.pieces().concat(), batch.encode());
        let again = moved.moved_to(Bytes::from(moved.encode().to_vec()));
        prop_assert_eq!(&again, &Batch::decode(moved.encode()).unwrap().events);
    }
}

#[test]
fn changed_bodies_keep_headers_identity_and_positions_of_their_events() {
    let mut builder = BatchBuilder::default();
    builder.push(b"one", &[("n", "1")]);
    builder.push(b"two", &[("n", "2")]);
    builder.push(b"three", &[]);
    let mut batch = builder.finish();
    batch.set_header("host", "web-1", Existing::Keep);
    let identity = Identity { origin: Origin([7; 16]), epoch: Epoch(1), sequence: Sequence(2) };
    batch.envelope.identity = Some(identity);
    let encoded = batch.encode();
    let mut batch = Batch::decode(encoded).unwrap();
    batch.envelope.identity = Some(identity);
    batch.map_bodies(|event| match event.body() {
        b"two" => Cow::Owned(b"2\n2".to_vec()),
        body => Cow::Borrowed(body),
    });
    let read = Batch::decode(batch.encode()).unwrap();
    let bodies: Vec<&[u8]> = read.iter().map(|event| event.body()).collect();
    assert_eq!(bodies, [&b"one"[..], b"2\n2", b"three"]);
    assert_eq!(read.values("n").collect::<Vec<_>>(), [Some("1"), Some("2"), None]);
    assert_eq!(read.shared_header("host"), Some("web-1"));
    assert_eq!(batch.envelope.identity, Some(identity));
}

#[test]
fn extracts_exactly_the_wanted_events() {
    let mut batch = Batch::of(["keep 1", "take 1", "keep 2", "take 2"]);
    batch.set_column("n", [Some("1"), Some("2"), None, Some("4")].into_iter());
    let before = batch.clone();
    assert!(batch.extract(|_| false).is_empty());
    assert_eq!(batch, before);
    let taken = batch.extract(|event| event.body().starts_with(b"take"));
    let bodies = |events: &Events| -> Vec<String> {
        events.iter().map(|e| String::from_utf8_lossy(e.body()).into_owned()).collect()
    };
    assert_eq!(bodies(&taken), ["take 1", "take 2"]);
    assert_eq!(taken.values("n").collect::<Vec<_>>(), [Some("2"), Some("4")]);
    assert_eq!(bodies(&batch), ["keep 1", "keep 2"]);
    assert_eq!(batch.values("n").collect::<Vec<_>>(), [Some("1"), None]);
}

#[test]
fn bodies_that_stay_as_they_are_are_not_copied() {
    let read = Bytes::from_static(b"one\ntwo\n");
    let mut batch = Batch::of_lines(read.clone(), &[3, 3]);
    batch.map_bodies(|event| Cow::Borrowed(event.body()));
    assert_eq!(batch.lines().unwrap().as_ptr(), read.as_ptr());
}
