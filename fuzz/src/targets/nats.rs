//! Messages of a NATS server.

use super::chosen;

/// A connection from its greeting on: one piece and many give the same result. The first byte
/// selects the piece size.
pub(super) fn nats(input: &[u8]) -> usize {
    let (piece, stream) = chosen(input);
    let whole = components_nats::fuzzed::read(stream, usize::MAX);
    assert_eq!(whole, components_nats::fuzzed::read(stream, 1 + piece), "in pieces of {piece}");
    for event in whole.0.iter().flatten() {
        assert!(event.headers.len() >= 3, "what is wanted of a message is there");
        assert!(event.body.len() <= stream.len());
    }
    whole.0.len()
}
