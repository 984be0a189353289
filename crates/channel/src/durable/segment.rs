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

/// What groups are padded to, and what offsets of direct I/O are multiples of.
pub(crate) const BLOCK: usize = 4096;
/// Bytes of a frame's header.
pub(crate) const HEADER_BYTES: usize = 32;
/// The layout described here.
pub(crate) const FORMAT: u16 = 1;
/// First bytes of each segment.
const MAGIC: &[u8; 16] = b"aqueduct segment";
const OPENS_GROUP: u8 = 1;

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

/// What the checksums of one segment start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seed(u32);

impl Seed {
    /// The seed of segment `id`.
    pub(crate) fn of(uuid: &[u8; 16], id: u64) -> Self {
        Self(crc32c::crc32c_append(crc32c::crc32c(uuid), &id.to_le_bytes()))
    }

    /// What the checksum of the frame at `offset` starts from: one that strayed never verifies.
    fn at(self, offset: u64) -> u32 {
        crc32c::crc32c_append(self.0, &offset.to_le_bytes())
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
        Self { kind, coding: 0, ticket, tickets: 0, envelope, body: Body::default() }
    }

    /// Bytes that it takes in a segment.
    pub(crate) fn len(&self) -> usize {
        (HEADER_BYTES + self.envelope.len() + self.body.len).next_multiple_of(8)
    }

    /// Appends it to a buffer that will be written at offset `base`.
    pub(crate) fn write(&self, out: &mut Aligned, seed: Seed, base: u64, opens_group: bool) {
        let wide = |n: usize| u32::try_from(n).expect("a frame is smaller than a segment");
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.put_u32_le(self.body.crc);
        header.put_u32_le(wide(self.envelope.len()));
        header.put_u32_le(wide(self.body.len));
        header.put_u64_le(self.ticket);
        header.put_u32_le(self.tickets);
        header.put_u8(self.kind as u8);
        header.put_u8(if opens_group { OPENS_GROUP } else { 0 });
        header.put_u8(self.coding);
        header.put_u8(0);
        let start = seed.at(base + out.len() as u64);
        let crc = crc32c::crc32c_append(crc32c::crc32c_append(start, &header), &self.envelope);
        out.reserve(self.len());
        out.push(&crc.to_le_bytes());
        out.push(&header);
        out.push(&self.envelope);
        for part in &self.body.parts {
            out.push(part);
        }
        out.pad(8);
    }
}

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
        })
    }

    /// Bytes that the frame takes in its segment.
    pub(crate) fn frame_len(&self) -> usize {
        (HEADER_BYTES + self.envelope_len + self.body_len).next_multiple_of(8)
    }

    /// Whether header and envelope, which `frame` starts with, are those of a frame of `seed` at
    /// `offset`.
    pub(crate) fn verify(&self, frame: &[u8], seed: Seed, offset: u64) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Owner = Owner { uuid: [3; 16], origin: Origin([4; 16]), epoch: Epoch(5) };

    fn written(seed: Seed) -> Vec<u8> {
        let mut body = Body::default();
        body.push(Bytes::from_static(b"first "));
        body.push(Bytes::from_static(b"second"));
        let envelope = b"small".to_vec();
        let frame = Frame { kind: Kind::Put, coding: 0, ticket: 9, tickets: 2, envelope, body };
        let mut out = Aligned::with_capacity(0);
        frame.write(&mut out, seed, 4096, true);
        assert_eq!(out.len(), frame.len());
        out.as_slice().to_vec()
    }

    #[test]
    fn any_flipped_bit_of_a_frame_is_seen() {
        let seed = Seed::of(&OWNER.uuid, 1);
        let good = written(seed);
        let sound = |bytes: &[u8]| {
            Header::read(bytes).is_some_and(|header| {
                header.frame_len() <= bytes.len()
                    && header.verify(bytes, seed, 4096)
                    && header.verify_body(bytes)
            })
        };
        assert!(sound(&good));
        // The last bytes pad the frame and mean nothing.
        for bit in 0..(HEADER_BYTES + 5 + 12) * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!sound(&bad), "bit {bit} flipped unseen");
        }
    }

    #[test]
    fn a_frame_of_an_earlier_use_of_the_file_never_verifies() {
        let old = written(Seed::of(&OWNER.uuid, 1));
        let header = Header::read(&old).unwrap();
        assert!(!header.verify(&old, Seed::of(&OWNER.uuid, 2), 4096));
        assert!(!header.verify(&old, Seed::of(&[0; 16], 1), 4096));
        assert!(!header.verify(&old, Seed::of(&OWNER.uuid, 1), 8192), "it strayed");
    }

    #[test]
    fn a_header_block_names_its_owner() {
        let mut block = header_block(&OWNER, 7);
        assert_eq!(block.len(), BLOCK);
        assert_eq!(read_header_block(&block), Some((FORMAT, OWNER, 7)));
        block[30] ^= 1;
        assert_eq!(read_header_block(&block), None);
    }
}
