//! Fuzzing entry points: read any bytes as the input from an AMQP 1.0 broker.

use fe2o3_amqp::types::messaging::message::{Body, DecodeIntoMessage};
use fe2o3_amqp::types::performatives::Performative;
use serde_amqp::Value;
use serde_amqp::read::SliceReader;

use crate::message::{Received, event_of};
use crate::watch::Watch;

/// Size of a frame's header.
const HEAD_BYTES: usize = 8;

/// Reads `input` as the bytes of a connection, in pieces of `piece_bytes` bytes, at least 1.
/// Returns the bytes that the library gets, and the number of frames that it decodes.
pub fn frames(input: &[u8], piece_bytes: usize) -> (Vec<u8>, usize) {
    let (mut passed, mut watch) = (input.to_vec(), Watch::default());
    for piece in passed.chunks_mut(piece_bytes) {
        if watch.pass(piece).is_err() {
            return (Vec::new(), 0);
        }
    }
    let (mut rest, mut decoded) = (&passed[..], 0);
    while let Some(head) = rest.first_chunk::<4>() {
        let length = match head {
            b"AMQP" => HEAD_BYTES,
            head => u32::from_be_bytes(*head) as usize,
        };
        let Some(body) = rest.get(HEAD_BYTES..length) else { break };
        decoded += usize::from(serde_amqp::from_slice::<Performative>(body).is_ok());
        rest = &rest[length..];
    }
    (passed, decoded)
}

/// Reads `input` as a message in pieces of `piece_bytes` bytes, at least 1; returns true if it is
/// valid.
pub fn message(input: &[u8], piece_bytes: usize) -> bool {
    let (mut watch, mut message) = (Watch::default(), Vec::new());
    watch.limit_messages(1 << 20);
    let pieces = input.chunks(piece_bytes);
    let last = pieces.len().saturating_sub(1);
    for (place, piece) in pieces.enumerate() {
        let more = if place < last { 0x41 } else { 0x42 };
        let performative = [0, 0x53, 0x14, 0xc0, 7, 6, 0x43, 0x43, 0x40, 0x43, 0x40, more];
        let length = (HEAD_BYTES + performative.len() + piece.len()) as u32;
        let head = [&length.to_be_bytes()[..], &[2, 0, 0, 0], &performative].concat();
        let mut frame = [&head, piece].concat();
        watch.pass(&mut frame).expect("the frame is whole");
        message.extend_from_slice(&frame[head.len()..]);
    }
    let decoded = Body::<Value>::decode_message_from_reader(SliceReader::new(&message));
    let Ok(message): Result<Received, _> = decoded else { return false };
    event_of(message, &[]).is_ok()
}
