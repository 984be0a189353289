//! Limits the memory of incoming messages, over all streams of a receiver.
//!
//! A message begins with its length, and its bytes arrive when the sender sends them. Therefore a
//! large message gets its memory only with a permit for all of it, in the order of requests, and
//! keeps both until its body is no longer used. It must keep arriving: a message that stalls, or is
//! slower than [`RATE_MIN`] on average, ends its stream and releases the room.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use metrics::Gauge;
use support::pool::{Pool, Room};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tonic::Status;

use super::HEAD_BYTES;

/// Memory of large messages, shared by the connections of a receiver.
type Buffers = Pool<Vec<u8>>;

/// Messages up to this size need no permit: they are smaller than the cost of a stream.
pub(super) const SMALL_BYTES: usize = 16 << 10;
/// How long a large message may stall.
pub(super) const STANDSTILL: Duration = Duration::from_secs(20);
/// Bytes that a large message arrives with in a second at least, and the time that it has before
/// that counts.
const RATE_MIN: u64 = 32 << 10;
const BEGIN: Duration = Duration::from_secs(30);
/// Bytes of one permit of the semaphore.
const UNIT: usize = 1 << 10;

/// The memory for messages that arrive. One for all streams of a receiver.
#[derive(Debug)]
pub struct Gathering {
    buffers: Arc<Buffers>,
    room: Arc<Semaphore>,
    units_max: u32,
    shown: Gauge,
}

/// Room for one message, and the right to it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) room: Room,
    _right: Option<Right>,
}

/// Counted memory, until it is dropped.
#[derive(Debug)]
pub(super) struct Right {
    _permit: OwnedSemaphorePermit,
    bytes: i64,
    shown: Gauge,
}

impl Drop for Right {
    fn drop(&mut self) {
        self.shown.dec_by(self.bytes);
    }
}

impl Gathering {
    /// Creates a limit of `bytes_max` bytes, which keeps at most `idle_bytes_max` unused. A single
    /// message may be larger. `shown` is the gauge of used bytes.
    pub fn new(bytes_max: u64, idle_bytes_max: usize, shown: Gauge) -> Self {
        let units_max = u32::try_from(bytes_max.div_ceil(UNIT as u64)).unwrap_or(u32::MAX).max(1);
        let room = Arc::new(Semaphore::new(units_max as usize));
        Self { buffers: Arc::new(Buffers::new(idle_bytes_max)), room, units_max, shown }
    }

    /// Returns the permit for a message of this size, once there is room.
    pub(super) fn right(&self, bytes: usize) -> BoxFuture<'static, Right> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.units_max);
        let (room, shown) = (self.room.clone(), self.shown.clone());
        Box::pin(async move {
            let permit = room.acquire_many_owned(units).await.expect("it is never closed");
            let bytes = i64::from(units) * UNIT as i64;
            shown.inc_by(bytes);
            Right { _permit: permit, bytes, shown }
        })
    }

    /// Room for a message.
    pub(super) fn place(&self, bytes: usize, right: Option<Right>) -> Place {
        Place { room: self.buffers.room(bytes), _right: right }
    }

    /// Returns the bytes of messages that arrive, or whose bodies are in use.
    #[cfg(test)]
    pub(super) fn shown(&self) -> i64 {
        self.shown.get()
    }

    /// Bytes that lie unused.
    #[cfg(test)]
    pub(super) fn idle_bytes(&self) -> usize {
        self.buffers.idle_bytes()
    }
}

/// When a message of that many bytes must be whole.
pub(super) fn due(begun: Instant, bytes: usize) -> Instant {
    begun + BEGIN + Duration::from_secs(bytes as u64 / RATE_MIN)
}

/// Bytes of the message with this head.
pub(super) fn length(head: [u8; HEAD_BYTES], bytes_max: usize) -> Result<usize, Status> {
    let [compressed, length @ ..] = head;
    if compressed != 0 {
        return Err(Status::unimplemented(
            "messages compressed by the transport are not supported",
        ));
    }
    let bytes = u32::from_be_bytes(length) as usize;
    if bytes > bytes_max {
        let detail = format!("a message of {bytes} bytes is over the limit of {bytes_max} bytes");
        return Err(Status::out_of_range(detail));
    }
    Ok(bytes)
}
