//! Input within the bounds is unchanged, and input beyond them is made malformed.

use fe2o3_amqp::types::messaging::message::{Body, DecodeIntoMessage};
use kit::bounds::{DEPTH_MAX, VALUES_MAX};
use serde_amqp::Value;
use serde_amqp::read::SliceReader;

use super::walk::NO_VALUE;
use super::*;

/// Returns a frame on channel 0 with this body.
fn frame(body: &[u8]) -> Vec<u8> {
    let length = (HEAD_BYTES + body.len()) as u32;
    [&length.to_be_bytes()[..], &[2, 0, 0, 0], body].concat()
}

/// Returns a piece of a message on a link.
fn transfer(handle: u8, more: bool, piece: &[u8]) -> Vec<u8> {
    let more = if more { 0x41 } else { 0x42 };
    let fields = [0x52, handle, 0x43, 0xa0, 1, b't', 0x43, 0x40, more];
    let size = 1 + fields.len() as u8;
    let performative = [&[0, 0x53, 0x14, 0xc0, size, 6][..], &fields, piece].concat();
    frame(&performative)
}

/// Returns a message with this value.
fn message(value: &[u8]) -> Vec<u8> {
    [&[0, 0x53, 0x77][..], value].concat()
}

/// Returns nested lists of this depth.
fn nested(depth: usize) -> Vec<u8> {
    let mut value = vec![0x45];
    for _ in 1..depth {
        let size = (value.len() as u32 + 4).to_be_bytes();
        value.splice(0..0, [&[0xd0][..], &size, &1_u32.to_be_bytes()].concat());
    }
    value
}

/// Passes the bytes in pieces of different sizes; returns the result, and the reason of a change.
fn passed(bytes: &[u8]) -> Result<(Vec<u8>, Option<String>), String> {
    let mut all = Vec::new();
    for step in [1, 3, 1000, bytes.len()] {
        let (mut bytes, mut watch) = (bytes.to_vec(), Watch::default());
        for part in bytes.chunks_mut(step.max(1)) {
            watch.pass(part)?;
        }
        all.push((bytes, watch.take_refused()));
    }
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "in any pieces");
    Ok(all.remove(0))
}

fn decoded(message: &[u8]) -> Option<Value> {
    let decoded = Body::<Value>::decode_message_from_reader(SliceReader::new(message));
    match decoded.ok()?.body {
        Body::Value(value) => Some(value.0),
        _ => None,
    }
}

#[test]
fn messages_within_the_bounds_pass_as_they_are() {
    let map = [0xc1, 11, 4, 0xa1, 1, b'k', 0x54, 7, 0x40, 0x83, 0, 0, 0, 0, 0, 0, 0, 1];
    let map = [&map[..1], &[17], &map[2..]].concat();
    let symbols = [0xe0, 6, 2, 0xa3, 1, b'a', 1, b'b'];
    let numbers = [0xf0, 0, 0, 0, 13, 0, 0, 0, 2, 0x71, 0, 0, 0, 1, 0, 0, 0, 2];
    let described = [0, 0xa3, 1, b'd', 0x98, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6];
    let mut stream = b"AMQP\x03\x01\0\0AMQP\0\x01\0\0".to_vec();
    stream.extend(frame(b""));
    for value in [&map[..], &symbols, &numbers, &described, &nested(DEPTH_MAX - 2)] {
        let message = message(value);
        assert!(decoded(&message).is_some(), "{value:x?}");
        stream.extend(transfer(0, false, &message));
        let (first, rest) = message.split_at(message.len() / 2);
        stream.extend([transfer(0, true, first), frame(b""), transfer(0, false, rest)].concat());
    }
    assert_eq!(passed(&stream), Ok((stream, None)));
}

#[test]
fn a_message_beyond_the_bounds_is_made_malformed_and_the_next_one_passes() {
    let values = VALUES_MAX as u32 + 2;
    let size = (values + 4).to_be_bytes();
    let many = [&[0xd0][..], &size, &values.to_be_bytes(), &vec![0x40; VALUES_MAX + 2]];
    let many = many.concat();
    let lists = [0xe0, 5, 1, 0xc0, 2, 1, 0x40];
    for (value, problem) in [
        (nested(4_000), "nested deeper"),
        (nested(DEPTH_MAX), "nested deeper"),
        ([0, 0x44].repeat(4_000), "nested deeper"),
        (many, "more than 65536 values"),
        (lists.to_vec(), "an array with elements"),
    ] {
        let deep = message(&value);
        let mut stream = Vec::new();
        let pieces: Vec<_> = deep.chunks(1_000).collect();
        for (place, piece) in pieces.iter().enumerate() {
            stream.extend(transfer(0, place + 1 < pieces.len(), piece));
        }
        let good = transfer(0, false, &message(&[0x41]));
        let (passed, refused) = passed(&[&stream[..], &good].concat()).unwrap();
        assert!(refused.as_ref().is_some_and(|it| it.contains(problem)), "{refused:?}");
        assert!(passed.ends_with(&good));
        let changed: Vec<_> = (0..stream.len()).filter(|at| passed[*at] != stream[*at]).collect();
        assert_eq!(changed.len(), 1);
        assert_eq!(passed[changed[0]], NO_VALUE);
        let head = stream.len() - deep.len();
        if pieces.len() == 1 {
            assert_eq!(decoded(&passed[head..stream.len()]), None, "the library refuses it");
        }
    }
}

#[test]
fn a_size_that_is_too_small_for_the_number_after_it_is_raised() {
    for (value, raised) in [
        (&[0xc0, 0, 0][..], &[0xc0, 1, 0][..]),
        (&[0xc1, 0, 0], &[0xc1, 1, 0]),
        (&[0xe0, 1, 1, 0x41], &[0xe0, 2, 1, 0x41]),
        (&[0xd0, 0, 0, 0, 3, 0, 0, 0, 0], &[0xd0, 0, 0, 0, 4, 0, 0, 0, 0]),
        (&[0xd1, 0, 0, 0, 0, 0, 0, 0, 0], &[0xd1, 0, 0, 0, 4, 0, 0, 0, 0]),
        (&[0xf0, 0, 0, 0, 1, 0, 0, 0, 1, 0x41], &[0xf0, 0, 0, 0, 5, 0, 0, 0, 1, 0x41]),
        // Large enough, although its last byte is 0.
        (&[0xd0, 0, 0, 1, 0, 0, 0, 0, 0], &[0xd0, 0, 0, 1, 0, 0, 0, 0, 0]),
    ] {
        let (given, expected) = (message(value), message(raised));
        let (passed, refused) = passed(&transfer(0, false, &given)).unwrap();
        assert_eq!((passed, refused), (transfer(0, false, &expected), None), "{value:x?}");
        assert!(decoded(&expected).is_some(), "{value:x?}");
    }
}

#[test]
fn a_length_beyond_the_largest_message_becomes_its_size() {
    for (most, length, expected) in [
        (64 << 20, 0x0400_0000_u32, 0x0400_0000_u32),
        (64 << 20, 0x0400_0001, 0x0400_0000),
        (64 << 20, 0x0412_3456, 0x0400_0000),
        (64 << 20, 0x5377_5407, 0x0400_0000),
        (0x00ff_0102, 0x01ff_0000, 0x00ff_0102),
        (0x00ff_0102, 0x00ff_0102, 0x00ff_0102),
    ] {
        for code in [0xb0, 0xb1, 0xb3, 0xd0, 0xd1, 0xf0] {
            let mut watch = Watch::default();
            watch.limit_messages(most);
            let bytes = |length: u32| message(&[&[code][..], &length.to_be_bytes()].concat());
            let mut stream = transfer(0, false, &bytes(length));
            watch.pass(&mut stream).unwrap();
            assert!(stream.ends_with(&bytes(expected)), "{code:x} {length:x}");
            let refused = watch.take_refused();
            assert_eq!(refused.is_some(), length != expected, "{code:x} {length:x}");
            assert!(refused.is_none_or(|it| it.contains("`message_max`")));
            assert_eq!(decoded(&bytes(expected)), None, "{code:x} {length:x}");
        }
    }
}

#[test]
fn values_after_a_length_beyond_the_largest_message_are_checked() {
    let list = [&[0xd0, 0xff, 0xff, 0x8c, 0x8a][..], &nested(4_000)[5..]].concat();
    let text = [&[0xd0, 0, 0, 0, 9, 0, 0, 0, 2, 0xb1, 0xff, 0xff, 0xff, 0xff][..], &nested(4_000)];
    for value in [list, text.concat()] {
        let deep = message(&value);
        let (passed, refused) = passed(&transfer(0, false, &deep)).unwrap();
        assert!(refused.is_some());
        assert_eq!(decoded(&passed[passed.len() - deep.len()..]), None, "the library refuses it");
    }
}

#[test]
fn a_map_whose_last_key_has_no_value_is_refused() {
    for map in [
        &[0xc1, 4, 1, 0xa1, 1, b'k'][..],
        &[0xc1, 1, 1],
        &[0xc1, 255, 255, 0x40],
        &[0xd1, 0, 0, 0, 7, 0, 0, 1, 255, 0xa1, 1, b'k'],
        &[0xd1, 0, 0, 0, 5, 0, 0, 0, 3, 0x40],
        &[0xc0, 5, 1, 0xc1, 2, 1, 0x40],
    ] {
        let bytes = message(map);
        let (passed, refused) = passed(&transfer(0, false, &bytes)).unwrap();
        let passed = &passed[passed.len() - bytes.len()..];
        assert_eq!(decoded(passed), None, "{map:?}: the library refuses it");
        assert_eq!(refused.is_some(), passed.contains(&NO_VALUE), "{map:?}");
    }
}

#[test]
fn the_pieces_of_messages_and_what_is_before_them_are_watched() {
    let open = |value: &[u8]| {
        let size = (4 + value.len() as u32).to_be_bytes();
        frame(&[&[0, 0x53, 0x10, 0xd0][..], &size, &[0, 0, 0, 1], value].concat())
    };
    let (passed_deep, refused) = passed(&open(&nested(4_000))).unwrap();
    assert!(refused.is_some() && passed_deep.contains(&NO_VALUE));
    let mixed = [transfer(0, true, &message(&[0xd0])), transfer(1, false, &[0, 0, 0, 9])];
    assert!(passed(&mixed.concat()).unwrap_err().contains("mixed"));
    let resumed =
        [0, 0x53, 0x14, 0xc0, 10, 9, 0x43, 0x43, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x41];
    assert!(passed(&frame(&resumed)).unwrap().1.unwrap().contains("resumed"));
    let named = [&[0, 0xa3, 18][..], b"amqp:transfer:list", &[0x45]].concat();
    assert!(passed(&frame(&named)).unwrap().1.is_some(), "a performative has a number");
}
