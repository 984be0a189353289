//! Buffers that begin at a multiple of 4,096 bytes, as reading and writing past the page cache ask
//! for.

use std::sync::Arc;

use support::pool::{Buffer, Pool};

use super::segment::BLOCK;

/// Bytes copied before they are checksummed: they are still in the processor's cache then.
const CHUNK: usize = 64 << 10;
/// Maximum size of unused buffers that a channel keeps.
const IDLE_BYTES_MAX: usize = 8 << 20;

/// Bytes at an aligned address.
#[derive(Default)]
pub(crate) struct Aligned {
    raw: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    /// An empty buffer with room for `capacity` bytes.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        let raw = vec![0; capacity.next_multiple_of(BLOCK) + BLOCK];
        let start = raw.as_ptr().align_offset(BLOCK);
        assert!(start <= BLOCK, "a byte can be aligned to any power of two");
        Self { raw, start, len: 0 }
    }

    /// Returns the number of bytes that fit without growing.
    pub(crate) fn capacity(&self) -> usize {
        self.raw.len().saturating_sub(BLOCK)
    }

    /// Bytes in it.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Empties the buffer; frees memory above `keep` bytes.
    pub(crate) fn clear(&mut self, keep: usize) {
        if self.capacity() > keep {
            *self = Self::with_capacity(keep);
        }
        self.len = 0;
    }

    /// Reserves room for `more` bytes after the existing ones.
    pub(crate) fn reserve(&mut self, more: usize) {
        let needed = self.len + more;
        if needed > self.capacity() {
            let mut larger = Self::with_capacity(needed.max(self.capacity() * 2));
            larger.push(self.as_slice());
            *self = larger;
        }
    }

    /// Appends bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        let at = self.start + self.len;
        self.raw[at..at + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Appends bytes; answers the CRC32C `crc` continued over them.
    pub(crate) fn push_checked(&mut self, bytes: &[u8], mut crc: u32) -> u32 {
        self.reserve(bytes.len());
        for chunk in bytes.chunks(CHUNK) {
            self.push(chunk);
            crc = crc32c::crc32c_append(crc, chunk);
        }
        crc
    }

    /// Appends zeros up to a multiple of `to`.
    pub(crate) fn pad(&mut self, to: usize) {
        let end = self.len.next_multiple_of(to);
        self.reserve(end - self.len);
        self.raw[self.start + self.len..self.start + end].fill(0);
        self.len = end;
    }

    /// Sets the length to `len`; new bytes have any content.
    pub(crate) fn set_len(&mut self, len: usize) {
        self.reserve(len.saturating_sub(self.len));
        self.len = len;
    }

    /// Sets the length to `len` and moves the last `kept` bytes to the front; the bytes after them
    /// have any content. Frees memory that is much larger than needed.
    pub(crate) fn keep_last(&mut self, kept: usize, len: usize) {
        let from = self.len - kept;
        if len > self.capacity() || self.capacity() > 4 * len.max(BLOCK) {
            let mut other = Self::with_capacity(len);
            other.push(&self.as_slice()[from..]);
            *self = other;
        } else {
            self.raw.copy_within(self.start + from..self.start + self.len, self.start);
        }
        self.len = len;
    }

    /// The bytes.
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.raw[self.start..self.start + self.len]
    }

    /// The bytes, to be written over.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.raw[self.start..self.start + self.len]
    }
}

impl AsRef<[u8]> for Aligned {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

/// Buffers that go round.
pub(crate) type Buffers = Pool<Aligned>;

/// The buffers of one channel.
pub(crate) fn buffers() -> Arc<Buffers> {
    Arc::new(Buffers::new(IDLE_BYTES_MAX))
}

impl Buffer for Aligned {
    fn with_room(bytes: usize) -> Self {
        Self::with_capacity(bytes)
    }

    fn room(&self) -> usize {
        self.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_aligned_and_keeps_its_bytes_when_it_grows() {
        let mut buffer = Aligned::with_capacity(10);
        let mut crc = 0;
        for byte in 0..=255u8 {
            crc = buffer.push_checked(&[byte; 100], crc);
            assert_eq!(buffer.as_slice().as_ptr().align_offset(BLOCK), 0);
        }
        assert_eq!(crc, crc32c::crc32c(buffer.as_slice()));
        buffer.pad(BLOCK);
        assert_eq!(buffer.len(), 28_672);
        assert_eq!(buffer.as_slice()[25_599], 255);
        assert!(buffer.as_slice()[25_600..].iter().all(|byte| *byte == 0));
        buffer.clear(BLOCK);
        assert_eq!((buffer.len(), buffer.capacity()), (0, BLOCK));
    }
}
