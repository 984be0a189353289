//! Format of transferred files: each piece of a file is an event, with headers that describe its
//! place. `spool_dir` with `pieces` creates the pieces, the sink `files` joins them.
//!
//! | header | content |
//! |---|---|
//! | [`TRANSFER`] | identifies a transfer of a file: 32 hexadecimal digits, the same after a restart |
//! | [`FILE`] | path of the file, relative to the transferred directory |
//! | [`OFFSET`] | offset of the body in the file |
//! | [`SIZE`] | size of the whole file in bytes |
//! | [`DIGEST`] | SHA-256 of the whole file in hexadecimal digits; only on the piece at its end |
//!
//! Pieces of a file may have any size, arrive in any order, more than once, and overlap. An empty
//! file is one empty piece, which is also the piece at its end.

use support::hex::hex;

/// Header that identifies a transfer of a file.
pub const TRANSFER: &str = "piece.transfer";
/// Header with the path of the file, relative to the transferred directory.
pub const FILE: &str = "piece.file";
/// Header with the offset of the body in the file.
pub const OFFSET: &str = "piece.offset";
/// Header with the size of the whole file.
pub const SIZE: &str = "piece.size";
/// Header with the SHA-256 of the whole file.
pub const DIGEST: &str = "piece.sha256";

/// Length of a transfer's identifier in bytes.
const TRANSFER_BYTES: usize = 16;

/// Returns the identifier of a transfer, which depends on all `parts`.
#[must_use]
pub fn transfer(parts: &[&[u8]]) -> String {
    let mut digest = crypto::digest::Context::new(&crypto::digest::SHA256);
    for part in parts {
        digest.update(&(part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    hex(&digest.finish().as_ref()[..TRANSFER_BYTES])
}
