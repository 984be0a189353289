//! Decoding messages within the memory and the time that their source may use.
//!
//! ```text
//!   message ─► decode ─────────────────────────────────► batch
//!                │ more memory than the message has
//!                └─► wait for all of `in_flight_max` ─► decode again ─► batch, or refused
//! ```
//!
//! A batch that is as large as its message is covered by the memory of the message. Of a message
//! that becomes more, most often by compression or by many small events, decoding stops at that
//! limit and begins again once the source has no other message. So what all messages together take
//! is bounded by their sizes before anything is allocated for their events.
//!
//! Work in a thread of its own goes on when its client is gone. It therefore owns the memory that
//! it uses: a client that sends and leaves again and again gets no more of it than one that stays.

use std::time::Duration;

use pipeline::{Batch, BatchBuilder, BuilderLimits, Env, Excess};
use thiserror::Error;
use tokio::time::timeout;

use crate::storing::units;
use crate::tenants::{Member, Memory, Sharing};

/// Larger messages are decoded in a thread of their own: it takes milliseconds.
pub const INLINE_BYTES: usize = 64 << 10;

/// Bytes that a batch may have beyond its message.
const BEYOND_BYTES: usize = 64 << 10;

/// Steps of [`BuilderLimits`] in a thread that serves connections: a few milliseconds.
const INLINE_STEPS: usize = 1 << 19;

/// The same in a thread of its own: some tenths of a second.
pub const STEPS_MAX: usize = 1 << 26;

/// Why a message is not decoded.
#[derive(Debug, Error)]
pub enum Undecoded<E> {
    /// What it holds is not what it should be.
    #[error(transparent)]
    Malformed(E),
    /// It takes more than any message may.
    #[error(transparent)]
    Excess(Excess),
    /// Other messages held the memory for too long.
    #[error("other messages hold the memory that the message takes (`in_flight_max`)")]
    NoMemory,
}

/// Decodes messages of one tenant.
#[derive(Clone, Copy)]
pub struct Decoding<'a> {
    /// The source's.
    pub env: &'a Env,
    /// The memory of all messages.
    pub sharing: &'a Sharing,
    /// The tenant.
    pub member: &'a Member,
    /// How long a message waits for memory.
    pub wait_max: Duration,
}

impl Decoding<'_> {
    /// Decodes a message of `size` bytes by `read`, which may be called up to three times and stops
    /// where the builder has an excess. `memory` is what the message holds; afterwards also what
    /// its batch holds.
    ///
    /// # Errors
    /// The message has no batch.
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
            // The work goes on if this future is dropped, and holds the memory until its end.
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
