//! Decodes messages within the memory and the time of their source.
//!
//! ```text
//!   message ─► decode ─────────────────────────────────► batch
//!                │ more memory than the message has
//!                └─► wait for all of `in_flight_max` ─► decode again ─► batch, or refusal
//! ```
//!
//! The memory of a message covers a batch of the same size. If a message becomes larger, most often
//! by compression or because of many small events, decoding stops at that limit and restarts once
//! the source has no other message. So the sizes of all messages bound their memory before anything
//! is allocated for their events.
//!
//! Work in a separate thread continues after its client has disconnected. It therefore owns its
//! memory: a client that repeatedly sends and disconnects gets no more memory than one that stays.

use std::time::Duration;

use pipeline::{Batch, BatchBuilder, BuilderLimits, Env, Excess};
use thiserror::Error;
use tokio::time::timeout;

use crate::storing::units;
use crate::tenants::{Member, Memory, Sharing};

/// Larger messages are decoded in a separate thread: it takes milliseconds.
pub const INLINE_BYTES: usize = 64 << 10;

/// Bytes by which a batch may exceed its message.
const BEYOND_BYTES: usize = 64 << 10;

/// Limit of [`BuilderLimits`] steps in a thread that serves connections: a few milliseconds.
const INLINE_STEPS: usize = 1 << 19;

/// The same in a separate thread: some tenths of a second.
pub const STEPS_MAX: usize = 1 << 26;

/// Reason why a message is not decoded.
#[derive(Debug, Error)]
pub enum Undecoded<E> {
    /// Its content is invalid.
    #[error(transparent)]
    Malformed(E),
    /// It exceeds the limits of any message.
    #[error(transparent)]
    Excess(Excess),
    /// Other messages used the memory for too long.
    #[error("other messages use all of the memory of this source (`in_flight_max`); retry later")]
    NoMemory,
}

/// Decodes messages of one tenant.
#[derive(Clone, Copy)]
pub struct Decoding<'a> {
    /// Environment of the source.
    pub env: &'a Env,
    /// Memory of all messages.
    pub sharing: &'a Sharing,
    /// Membership in the tenant.
    pub member: &'a Member,
    /// How long a message waits for memory.
    pub wait_max: Duration,
}

impl Decoding<'_> {
    /// Decodes a message of `size` bytes with `read`, which may be called up to three times and
    /// stops where the builder has an excess. `memory` is the memory of the message, and afterwards
    /// also of its batch.
    ///
    /// # Errors
    /// Fails if the message does not yield a batch.
    pub async fn decode<T: Send + 'static, E: Send + 'static>(
        &self,
        size: usize,
        memory: &mut Option<Memory>,
        read: impl Fn(&mut BatchBuilder) -> Result<T, E> + Clone + Send + 'static,
    ) -> Result<(T, Batch), Undecoded<E>> {
        let all = usize::try_from(self.sharing.in_flight_max()).unwrap_or(usize::MAX);
        let mut bytes = size.saturating_add(BEYOND_BYTES);
        let mut decoded = match size {
            0..=INLINE_BYTES => attempt(BuilderLimits { bytes, steps: INLINE_STEPS }, &read),
            _ => Err(Undecoded::Excess(Excess::Steps)),
        };
        let mut is_inline = true;
        loop {
            match decoded {
                Err(Undecoded::Excess(Excess::Bytes)) if bytes < all => {
                    self.take_all(memory).await.ok_or(Undecoded::NoMemory)?;
                    bytes = all;
                }
                Err(Undecoded::Excess(Excess::Steps)) if is_inline => {}
                decoded => return decoded,
            }
            is_inline = false;
            let (limits, read) = (BuilderLimits { bytes, steps: STEPS_MAX }, read.clone());
            // The work continues if this future is dropped, and keeps the memory until its end.
            let held = memory.take();
            let work = move || (held, attempt(limits, &read));
            (*memory, decoded) = self.env.offload(work).await;
        }
    }

    /// Waits until the message has all of the memory.
    async fn take_all(&self, memory: &mut Option<Memory>) -> Option<()> {
        let held = memory.as_ref().map_or(0, Memory::units);
        let more = units(self.sharing.in_flight_max()).saturating_sub(held);
        if more == 0 {
            return Some(());
        }
        let more = self.sharing.memory(self.member, u64::from(more) << 10);
        let more = timeout(self.wait_max, more).await.ok()?;
        match memory {
            Some(memory) => memory.merge(more),
            None => *memory = Some(more),
        }
        Some(())
    }
}

fn attempt<T, E>(
    limits: BuilderLimits,
    read: &impl Fn(&mut BatchBuilder) -> Result<T, E>,
) -> Result<(T, Batch), Undecoded<E>> {
    let mut events = BatchBuilder::within(limits);
    let read = read(&mut events);
    match (events.excess(), read) {
        (Some(excess), _) => Err(Undecoded::Excess(excess)),
        (None, Ok(read)) => Ok((read, events.finish())),
        (None, Err(error)) => Err(Undecoded::Malformed(error)),
    }
}
