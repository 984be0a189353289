//! Reusable buffers for large reads.
//!
//! The tailer reads a file with a large backlog 1 MiB at a time, and frees the memory when the
//! batch has been copied to its channel. Allocating and clearing fresh memory for each read took an
//! eighth of the edge's processor time.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use pipeline::env::DiskFile;
use support::pool::{Pool, Room};

/// Maximum size of all idle buffers. Only a channel that keeps batches in memory returns more than
/// this at the same time.
const IDLE_BYTES_MAX: usize = 4 << 20;

/// The buffers of one tailer.
pub(super) struct Buffers(Arc<Pool<Vec<u8>>>);

impl Buffers {
    pub(super) fn new() -> Self {
        Self(Arc::new(Pool::new(IDLE_BYTES_MAX)))
    }

    /// Up to `bytes` of `file` at `offset`; fewer only at its end.
    ///
    /// # Errors
    /// Returns the operating system's error.
    pub(super) fn read(&self, file: &dyn DiskFile, offset: u64, bytes: usize) -> io::Result<Bytes> {
        let mut room = self.room(bytes);
        let read = file.read_at(&mut room, offset)?;
        room.truncate(read);
        Ok(Bytes::from_owner(room))
    }

    /// Returns a buffer of `bytes` bytes.
    pub(super) fn room(&self, bytes: usize) -> Room {
        self.0.room(bytes)
    }

    /// Returns the idle buffers to the system.
    pub(super) fn release(&self) {
        self.0.clear();
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the test reads a real file")]
mod tests {
    use pipeline::env::OpenMode;

    use super::*;

    #[test]
    fn reads_the_file_content_into_a_reused_buffer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        let content: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let file = env::real().disk.open(&path, OpenMode::default()).unwrap();
        let buffers = Buffers::new();
        for (offset, bytes) in
            [(0, 200_000), (7, 199_000), (150_000, 200_000), (299_000, 10), (3, 9)]
        {
            let read = buffers.read(&*file, offset as u64, bytes).unwrap();
            let end = content.len().min(offset + bytes);
            assert!(read == content[offset..end], "{bytes} bytes at {offset}");
        }
        assert!(buffers.0.idle_bytes() > 0);
        buffers.release();
        assert_eq!(buffers.0.idle_bytes(), 0);
    }
}
