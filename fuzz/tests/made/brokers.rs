//! Messages of AMQP brokers, in both protocol versions, and Parquet files, including inputs that
//! once crashed an agent.

use super::{Seed, golden};

/// Nesting of values that overflowed the stack of a library.
const DEEP: usize = 2_000;

/// Returns seeds of the targets `rabbitmq`, `amqp` and `parquet`.
pub(super) fn all() -> Vec<Seed> {
    [rabbitmq(), amqp(), parquet()].concat()
}

/// Encodes an AMQP 0.9.1 frame.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&[kind, 0, 1][..], &length, payload, &[0xce]].concat()
}

fn table(entries: &[u8]) -> Vec<u8> {
    [&(entries.len() as u32).to_be_bytes()[..], entries].concat()
}

/// Encodes a value within nested lists.
fn nested(depth: usize) -> Vec<u8> {
    let mut value = vec![b'V'];
    for _ in 1..depth {
        value = [&b"A"[..], &table(&value)].concat();
    }
    value
}

/// Encodes a message with these entries in its header table.
fn delivery(entries: &[u8], body: &[u8]) -> Vec<u8> {
    let method = b"\0\x3c\0\x3c\x01c\0\0\0\0\0\0\0\x07\0\x01e\x03key";
    let length = (body.len() as u64).to_be_bytes();
    let header = [&[0, 60, 0, 0][..], &length, &[1 << 5, 0], &table(entries)].concat();
    let mut frames = [frame(1, method), frame(2, &header)].concat();
    if !body.is_empty() {
        frames.extend(frame(3, body));
    }
    frames
}

fn greeting(entries: &[u8]) -> Vec<u8> {
    let tail = b"\0\0\0\x05PLAIN\0\0\0\x05en_US";
    frame(1, &[&b"\0\x0a\0\x0a\0\x09"[..], &table(entries), tail].concat())
}

fn rabbitmq() -> Vec<Seed> {
    let typed = b"\x01atx\x01nI\0\0\0\x07\x01bS\0\0\0\x02hi\x01cF\0\0\0\x0b\x01dA\0\0\0\x04VVtx";
    let deep = [&b"\x01h"[..], &nested(DEEP)].concat();
    let wide = [&b"\x01hA"[..], &table(&[b'V'; 4_000])].concat();
    let product = b"\x07productS\0\0\0\x08RabbitMQ";
    let seeds = [
        ("greeting", greeting(product)),
        ("headers", [greeting(product), delivery(typed, b"body")].concat()),
        ("empty", [delivery(b"", b""), frame(8, b""), delivery(b"", b"b")].concat()),
        ("wide", delivery(&wide, b"x")),
        ("deep", [delivery(&deep, b"x"), delivery(b"", b"y")].concat()),
        ("deep-greeting", greeting(&deep)),
        ("unfinished", delivery(typed, b"body")[..40].to_vec()),
    ];
    seeds.map(|(name, bytes)| ("rabbitmq", name.to_owned(), [&[6], &bytes[..]].concat())).to_vec()
}

/// Encodes an AMQP 1.0 frame.
fn frame_1_0(body: &[u8]) -> Vec<u8> {
    let length = (8 + body.len() as u32).to_be_bytes();
    [&length[..], &[2, 0, 0, 0], body].concat()
}

/// Encodes nested lists with four-byte sizes.
fn lists(depth: usize) -> Vec<u8> {
    let mut value = vec![0x45];
    for _ in 1..depth {
        let size = (value.len() as u32 + 4).to_be_bytes();
        value = [&[0xd0][..], &size, &[0, 0, 0, 1], &value].concat();
    }
    value
}

fn amqp() -> Vec<Seed> {
    let of_message = |bytes: &[u8]| [&[1, 20], bytes].concat();
    let of_frames = |bytes: &[u8]| [&[0, 20], bytes].concat();
    let properties = b"\0\x53\x74\xc1\x0a\x02\xa1\x01k\xa1\x04text";
    let text = [&properties[..], b"\0\x53\x77\xa1\x05hello"].concat();
    let open = frame_1_0(b"\0\x53\x10\xc0\x06\x01\xa1\x03abc");
    let deep_open = [b"\0\x53\x10\xd0\0\0\0\x04\0\0\0\x01".as_slice(), &lists(DEEP)].concat();
    let transfer = b"\0\x53\x14\xc0\x08\x04\x43\x43\xa0\x01t\x43\0\x53\x75\xa0\x04body";
    let stream = [b"AMQP\0\x01\0\0".as_slice(), &open, &frame_1_0(b""), &frame_1_0(transfer)];
    let announced_list =
        [b"\0\x53\x77\xd0\xff\xff\x8c\x8a".as_slice(), &lists(2 * DEEP)[5..]].concat();
    let seeds = [
        ("text", of_message(&text)),
        ("data", of_message(b"\0\x53\x75\xa0\x04body")),
        ("number", of_message(b"\0\x53\x77\x54\x07")),
        ("array", of_message(b"\0\x53\x77\xe0\x06\x02\xa3\x01a\x01b")),
        ("deep", of_message(&[b"\0\x53\x77".as_slice(), &lists(2 * DEEP)].concat())),
        ("described", of_message(&[b"\0\x53\x77".as_slice(), &[0, 0x44].repeat(DEEP)].concat())),
        ("announced", of_message(b"\xb3\x53\x77\x54\x07\x5d")),
        ("announced-list", of_message(&announced_list)),
        ("stream", of_frames(&stream.concat())),
        ("deep-open", of_frames(&frame_1_0(&deep_open))),
    ];
    seeds.map(|(name, bytes)| ("amqp", name.to_owned(), bytes)).to_vec()
}

fn parquet() -> Vec<Seed> {
    let file = |name: &str| golden(&format!("components-parquet/tests/golden/{name}.parquet"));
    let (three, many) = (file("three-nulls"), file("nulls-in-a-row"));
    let seeds = [
        ("three-nulls", three.clone()),
        ("nulls-in-a-row", many.clone()),
        ("without-end", many[..many.len() - 1].to_vec()),
        ("without-footer", three[three.len() - 8..].to_vec()),
        ("none", b"PAR1".to_vec()),
    ];
    seeds.map(|(name, bytes)| ("parquet", name.to_owned(), bytes)).to_vec()
}
