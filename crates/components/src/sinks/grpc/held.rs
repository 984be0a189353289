//! Batches that the next agent does not take, because they are over its `message_max`.
//!
//! A batch of one event can never be smaller: it goes to the dead letters. Any other was cut before
//! the limit was known, and arrives once the limit is raised. It is held back, by its ticket alone,
//! while others pass it, and given back when the connection ends: the next Welcome may name another
//! limit.

use std::sync::Arc;

use pipeline::{Batch, Letter, Ticket};
use tracing::warn;

use super::error::GrpcError;
use super::shared::{Shared, TOO_LARGE};

/// Batches that are held back at most.
pub(super) const HELD_MAX: usize = 1024;

/// Takes over a batch that is over the limit of the next agent.
///
/// # Errors
/// It is not taken over: too many are held back already.
pub(super) fn too_large(
    sink: &Arc<str>,
    shared: &Shared,
    ticket: Ticket,
    batch: Batch,
    limit: u64,
) -> Result<(), GrpcError> {
    let (address, bytes) = (&shared.address, batch.size().bytes);
    if batch.len() <= 1 {
        let detail = format!(
            "one event alone is a batch of {bytes} bytes, over `message_max` ({limit} bytes) of the \
             collector at {address}: raise it there, or limit the length of lines"
        );
        let reason = TOO_LARGE;
        shared.refuse(Letter { ticket, events: batch, whole: true, reason, detail });
        return Ok(());
    }
    let held = shared.hold_back(ticket);
    if held > HELD_MAX {
        let address = address.to_string();
        return Err(GrpcError::OverLimit { address, bytes, limit, held: HELD_MAX });
    }
    if held == 1 {
        warn!(
            %sink, %address, bytes, limit,
            "the batch of {bytes} bytes is over `message_max` ({limit} bytes) of the collector at \
             {address}: raise it there to at least {bytes}; it is held back, as are others like it, \
             and smaller ones go on",
        );
    }
    Ok(())
}
