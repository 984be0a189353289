//! Any bytes, read as what a broker of AMQP 0.9.1 sends.

use amq_protocol::protocol::basic::AMQPMethod as Basic;
use kit::messages::Event;

use crate::frames::{Body, Decoder, Incoming};
use crate::message::{Property, Received, event_of};

/// Bytes of a body at most.
const BODY_MAX: u64 = 64 << 10;

/// Reads `input` in pieces of so many bytes, at least 1. Answers what its messages are as events,
/// or why one is none; and why the connection ends, if what came is no frame.
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
