//! Calls of Flume's clients, and responses of a metastore: Avro RPC and Thrift.

use formats::avro::datum::put_event;
use formats::avro::events::{Events as AvroEvents, read as read_avro};
use formats::thrift::read::{BINARY, Reader, Type};
use formats::thrift::{Events, Extent, Malformed, Method, Protocol, answer, read_events};
use pipeline::{Batch, BatchBuilder};
use serde_json::json;

use super::chosen;
use crate::rig::{events, in_any_pieces, outcome};

/// Longer inputs cost time without reaching new code of a source.
const STREAM_MAX: usize = 8 << 10;

/// A connection to the source `avro`: the first bit selects compression.
///
/// The stored events equal the events of the calls, in any pieces, and survive a round trip
/// through Avro.
pub(super) fn avro(input: &[u8]) -> usize {
    let read = formats::avro::read_all(input);
    let (choice, stream) = chosen(input);
    let compression = if choice & 1 == 1 { "deflate" } else { "none" };
    let settings = json!({
        "listen": "x:1", "compression": compression, "request_max": "1MiB", "repeat_window": "0s",
    });
    if stream.len() <= STREAM_MAX {
        let piece = 1 + choice / 2;
        let outcome = match choice & 1 {
            0 => in_any_pieces("avro", &settings, stream, piece),
            // Data that the decompressor holds back is lost if it encounters damage.
            _ => {
                let at_once = outcome("avro", &settings, std::iter::once(stream));
                let in_pieces = outcome("avro", &settings, stream.chunks(piece));
                let mut both = at_once.events.iter().zip(&in_pieces.events);
                assert!(both.all(|(one, other)| one == other), "as far as both go");
                at_once
            }
        };
        for (body, headers) in &outcome.events {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
            let (mut bytes, mut again) = (Vec::new(), BatchBuilder::default());
            put_event(&mut bytes, &headers, body);
            read_avro(AvroEvents { bytes: &bytes, is_batch: false }, &mut again)
                .expect("what was stored can be sent");
            let mut one = BatchBuilder::default();
            one.push(body, &headers);
            assert_eq!(events(&again.finish()), events(&one.finish()), "it comes back as it was");
        }
    }
    read
}

/// A call or a response: the first bit selects the encoding, the second one whether the rest is a
/// connection to the source `thrift`.
pub(super) fn thrift(input: &[u8]) -> usize {
    let (choice, message) = chosen(input);
    let (protocol, name) = match choice & 1 {
        0 => (Protocol::Compact, "compact"),
        _ => (Protocol::Binary, "binary"),
    };
    if choice & 2 == 2 {
        let settings = json!({
            "listen": "x:1", "protocol": name, "frame_max": "1MiB", "repeat_window": "0s",
        });
        let stream = &message[..message.len().min(STREAM_MAX)];
        return in_any_pieces("thrift", &settings, stream, 1 + choice / 4).events.len();
    }
    let _ = answer(protocol, 1, message);
    if message.first() == Some(&BINARY) {
        ends(message, 1 + choice / 4);
    }
    let calls =
        [Method::Append, Method::AppendBatch].map(|method| batch(protocol, method, message));
    calls.into_iter().flatten().map(|batch| sent_again(protocol, &batch)).sum()
}

/// Returns the events of a call.
fn batch(protocol: Protocol, method: Method, message: &[u8]) -> Result<Batch, Malformed> {
    let mut events = BatchBuilder::default();
    read_events(protocol, method, message, &mut events).map(|()| events.finish())
}

/// Checks an unframed message, like a metastore's response: it ends with its values, in any pieces.
fn ends(message: &[u8], piece: usize) {
    let at_once = Extent::new(1 << 20).of(message);
    let (mut extent, mut come, mut found) = (Extent::new(1 << 20), 0, Ok(None));
    while come < message.len() && found == Ok(None) {
        come = message.len().min(come + piece);
        found = extent.of(&message[..come]);
    }
    assert_eq!(found, at_once, "pieces make no difference");
    let mut reader = Reader::new(Protocol::Binary, message);
    if reader.head().is_ok() && reader.skip(Type::Struct).is_ok() {
        assert_eq!(found, Ok(Some(message.len() - reader.rest().len())), "it is read to its end");
    }
}

/// Asserts that the events of a call survive a round trip through the sink `thrift`.
fn sent_again(protocol: Protocol, read: &Batch) -> usize {
    let mut call = Events::new(protocol);
    assert!(read.iter().all(|event| call.push(&event, usize::MAX)), "there is room for all");
    let again = batch(protocol, Method::AppendBatch, &call.call(7)[4..]);
    let again = again.expect("what was read can be sent");
    assert_eq!(events(&again), events(read), "they come back as they were");
    read.len()
}
