//! Large, reusable buffers: a dropped buffer returns to its pool.
//!
//! Fresh memory from the system is slow: each of its pages is created and zeroed at the first
//! access. For a batch of a mebibyte that costs as much as copying it.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// The smallest room, and the smallest step between two: a page.
const PAGE_BYTES: usize = 4096;

/// Smaller buffers are allocated separately: the allocator has them at hand.
const POOLED_BYTES_MIN: usize = 64 << 10;

/// A reusable buffer.
pub trait Buffer: Default + Send + 'static {
    /// Creates a buffer with room for `bytes` bytes.
    fn with_room(bytes: usize) -> Self;

    /// Bytes that it has room for.
    fn room(&self) -> usize;
}

/// Bytes that are all there, with any content.
impl Buffer for Vec<u8> {
    fn with_room(bytes: usize) -> Self {
        vec![0; bytes]
    }

    fn room(&self) -> usize {
        self.len()
    }
}

/// Buffers that are not in use just now.
#[derive(Debug)]
pub struct Pool<B> {
    /// Idle buffers; the most recently returned one is the last.
    idle: Mutex<Vec<B>>,
    idle_bytes_max: usize,
}

/// A buffer of a pool, for one user at a time.
#[derive(Debug)]
pub struct Pooled<B: Buffer> {
    buffer: B,
    home: Arc<Pool<B>>,
}

/// Exactly this many bytes, with any content: in a buffer of a pool if there are many.
#[derive(Debug)]
pub struct Room {
    memory: Memory,
    bytes: usize,
}

#[derive(Debug)]
enum Memory {
    Own(Vec<u8>),
    Pooled(Pooled<Vec<u8>>),
}

impl<B: Buffer> Pool<B> {
    /// Creates a pool that keeps up to this many unused bytes.
    pub fn new(idle_bytes_max: usize) -> Self {
        Self { idle: Mutex::default(), idle_bytes_max }
    }

    /// Returns a buffer with room for at least `bytes` bytes, and up to an eighth more. It is a
    /// used one, with its old contents, if one fits.
    pub fn get(self: &Arc<Self>, bytes: usize) -> Pooled<B> {
        let room = size_class(bytes);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let found = idle.iter().rposition(|buffer| buffer.room() == room);
        let found = found.map(|at| idle.remove(at));
        drop(idle);
        let buffer = found.unwrap_or_else(|| B::with_room(room));
        Pooled { buffer, home: self.clone() }
    }

    /// Frees all idle buffers.
    pub fn clear(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Bytes that are not in use just now.
    pub fn idle_bytes(&self) -> usize {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).iter().map(B::room).sum()
    }

    fn put_back(&self, buffer: B) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(buffer);
        let mut bytes: usize = idle.iter().map(B::room).sum();
        // The size that was not asked for the longest has drifted to the front.
        let many = idle.iter().take_while(|oldest| {
            let over = bytes > self.idle_bytes_max;
            bytes -= if over { oldest.room() } else { 0 };
            over
        });
        let many = many.count();
        let gone: Vec<B> = idle.drain(..many).collect();
        drop(idle);
        drop(gone);
    }
}

impl Pool<Vec<u8>> {
    /// Returns room for `bytes` bytes: in a pooled buffer, if they are enough.
    pub fn room(self: &Arc<Self>, bytes: usize) -> Room {
        let memory = match bytes {
            POOLED_BYTES_MIN.. => Memory::Pooled(self.get(bytes)),
            _ => Memory::Own(vec![0; bytes]),
        };
        Room { memory, bytes }
    }
}

impl Room {
    /// Truncates it to the first `bytes` bytes.
    pub fn truncate(&mut self, bytes: usize) {
        self.bytes = self.bytes.min(bytes);
    }
}

impl Deref for Room {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let all = match &self.memory {
            Memory::Own(memory) => memory,
            Memory::Pooled(memory) => &**memory,
        };
        &all[..self.bytes]
    }
}

impl DerefMut for Room {
    fn deref_mut(&mut self) -> &mut [u8] {
        let all = match &mut self.memory {
            Memory::Own(memory) => memory,
            Memory::Pooled(memory) => &mut **memory,
        };
        &mut all[..self.bytes]
    }
}

impl AsRef<[u8]> for Room {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// Few sizes, so that buffers fit again: steps of an eighth of a power of two.
fn size_class(bytes: usize) -> usize {
    let step = (bytes.next_power_of_two() / 16).max(PAGE_BYTES);
    bytes.max(PAGE_BYTES).next_multiple_of(step)
}

impl<B: Buffer> Deref for Pooled<B> {
    type Target = B;

    fn deref(&self) -> &B {
        &self.buffer
    }
}

impl<B: Buffer> DerefMut for Pooled<B> {
    fn deref_mut(&mut self) -> &mut B {
        &mut self.buffer
    }
}

impl<B: Buffer + AsRef<[u8]>> AsRef<[u8]> for Pooled<B> {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_ref()
    }
}

impl<B: Buffer> Drop for Pooled<B> {
    fn drop(&mut self) {
        self.home.put_back(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn pool(idle_bytes_max: usize) -> Arc<Pool<Vec<u8>>> {
        Arc::new(Pool::new(idle_bytes_max))
    }

    #[test]
    fn a_dropped_buffer_serves_again_once_nobody_looks_at_a_part_of_it() {
        let pool = pool(8 << 20);
        let first = pool.get(600_000);
        let place = first.as_ptr();
        let bytes = Bytes::from_owner(first);
        let part = bytes.slice(10..20);
        drop(bytes);
        assert_ne!(pool.get(600_000).as_ptr(), place, "a part is in use");
        drop(part);
        assert_eq!(pool.get(590_000).as_ptr(), place);
        assert_ne!(pool.get(90_000).as_ptr(), place, "it would keep too much");
    }

    #[test]
    fn a_pool_stays_small_and_forgets_the_size_that_is_not_asked_for() {
        let pool = pool(4 << 20);
        drop(pool.get(1 << 10));
        drop((0..40).map(|_| pool.get(1 << 20)).collect::<Vec<_>>());
        assert_eq!(pool.idle_bytes(), 4 << 20);
        drop(pool.get(5 << 20));
        assert_eq!(pool.idle_bytes(), 0, "one that is larger than all of it is not kept");
        drop(pool.get(1));
        pool.clear();
        assert_eq!(pool.idle_bytes(), 0);
    }

    #[test]
    fn room_is_at_least_what_was_asked_for_and_little_more() {
        for bytes in (0..3_000_000).step_by(9_973) {
            let room = size_class(bytes);
            assert!(
                room >= bytes && room <= (bytes + bytes / 8).max(bytes + PAGE_BYTES),
                "{bytes}"
            );
        }
    }
}
