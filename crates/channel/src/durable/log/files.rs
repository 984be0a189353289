//! The segment files: the current one, the next one, and free files, as many as will be needed
//! again (`segment_pool.rs`).
//!
//! Files whose blocks were written before are reused: a synchronous write into them changes no
//! metadata, which makes it about twice as fast. The next segment has its name and its room before
//! it is needed, so that beginning it costs two writes and no directory operation. The checksum
//! seed shows whether the data in a file belongs to the segment of its name.
//!
//! A segment begins with a summary of all earlier ones, twice. If the summary is large, for example
//! because of the positions of ten thousand files, the next segments have more room, so that the
//! summary stays a small part of them.

use std::collections::VecDeque;
use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pipeline::env::{Disk, DiskFile, OpenMode, is_full};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::info;

use super::recycling::{FreeFiles, Trim};
use super::reserve::Reserve;
use super::seal::Keyring;
use super::segment::{BLOCK, Seed};
use super::segment_pool::SegmentPool;
use crate::durable::space::open_segment::with_acks;

/// Up to this size the beginning of a segment counts as small, however small segments are.
const OPENING_LITTLE: u64 = 256 << 10;
/// A segment has room for at least this many times its beginning, if the limit allows.
const OPENINGS: u64 = 16;
/// Minimum room of a next segment that is made ahead, unless half of the usual room is less.
const SHORT_MIN: u64 = 256 << 10;
/// Minimum room after the data for which a segment is begun: enough for some commits.
pub(super) const COMMITS_MIN: u64 = 16 << 10;
/// Share of the free space that a shorter segment may use: other programs have to write as well.
const SHORT_OF: (u64, u64) = (7, 8);

/// Returns the part of a capacity that is kept for the next segments of this room.
pub(crate) fn reserve_bytes(pool: usize, room: u64, capacity_bytes: u64) -> u64 {
    ((pool as u64 + 2) * room).min(capacity_bytes / 4)
}

/// A file that may become a segment.
pub(crate) struct Prepared {
    /// Its number.
    pub(crate) id: u64,
    /// Bytes that it may grow to.
    pub(crate) room: u64,
    /// The file, open.
    pub(crate) file: Arc<dyn DiskFile>,
    /// It is a reserve file: puts do not use it.
    pub(crate) is_reserve: bool,
}

/// The next file, and the segments begun so far.
pub(super) struct NextFile {
    pub(super) spare: Spare,
    /// The highest number that was requested. A file that is prepared late, after its segment was
    /// begun, would otherwise replace that segment's own file.
    begun: Option<u64>,
}

pub(super) enum Spare {
    None,
    Preparing,
    Ready(Prepared),
}

/// Makes, names, opens and recycles segment files.
pub(crate) struct Files {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) directory: PathBuf,
    keys: Keyring,
    /// The minimum room of a segment, and its maximum room because of a large beginning.
    rooms: RangeInclusive<u64>,
    /// The room of the next ones.
    usual_room: AtomicU64,
    /// The size of the last segment's beginning.
    pub(super) opening: AtomicU64,
    /// Number of files being made.
    pub(super) making: AtomicUsize,
    /// Bytes of released segments that are not free yet.
    pub(super) leaving: AtomicU64,
    pub(super) pool: usize,
    direct: AtomicBool,
    pub(super) next: Mutex<NextFile>,
    prepared: Condvar,
    pub(super) free: Mutex<FreeFiles>,
    /// A surplus file that is no segment's file any more.
    pub(super) trimming: Mutex<Option<Trim>>,
    /// Files for a disk without room.
    pub(super) reserve: Mutex<Reserve>,
    /// Signals that there may be surplus free files.
    pub(crate) emptied: Arc<Notify>,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Files {
    /// Opens the segment files in the existing `directory`.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        keys: Keyring,
        rooms: RangeInclusive<u64>,
        pool: usize,
        idle_max: Duration,
    ) -> Self {
        let idle = SegmentPool::new(idle_max, Instant::now());
        Self {
            disk,
            directory,
            keys,
            usual_room: AtomicU64::new(*rooms.start()),
            rooms,
            opening: AtomicU64::default(),
            making: AtomicUsize::default(),
            leaving: AtomicU64::default(),
            pool,
            direct: AtomicBool::new(true),
            next: Mutex::new(NextFile { spare: Spare::None, begun: None }),
            prepared: Condvar::new(),
            free: Mutex::new(FreeFiles { files: VecDeque::new(), pool: idle }),
            trimming: Mutex::default(),
            reserve: Mutex::default(),
            emptied: Arc::default(),
        }
    }

    /// The keys of segments.
    pub(crate) fn keys(&self) -> &Keyring {
        &self.keys
    }

    /// Returns the seed that verifies the frames of segment `id`.
    pub(crate) fn seed(&self, uuid: &[u8; 16], id: u64) -> Seed<'_> {
        Seed::new(uuid, id, &self.keys)
    }

    pub(super) fn path(&self, id: u64) -> PathBuf {
        self.directory.join(format!("{id:016x}.seg"))
    }

    /// The number of each segment file, in order, with its length.
    pub(crate) fn list(&self) -> io::Result<Vec<(u64, u64)>> {
        let mut files = Vec::new();
        for (name, _) in self.disk.list(&self.directory)? {
            let id = name.strip_suffix(".seg").filter(|hex| hex.len() == 16);
            if let Some(id) = id.and_then(|hex| u64::from_str_radix(hex, 16).ok()) {
                files.push((id, self.disk.stat(&self.directory.join(name))?.len));
            }
        }
        files.sort_unstable();
        Ok(files)
    }

    /// The disk that they lie on.
    pub(crate) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    /// Opens a segment file, past the page cache if possible.
    pub(crate) fn open(&self, id: u64, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let direct = self.direct.load(Ordering::Relaxed);
        let no_links = true;
        let mode = OpenMode { write: true, create, direct, no_links, ..OpenMode::default() };
        match self.disk.open(&self.path(id), mode) {
            Err(error) if direct && error.kind() == io::ErrorKind::Unsupported => {
                info!(directory = %self.directory.display(),
                    "this file system does not support direct I/O; writing through the page cache");
                self.direct.store(false, Ordering::Relaxed);
                self.disk.open(&self.path(id), OpenMode { direct: false, ..mode })
            }
            result => result,
        }
    }

    /// Truncates a segment file that is no longer written.
    pub(crate) fn truncate(&self, id: u64, len: u64) -> io::Result<()> {
        let file = self.open(id, false)?;
        file.set_len(len)?;
        file.sync()
    }

    pub(super) fn usual_room(&self) -> u64 {
        self.usual_room.load(Ordering::Relaxed)
    }

    /// Returns the part of such a capacity that is kept for the next segments: it shrinks with a
    /// capacity that the disk limits.
    pub(crate) fn reserve_bytes(&self, capacity_bytes: u64) -> u64 {
        reserve_bytes(self.pool, self.usual_room(), capacity_bytes)
    }

    /// Fits the next segments to the beginning of this one. They grow immediately, and shrink when
    /// they are four times too large, because files of another size cannot be reused.
    pub(super) fn resize_for(&self, opening: u64) {
        self.opening.store(opening, Ordering::Relaxed);
        let (least, most) = (*self.rooms.start(), *self.rooms.end());
        let mut suitable = least;
        while opening > OPENING_LITTLE && suitable < opening * OPENINGS && suitable * 2 <= most {
            suitable *= 2;
        }
        let usual = self.usual_room();
        if suitable > usual || suitable * 4 <= usual {
            self.usual_room.store(suitable, Ordering::Relaxed);
            self.emptied.notify_one();
        }
    }

    /// Returns `true` if a segment of this room is shorter than usual.
    pub(crate) fn is_short(&self, room: u64) -> bool {
        room < self.usual_room()
    }

    /// Makes the file of segment `id` with the usual room, or as much as it `needs` or the disk
    /// has; at least `least`.
    fn make(&self, id: u64, needs: u64, least: u64) -> io::Result<Prepared> {
        self.making.fetch_add(1, Ordering::Relaxed);
        let usual = self.usual_room().max(needs.next_multiple_of(BLOCK as u64));
        let made = match self.make_of(id, usual) {
            Err(error) if is_full(&error) => self.make_short(id, least, usual, error),
            made => made,
        };
        self.making.fetch_sub(1, Ordering::Relaxed);
        made
    }

    /// Makes a file of less than the usual room, which the disk does not have.
    fn make_short(
        &self,
        id: u64,
        least: u64,
        usual: u64,
        mut error: io::Error,
    ) -> io::Result<Prepared> {
        let free = locked(&self.free).files.iter().map(|(_, room)| *room).max();
        let space = self.disk.space(&self.directory).map_or(usual, |space| space.available);
        // A file system with blocks reserved for root reports less space to an agent of root than
        // it has.
        let most = match space / SHORT_OF.1 * SHORT_OF.0 {
            little if little < least => usual / 2,
            most => most.min(usual),
        };
        let halves = std::iter::successors(Some(most), |room| Some(room / 2));
        let halves = halves.take_while(|room| *room > 0);
        let rooms = free.into_iter().chain(halves).map(|room| room / BLOCK as u64 * BLOCK as u64);
        for room in rooms.filter(|room| *room >= least) {
            match self.make_of(id, room) {
                Err(refused) if is_full(&refused) => error = refused,
                made => return made,
            }
        }
        Err(error)
    }

    /// Makes the file of segment `id`, so large, durably.
    fn make_of(&self, id: u64, room: u64) -> io::Result<Prepared> {
        let recycled = {
            let mut free = locked(&self.free);
            let fitting = free.files.iter().rposition(|(_, its)| *its == room);
            let file = fitting.and_then(|at| free.files.remove(at));
            free.note_number();
            file
        };
        let file = match recycled {
            Some((old, _)) => {
                if old != id {
                    self.disk.rename(&self.path(old), &self.path(id))?;
                }
                self.open(id, false)?
            }
            None => {
                let file = self.open(id, true)?;
                let made = file.allocate(room).and_then(|()| file.sync());
                if let Err(error) = made {
                    let _ = self.disk.remove_file(&self.path(id));
                    return Err(error);
                }
                file
            }
        };
        self.disk.sync_dir(&self.directory)?;
        Ok(Prepared { id, room, file, is_reserve: false })
    }

    /// Makes the next segment's file ahead of need, large enough for a put of `needed` bytes;
    /// nothing if that segment is begun already.
    pub(crate) fn prepare(&self, id: u64, needed: u64) -> io::Result<()> {
        {
            let mut next = locked(&self.next);
            let is_late = next.begun.is_some_and(|begun| id <= begun);
            if is_late || !matches!(next.spare, Spare::None) {
                return Ok(());
            }
            next.spare = Spare::Preparing;
        }
        let least = with_acks(self.opening.load(Ordering::Relaxed) + needed);
        let made = self.make(id, 0, least.max(SHORT_MIN.min(self.usual_room() / 2)));
        let mut next = locked(&self.next);
        let result = made.map(|prepared| next.spare = Spare::Ready(prepared));
        if result.is_err() {
            next.spare = Spare::None;
        }
        self.prepared.notify_all();
        result
    }

    /// The file of segment `id` with room for `needed` bytes: the prepared one if it will do.
    pub(crate) fn next(&self, id: u64, needed: u64) -> io::Result<Prepared> {
        let mut next = locked(&self.next);
        while matches!(next.spare, Spare::Preparing) {
            next = self.prepared.wait(next).unwrap_or_else(PoisonError::into_inner);
        }
        next.begun = next.begun.max(Some(id));
        match std::mem::replace(&mut next.spare, Spare::None) {
            Spare::Ready(prepared) if prepared.id == id && prepared.room >= needed => {
                return Ok(prepared);
            }
            // It stays in the pool under its name, unless that name is needed now.
            Spare::Ready(other) if other.id != id => self.recycle(other.id, other.room),
            Spare::Ready(_) | Spare::None | Spare::Preparing => {}
        }
        drop(next);
        self.make(id, needed, needed + COMMITS_MIN)
    }
}

#[cfg(all(test, feature = "testkit"))]
mod tests;
