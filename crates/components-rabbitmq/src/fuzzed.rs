//! Fuzzing entry point: reads any bytes as the input from an AMQP 0.9.1 broker.

use amq_protocol::protocol::basic::AMQPMethod as Basic;
use kit::messages::Event;

use crate::frames::{Body, Decoder, Incoming};
use crate::message::{Property, Received, event_of};

/// Maximum size of a body.
const BODY_MAX: u64 = 64 << 10;

/// Reads `input` in pieces of `piece_bytes` bytes, at least 1. Returns the events of its messages,
/// or the errors of invalid ones; and the reason why the connection ends, if the input is invalid.
pub fn read(input: &[u8], piece_bytes: usize) -> (Vec<Result<Event, String>>, Option<String>) {
    let (mut decoder, mut found) = (Decoder::new(BODY_MAX), Vec::new());
    for piece in input.chunks(piece_bytes) {
        decoder.buffer.extend_from_slice(piece);
        loop {
            match decoder.next() {
                Ok(Some(Incoming::Content(Basic::Deliver(deliver), properties, body))) => {
                    let Body::Whole(body) = body else { continue };
                    found.push(properties.map(|properties| {
                        let received = Received {
                            properties: *properties,
                            exchange: deliver.exchange.to_string(),
                            routing_key: deliver.routing_key.to_string(),
                            is_repeated: deliver.redelivered,
                            body,
                        };
                        event_of(received, &[Property::MessageId, Property::Exchange])
                    }));
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(cause) => return (found, Some(cause)),
            }
        }
    }
    (found, None)
}
