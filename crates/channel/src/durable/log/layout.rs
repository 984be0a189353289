//! The layout of a group's frames in memory and in the segment.
//!
//! ```text
//! staging  │ FORGET │ small PUT │ small PUT │ filler │
//! own      │ large PUT ………………………………………………………………… │ filler │
//! own      │ large PUT ……………………………………… │ ACK │ zeros │
//! ```
//!
//! Small frames are copied into one buffer. A large frame is written from the buffer into which its
//! batches were encoded, so it begins at a block; a frame without content fills the gap before it.
//! Small frames after a large one go into the rest of its last block.

use std::ops::Range;

use super::aligned::Aligned;
use super::frame::{FILLER_MIN, Frame};
use super::seal::Sealer;
use super::segment::{BLOCK, Seed};

/// A run of whole blocks to be written.
pub(crate) enum Part {
    /// These bytes of the staging buffer.
    Gathered(Range<usize>),
    /// The own buffer of this frame.
    Own(usize),
}

/// The buffers and keys for writing frames.
pub(crate) struct Pen<'a> {
    /// The buffer for copied frames; empty at the start.
    pub(crate) staging: &'a mut Aligned,
    /// Of the segment.
    pub(crate) seed: Seed<'a>,
    /// Set if frames are to be sealed.
    pub(crate) sealer: Option<&'a Sealer>,
}

/// A group that is ready to be written.
pub(crate) struct Layout {
    /// The parts to write, in order.
    pub(crate) parts: Vec<Part>,
    /// The offset of each frame in the segment.
    pub(crate) offsets: Vec<u64>,
    /// The end of the group: a multiple of the block.
    pub(crate) end: u64,
}

/// Returns an upper bound of the bytes that these frames take from the beginning of a block: only
/// large frames have a gap before and after them; small ones are adjacent.
pub(crate) fn len_max<'a>(frames: impl Iterator<Item = &'a Frame>) -> u64 {
    let gaps = |frame: &Frame| if frame.is_in_place() { 2 * GAP_MAX } else { 0 };
    (frames.map(|frame| frame.len() + gaps(frame)).sum::<usize>() + BLOCK) as u64
}

/// Maximum size of a gap: the rest of a block, and if no filler fits there, the next block.
const GAP_MAX: usize = BLOCK + FILLER_MIN;

impl Layout {
    /// Lays out `frames` from `start` on, which is a multiple of the block.
    pub(crate) fn new(frames: &mut [Frame], pen: &mut Pen<'_>, start: u64) -> Self {
        let offsets = Vec::with_capacity(frames.len());
        let mut layout = Self { parts: Vec::new(), offsets, end: start };
        for at in 0..frames.len() {
            let (before, rest) = frames.split_at_mut(at);
            let frame = &mut rest[0];
            if frame.is_in_place() {
                layout.fill_block(before, pen, frame.ticket);
                frame.complete(pen.seed, layout.end, at == 0);
                layout.parts.push(Part::Own(at));
            } else {
                if !layout.has_room_for(frame.len(), before) {
                    layout.fill_block(before, pen, frame.ticket);
                    layout.parts.push(Part::Gathered(pen.staging.len()..pen.staging.len()));
                }
                let (end, seed, sealer) = (layout.end, pen.seed, pen.sealer);
                let write = |out: &mut Aligned| frame.write(out, seed, sealer, end, at == 0);
                layout.edit(before, pen.staging, write);
            }
            layout.offsets.push(layout.end);
            layout.end += frame.len() as u64;
        }
        layout.edit(frames, pen.staging, |out| out.pad(BLOCK));
        layout.end = layout.end.next_multiple_of(BLOCK as u64);
        layout
    }

    /// Returns `true` if `len` more bytes fit into the open buffer.
    fn has_room_for(&self, len: usize, frames: &mut [Frame]) -> bool {
        match self.parts.last() {
            None => false,
            Some(Part::Gathered(_)) => true,
            Some(Part::Own(at)) => frames[*at].buffer().is_some_and(|buffer| {
                (buffer.len() + len).next_multiple_of(BLOCK) <= buffer.capacity()
            }),
        }
    }

    /// Changes the end of the open buffer.
    fn edit(
        &mut self,
        frames: &mut [Frame],
        staging: &mut Aligned,
        change: impl FnOnce(&mut Aligned),
    ) {
        match self.parts.last_mut() {
            None => {}
            Some(Part::Gathered(bytes)) => {
                change(staging);
                bytes.end = staging.len();
            }
            Some(Part::Own(at)) => change(frames[*at].buffer().expect("the frame has a buffer")),
        }
    }

    /// Pads to the next block.
    fn fill_block(&mut self, frames: &mut [Frame], pen: &mut Pen<'_>, ticket: pipeline::Ticket) {
        let end = self.end;
        let mut gap = (end.next_multiple_of(BLOCK as u64) - end) as usize;
        if gap == 0 {
            return;
        }
        if gap < FILLER_MIN {
            gap += BLOCK;
        }
        let filler = Frame::filler(ticket, gap);
        let seed = pen.seed;
        self.edit(frames, pen.staging, |out| filler.write(out, seed, None, end, false));
        self.end += gap as u64;
    }
}

#[cfg(all(test, feature = "testkit"))]
mod tests {
    //! Method: groups of frames of many sizes are laid out, written, and found by a scan.

    use std::io::IoSlice;
    use std::path::Path;

    use bytes::Bytes;
    use pipeline::env::{Disk, OpenMode};
    use proptest::prelude::*;

    use super::super::frame::Body;
    use super::super::seal::Keyring;
    use super::super::segment::Kind;
    use super::*;
    use crate::durable::recovery::scan::scan;
    use crate::testkit::SimDisk;

    /// A frame of a body of `len` bytes, from its own buffer if `own`.
    fn frame(ticket: u64, own: bool, len: usize) -> Frame {
        let (pieces, envelope) = (vec![Bytes::from(vec![ticket as u8; len])], vec![7; 9]);
        let body = match own {
            true => Body::in_place(&pieces, 20, &crate::durable::log::aligned::buffers()),
            false => Body::from_pieces(pieces),
        };
        Frame::put(ticket, 1, envelope, body)
    }

    proptest! {
        #[test]
        fn every_frame_is_found_where_it_was_laid(
            groups in prop::collection::vec(
                prop::collection::vec((any::<bool>(), 1usize..9_000), 1..7), 1..4),
        ) {
            let (disk, path) = (SimDisk::new(1), Path::new("/segment"));
            let mode = OpenMode { write: true, create: true, direct: true, ..OpenMode::default() };
            let (file, keys) = (disk.open(path, mode).unwrap(), Keyring::empty());
            let seed = Seed::new(&[1; 16], 3, &keys);
            let (mut end, mut expected) = (BLOCK as u64, Vec::new());
            let mut staging = Aligned::with_capacity(0);
            for group in groups {
                let frames = group.iter().enumerate();
                let mut frames: Vec<Frame> =
                    frames.map(|(n, (own, len))| frame(n as u64, *own, *len)).collect();
                staging.clear(0);
                let (start, most) = (end, len_max(frames.iter()));
                let mut pen = Pen { staging: &mut staging, seed, sealer: None };
                let layout = Layout::new(&mut frames, &mut pen, end);
                let parts = layout.parts.iter().map(|part| match part {
                    Part::Gathered(bytes) => IoSlice::new(&staging.as_slice()[bytes.clone()]),
                    Part::Own(frame) => IoSlice::new(frames[*frame].bytes()),
                });
                file.write_at(&parts.collect::<Vec<_>>(), end, true).unwrap();
                end = layout.end;
                prop_assert!(end - start <= most, "{} bytes of {most}", end - start);
                expected.extend(layout.offsets.into_iter().zip(frames.iter().map(|f| f.ticket)));
            }
            let found = scan(&*file, seed, BLOCK as u64, end).unwrap();
            prop_assert_eq!((found.end, found.torn_bytes), (end, 0));
            prop_assert!(found.damaged.is_empty());
            let puts = found.frames.iter().filter(|frame| frame.header.kind == Kind::Put);
            let puts: Vec<_> = puts
                .map(|frame| (frame.offset, frame.header.ticket, frame.body_sound))
                .collect();
            let expected: Vec<_> = expected.iter().map(|(at, n)| (*at, *n, true)).collect();
            prop_assert_eq!(puts, expected);
        }
    }

    #[test]
    fn many_small_frames_ask_for_little_more_than_they_are() {
        let frames: Vec<Frame> = (0..100).map(|n| frame(n, false, 100)).collect();
        let bytes: usize = frames.iter().map(Frame::len).sum();
        assert!(len_max(frames.iter()) <= (bytes + BLOCK) as u64);
    }
}
