//! Fuzzing entry point: reads any bytes as the input from a NATS server.

use kit::messages::Event;

use crate::message::{Place, Property, event_of};
use crate::protocol::{Decoder, Incoming};

/// Reads `input` in pieces of `piece_bytes` bytes, at least 1. Returns the events of its messages,
/// or the errors of invalid ones; and the reason why the connection ends, if the input is invalid.
pub fn read(input: &[u8], piece_bytes: usize) -> (Vec<Result<Event, String>>, Option<String>) {
    let (mut decoder, mut found) = (Decoder::default(), Vec::new());
    for piece in input.chunks(piece_bytes) {
        decoder.buffer.extend_from_slice(piece);
        loop {
            match decoder.next() {
                Ok(Some(Incoming::Message(message))) => {
                    let place = message.reply.as_deref().and_then(Place::read);
                    let Some(place) = place else { continue };
                    let wanted = [Property::Subject, Property::Sequence, Property::Timestamp];
                    found.push(event_of(message, ("S", &place), &wanted));
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(cause) => return (found, Some(cause)),
            }
        }
    }
    (found, None)
}
