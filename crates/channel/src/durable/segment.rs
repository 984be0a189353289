//! The bytes of a segment: a header block, then groups of frames. See the [page](super) for the
//! drawing.
//!
//! A frame is verified in two steps. Its header and envelope have one checksum, seeded with the
//! channel's uuid, the segment's number and its own offset: frames that an earlier use of the file
//! left behind, that belong to another channel or that strayed never verify. Its body has a checksum of its own, so a flipped
//! bit in the body leaves identity, tickets and length known.

use bytes::{BufMut, Bytes};
use pipeline::{Epoch, Origin, Ticket};

use super::aligned::Aligned;
use super::seal::{KeyMark, Keyring, PREFIX_BYTES, Part, SealError, Sealer, TAG_BYTES, mark_of};

/// What groups are padded to, and what offsets of direct I/O are multiples of.
pub(crate) const BLOCK: usize = 4096;
/// Bytes of a frame's header.
pub(crate) const HEADER_BYTES: usize = 32;
/// The layout described here. Format 1 had no sealed frames and no LZ4; it is read all the same.
pub(crate) const FORMAT: u16 = 2;
/// First bytes of each segment.
const MAGIC: &[u8; 16] = b"aqueduct segment";
const OPENS_GROUP: u8 = 1;
const SEALED: u8 = 2;

/// Who a channel's files belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    /// Seeds every checksum; made with the directory.
    pub(crate) uuid: [u8; 16],
    /// Given to batches that are born here.
    pub(crate) origin: Origin,
    /// This life of the origin.
    pub(crate) epoch: Epoch,
}

/// What the checksums of one segment start from, and the keys that its frames may need.
#[derive(Clone, Copy)]
pub(crate) struct Seed<'a> {
    crc: u32,
    /// The uuid, then the number: what a seal covers besides the frame itself.
    place: [u8; 24],
    keys: &'a Keyring,
}

impl<'a> Seed<'a> {
    /// The seed of segment `id`.
    pub(crate) fn of(uuid: &[u8; 16], id: u64, keys: &'a Keyring) -> Self {
        let mut place = [0; 24];
        place[..16].copy_from_slice(uuid);
        place[16..].copy_from_slice(&id.to_le_bytes());
        Self { crc: crc32c::crc32c(&place), place, keys }
    }

    /// What the checksum of the frame at `offset` starts from: one that strayed never verifies.
    pub(super) fn at(self, offset: u64) -> u32 {
        crc32c::crc32c_append(self.crc, &offset.to_le_bytes())
    }

    /// What the seal of the envelope of the frame at `offset` covers besides it. `header` is without
    /// its first four bytes, the checksum.
    fn context(self, offset: u64, header: &[u8]) -> Vec<u8> {
        [&self.place[..], &offset.to_le_bytes(), header].concat()
    }
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Batches with their identities and positions: one put transaction.
    Put = 1,
    /// Tickets that consumers have committed.
    Ack = 2,
    /// The consumers from here on.
    Consumers = 3,
    /// All that earlier segments said, in short. First in every segment, twice.
    State = 4,
    /// Tickets and identities that were found damaged.
    Forget = 5,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        [Self::Put, Self::Ack, Self::Consumers, Self::State, Self::Forget]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// A frame to be written.
pub(crate) struct Frame {
    /// What it is.
    pub(crate) kind: Kind,
    /// How the body as a whole was changed on its way to the disk; 0 is not at all.
    pub(crate) coding: u8,
    /// Ticket of its first batch with events; the next one to be given if it has none.
    pub(crate) ticket: Ticket,
    /// How many tickets it takes.
    pub(crate) tickets: u32,
    /// What is small and must be known even if the body is damaged.
    pub(crate) envelope: Vec<u8>,
    /// The encoded batches, end to end.
    pub(crate) body: Body,
    /// Whether it is to be sealed.
    pub(crate) sealed: bool,
}

/// The body of a frame with its checksum.
#[derive(Debug, Clone, Default)]
pub(crate) struct Body {
    /// Pieces, to be written one behind the other.
    pub(crate) parts: Vec<Bytes>,
    /// CRC32C of all pieces.
    pub(crate) crc: u32,
    /// Bytes of all pieces.
    pub(crate) len: usize,
}

impl Body {
    /// Appends a piece.
    pub(crate) fn push(&mut self, part: Bytes) {
        self.crc = crc32c::crc32c_append(self.crc, &part);
        self.len += part.len();
        self.parts.push(part);
    }

    /// Appends a piece whose checksum is known.
    pub(crate) fn push_known(&mut self, part: Bytes, crc: u32) {
        if self.parts.is_empty() {
            self.crc = crc;
            self.len = part.len();
            self.parts.push(part);
        } else {
            self.push(part);
        }
    }
}

impl Frame {
    /// A frame without a body.
    pub(crate) fn plain(kind: Kind, ticket: Ticket, envelope: Vec<u8>) -> Self {
        let body = Body::default();
        Self { kind, coding: 0, ticket, tickets: 0, envelope, body, sealed: false }
    }

    /// Bytes that its envelope and its body take.
    fn lens(&self) -> (usize, usize) {
        let (envelope, body) = (self.envelope.len(), self.body.len);
        match self.sealed {
            false => (envelope, body),
            true if body == 0 => (PREFIX_BYTES + envelope + TAG_BYTES, 0),
            true => (PREFIX_BYTES + envelope + TAG_BYTES, body + TAG_BYTES),
        }
    }

    /// Bytes that it takes in a segment.
    pub(crate) fn len(&self) -> usize {
        let (envelope, body) = self.lens();
        (HEADER_BYTES + envelope + body).next_multiple_of(8)
    }

    /// The header but for its first four bytes.
    fn header(&self, body_crc: u32, opens_group: bool) -> Vec<u8> {
        let wide = |n: usize| u32::try_from(n).expect("a frame is smaller than a segment");
        let (envelope_len, body_len) = self.lens();
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.put_u32_le(body_crc);
        header.put_u32_le(wide(envelope_len));
        header.put_u32_le(wide(body_len));
        header.put_u64_le(self.ticket);
        header.put_u32_le(self.tickets);
        header.put_u8(self.kind as u8);
        let sealed = if self.sealed { SEALED } else { 0 };
        header.put_u8(sealed | if opens_group { OPENS_GROUP } else { 0 });
        header.put_u8(self.coding);
        header.put_u8(0);
        header
    }

    /// Appends it to a buffer that will be written at offset `base`; `sealer` is there if it is to
    /// be sealed.
    pub(crate) fn write(
        &self,
        out: &mut Aligned,
        seed: Seed<'_>,
        sealer: Option<&Sealer>,
        base: u64,
        opens_group: bool,
    ) {
        let at = out.len();
        let offset = base + at as u64;
        out.reserve(self.len());
        let Some(sealer) = sealer.filter(|_| self.sealed) else {
            assert!(!self.sealed, "who seals frames has a key");
            let header = self.header(self.body.crc, opens_group);
            let crc = crc32c::crc32c_append(seed.at(offset), &header);
            let crc = crc32c::crc32c_append(crc, &self.envelope);
            out.push(&crc.to_le_bytes());
            out.push(&header);
            out.push(&self.envelope);
            self.body.parts.iter().for_each(|part| out.push(part));
            out.pad(8);
            return;
        };
        let (prefix, key) = sealer.frame();
        let (envelope_len, body_len) = self.lens();
        out.push(&[0; HEADER_BYTES]);
        out.push(&prefix);
        out.push(&self.envelope);
        out.push(&[0; TAG_BYTES]);
        self.body.parts.iter().for_each(|part| out.push(part));
        out.push(&[0; TAG_BYTES][..body_len - self.body.len]);
        out.pad(8);
        let frame = &mut out.as_mut_slice()[at..];
        let (head, rest) = frame.split_at_mut(HEADER_BYTES);
        let (envelope, rest) = rest.split_at_mut(envelope_len);
        let body = &mut rest[..body_len];
        if !body.is_empty() {
            key.seal(Part::Body, &[], body);
        }
        let header = self.header(crc32c::crc32c(body), opens_group);
        key.seal(Part::Envelope, &seed.context(offset, &header), &mut envelope[PREFIX_BYTES..]);
        let crc = crc32c::crc32c_append(crc32c::crc32c_append(seed.at(offset), &header), envelope);
        head[..4].copy_from_slice(&crc.to_le_bytes());
        head[4..].copy_from_slice(&header);
    }
}

/// What a frame says, open: its envelope and its body.
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
    /// Whether it is the first frame of a group, at the start of a block.
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
            kind: Kind::of(bytes[28])?,
            opens_group: bytes[29] & OPENS_GROUP != 0,
            coding: bytes[30],
            sealed: bytes[29] & SEALED != 0,
        })
    }

    /// Bytes that the frame takes in its segment.
    pub(crate) fn frame_len(&self) -> usize {
        (HEADER_BYTES + self.envelope_len + self.body_len).next_multiple_of(8)
    }

    /// Whether header and envelope, which `frame` starts with, are those of a frame of `seed` at
    /// `offset`.
    pub(crate) fn verify(&self, frame: &[u8], seed: Seed<'_>, offset: u64) -> bool {
        frame
            .get(4..HEADER_BYTES + self.envelope_len)
            .is_some_and(|bytes| crc32c::crc32c_append(seed.at(offset), bytes) == self.crc)
    }

    /// Whether the body in `frame`, which is whole, is as it was written.
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

    /// The envelope of a frame that verifies and begins with `frame`; `None` if it is not what was
    /// sealed.
    ///
    /// # Errors
    /// The key is not there.
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

    /// Envelope and body of a whole frame that verifies; `None` if they are not what was sealed.
    ///
    /// # Errors
    /// The key is not there.
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

/// What a header block says; `None` if it is damaged or the file was never a segment.
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
