//! What brokers of AMQP send, in both of its versions, and files of Parquet: formats that a library
//! decodes, whose depth and size are checked before.

use std::path::Path;

use pipeline::{BatchBuilder, BuildContext, Decoder, Message, Settings};
use serde_json::json;

use super::chosen;
use crate::rig::ENV;

/// A connection to RabbitMQ from its greeting on: the same becomes of its messages in one piece and
/// in many. The first byte chooses how large these are.
pub(super) fn rabbitmq(input: &[u8]) -> usize {
    let (piece, stream) = chosen(input);
    let whole = components_rabbitmq::fuzzed::read(stream, usize::MAX);
    assert_eq!(whole, components_rabbitmq::fuzzed::read(stream, 1 + piece), "in pieces of {piece}");
    whole.0.len()
}

/// The frames of a connection, or a message in pieces: the first byte chooses, the second says how
/// large the pieces are.
pub(super) fn amqp(input: &[u8]) -> usize {
    let (choice, rest) = chosen(input);
    let (piece, bytes) = chosen(rest);
    if choice % 2 == 0 {
        let whole = components_amqp::fuzzed::frames(bytes, usize::MAX);
        assert_eq!(whole, components_amqp::fuzzed::frames(bytes, 1 + piece), "in any pieces");
        return whole.1;
    }
    let whole = components_amqp::fuzzed::message(bytes, usize::MAX);
    assert_eq!(whole, components_amqp::fuzzed::message(bytes, 1 + piece), "in any pieces");
    usize::from(whole)
}

/// A file of Parquet: its rows.
pub(super) fn parquet(input: &[u8]) -> usize {
    let cx = BuildContext::alone("in", Path::new("d"), ENV.clone());
    let entry = components_parquet::GROUP.decoders.iter().find(|it| it.kind == "parquet_rows");
    let settings = Settings::from_json(&json!({ "row_group_max": "256KiB" }));
    let build = entry.expect("the crate has the decoder").build;
    let decoder: Box<dyn Decoder> = build(&settings, &cx).expect("it needs no other settings");
    let mut events = BatchBuilder::default();
    let message = Message { bytes: input, charset: None, headers: &[] };
    decoder.decode(&message, &mut events).map_or(0, |()| events.len())
}
