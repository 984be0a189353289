//! Which file is which, whatever it is called: [`pipeline::file_position`] says how, and what is
//! stored of it.

use bytes::Bytes;
use pipeline::env::Entropy;
pub(super) use pipeline::file_position::{HEAD_BYTES, PATH_BYTES_MAX, Position, Print, TAIL_BYTES};

/// A key for a file's positions that no other file ever has: its device and inode, for people, and
/// 64 random bits, since inodes are used again.
pub(super) fn new_key(device: u64, inode: u64, entropy: &dyn Entropy) -> Bytes {
    let parts = [device, inode, entropy.next_u64()];
    parts.iter().flat_map(|part| part.to_be_bytes()).collect::<Vec<u8>>().into()
}
