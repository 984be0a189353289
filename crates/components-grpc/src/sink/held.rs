//! Batches that exceed the `message_max` of the downstream agent.
//!
//! A batch of one event cannot become smaller: it goes to the dead letters. Any other batch was cut
//! before the limit was known. It is held back: the group gets it back and sends it to a member
//! that accepts it, which is this one once its limit is raised.

use pipeline::{Batch, HeldBack, Letter, Ticket};

use super::shared::{Shared, TOO_LARGE};

/// Takes over a batch that exceeds the downstream agent's limit.
pub(super) fn too_large(shared: &Shared, ticket: Ticket, batch: Batch, limit: u64) {
    let (address, bytes, events) = (&shared.address, batch.size().bytes, batch.len() as u64);
    if events > 1 {
        return shared.hold_back(ticket, HeldBack { bytes, events, refused: false });
    }
    let detail = format!(
        "a single event is a batch of {bytes} bytes, over `message_max` ({limit} bytes) of the \
         collector at {address}: raise it there, or limit the length of lines"
    );
    let reason = TOO_LARGE;
    shared.refuse(Letter { ticket, events: batch, whole: true, reason, detail });
}
