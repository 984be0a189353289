//! Identifies a file independent of its name: [`pipeline::file_position`] has the method and the
//! stored format.

use bytes::Bytes;
use pipeline::env::Entropy;
pub(super) use pipeline::file_position::{
    Fingerprint, HEAD_BYTES, PATH_BYTES_MAX, Position, TAIL_BYTES,
};

/// Returns a unique key for a file's positions: its device and inode, for people, and 64 random
/// bits, since inodes are reused.
pub(super) fn new_key(device: u64, inode: u64, entropy: &dyn Entropy) -> Bytes {
    let parts = [device, inode, entropy.next_u64()];
    parts.iter().flat_map(|part| part.to_be_bytes()).collect::<Vec<u8>>().into()
}
