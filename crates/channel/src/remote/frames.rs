//! The encoding of frames and STATEs. See the [durable](crate::durable) channel for the layout of
//! frames.
//!
//! ```text
//! frame  PUT as in a segment; its checksum is seeded with the channel's origin and its ticket
//! STATE  as in a segment, seeded with zeros; its ticket is the next one, and its body
//!        u8 version = 1 | origin 16 B | u64 place after the last frame that it covers
//! ```
//!
//! A "segment" of a STATE is a section of the log: its number is the place of its first frame, its
//! end the place of its last one, its room the bytes of its frames.

use bytes::{Buf, BufMut, Bytes};
use pipeline::{Batch, DecodeError, Identity, Origin, Ticket};

use super::log::Place;
use crate::durable::log::frame::{Body, Frame};
use crate::durable::log::records::{PutRecord, StateRecord};
use crate::durable::log::seal::Keyring;
use crate::durable::log::segment::{Header, Kind, Seed};

/// The layout described here.
const VERSION: u8 = 1;
/// The initial value of the checksums of STATEs.
const NO_ORIGIN: Origin = Origin([0; 16]);
/// Maximum size of a frame besides its batches and positions, for each batch.
pub(super) const OVERHEAD: u64 = 256;

/// A PUT that was read.
pub(super) struct ReadPut {
    pub(super) ticket: Ticket,
    pub(super) record: PutRecord,
    body: Bytes,
}

/// A decoded STATE.
pub(super) struct ReadState {
    pub(super) record: StateRecord<'static>,
    pub(super) next: Ticket,
    pub(super) origin: Origin,
    pub(super) from: Place,
}

/// The frame of one put: `pieces` are its batches with events.
pub(super) fn put(origin: Origin, ticket: Ticket, record: &PutRecord, pieces: Vec<Bytes>) -> Bytes {
    let tickets = u32::try_from(pieces.len()).expect("a put is smaller than a group");
    let frame = Frame::put(ticket, tickets, record.encode(), Body::from_pieces(pieces));
    encode(&frame, origin)
}

fn encode(frame: &Frame, origin: Origin) -> Bytes {
    let keys = Keyring::empty();
    frame.encoded(Seed::new(&origin.0, 0, &keys), frame.ticket).into()
}

/// Header, envelope and body of a sound frame of this kind.
fn decode(frame: &Bytes, origin: Origin, kind: Kind) -> Option<(Header, Bytes, Bytes)> {
    let keys = Keyring::empty();
    let seed = Seed::new(&origin.0, 0, &keys);
    let header = Header::read(frame)?;
    let is_whole = header.kind == kind && header.frame_len() == frame.len();
    let is_sound =
        is_whole && header.verify(frame, seed, header.ticket) && header.verify_body(frame);
    let contents = is_sound.then(|| header.contents(frame, seed, header.ticket).ok().flatten());
    let (envelope, body) = contents.flatten()?;
    Some((header, envelope, body))
}

/// Decodes the output of [`put`] for this origin.
pub(super) fn read_put(origin: Origin, frame: &Bytes) -> Option<ReadPut> {
    let (header, envelope, body) = decode(frame, origin, Kind::Put)?;
    let record = PutRecord::decode(envelope)?;
    let bodies: u64 = record.items.iter().map(|item| u64::from(item.body_len)).sum();
    (bodies == body.len() as u64).then_some(ReadPut { ticket: header.ticket, record, body })
}

impl ReadPut {
    /// Returns the batches with events; the first one has the ticket of the frame.
    pub(super) fn batches(
        &self,
    ) -> impl Iterator<Item = (Option<Identity>, u32, Result<Batch, DecodeError>)> {
        let mut start = 0;
        let with_events = self.record.items.iter().filter(|item| item.events > 0);
        with_events.map(move |item| {
            let end = start + item.body_len as usize;
            let bytes = self.body.slice(start..end);
            start = end;
            let batch = Batch::decode(bytes).map(|mut batch| {
                batch.envelope.identity = item.identity;
                batch
            });
            (item.identity, item.events, batch)
        })
    }
}

/// The bytes of a STATE.
pub(super) fn state(origin: Origin, next: Ticket, from: Place, record: &StateRecord<'_>) -> Bytes {
    let mut body = Vec::with_capacity(25);
    body.put_u8(VERSION);
    body.put_slice(&origin.0);
    body.put_u64_le(from);
    let mut frame = Frame::plain(Kind::State, next, record.encode());
    frame.body = Body::from_pieces(vec![body.into()]);
    encode(&frame, NO_ORIGIN)
}

/// Reads a STATE.
pub(super) fn read_state(bytes: &Bytes) -> Option<ReadState> {
    let (header, envelope, mut body) = decode(bytes, NO_ORIGIN, Kind::State)?;
    if body.len() != 25 || body.get_u8() != VERSION {
        return None;
    }
    let origin = Origin(body.split_to(16)[..].try_into().ok()?);
    let record = StateRecord::decode(envelope)?;
    Some(ReadState { record, next: header.ticket, origin, from: body.get_u64_le() })
}
