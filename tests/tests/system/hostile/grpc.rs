//! Frames of HTTP/2 and messages of agents, as no honest agent sends them.

use std::net::SocketAddr;

use super::{After, Attack, MIB, put_varint};

/// Zeros in a block of zstd at most.
const BLOCK: usize = 128 << 10;

/// A frame of HTTP/2 on a stream.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// The beginning of a connection, and a call of `Exchange` up to the last header.
fn call() -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    let headers = [
        vec![0x83, 0x86, 0x04],
        text("/aqueduct.v1.Delivery/Exchange"),
        vec![0x01],
        text("x"),
        vec![0x0f, 0x10],
        text("application/grpc"),
        vec![0x00],
        text("te"),
        text("trailers"),
    ];
    let headers = frame(1, 4, 1, &headers.concat());
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(4, 0, 0, &[])[..], &headers].concat()
}

/// A field of a message with these bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    put_varint(&mut field, bytes.len() as u64);
    field.extend_from_slice(bytes);
    field
}

/// A message of gRPC in frames of so many bytes.
fn message(content: &[u8], frame_bytes: usize) -> Vec<u8> {
    let length = (content.len() as u32).to_be_bytes();
    let bytes = [&[0], &length[..], content].concat();
    bytes.chunks(frame_bytes).flat_map(|piece| frame(0, 0, 1, piece)).collect()
}

/// The greeting of an agent that holds nothing.
pub(super) fn hello() -> Vec<u8> {
    let said = [field(1, b"x"), field(2, b"zstd"), field(3, &[0])].concat();
    [call(), message(&field(1, &said), 16 << 10)].concat()
}

/// A batch of so many zeros, compressed.
fn put(sequence: u8, bytes: usize) -> Vec<u8> {
    let mut body = vec![0x28, 0xb5, 0x2f, 0xfd, 0xa0];
    body.extend((bytes as u32).to_le_bytes());
    for at in (0..bytes).step_by(BLOCK) {
        let length = BLOCK.min(bytes - at);
        let is_last = u32::from(at + length == bytes);
        body.extend(&((length as u32) << 3 | 2 | is_last).to_le_bytes()[..3]);
        body.push(0);
    }
    let mut put = field(1, &[&field(1, &[7; 16])[..], &[0x10, 1, 0x18, sequence]].concat());
    put.extend([0x18, 1, 0x20]);
    put_varint(&mut put, bytes as u64);
    put.extend(field(15, &body));
    field(2, &put)
}

/// What clients send to the source `grpc`.
pub(super) fn attacks(port: SocketAddr) -> Vec<Attack> {
    let attack = |what, bytes, after| Attack { what, port, greeting: hello(), bytes, after };
    let puts = |bytes| (0..20).flat_map(|n| message(&put(n, bytes), 16 << 10)).collect();
    let small = message(&vec![0; 60_000], 1);
    let announced = frame(0, 0, 1, &[0, 1, 0, 0, 0]);
    let headers = vec![frame(9, 0, 3, &[0x40, 1, b'a', 1, b'b'].repeat(3_000)); 500].concat();
    vec![
        attack("grpc: batches of 16 MiB zeros", puts(16 * MIB), After::Reads),
        attack("grpc: batches of 1 MiB zeros", puts(MIB), After::Reads),
        attack("grpc: frames of one byte", small, After::Reads),
        attack("grpc: a message that comes slowly", announced, After::Drips),
        attack(
            "grpc: headers without an end",
            [frame(1, 0, 3, &[]), headers].concat(),
            After::Reads,
        ),
    ]
}
