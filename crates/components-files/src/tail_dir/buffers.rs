//! Buffers of large reads, used again once their lines are stored.
//!
//! A file that has much to read is read by the mebibyte, and given up when its batch has been
//! copied to its channel. With fresh memory for each read, to have it made and cleared was an
//! eighth of all that an edge did.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use pipeline::env::DiskFile;
use support::pool::{Pool, Room};

/// Bytes of all buffers that wait for a read. More come back at once only from a channel that keeps
/// batches in memory.
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
    /// As the system says.
    pub(super) fn read(&self, file: &dyn DiskFile, offset: u64, bytes: usize) -> io::Result<Bytes> {
        let mut room = self.room(bytes);
        let read = file.read_at(&mut room, offset)?;
        room.truncate(read);
        Ok(Bytes::from_owner(room))
    }

    /// Room for that many bytes.
    pub(super) fn room(&self, bytes: usize) -> Room {
        self.0.room(bytes)
    }

    /// Gives what waits back to the system.
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
    fn what_is_read_is_what_the_file_holds_also_in_a_buffer_that_was_used() {
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
