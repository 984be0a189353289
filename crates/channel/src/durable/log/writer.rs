//! The end of the log: begins segments and appends groups. Only the leader of a group commit has
//! it.

use std::io::{self, IoSlice};
use std::sync::Arc;

use pipeline::env::{DiskFile, is_full};
use support::mutant;

use super::aligned::Aligned;
use super::files::{Files, Prepared};
use super::frame::Frame;
use super::layout::{Layout, Part, Pen};
use super::seal::{KeyMark, Sealer};
use super::segment::{BLOCK, Owner, header_block};

/// Maximum size of the staging buffer between groups.
const STAGING_KEPT: usize = 2 << 20;

struct Current {
    id: u64,
    sealer: Option<Sealer>,
    file: Arc<dyn DiskFile>,
    end: u64,
    room: u64,
    is_reserve: bool,
}

/// The end of the log. Only the leader of a group commit has it.
pub(crate) struct Log {
    files: Arc<Files>,
    owner: Owner,
    current: Option<Current>,
    staging: Aligned,
}

/// Returns the size of the first groups of a segment with a state of this many bytes.
fn opening_len(state: &Frame) -> u64 {
    (BLOCK + 2 * state.len().next_multiple_of(BLOCK)) as u64
}

impl Log {
    /// A log without a segment: the first act is [`Log::begin`].
    pub(crate) fn new(files: Arc<Files>, owner: Owner) -> Self {
        Self { files, owner, current: None, staging: Aligned::with_capacity(STAGING_KEPT) }
    }

    /// Returns `true` if a group of `len` bytes fits into the current segment.
    pub(crate) fn has_room(&self, len: u64) -> bool {
        let len = len.next_multiple_of(BLOCK as u64);
        self.current.as_ref().is_some_and(|current| current.end + len <= current.room)
    }

    /// Returns `true` if puts may use the current segment.
    pub(crate) fn takes_puts(&self) -> bool {
        self.current.as_ref().is_some_and(|current| !current.is_reserve)
    }

    /// Begins segment `id` durably with a summary of all earlier ones, so that `needed` bytes fit
    /// after it. Returns its room and the offset of its first group.
    ///
    /// # Errors
    /// The disk failed. If only room was missing, the segment before it stays in use.
    pub(crate) fn begin(
        &mut self,
        id: u64,
        state: &Frame,
        needed: u64,
    ) -> io::Result<(Prepared, u64)> {
        let opening = opening_len(state);
        self.files.resize_for(opening);
        let room = opening + needed.next_multiple_of(BLOCK as u64);
        let prepared = match self.files.next(id, room) {
            // A put may not have the room that starts and commits need.
            Err(error) if is_full(&error) && needed == 0 => {
                self.files.take_reserve(id, room).ok_or(error)?
            }
            prepared => prepared?,
        };
        let (seed, sealer) = (self.files.seed(&self.owner.uuid, id), self.files.keys().newest());
        self.staging.clear(STAGING_KEPT);
        self.staging.push(&header_block(&self.owner, id));
        for _ in 0..2 {
            let at = self.staging.len() as u64;
            state.write(&mut self.staging, seed, sealer.as_ref(), at, true);
            self.staging.pad(BLOCK);
        }
        let file = prepared.file.clone();
        if let Err(error) = file.write_at(&[IoSlice::new(self.staging.as_slice())], 0, true) {
            // The file may exist anyway and would count as the newest segment: nothing may be
            // written beyond the end that it records for the old one.
            self.current = None;
            self.files.recycle(id, prepared.room);
            return Err(error);
        }
        let Prepared { room, is_reserve, .. } = prepared;
        self.current = Some(Current { id, sealer, file, end: opening, room, is_reserve });
        Ok((prepared, opening))
    }

    /// Appends a group durably; returns the offset of each frame.
    ///
    /// # Errors
    /// The disk failed. The segment is given up, because the contents of its end are unknown.
    pub(crate) fn append(&mut self, frames: &mut [Frame]) -> io::Result<Vec<u64>> {
        let current = self.current.as_mut().expect("a segment is begun before it is written");
        self.staging.clear(STAGING_KEPT);
        let start = current.end;
        let seed = self.files.seed(&self.owner.uuid, current.id);
        let mut pen = Pen { staging: &mut self.staging, seed, sealer: current.sealer.as_ref() };
        let layout = Layout::new(frames, &mut pen, start);
        let parts = layout.parts.iter().map(|part| match part {
            Part::Gathered(bytes) => IoSlice::new(&self.staging.as_slice()[bytes.clone()]),
            Part::Own(frame) => IoSlice::new(frames[*frame].bytes()),
        });
        let parts: Vec<_> = parts.collect();
        match current.file.write_at(&parts, start, !mutant!("not_synced")) {
            Ok(()) => {
                current.end = layout.end;
                Ok(layout.offsets)
            }
            Err(error) => {
                self.current = None;
                Err(error)
            }
        }
    }

    /// Size of the current segment; 0 without a segment.
    pub(crate) fn room(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| current.room)
    }

    /// Records that the file of segment `id` was truncated to its contents.
    pub(crate) fn truncated(&mut self, id: u64) {
        if let Some(current) = self.current.as_mut().filter(|current| current.id == id) {
            current.room = current.end;
        }
    }

    /// The key that the segment that is written is sealed with.
    pub(crate) fn key(&self) -> Option<KeyMark> {
        Some(self.current.as_ref()?.sealer.as_ref()?.mark())
    }

    /// Returns the number of the current segment, and its end.
    pub(crate) fn position(&self) -> Option<(u64, u64)> {
        self.current.as_ref().map(|current| (current.id, current.end))
    }
}
