//! Any bytes, read as what a server of NATS sends.

use kit::messages::Event;

use crate::message::{Place, Property, event_of};
use crate::protocol::{Decoder, Incoming};

/// Reads `input` in pieces of so many bytes, at least 1. Answers what its messages are as events,
/// or why one is none; and why the connection ends, if what came is no operation.
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
