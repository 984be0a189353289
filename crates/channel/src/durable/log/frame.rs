//! Frames on their way to the disk. A small body is copied into its group; a large one was put into
//! its place by the producer, so that only the frame's first bytes are left to be written. See
//! the [page](crate::durable) for the drawing.

use std::sync::Arc;

use bytes::{BufMut, Bytes};
use pipeline::Ticket;
use support::pool::Pooled;

use super::aligned::{Aligned, Buffers};
use super::seal::{PREFIX_BYTES, Part, Sealer, TAG_BYTES};
use super::segment::{BLOCK, HEADER_BYTES, Kind, OPENS_GROUP, SEALED, Seed};

/// Size of the smallest frame without content.
pub(crate) const FILLER_MIN: usize = HEADER_BYTES + 8;

/// A frame to be written.
pub(crate) struct Frame {
    /// Its kind.
    pub(crate) kind: Kind,
    /// The encoding of the body as a whole; 0 for none.
    pub(crate) coding: u8,
    /// Ticket of its first batch with events; without one, the next ticket to be assigned.
    pub(crate) ticket: Ticket,
    /// Number of its tickets.
    pub(crate) tickets: u32,
    /// Small data that must be known even if the body is damaged.
    pub(crate) envelope: Vec<u8>,
    /// The encoded batches, end to end.
    pub(crate) body: Body,
    /// Set if it is to be sealed; such a frame is never written from its own buffer.
    pub(crate) sealed: bool,
}

/// The body of a frame with its checksum: the stored bytes of its batches, end to end.
#[derive(Default)]
pub(crate) struct Body {
    content: Content,
    /// CRC32C of all of it.
    pub(crate) crc: u32,
    /// Bytes of all of it.
    pub(crate) len: usize,
}

enum Content {
    /// One piece for each batch, to be copied into the group.
    Pieces(Vec<Bytes>),
    /// A buffer that is written as it is: it has room for the frame's header and envelope at the
    /// front.
    InPlace { buffer: Pooled<Aligned>, start: usize },
}

impl Default for Content {
    fn default() -> Self {
        Self::Pieces(Vec::new())
    }
}

impl Body {
    /// Creates a body of these pieces, one for each batch.
    pub(crate) fn from_pieces(pieces: Vec<Bytes>) -> Self {
        let crc = pieces.iter().fold(0, |crc, piece| crc32c::crc32c_append(crc, piece));
        let len = pieces.iter().map(Bytes::len).sum();
        Self { content: Content::Pieces(pieces), crc, len }
    }

    /// Copies the pieces into one buffer, after room for an envelope of `envelope` bytes. Each byte
    /// is copied only once on its way to the disk.
    pub(crate) fn in_place(pieces: &[Bytes], envelope: usize, buffers: &Arc<Buffers>) -> Self {
        let len = pieces.iter().map(Bytes::len).sum();
        let front = HEADER_BYTES + envelope;
        // Two more blocks, so that commits and padding fit after it.
        let mut buffer = buffers.get(front + len + 2 * BLOCK);
        buffer.set_len(front);
        let crc = pieces.iter().fold(0, |crc, piece| buffer.push_checked(piece, crc));
        Self { content: Content::InPlace { buffer, start: front }, crc, len }
    }

    /// Returns the room for the envelope, if the body is in its own buffer.
    pub(crate) fn envelope_room(&self) -> Option<usize> {
        match &self.content {
            Content::Pieces(_) => None,
            Content::InPlace { start, .. } => Some(start - HEADER_BYTES),
        }
    }

    /// Removes the batches that do not stay; `lengths` has the length of each batch.
    pub(crate) fn keeping(self, lengths: &[usize], stays: &[bool]) -> Self {
        if stays.iter().all(|stays| *stays) {
            return self;
        }
        let pieces = self.into_pieces(lengths).into_iter().zip(stays);
        Self::from_pieces(pieces.filter_map(|(piece, stays)| stays.then_some(piece)).collect())
    }

    /// Returns the stored bytes of each batch, given their lengths.
    pub(crate) fn into_pieces(self, lengths: &[usize]) -> Vec<Bytes> {
        match self.content {
            Content::Pieces(pieces) => pieces,
            Content::InPlace { buffer, start } => {
                let mut at = start;
                let bytes = Bytes::from_owner(buffer);
                let piece = |len: &usize| {
                    at += len;
                    bytes.slice(at - len..at)
                };
                lengths.iter().map(piece).collect()
            }
        }
    }
}

impl Frame {
    /// A frame without a body.
    pub(crate) fn plain(kind: Kind, ticket: Ticket, envelope: Vec<u8>) -> Self {
        let body = Body::default();
        Self { kind, coding: 0, ticket, tickets: 0, envelope, body, sealed: false }
    }

    /// One put transaction. If its body is in its own buffer, the envelope fills the room before
    /// it: bytes after an envelope's content have no meaning.
    pub(crate) fn put(ticket: Ticket, tickets: u32, mut envelope: Vec<u8>, body: Body) -> Self {
        if let Some(room) = body.envelope_room() {
            assert!(envelope.len() <= room, "an envelope has the room that was kept for it");
            envelope.resize(room, 0);
        }
        Self { kind: Kind::Put, coding: 0, ticket, tickets, envelope, body, sealed: false }
    }

    /// A frame without content of `len` bytes, at least [`FILLER_MIN`]: it has no commits, and
    /// bytes after an envelope's content have no meaning.
    pub(crate) fn filler(ticket: Ticket, len: usize) -> Self {
        Self::plain(Kind::Ack, ticket, vec![0; len - HEADER_BYTES])
    }

    /// Returns the sizes of its envelope and its body.
    fn lens(&self) -> (usize, usize) {
        let (envelope, body) = (self.envelope.len(), self.body.len);
        match self.sealed {
            false => (envelope, body),
            true if body == 0 => (PREFIX_BYTES + envelope + TAG_BYTES, 0),
            true => (PREFIX_BYTES + envelope + TAG_BYTES, body + TAG_BYTES),
        }
    }

    /// Returns its size in a segment.
    pub(crate) fn len(&self) -> usize {
        let (envelope, body) = self.lens();
        (HEADER_BYTES + envelope + body).next_multiple_of(8)
    }

    /// Returns `true` if it is written from its own buffer, which begins at a block.
    pub(crate) fn is_in_place(&self) -> bool {
        matches!(self.body.content, Content::InPlace { .. })
    }

    /// Its own buffer, if it has one.
    pub(crate) fn buffer(&mut self) -> Option<&mut Aligned> {
        match &mut self.body.content {
            Content::Pieces(_) => None,
            Content::InPlace { buffer, .. } => Some(buffer),
        }
    }

    /// Its own buffer's bytes, if it has one.
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.body.content {
            Content::Pieces(_) => &[],
            Content::InPlace { buffer, .. } => buffer.as_slice(),
        }
    }

    fn pieces(&self) -> &[Bytes] {
        match &self.body.content {
            Content::Pieces(pieces) => pieces,
            Content::InPlace { .. } => &[],
        }
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

    /// The first bytes of a frame that is not sealed: header and envelope, for offset `at` of its
    /// segment.
    fn front(&self, seed: Seed<'_>, at: u64, opens_group: bool) -> Vec<u8> {
        let header = self.header(self.body.crc, opens_group);
        let crc = crc32c::crc32c_append(seed.at(at), &header);
        let crc = crc32c::crc32c_append(crc, &self.envelope);
        [&crc.to_le_bytes()[..], &header, &self.envelope].concat()
    }

    /// All bytes of a frame that is neither sealed nor in its place, for offset `at`.
    pub(crate) fn encoded(&self, seed: Seed<'_>, at: u64) -> Vec<u8> {
        let mut out = self.front(seed, at, true);
        out.reserve(self.len() - out.len());
        self.pieces().iter().for_each(|piece| out.put_slice(piece));
        out.resize(self.len(), 0);
        out
    }

    /// Completes a frame that has its own buffer.
    pub(crate) fn complete(&mut self, seed: Seed<'_>, at: u64, opens_group: bool) {
        assert!(!self.sealed, "sealed bodies are copied");
        let front = self.front(seed, at, opens_group);
        if let Some(buffer) = self.buffer() {
            buffer.as_mut_slice()[..front.len()].copy_from_slice(&front);
            buffer.pad(8);
        }
    }

    /// Appends it to a buffer that will be written at `offset` of its segment. `sealer` must be set
    /// if it is to be sealed.
    pub(crate) fn write(
        &self,
        out: &mut Aligned,
        seed: Seed<'_>,
        sealer: Option<&Sealer>,
        offset: u64,
        opens_group: bool,
    ) {
        let at = out.len();
        out.reserve(self.len());
        let Some(sealer) = sealer.filter(|_| self.sealed) else {
            assert!(!self.sealed, "a writer that seals frames has a key");
            out.push(&self.front(seed, offset, opens_group));
            self.pieces().iter().for_each(|piece| out.push(piece));
            out.pad(8);
            return;
        };
        let (prefix, key) = sealer.frame();
        let (envelope_len, body_len) = self.lens();
        out.push(&[0; HEADER_BYTES]);
        out.push(&prefix);
        out.push(&self.envelope);
        out.push(&[0; TAG_BYTES]);
        self.pieces().iter().for_each(|piece| out.push(piece));
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
