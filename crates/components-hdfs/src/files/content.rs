//! Reads the bytes of a file in order, a few parts ahead, with a blocking reader; or the parts that
//! a decoder requests, with [`Anywhere`].
//!
//! ```text
//!   store ─► a task fetches the next part ─► room for one ─► InOrder: Read ─► decompression
//!   store ◄─ requested parts ─ Anywhere: Parts
//! ```
//!
//! Both return errors of the store as I/O errors, which decompression passes on. [`of_store`]
//! extracts the original error.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use formats::compression::Compression;
use pipeline::Parts;
use storage::{FileSystem, FsError};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// Part size.
pub(super) const PART_BYTES: usize = 4 << 20;

/// Returns the decompressed content of a file of `len` bytes, and the task that fetches it.
///
/// # Errors
/// The store failed, or decompression cannot allocate memory.
pub(super) async fn content(
    fs: Arc<dyn FileSystem>,
    path: String,
    len: u64,
    compression: Compression,
) -> io::Result<(Box<dyn Read + Send>, AbortOnDropHandle<()>)> {
    let first = match len {
        0 => Bytes::new(),
        _ => fs.read_part(&path, 0, PART_BYTES).await.map_err(io::Error::other)?,
    };
    let (send, parts) = mpsc::channel(1);
    let begin = first.len() as u64;
    let fetching = tokio::spawn(async move { fetch(&*fs, &path, (begin, len), &send).await });
    let raw = InOrder { part: first.clone(), parts, left: len };
    let reader = compression.decompressed(Box::new(raw), &first)?;
    Ok((reader, AbortOnDropHandle::new(fetching)))
}

/// Fetches one part after the other, until the reader is dropped.
async fn fetch(
    fs: &dyn FileSystem,
    path: &str,
    (begin, end): (u64, u64),
    parts: &mpsc::Sender<Result<Bytes, FsError>>,
) {
    let mut at = begin;
    while at < end {
        let part = fs.read_part(path, at, PART_BYTES).await;
        let read = part.as_ref().map_or(0, |part| part.len() as u64);
        at += read;
        if parts.send(part).await.is_err() || read == 0 {
            return;
        }
    }
}

/// The parts of a file, in order.
struct InOrder {
    part: Bytes,
    parts: mpsc::Receiver<Result<Bytes, FsError>>,
    /// Bytes left, including `part`.
    left: u64,
}

impl Read for InOrder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Ok(0);
        }
        if self.part.is_empty() {
            self.part = match self.parts.blocking_recv() {
                Some(part) => part.map_err(io::Error::other)?,
                None => Bytes::new(),
            };
        }
        if self.part.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let bytes = buffer.len().min(self.part.len()).min(left);
        self.part.copy_to_slice(&mut buffer[..bytes]);
        self.left -= bytes as u64;
        Ok(bytes)
    }
}

/// A file read by requested parts, on a blocking thread, while the runtime of its creator runs.
pub(super) struct Anywhere {
    fs: Arc<dyn FileSystem>,
    path: String,
    len: u64,
    runtime: Handle,
}

impl Anywhere {
    /// # Panics
    /// Outside of a runtime.
    pub(super) fn new(fs: Arc<dyn FileSystem>, path: &str, len: u64) -> Self {
        Self { fs, path: path.to_owned(), len, runtime: Handle::current() }
    }
}

impl Parts for Anywhere {
    fn length(&self) -> u64 {
        self.len
    }

    fn read_at(&self, at: u64, bytes: usize) -> io::Result<Bytes> {
        if bytes == 0 {
            return Ok(Bytes::new());
        }
        let part = self.runtime.block_on(self.fs.read_part(&self.path, at, bytes));
        let part = part.map_err(io::Error::other)?;
        if part.len() < bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(part)
    }
}

/// Extracts the store's error from an I/O error.
pub(super) fn of_store(error: io::Error) -> Result<FsError, io::Error> {
    error.downcast::<FsError>()
}
