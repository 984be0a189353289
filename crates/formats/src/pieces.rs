//! The form of a file that is transferred: each piece of its bytes is an event, which says by
//! headers which bytes they are. `spool_dir` with `pieces` makes them, the sink `files` puts them
//! together.
//!
//! | header | what it says |
//! |---|---|
//! | [`TRANSFER`] | which transfer of a file: 32 hexadecimal digits, the same after a restart |
//! | [`FILE`] | path of the file below the directory that is transferred |
//! | [`OFFSET`] | where in the file the body begins |
//! | [`SIZE`] | bytes of the whole file |
//! | [`DIGEST`] | SHA-256 of the whole file, in hexadecimal digits; on the piece that ends it alone |
//!
//! Pieces of a file may have any sizes, come in any order, more than once, and overlap. A file of 0
//! bytes is one empty piece, which ends it.

use support::hex::hex;

/// Which transfer of a file.
pub const TRANSFER: &str = "piece.transfer";
/// Path of the file below the directory that is transferred.
pub const FILE: &str = "piece.file";
/// Where in the file the body begins.
pub const OFFSET: &str = "piece.offset";
/// Bytes of the whole file.
pub const SIZE: &str = "piece.size";
/// SHA-256 of the whole file.
pub const DIGEST: &str = "piece.sha256";

/// Bytes of the name of a transfer.
const TRANSFER_BYTES: usize = 16;

/// The name of a transfer: another one where any of `parts` differs.
#[must_use]
pub fn transfer(parts: &[&[u8]]) -> String {
    let mut digest = crypto::digest::Context::new(&crypto::digest::SHA256);
    for part in parts {
        digest.update(&(part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    hex(&digest.finish().as_ref()[..TRANSFER_BYTES])
}
