//! Batches that the next agent does not take, because they are over its `message_max`.
//!
//! A batch of one event can never be smaller: it goes to the dead letters. Any other was cut before
//! the limit was known. It is held back: the group has it again, and gives it to a member that
//! takes it, which is this one once its limit is raised.

use pipeline::{Batch, HeldBack, Letter, Ticket};

use super::shared::{Shared, TOO_LARGE};

/// Takes over a batch that is over the limit of the next agent.
pub(super) fn too_large(shared: &Shared, ticket: Ticket, batch: Batch, limit: u64) {
    let (address, bytes, events) = (&shared.address, batch.size().bytes, batch.len() as u64);
    if events > 1 {
        return shared.hold_back(ticket, HeldBack { bytes, events, refused: false });
    }
    let detail = format!(
        "one event alone is a batch of {bytes} bytes, over `message_max` ({limit} bytes) of the \
         collector at {address}: raise it there, or limit the length of lines"
    );
    let reason = TOO_LARGE;
    shared.refuse(Letter { ticket, events: batch, whole: true, reason, detail });
}
