//! Messages of AMQP brokers, in both protocol versions, and Parquet files: formats that a library
//! decodes, after a check of their depth and size.

use std::path::Path;

use pipeline::{BatchBuilder, BuildContext, Decoder, Message, Settings};
use serde_json::json;

use super::chosen;
use crate::rig::ENV;

/// A connection to RabbitMQ from its greeting on: one piece and many give the same result. The
/// first byte selects the piece size.
pub(super) fn rabbitmq(input: &[u8]) -> usize {
    let (piece, stream) = chosen(input);
    let whole = components_rabbitmq::fuzzed::read(stream, usize::MAX);
    assert_eq!(whole, components_rabbitmq::fuzzed::read(stream, 1 + piece), "in pieces of {piece}");
    whole.0.len()
}

/// The frames of a connection, or a message in pieces: the first byte selects, the second is the
/// piece size.
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

/// A Parquet file: its rows.
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
