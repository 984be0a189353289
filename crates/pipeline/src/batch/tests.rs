//! A batch says the same before and after each trip, and hostile bytes are refused, not trusted.

use proptest::prelude::*;

use super::*;

type PlainEvent = (Vec<u8>, Vec<(String, String)>);

fn events() -> impl Strategy<Value = Vec<PlainEvent>> {
    let header = ("[a-d]", "[a-zäö]{0,4}");
    let event = (prop::collection::vec(any::<u8>(), 0..20), prop::collection::vec(header, 0..4));
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
    fn damaged_bytes_are_refused_or_safe_to_read(plain in events(), at in any::<prop::sample::Index>(), to in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = build(&plain).encode().to_vec();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = to }
        if let Ok(batch) = Batch::decode(bytes.into()) {
            for event in batch.events() {
                let _ = (event.body().len(), event.headers().count());
            }
        }
    }

    #[test]
    fn splitting_keeps_every_event_and_its_order(plain in events()) {
        let batch = build(&plain);
        let parts = batch.split_by(|event| event.header("a").map(String::from));
        prop_assert_eq!(parts.iter().map(|(_, part)| part.len()).sum::<usize>(), batch.len());
        for (key, part) in parts {
            let mut kept = batch.clone();
            kept.retain(|event| event.header("a") == key.as_deref());
            prop_assert_eq!(&part, &kept);
            prop_assert_eq!(Batch::decode(part.encode()).unwrap(), part);
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

#[test]
fn the_layout_stays_as_it_was_released() {
    let mut batch =
        build(&[(b"x".to_vec(), vec![("k".into(), "1".into())]), (b"yz".to_vec(), vec![])]);
    batch.set_header("h", "v", Existing::Keep);
    let hex: String = batch.encode().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        "01010100010000000200000008000000100000000500000001000100000068760100010000006b01000000\
         0100008031010000000200000078 0a797a0a"
            .replace(' ', "")
    );
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
