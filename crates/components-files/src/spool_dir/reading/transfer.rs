//! A file as pieces of its bytes, for the sink `files`: see [`formats::pieces`]. Blocks.
//!
//! ```text
//!   bytes ─► piece, at most `size` ─► event with headers for the place of its bytes in the file
//!     └────► digest ────────────────► on the last piece
//! ```
//!
//! The position counts bytes, and pieces have no fixed borders: a piece can end earlier at the
//! position of another channel, or at the batch limit of the downstream agents. After a restart the
//! source reads the bytes before the position again for the digest, and sends none of them.
//!
//! The source makes the last piece only if the file is unchanged since reading began. A changed
//! file never becomes a complete file at the receiver.
//!
//! The name of a transfer derives from the host, the source, and the file's path, inode, size,
//! modification time and first bytes. So the same file is the same transfer even if the agent lost
//! its state.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crypto::digest::{Context, SHA256};
use formats::pieces;
use pipeline::env::DiskFile;
use pipeline::file_position::shown;
use pipeline::{BatchBuilder, PieceLimits};
use support::hex::hex;

use super::super::mark::{DONE, Sight};
use super::Content;
use super::{Piece, Problem};

/// Read size for bytes that only the digest needs.
const AGAIN_BYTES: usize = 1 << 20;

/// Rest of a file to send.
pub(super) struct Transfer {
    file: Arc<dyn DiskFile>,
    sight: Sight,
    /// Path relative to the directory.
    name: String,
    /// Name of the transfer.
    transfer: String,
    /// Digest of all bytes before the next piece.
    digest: Context,
}

impl Transfer {
    /// Continues at the byte `start`. `head`: the first bytes of the file.
    pub(super) fn begin(
        content: &Content,
        file: Arc<dyn DiskFile>,
        sight: Sight,
        head: &[u8],
        start: u64,
    ) -> Result<Self, Problem> {
        let options = &content.options;
        let below = sight.path.strip_prefix(&options.directory).unwrap_or(&sight.path);
        let name = shown(Path::new(below)).into_owned();
        let pieces = options.pieces.as_ref();
        let (host, source) = pieces.map_or(("", ""), |it| (&*it.host, &*it.source));
        let transfer = pieces::transfer(&[
            host.as_bytes(),
            source.as_bytes(),
            name.as_bytes(),
            &sight.inode.to_le_bytes(),
            &sight.len.to_le_bytes(),
            &sight.modified.to_le_bytes(),
            head,
        ]);
        let digest = Context::new(&SHA256);
        let mut this = Self { file, sight, name, transfer, digest };
        let mut at = 0;
        while at < start {
            let bytes = AGAIN_BYTES.min(usize::try_from(start - at).unwrap_or(AGAIN_BYTES));
            this.read(at, bytes)?;
            at += bytes as u64;
        }
        Ok(this)
    }

    /// Reads `bytes` bytes from `at`, and adds them to the digest.
    fn read(&mut self, at: u64, bytes: usize) -> Result<Vec<u8>, Problem> {
        let mut buffer = vec![0; bytes];
        let mut filled = 0;
        while filled < bytes {
            match self.file.read_at(&mut buffer[filled..], at + filled as u64) {
                Ok(0) => return Err(self.changed()),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Problem::Unreadable(error)),
            }
        }
        self.digest.update(&buffer);
        Ok(buffer)
    }

    fn changed(&self) -> Problem {
        match self.file.stat() {
            Ok(stat) => Problem::Bad(self.sight.change(stat.len)),
            Err(error) => Problem::Unreadable(error),
        }
    }

    /// Returns the piece from the byte `at` up to the byte `until` at most.
    pub(super) fn next(
        &mut self,
        content: &Content,
        at: u64,
        until: Option<u64>,
        limits: PieceLimits,
    ) -> Result<Piece, Problem> {
        let left = self.sight.len.checked_sub(at).ok_or_else(|| self.changed())?;
        let most = limits.bytes.max(1) as u64;
        let bytes = until.map_or(left, |until| left.min(until - at)).min(most);
        let body = self.read(at, usize::try_from(bytes).unwrap_or(usize::MAX))?;
        let (offset, size) = (at.to_string(), self.sight.len.to_string());
        let mut headers = content.headers();
        headers.extend([
            (pieces::TRANSFER, &*self.transfer),
            (pieces::FILE, &*self.name),
            (pieces::OFFSET, &*offset),
            (pieces::SIZE, &*size),
        ]);
        let is_last = bytes == left;
        let digest;
        if is_last {
            if !self.sight.is_unchanged(&self.file.stat().map_err(Problem::Unreadable)?) {
                return Err(self.changed());
            }
            digest = hex(self.digest.clone().finish().as_ref());
            headers.push((pieces::DIGEST, &digest));
        }
        let mut events = BatchBuilder::default();
        events.push(&body, &headers);
        let end = if is_last { DONE } else { at + bytes };
        Ok(Piece { batch: events.finish(), end, cut: 0, divided: 0 })
    }
}
