//! Two small files for a disk without room: enough to start an agent and to write commits.
//!
//! ```text
//!   start     reserve-0 ─rename─► segment 7: STATE │ acks           accepts no puts
//!   start     reserve-1 ─rename─► segment 8: STATE │ acks           includes the state of 7 …
//!             reserve-0 ◄─rename─ segment 7                         … which is free again
//! ```
//!
//! Each start needs a segment, and the previous one stays until the new one is on the disk. With
//! two files that are never removed, an agent may start on a full disk any number of times, and
//! still has room for the commits that free everything else. The files are made while there is
//! room. Puts never use them.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use pipeline::env::OpenMode;
use tracing::debug;

use super::files::{COMMITS_MIN, Files, Prepared, locked};
use super::segment::BLOCK;

/// Number of files.
const FILES: usize = 2;
/// A reserve file has room for this many times the beginning of a segment, which may grow.
const OPENINGS: u64 = 2;
/// A released segment that is larger than this many reserve files is not kept as one.
const LARGER: u64 = 4;

/// Room of each existing reserve file.
#[derive(Debug, Default)]
pub(super) struct Reserve([Option<u64>; FILES]);

impl Files {
    fn reserve_path(&self, slot: usize) -> PathBuf {
        self.directory.join(format!("reserve-{slot}"))
    }

    /// Least room of a reserve file, and the room of a new one.
    fn reserve_rooms(&self) -> (u64, u64) {
        let opening = self.opening.load(Ordering::Relaxed);
        let room = opening * OPENINGS + COMMITS_MIN;
        (opening + COMMITS_MIN, room.next_multiple_of(BLOCK as u64))
    }

    /// Finds the files that an earlier life has left.
    pub(crate) fn find_reserve(&self) {
        let mut reserve = locked(&self.reserve);
        for (slot, room) in reserve.0.iter_mut().enumerate() {
            *room = self.disk.stat(&self.reserve_path(slot)).ok().map(|file| file.len);
        }
    }

    /// Makes the files that are missing or too small, if the disk has room.
    pub(crate) fn fill_reserve(&self) {
        let (least, room) = self.reserve_rooms();
        let mut reserve = locked(&self.reserve);
        let mut made = Ok(());
        for (slot, has) in reserve.0.iter_mut().enumerate() {
            if has.is_none_or(|has| has < least) && made.is_ok() {
                made = self.make_reserve(slot, room);
                *has = made.is_ok().then_some(room);
            }
        }
        if let Err(error) = made {
            // It is retried with each new segment.
            debug!(directory = %self.directory.display(), %error,
                "no disk space for the reserve files; retrying with the next segment");
        }
    }

    fn make_reserve(&self, slot: usize, room: u64) -> io::Result<()> {
        let path = self.reserve_path(slot);
        let mode = OpenMode { write: true, create: true, no_links: true, ..OpenMode::default() };
        let file = self.disk.open(&path, mode)?;
        let made = file.allocate(room).and_then(|()| file.sync());
        if made.is_err() {
            // Half of one is of no use.
            let _ = self.disk.remove_file(&path);
        }
        made.and_then(|()| self.disk.sync_dir(&self.directory))
    }

    /// A reserve file as the file of segment `id`, if one has room for `least` bytes.
    pub(super) fn take_reserve(&self, id: u64, least: u64) -> Option<Prepared> {
        let mut reserve = locked(&self.reserve);
        let is_enough = |room: &Option<u64>| room.is_some_and(|room| room >= least);
        let slot = reserve.0.iter().position(is_enough)?;
        let renamed = self.disk.rename(&self.reserve_path(slot), &self.path(id));
        renamed.and_then(|()| self.disk.sync_dir(&self.directory)).ok()?;
        let (room, file) = (reserve.0[slot]?, self.open(id, false).ok()?);
        reserve.0[slot] = None;
        Some(Prepared { id, room, file, is_reserve: true })
    }

    /// Keeps the file of a released segment as a reserve file, if one is missing and this one
    /// suits.
    pub(super) fn return_to_reserve(&self, id: u64, room: u64) -> bool {
        let (least, usual) = self.reserve_rooms();
        if room < least || room > usual * LARGER || !self.is_short(room) {
            return false;
        }
        let mut reserve = locked(&self.reserve);
        let Some(slot) = reserve.0.iter().position(Option::is_none) else { return false };
        let renamed = self.disk.rename(&self.path(id), &self.reserve_path(slot));
        let is_kept = renamed.and_then(|()| self.disk.sync_dir(&self.directory)).is_ok();
        if is_kept {
            reserve.0[slot] = Some(room);
        }
        is_kept
    }
}
