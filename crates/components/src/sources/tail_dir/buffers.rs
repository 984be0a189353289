//! Buffers of large reads, used again once their lines are stored.
//!
//! A file that has much to read is read by the mebibyte. Memory of that size comes from the system
//! page by page, each of them set to zero, and is given back when the batch has been copied to its
//! channel: with several files an eighth of all that an edge did. A buffer that comes back goes to
//! the next read instead.
//!
//! Small reads have memory of their own size: a line that waits in a channel must not keep a
//! mebibyte.

use std::io;
use std::mem::take;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use pipeline::env::DiskFile;

/// Bytes of all buffers that wait for a read; one may wait in any case. More come back at once only
/// from a channel that keeps batches in memory.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// The buffers of one tailer.
pub(super) struct Buffers {
    /// Bytes of each, which is as much as is ever read.
    bytes: usize,
    free: Arc<Free>,
}

/// Buffers that wait for a read.
type Free = Mutex<Vec<Vec<u8>>>;

/// What was read, in a buffer that comes back when nobody looks at it any more.
struct Lent {
    buffer: Vec<u8>,
    /// Bytes that were read.
    len: usize,
    home: Arc<Free>,
}

impl Buffers {
    /// Buffers for reads of up to that many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        Self { bytes, free: Arc::default() }
    }

    /// Up to `bytes` of `file` at `offset`; fewer only at its end.
    ///
    /// # Errors
    /// As the system says.
    pub(super) fn read(&self, file: &dyn DiskFile, offset: u64, bytes: usize) -> io::Result<Bytes> {
        if bytes > self.bytes || bytes <= self.bytes / 2 {
            return Ok(file.read(offset, bytes)?.into());
        }
        let kept = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let buffer = kept.unwrap_or_else(|| vec![0; self.bytes]);
        let mut lent = Lent { buffer, len: 0, home: self.free.clone() };
        lent.len = file.read_at(&mut lent.buffer[..bytes], offset)?;
        Ok(Bytes::from_owner(lent))
    }

    /// Gives what waits back to the system.
    pub(super) fn release(&self) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut free = self.home.lock().unwrap_or_else(PoisonError::into_inner);
        if free.is_empty() || (free.len() + 1) * self.buffer.len() <= KEPT_BYTES_MAX {
            free.push(take(&mut self.buffer));
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests read real files")]
mod tests {
    use std::path::Path;

    use pipeline::env::OpenMode;

    use super::*;

    /// A file of these bytes.
    fn file(directory: &Path, bytes: &[u8]) -> Arc<dyn DiskFile> {
        let path = directory.join("a.log");
        std::fs::write(&path, bytes).unwrap();
        env::real().disk.open(&path, OpenMode::default()).unwrap()
    }

    #[test]
    fn a_buffer_is_used_again_when_nobody_looks_at_what_was_read() {
        let directory = tempfile::tempdir().unwrap();
        let (file, buffers) = (file(directory.path(), b"first, second"), Buffers::new(8));
        let first = buffers.read(&*file, 0, 7).unwrap();
        let second = buffers.read(&*file, 7, 8).unwrap();
        assert_eq!((&first[..], &second[..]), (&b"first, "[..], &b"second"[..]));
        let (place, word) = (first.as_ptr(), first.slice(..5));
        drop(first);
        assert_ne!(buffers.read(&*file, 0, 8).unwrap().as_ptr(), place, "it is looked at");
        drop((word, second));
        let again: Vec<Bytes> = (0..3).map(|_| buffers.read(&*file, 7, 6).unwrap()).collect();
        assert!(again.iter().any(|read| read.as_ptr() == place && read == "second"));
    }

    #[test]
    fn few_buffers_wait_and_none_once_they_are_released() {
        let directory = tempfile::tempdir().unwrap();
        let file = file(directory.path(), b"12345678");
        for (bytes, expected) in [(8, 9), (KEPT_BYTES_MAX / 3, 3), (KEPT_BYTES_MAX * 2, 1)] {
            let buffers = Buffers::new(bytes);
            let waiting = || buffers.free.lock().unwrap().len();
            let lent: Vec<_> = (0..9).map(|_| buffers.read(&*file, 0, bytes).unwrap()).collect();
            drop(lent);
            assert_eq!(waiting(), expected, "of {bytes} bytes");
            buffers.release();
            assert_eq!(waiting(), 0);
        }
    }

    #[test]
    fn a_small_read_has_memory_of_its_own_size() {
        let directory = tempfile::tempdir().unwrap();
        let (file, buffers) = (file(directory.path(), b"12345678"), Buffers::new(8));
        assert_eq!(buffers.read(&*file, 0, 4).unwrap(), "1234");
        assert!(buffers.free.lock().unwrap().is_empty());
    }
}
