//! The encoding of a segment: a header block, then groups of frames. See the [page](crate::durable)
//! for the diagram.
//!
//! A frame is verified in two steps. Its header and envelope have one checksum, seeded with the
//! channel's uuid, the segment's number and its own offset: frames of an earlier use of the file,
//! of another channel or at a wrong offset never verify. Its body has a separate checksum, so that
//! a flipped bit in the body leaves identity, tickets and length known.

use bytes::{BufMut, Bytes};
use pipeline::{Epoch, Origin, Ticket};

use super::seal::{KeyMark, Keyring, PREFIX_BYTES, Part, SealError, mark_of};

/// Groups are padded to this size, and offsets of direct I/O are multiples of it.
pub(crate) const BLOCK: usize = 4096;
/// Bytes of a frame's header.
pub(crate) const HEADER_BYTES: usize = 32;
/// The layout described here. Format 1 had no sealed frames and no LZ4; it can still be read.
pub(crate) const FORMAT: u16 = 2;
/// First bytes of each segment.
const MAGIC: &[u8; 16] = b"aqueduct segment";
/// Flag of a group's first frame.
pub(crate) const OPENS_GROUP: u8 = 1;
/// Flag of a sealed frame.
pub(crate) const SEALED: u8 = 2;

/// The owner of a channel's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    /// Seeds every checksum; created with the directory.
    pub(crate) uuid: [u8; 16],
    /// Given to batches that are born here.
    pub(crate) origin: Origin,
    /// This life of the origin.
    pub(crate) epoch: Epoch,
}

/// The initial value of the checksums of one segment, and the keys of its frames.
#[derive(Clone, Copy)]
pub(crate) struct Seed<'a> {
    crc: u32,
    /// The uuid, then the number: a seal covers them in addition to the frame.
    place: [u8; 24],
    keys: &'a Keyring,
}

impl<'a> Seed<'a> {
    /// The seed of segment `id`.
    pub(crate) fn new(uuid: &[u8; 16], id: u64, keys: &'a Keyring) -> Self {
        let mut place = [0; 24];
        place[..16].copy_from_slice(uuid);
        place[16..].copy_from_slice(&id.to_le_bytes());
        Self { crc: crc32c::crc32c(&place), place, keys }
    }

    /// Returns the initial checksum of the frame at `offset`: a frame elsewhere never verifies.
    pub(crate) fn at(self, offset: u64) -> u32 {
        crc32c::crc32c_append(self.crc, &offset.to_le_bytes())
    }

    /// Returns the bytes that the seal of the envelope of the frame at `offset` covers in addition.
    /// `header` is without its first four bytes, the checksum.
    pub(crate) fn context(self, offset: u64, header: &[u8]) -> Vec<u8> {
        [&self.place[..], &offset.to_le_bytes(), header].concat()
    }
}

/// The kinds of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Batches with their identities and positions: one put transaction.
    Put = 1,
    /// Tickets that consumers have committed.
    Ack = 2,
    /// The consumers from here on.
    Consumers = 3,
    /// A summary of all earlier segments. First in every segment, twice.
    State = 4,
    /// Tickets and identities that were found damaged.
    Forget = 5,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Put, Self::Ack, Self::Consumers, Self::State, Self::Forget]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// The decrypted envelope and body of a frame.
pub(crate) type Contents = (Bytes, Bytes);

/// A frame's header as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    crc: u32,
    body_crc: u32,
    /// Bytes of the envelope.
    pub(crate) envelope_len: usize,
    /// Bytes of the body.
    pub(crate) body_len: usize,
    /// As in [`Frame`].
    pub(crate) ticket: Ticket,
    /// As in [`Frame`].
    pub(crate) tickets: u32,
    /// As in [`Frame`].
    pub(crate) kind: Kind,
    /// True for the first frame of a group, at the start of a block.
    pub(crate) opens_group: bool,
    /// As in [`Frame`].
    pub(crate) coding: u8,
    /// As in [`Frame`].
    pub(crate) sealed: bool,
}

impl Header {
    /// Reads a header; `None` if it cannot be one. Not verified yet.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        let wide = |at: usize| {
            u32::from_le_bytes(bytes[at..at + 4].try_into().expect("a slice of four bytes"))
        };
        let ticket = bytes[16..24].try_into().expect("a slice of eight bytes");
        Some(Self {
            crc: wide(0),
            body_crc: wide(4),
            envelope_len: wide(8) as usize,
            body_len: wide(12) as usize,
            ticket: u64::from_le_bytes(ticket),
            tickets: wide(24),
            kind: Kind::from_byte(bytes[28])?,
            opens_group: bytes[29] & OPENS_GROUP != 0,
            coding: bytes[30],
            sealed: bytes[29] & SEALED != 0,
        })
    }

    /// Returns the size of the frame in its segment.
    pub(crate) fn frame_len(&self) -> usize {
        (HEADER_BYTES + self.envelope_len + self.body_len).next_multiple_of(8)
    }

    /// Returns `true` if header and envelope, with which `frame` starts, belong to a frame of
    /// `seed` at `offset`.
    pub(crate) fn verify(&self, frame: &[u8], seed: Seed<'_>, offset: u64) -> bool {
        frame
            .get(4..HEADER_BYTES + self.envelope_len)
            .is_some_and(|bytes| crc32c::crc32c_append(seed.at(offset), bytes) == self.crc)
    }

    /// Returns `true` if the body in the complete `frame` is undamaged.
    pub(crate) fn verify_body(&self, frame: &[u8]) -> bool {
        let start = HEADER_BYTES + self.envelope_len;
        frame
            .get(start..start + self.body_len)
            .is_some_and(|body| crc32c::crc32c(body) == self.body_crc)
    }

    /// The key that the frame, which verifies, is sealed with.
    pub(crate) fn key(&self, frame: &[u8]) -> Option<KeyMark> {
        mark_of(frame.get(HEADER_BYTES..)?).filter(|_| self.sealed)
    }

    /// Returns the envelope of a verified frame at the beginning of `frame`; `None` if it was
    /// changed after sealing.
    ///
    /// # Errors
    /// The key is missing.
    pub(crate) fn envelope(
        &self,
        frame: &[u8],
        seed: Seed<'_>,
        offset: u64,
    ) -> Result<Option<Bytes>, SealError> {
        let envelope = &frame[HEADER_BYTES..HEADER_BYTES + self.envelope_len];
        if !self.sealed {
            return Ok(Some(Bytes::copy_from_slice(envelope)));
        }
        let Some(key) = seed.keys.frame_key(envelope)? else { return Ok(None) };
        let mut sealed = envelope[PREFIX_BYTES..].to_vec();
        let context = seed.context(offset, &frame[4..HEADER_BYTES]);
        Ok(key.open(Part::Envelope, &context, &mut sealed).map(Bytes::copy_from_slice))
    }

    /// Returns envelope and body of a complete, verified frame; `None` if they were changed after
    /// sealing.
    ///
    /// # Errors
    /// The key is missing.
    pub(crate) fn contents(
        &self,
        frame: &Bytes,
        seed: Seed<'_>,
        offset: u64,
    ) -> Result<Option<Contents>, SealError> {
        let envelope_end = HEADER_BYTES + self.envelope_len;
        let body = frame.slice(envelope_end..envelope_end + self.body_len);
        if !self.sealed {
            return Ok(Some((frame.slice(HEADER_BYTES..envelope_end), body)));
        }
        let Some(envelope) = self.envelope(frame, seed, offset)? else { return Ok(None) };
        let Some(key) = seed.keys.frame_key(&frame[HEADER_BYTES..])? else { return Ok(None) };
        if body.is_empty() {
            return Ok(Some((envelope, body)));
        }
        let mut body = body.to_vec();
        let Some(len) = key.open(Part::Body, &[], &mut body).map(<[u8]>::len) else {
            return Ok(None);
        };
        body.truncate(len);
        Ok(Some((envelope, Bytes::from(body))))
    }
}

/// The first block of a segment: for people, for repair, and to find the owner again.
pub(crate) fn header_block(owner: &Owner, id: u64) -> Vec<u8> {
    let mut block = Vec::with_capacity(BLOCK);
    block.put_slice(MAGIC);
    block.put_u16_le(FORMAT);
    block.put_bytes(0, 6);
    block.put_slice(&owner.uuid);
    block.put_slice(&owner.origin.0);
    block.put_u64_le(owner.epoch.0);
    block.put_u64_le(id);
    let crc = crc32c::crc32c(&block);
    block.put_u32_le(crc);
    block.resize(BLOCK, 0);
    block
}

/// Decodes a header block; `None` if it is damaged or the file was never a segment.
pub(crate) fn read_header_block(block: &[u8]) -> Option<(u16, Owner, u64)> {
    const LEN: usize = 72;
    let block = block.get(..LEN + 4)?;
    let crc = u32::from_le_bytes(block[LEN..].try_into().ok()?);
    if &block[..16] != MAGIC || crc32c::crc32c(&block[..LEN]) != crc {
        return None;
    }
    let format = u16::from_le_bytes([block[16], block[17]]);
    let owner = Owner {
        uuid: block[24..40].try_into().ok()?,
        origin: Origin(block[40..56].try_into().ok()?),
        epoch: Epoch(u64::from_le_bytes(block[56..64].try_into().ok()?)),
    };
    Some((format, owner, u64::from_le_bytes(block[64..72].try_into().ok()?)))
}

#[cfg(all(test, feature = "testkit"))]
mod tests;
