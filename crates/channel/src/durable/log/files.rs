//! The segment files: the one that is written, the one that is ready to be next, and old ones, as many
//! as will be needed again (`segment_pool.rs`).
//!
//! Files whose blocks were written once are used again: a synchronous write into them changes no
//! metadata, which makes it about twice as fast. The next segment has its name and its room before
//! it is needed, so that beginning it costs two writes and no directory operation; the checksum
//! seed says whether what lies in a file belongs to the segment that its name says.
//!
//! A segment begins with all that the earlier ones said, twice. Where that is much, as the positions
//! of ten thousand files are, the next segments have more room: it stays a small part of them.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pipeline::env::{Disk, DiskFile, OpenMode, is_full};
use pipeline::mutant;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::info;

use super::aligned::Aligned;
use super::frame::Frame;
use super::layout::{Layout, Part, Pen};
use super::seal::{KeyMark, Keyring, Sealer};
use super::segment::{BLOCK, Owner, Seed, header_block};
use super::segment_pool::Kept;
use crate::durable::space::full_disk::with_acks;

/// What ends the name of a file that is being given back to the disk.
const GONE: &str = "gone";
/// Up to so many bytes, what a segment begins with is little, however small segments are.
const OPENING_LITTLE: u64 = 256 << 10;
/// A segment has room for at least so many times what it begins with, where it may.
const OPENINGS: u64 = 16;
/// A next segment that is made ahead is not shorter than this, or than half of a usual one.
const SHORT_MIN: u64 = 256 << 10;
/// What a segment has at least behind that which it is begun for: room for some commits.
const COMMITS_MIN: u64 = 16 << 10;
/// How much of what the disk has a shorter segment takes: others have to write as well.
const SHORT_OF: (u64, u64) = (7, 8);
/// Staging room that is kept between groups.
const STAGING_KEPT: usize = 2 << 20;

/// What is kept of a capacity for the next segments of this room.
pub(crate) fn reserve_bytes(pool: usize, room: u64, capacity_bytes: u64) -> u64 {
    ((pool as u64 + 2) * room).min(capacity_bytes / 4)
}

/// A file that may become a segment.
pub(crate) struct Prepared {
    /// Number that it is named by.
    pub(crate) id: u64,
    /// Bytes that it may grow to.
    pub(crate) room: u64,
    /// The file, open.
    pub(crate) file: Arc<dyn DiskFile>,
}

/// The file that is ready to be next, and what was begun so far.
struct Ahead {
    spare: Spare,
    /// The highest number that was asked for. A file that is prepared late, when its segment is
    /// begun already, would take the place of that segment's own.
    begun: Option<u64>,
}

/// A file that is being given back to the disk.
struct Going {
    path: PathBuf,
    /// What is left of it.
    len: u64,
}

/// Files of released segments.
struct Free {
    /// Number and room of each, the oldest first: what is kept to be used again, and what is too much
    /// or of another size than the next ones.
    files: VecDeque<(u64, u64)>,
    /// How many of them will be needed.
    kept: Kept,
}

enum Spare {
    None,
    Preparing,
    Ready(Prepared),
}

/// Makes, names, opens and recycles segment files.
pub(crate) struct Files {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    keys: Keyring,
    /// The least room of a segment, and the most that it has for what it begins with.
    rooms: RangeInclusive<u64>,
    /// The room of the next ones.
    usual_room: AtomicU64,
    /// What the last segment began with.
    opening: AtomicU64,
    /// How many files are being made.
    making: AtomicUsize,
    /// Bytes of released segments that are not free yet.
    leaving: AtomicU64,
    pool: usize,
    direct: AtomicBool,
    ahead: Mutex<Ahead>,
    prepared: Condvar,
    free: Mutex<Free>,
    /// One that was too much, and is no segment's file any more.
    going: Mutex<Option<Going>>,
    /// There may be free files that are too much.
    pub(crate) emptied: Arc<Notify>,
}

impl Free {
    fn note_number(&mut self) {
        self.kept.changed(Instant::now(), self.files.len());
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Files {
    /// Segment files in `directory`, which is there.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        keys: Keyring,
        rooms: RangeInclusive<u64>,
        pool: usize,
        idle_max: Duration,
    ) -> Self {
        let kept = Kept::new(idle_max, Instant::now());
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
            ahead: Mutex::new(Ahead { spare: Spare::None, begun: None }),
            prepared: Condvar::new(),
            free: Mutex::new(Free { files: VecDeque::new(), kept }),
            going: Mutex::default(),
            emptied: Arc::default(),
        }
    }

    /// What segments are sealed with.
    pub(crate) fn keys(&self) -> &Keyring {
        &self.keys
    }

    /// What the frames of segment `id` are verified with.
    pub(crate) fn seed(&self, uuid: &[u8; 16], id: u64) -> Seed<'_> {
        Seed::of(uuid, id, &self.keys)
    }

    fn path(&self, id: u64) -> PathBuf {
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

    /// Opens a segment file, past the page cache where that can be.
    pub(crate) fn open(&self, id: u64, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let direct = self.direct.load(Ordering::Relaxed);
        let mode = OpenMode { write: true, create, direct, ..OpenMode::default() };
        match self.disk.open(&self.path(id), mode) {
            Err(error) if direct && error.kind() == io::ErrorKind::Unsupported => {
                info!(directory = %self.directory.display(),
                    "this file system has no direct I/O; the channel writes through the page cache");
                self.direct.store(false, Ordering::Relaxed);
                self.disk.open(&self.path(id), OpenMode { direct: false, ..mode })
            }
            result => result,
        }
    }

    /// Cuts a segment file that will not be written any more.
    pub(crate) fn cut(&self, id: u64, len: u64) -> io::Result<()> {
        let file = self.open(id, false)?;
        file.set_len(len)?;
        file.sync()
    }

    fn usual_room(&self) -> u64 {
        self.usual_room.load(Ordering::Relaxed)
    }

    /// What is kept of such a capacity for the next segments: it shrinks with one that the disk cuts
    /// down.
    pub(crate) fn reserve_bytes(&self, capacity_bytes: u64) -> u64 {
        reserve_bytes(self.pool, self.usual_room(), capacity_bytes)
    }

    /// The next segments suit what this one begins with. They grow at once, and shrink when they are
    /// four times too large: files of another size are of no use to them.
    fn suit(&self, opening: u64) {
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

    /// Whether a segment of this room is shorter than usual.
    pub(crate) fn is_short(&self, room: u64) -> bool {
        room < self.usual_room()
    }

    /// Segments of so many bytes are released; [`Files::arrive`] follows for each.
    pub(crate) fn leave(&self, bytes: u64) {
        self.leaving.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A segment that left is free.
    pub(crate) fn arrive(&self, id: u64, room: u64) {
        self.recycle(id, room);
        self.leaving.fetch_sub(room, Ordering::Relaxed);
    }

    /// A released segment's file: kept to be used again, or given back to the disk.
    pub(crate) fn recycle(&self, id: u64, room: u64) {
        let mut free = locked(&self.free);
        free.files.push_back((id, room));
        free.note_number();
        if free.files.len() > self.pool || room != self.usual_room() {
            self.emptied.notify_one();
        }
    }

    /// Whether there are more free files than the pool has a place for: some of them may become too
    /// much.
    pub(crate) fn keeps_more(&self) -> bool {
        locked(&self.free).files.len() > self.pool
    }

    /// Which of the free files is to go next: one that is of no use, or the oldest of too many. Where
    /// the disk `is_short` of room, all beyond the pool are too many.
    fn surplus(&self, free: &mut Free, is_short: bool) -> Option<usize> {
        let usual = self.usual_room();
        let useless = free.files.iter().position(|(_, room)| *room != usual);
        let mut too_many = || match is_short {
            true => free.files.len() > self.pool,
            false => free.kept.unneeded(Instant::now()) > self.pool,
        };
        useless.or_else(|| too_many().then_some(0))
    }

    /// Gives up to `bytes` of a file back to the disk that is too much; answers whether there was
    /// one.
    pub(crate) fn give_back(&self, bytes: u64, is_short: bool) -> bool {
        // Not held meanwhile: who begins a segment asks for the idle bytes.
        let going = locked(&self.going).take();
        let going = going.or_else(|| self.part_with_surplus(is_short));
        let Some(mut file) = going else { return false };
        file.len = file.len.saturating_sub(bytes);
        if file.len > 0 && self.shorten(&file).is_ok() {
            *locked(&self.going) = Some(file);
        } else {
            self.remove(&file.path);
        }
        true
    }

    /// One of the files that are too much for the pool, by a name that no segment has: one that lost
    /// a part must not be taken for one.
    fn part_with_surplus(&self, is_short: bool) -> Option<Going> {
        let (id, len) = {
            let mut free = locked(&self.free);
            let at = self.surplus(&mut free, is_short)?;
            free.kept.parted();
            free.files.remove(at)?
        };
        let path = self.path(id);
        let gone = path.with_extension(GONE);
        let renamed = self.disk.rename(&path, &gone);
        match renamed.and_then(|()| self.disk.sync_dir(&self.directory)) {
            Ok(()) => Some(Going { path: gone, len }),
            // Whole under whichever name it has, and removed as a whole.
            Err(_) => Some(Going {
                path: if self.disk.stat(&gone).is_ok() { gone } else { path },
                len: 0,
            }),
        }
    }

    fn shorten(&self, file: &Going) -> io::Result<()> {
        let mode = OpenMode { write: true, ..OpenMode::default() };
        self.disk.open(&file.path, mode)?.set_len(file.len)
    }

    /// Removes what an earlier life had begun to give back.
    pub(crate) fn remove_gone(&self) -> io::Result<()> {
        for (name, _) in self.disk.list(&self.directory)? {
            let path = self.directory.join(name);
            if path.extension().is_some_and(|extension| extension == GONE) {
                self.remove(&path);
            }
        }
        Ok(())
    }

    fn remove(&self, path: &Path) {
        // If that fails the file is found and removed at the next start.
        let _ = self.disk.remove_file(path);
    }

    /// Bytes of files that hold nothing: those of released segments and the next segment's. Not known
    /// while one is being made.
    pub(crate) fn idle_bytes(&self) -> Option<u64> {
        let spare = match &locked(&self.ahead).spare {
            Spare::Ready(prepared) => prepared.room,
            Spare::None | Spare::Preparing => 0,
        };
        if self.making.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let going = locked(&self.going).as_ref().map_or(0, |file| file.len);
        let free: u64 = locked(&self.free).files.iter().map(|(_, room)| room).sum();
        Some(spare + going + free + self.leaving.load(Ordering::Relaxed))
    }

    /// Makes the file of segment `id` with the usual room, or as much as it `needs` or the disk has;
    /// at least `least`.
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
        let most = (space / SHORT_OF.1 * SHORT_OF.0).min(usual);
        let halves = std::iter::successors(Some(most), |room| Some(room / 2));
        let rooms = free.into_iter().chain(halves.take_while(|room| *room > 0));
        let rooms = rooms.map(|room| room / BLOCK as u64 * BLOCK as u64);
        for room in rooms.take_while(|room| *room >= least) {
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
        Ok(Prepared { id, room, file })
    }

    /// Makes the next segment's file ahead of need, large enough for a put of `needed` bytes; nothing
    /// if that segment is begun already.
    pub(crate) fn prepare(&self, id: u64, needed: u64) -> io::Result<()> {
        {
            let mut ahead = locked(&self.ahead);
            let is_late = ahead.begun.is_some_and(|begun| id <= begun);
            if is_late || !matches!(ahead.spare, Spare::None) {
                return Ok(());
            }
            ahead.spare = Spare::Preparing;
        }
        let least = with_acks(self.opening.load(Ordering::Relaxed) + needed);
        let made = self.make(id, 0, least.max(SHORT_MIN.min(self.usual_room() / 2)));
        let mut ahead = locked(&self.ahead);
        let result = made.map(|prepared| ahead.spare = Spare::Ready(prepared));
        if result.is_err() {
            ahead.spare = Spare::None;
        }
        self.prepared.notify_all();
        result
    }

    /// The file of segment `id` with room for `needed` bytes: the prepared one if it will do.
    pub(crate) fn next(&self, id: u64, needed: u64) -> io::Result<Prepared> {
        let mut ahead = locked(&self.ahead);
        while matches!(ahead.spare, Spare::Preparing) {
            ahead = self.prepared.wait(ahead).unwrap_or_else(PoisonError::into_inner);
        }
        ahead.begun = ahead.begun.max(Some(id));
        match std::mem::replace(&mut ahead.spare, Spare::None) {
            Spare::Ready(prepared) if prepared.id == id && prepared.room >= needed => {
                return Ok(prepared);
            }
            // It stays in the pool under its name, unless that name is wanted now.
            Spare::Ready(other) if other.id != id => self.recycle(other.id, other.room),
            Spare::Ready(_) | Spare::None | Spare::Preparing => {}
        }
        drop(ahead);
        self.make(id, needed, needed + COMMITS_MIN)
    }
}

struct Current {
    id: u64,
    sealer: Option<Sealer>,
    file: Arc<dyn DiskFile>,
    end: u64,
    room: u64,
}

/// The end of the log. Only the leader of a group commit has it.
pub(crate) struct Log {
    files: Arc<Files>,
    owner: Owner,
    current: Option<Current>,
    staging: Aligned,
}

/// Bytes that the first groups of a segment take with a state of this many bytes.
fn opening_len(state: &Frame) -> u64 {
    (BLOCK + 2 * state.len().next_multiple_of(BLOCK)) as u64
}

impl Log {
    /// A log without a segment: the first act is [`Log::begin`].
    pub(crate) fn new(files: Arc<Files>, owner: Owner) -> Self {
        Self { files, owner, current: None, staging: Aligned::with_capacity(STAGING_KEPT) }
    }

    /// Whether a group of `len` bytes still goes into the current segment.
    pub(crate) fn has_room(&self, len: u64) -> bool {
        let len = len.next_multiple_of(BLOCK as u64);
        self.current.as_ref().is_some_and(|current| current.end + len <= current.room)
    }

    /// Begins segment `id` with what all earlier ones said, durably, so that `needed` bytes fit
    /// behind that. Answers its room and where its first group will be.
    ///
    /// # Errors
    /// The disk refused. If there was no room for it, the segment that was written before goes on.
    pub(crate) fn begin(
        &mut self,
        id: u64,
        state: &Frame,
        needed: u64,
    ) -> io::Result<(Prepared, u64)> {
        let opening = opening_len(state);
        self.files.suit(opening);
        let needed = opening + needed.next_multiple_of(BLOCK as u64);
        let prepared = self.files.next(id, needed)?;
        let (seed, sealer) = (self.files.seed(&self.owner.uuid, id), self.files.keys.newest());
        self.staging.clear(STAGING_KEPT);
        self.staging.push(&header_block(&self.owner, id));
        for _ in 0..2 {
            let at = self.staging.len() as u64;
            state.write(&mut self.staging, seed, sealer.as_ref(), at, true);
            self.staging.pad(BLOCK);
        }
        let file = prepared.file.clone();
        if let Err(error) = file.write_at(&[IoSlice::new(self.staging.as_slice())], 0, true) {
            // It may be there all the same, and would be taken for the newest: nothing may be
            // written behind what it says of the old one.
            self.current = None;
            self.files.recycle(id, prepared.room);
            return Err(error);
        }
        self.current = Some(Current { id, sealer, file, end: opening, room: prepared.room });
        Ok((prepared, opening))
    }

    /// Appends a group, durably; answers where each frame begins.
    ///
    /// # Errors
    /// The disk refused. The segment is given up: what its end holds now is not known.
    pub(crate) fn append(&mut self, frames: &mut [Frame]) -> io::Result<Vec<u64>> {
        let current = self.current.as_mut().expect("a segment is begun before it is written");
        self.staging.clear(STAGING_KEPT);
        let start = current.end;
        let seed = self.files.seed(&self.owner.uuid, current.id);
        let mut pen = Pen { staging: &mut self.staging, seed, sealer: current.sealer.as_ref() };
        let layout = Layout::of(frames, &mut pen, start);
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

    /// Bytes of the segment that is written; 0 if there is none.
    pub(crate) fn room(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| current.room)
    }

    /// The file of segment `id` was cut to what it holds.
    pub(crate) fn cut(&mut self, id: u64) {
        if let Some(current) = self.current.as_mut().filter(|current| current.id == id) {
            current.room = current.end;
        }
    }

    /// The key that the segment that is written is sealed with.
    pub(crate) fn key(&self) -> Option<KeyMark> {
        Some(self.current.as_ref()?.sealer.as_ref()?.mark())
    }

    /// Number of the segment that is written, and where it ends.
    pub(crate) fn position(&self) -> Option<(u64, u64)> {
        self.current.as_ref().map(|current| (current.id, current.end))
    }
}

#[cfg(all(test, feature = "testkit"))]
mod tests {
    use super::*;
    use crate::testkit::SimDisk;

    const ROOMS: RangeInclusive<u64> = 64 << 10..=16 << 20;
    const NO_TIME: Duration = Duration::ZERO;

    #[test]
    fn segments_grow_with_what_they_begin_with_and_files_of_the_former_size_are_given_back()
    -> io::Result<()> {
        let directory = PathBuf::from("/log");
        let disk = SimDisk::new(1);
        disk.create_dir_all(&directory)?;
        let files = Files::new(Arc::new(disk), directory, Keyring::empty(), ROOMS, 2, NO_TIME);
        let room = |id| files.next(id, 0).map(|prepared| prepared.room);
        let small = room(1)?;
        files.recycle(1, small);
        for (opening, expected) in [
            (200 << 10, 64 << 10), // little
            (300 << 10, 8 << 20),
            (9 << 20, 16 << 20), // no more than may be
            (270 << 10, 16 << 20),
            (100 << 10, 64 << 10),
        ] {
            files.suit(opening);
            assert_eq!(room(2)?, expected, "beginning with {opening} bytes");
            assert_eq!(files.reserve_bytes(u64::MAX), 4 * expected);
        }
        files.recycle(2, 16 << 20);
        assert!(files.give_back(u64::MAX, false), "it is of no use to small ones");
        Ok(())
    }

    #[test]
    fn a_file_that_is_prepared_late_does_not_replace_its_segment() -> io::Result<()> {
        let disk = SimDisk::new(1);
        disk.set_direct(false); // so that any bytes can be written anywhere
        let directory = PathBuf::from("/log");
        disk.create_dir_all(&directory)?;
        let files = Files::new(Arc::new(disk), directory, Keyring::empty(), ROOMS, 2, NO_TIME);
        files.recycle(3, files.next(3, 0)?.room);
        // Two segments are begun one after the other before the first's preparation gets to run.
        let (first, second) = (files.next(4, 0)?, files.next(5, 0)?);
        for (segment, text) in [(&first, b"released now"), (&second, b"acknowledged")] {
            segment.file.write_at(&[IoSlice::new(text)], 0, true)?;
        }
        files.recycle(4, first.room);
        files.prepare(5, 0)?;
        let mut found = [0; 12];
        files.open(5, false)?.read_at(&mut found, 0)?;
        assert_eq!(&found, b"acknowledged");
        files.prepare(6, 0)?;
        assert_eq!(files.next(6, 0)?.id, 6);
        Ok(())
    }

    #[test]
    fn what_is_too_much_for_the_pool_is_used_again_until_it_is_removed_the_oldest_first()
    -> io::Result<()> {
        let disk = SimDisk::new(1);
        let directory = PathBuf::from("/log");
        disk.create_dir_all(&directory)?;
        let room = 64 << 10;
        let files = Files::new(Arc::new(disk), directory, Keyring::empty(), ROOMS, 2, NO_TIME);
        for id in 1..=6 {
            files.next(id, 0)?;
        }
        (1..=5).for_each(|id| files.recycle(id, room));
        assert_eq!(files.idle_bytes(), Some(5 * room));
        assert!(files.give_back(room, false));
        let names = || Ok::<_, io::Error>(files.list()?.into_iter().map(|(id, _)| id).collect());
        let left: Vec<u64> = names()?;
        assert_eq!(left, [2, 3, 4, 5, 6]);
        files.next(7, 0)?;
        let left: Vec<u64> = names()?;
        assert_eq!(left, [2, 3, 4, 6, 7], "no file is made while there is one");
        assert!(files.give_back(u64::MAX, false) && !files.give_back(u64::MAX, false));
        let left: Vec<u64> = names()?;
        assert_eq!(left, [3, 4, 6, 7]);
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_emptied_is_used_again_as_it_is_for_as_much_as_before() -> io::Result<()> {
        let disk = SimDisk::new(1);
        let directory = PathBuf::from("/log");
        disk.create_dir_all(&directory)?;
        let (room, idle_max) = (64 << 10, Duration::from_secs(60));
        let disk = Arc::new(disk);
        let files = Files::new(disk, directory, Keyring::empty(), ROOMS, 2, idle_max);
        let mut next = 1..;
        // Eight segments are filled and emptied at once, time and again.
        for _ in 0..50 {
            let filled: Vec<u64> = next.by_ref().take(8).collect();
            for id in &filled {
                files.next(*id, 0)?;
                tokio::time::advance(Duration::from_secs(1)).await;
            }
            filled.iter().for_each(|id| files.recycle(*id, room));
            assert!(!files.give_back(u64::MAX, false), "it is needed again");
            assert_eq!(files.list()?.len(), 8, "and nothing else is");
        }
        tokio::time::advance(idle_max).await;
        while files.give_back(u64::MAX, false) {}
        assert_eq!(files.list()?.len(), 2, "nobody needed it for a while");
        (1000..1008).try_for_each(|id| files.next(id, 0).map(drop))?;
        (1000..1008).for_each(|id| files.recycle(id, room));
        while files.give_back(u64::MAX, true) {}
        assert_eq!(files.list()?.len(), 2, "the disk is short of room");
        Ok(())
    }

    #[test]
    fn a_file_that_is_given_back_in_parts_is_no_segment_and_is_gone_after_a_start() -> io::Result<()>
    {
        let (disk, directory) = (Arc::new(SimDisk::new(1)), PathBuf::from("/log"));
        disk.create_dir_all(&directory)?;
        let room = 64 << 10;
        let make =
            || Files::new(disk.clone(), directory.clone(), Keyring::empty(), ROOMS, 1, NO_TIME);
        let files = make();
        for id in 1..=3 {
            files.next(id, 0)?;
        }
        (1..=3).for_each(|id| files.recycle(id, room));
        assert!(files.give_back(room / 4, false) && files.give_back(room / 4, false));
        assert_eq!(files.idle_bytes(), Some(2 * room + room / 2));
        assert_eq!(files.list()?, [(2, room), (3, room)]);
        assert_eq!(disk.list(&directory)?.len(), 3);
        // Half of one is left by a life that ends here.
        let next = make();
        next.remove_gone()?;
        assert_eq!(next.list()?, [(2, room), (3, room)]);
        assert_eq!(disk.list(&directory)?.len(), 2);
        Ok(())
    }
}
