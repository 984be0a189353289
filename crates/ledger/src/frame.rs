//! The frame around every file of the ledger.
//!
//! ```text
//! 0    8 bytes  what it is
//! 8    u32      version = 1, little-endian as all numbers here
//! 12   u32      bytes of the body (n)
//! 16   n bytes  body: a protobuf message, so that older programs pass over newer fields
//! 16+n u32      CRC32C of everything before it
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;
use thiserror::Error;

pub(super) const VERSION: u32 = 1;
/// Bytes before the body and after it.
pub(super) const HEAD: usize = 16;
pub(super) const TAIL: usize = 4;

/// Why bytes are not an entry.
#[derive(Debug, Error)]
pub enum EntryError {
    /// The file does not begin as it should.
    #[error(
        "the file does not begin like a file of a commit ledger: another program wrote or changed \
         it; restore it from a snapshot or the trash"
    )]
    Foreign,
    /// A newer program wrote it.
    #[error(
        "the file has the format version {found}, but this program supports only versions up to \
         {}; a newer program wrote it: upgrade this one",
        VERSION
    )]
    Version {
        /// The version in the file.
        found: u32,
    },
    /// Length or checksum do not fit.
    #[error(
        "the file is damaged ({problem}): restore it from a snapshot or the trash; if that is \
         impossible, stop the collector and run `aqueduct ledger rebuild --store URL --sink NAME \
         --data-dir DATA_DIR`"
    )]
    Damaged {
        /// The part that is invalid.
        problem: &'static str,
    },
    /// A newer program wrote a kind of entry that this one does not know.
    #[error("a newer program wrote this kind of commit record: upgrade this one")]
    Unknown,
    /// The entry is at another index than its own.
    #[error(
        "the file of commit record {place} contains record {said}; it was copied or renamed; \
         restore the right file from a snapshot or the trash"
    )]
    Misplaced {
        /// The index in it.
        said: u64,
        /// The index of its file.
        place: u64,
    },
}

/// The framed message.
pub(super) fn wrap(magic: &[u8; 8], body: &impl Message) -> Bytes {
    let len = body.encoded_len();
    let mut out = BytesMut::with_capacity(HEAD + len + TAIL);
    out.put_slice(magic);
    out.put_u32_le(VERSION);
    out.put_u32_le(u32::try_from(len).expect("a file of the ledger is smaller than 4 GiB"));
    body.encode(&mut out).expect("the buffer grows");
    let crc = crc32c::crc32c(&out);
    out.put_u32_le(crc);
    out.freeze()
}

/// Splits the first frame off `bytes`; `None` if it is not complete.
pub(super) fn split(bytes: &mut Bytes) -> Option<Bytes> {
    let len = bytes.get(12..HEAD)?.try_into().map(u32::from_le_bytes).ok()? as usize;
    let whole = HEAD.checked_add(len)?.checked_add(TAIL)?;
    (whole <= bytes.len()).then(|| bytes.split_to(whole))
}

/// Decodes the message in a frame, if it is complete.
pub(super) fn unwrap<M: Message + Default>(
    magic: &[u8; 8],
    mut framed: Bytes,
) -> Result<M, EntryError> {
    let whole = framed.clone();
    if framed.len() < HEAD + TAIL || !framed.starts_with(magic) {
        return Err(EntryError::Foreign);
    }
    framed.advance(magic.len());
    let found = framed.get_u32_le();
    if found != VERSION {
        return Err(EntryError::Version { found });
    }
    let len = framed.get_u32_le() as usize;
    if framed.len() != len + TAIL {
        return Err(EntryError::Damaged { problem: "invalid length" });
    }
    let body = framed.split_to(len);
    if crc32c::crc32c(&whole[..HEAD + len]) != framed.get_u32_le() {
        return Err(EntryError::Damaged { problem: "invalid checksum" });
    }
    M::decode(body).map_err(|_| EntryError::Damaged { problem: "invalid body" })
}
