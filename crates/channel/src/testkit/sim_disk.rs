//! A disk in memory that forgets unsynced data.
//!
//! - A write is durable after `sync` of its file, or immediately if it asks for that; a name is
//!   durable after `sync_dir` of its directory.
//! - [`SimDisk::crash`] cuts the power: any sectors of 512 bytes of each unsynced write may be
//!   stored, and the first few unsynced changes of each directory.
//! - It has a capacity, fails on request, and can lose power during its n-th change.
//!
//! The seed determines everything.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use pipeline::env::{Disk, DiskFile, FileKind, FileStat, Lock, LockError, OpenMode, Space};

use super::sim_files::{Inode, Names};
use super::sim_handles::{SimFile, SimLock};
use super::split_mix;

pub(super) struct State {
    pub(super) names: Names,
    pub(super) inodes: BTreeMap<u64, Inode>,
    directories: Vec<PathBuf>,
    pub(super) locks: BTreeMap<PathBuf, u64>,
    next: u64,
    random: u64,
    capacity_bytes: u64,
    quota_bytes: u64,
    pub(super) hidden_bytes: u64,
    pub(super) names_max: u64,
    direct: bool,
    /// Changes until the power fails; `None` for never.
    pub(super) changes_left: Option<u64>,
    changes: u64,
    pub(super) failing_writes: u32,
    pub(super) failing_syncs: bool,
    /// Goes up with every crash: files opened before are dead.
    pub(super) life: u64,
}

/// A disk in memory that forgets unsynced data. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl std::fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimDisk").field("changes", &self.lock_state().changes).finish()
    }
}

pub(super) fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

pub(super) fn dead() -> io::Error {
    io::Error::other("the power is cut")
}

impl State {
    pub(super) fn random(&mut self) -> u64 {
        split_mix(&mut self.random)
    }

    /// The number of a new file.
    pub(super) fn new_id(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Counts a change; an error once the power has failed. `true`: the power fails during this
    /// change.
    pub(super) fn change(&mut self) -> io::Result<bool> {
        self.changes += 1;
        match &mut self.changes_left {
            None => Ok(false),
            Some(0) => Err(dead()),
            Some(left) => {
                *left -= 1;
                Ok(*left == 0)
            }
        }
    }

    fn used(&self) -> u64 {
        self.names
            .now
            .values()
            .filter_map(|id| self.inodes.get(id))
            .map(|i| i.now.len() as u64)
            .sum()
    }

    pub(super) fn names_used(&self) -> u64 {
        (self.names.now.len() + self.directories.len()) as u64
    }

    fn room_for_name(&self) -> io::Result<()> {
        let is_full = self.names_used() >= self.names_max;
        if is_full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    pub(super) fn room_for(&self, more: u64) -> io::Result<()> {
        if self.used() + more > self.capacity_bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if self.used() + more > self.quota_bytes {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        Ok(())
    }
}

impl SimDisk {
    /// An empty disk of 1 GiB.
    pub fn new(seed: u64) -> Self {
        let state = State {
            names: Names::default(),
            inodes: BTreeMap::new(),
            directories: vec![PathBuf::from("/")],
            locks: BTreeMap::new(),
            next: 1,
            random: seed,
            capacity_bytes: 1 << 30,
            quota_bytes: u64::MAX,
            hidden_bytes: 0,
            names_max: u64::MAX,
            direct: true,
            changes_left: None,
            changes: 0,
            failing_writes: 0,
            failing_syncs: false,
            life: 0,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    pub(super) fn lock_state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cuts the power and switches it on again. Open files and locks are gone.
    pub fn crash(&self) {
        let mut state = self.lock_state();
        let mut random = state.random;
        state.names.crash(|| split_mix(&mut random));
        for inode in state.inodes.values_mut() {
            inode.crash(|| split_mix(&mut random));
        }
        state.random = random;
        state.locks.clear();
        state.changes_left = None;
        state.life += 1;
    }

    /// The power fails in the middle of the `n`-th change from now; everything later fails until
    /// [`SimDisk::crash`].
    pub fn fail_power_at(&self, n: u64) {
        self.lock_state().changes_left = Some(n);
    }

    /// Returns `true` if the power has failed, as set by [`SimDisk::fail_power_at`].
    pub fn has_no_power(&self) -> bool {
        self.lock_state().changes_left == Some(0)
    }

    /// Returns the number of changes so far.
    pub fn changes(&self) -> u64 {
        self.lock_state().changes
    }

    /// Makes the next `n` writes fail, after some part of each is stored.
    pub fn fail_writes(&self, n: u32) {
        self.lock_state().failing_writes = n;
    }

    /// Sets whether syncs fail.
    pub fn fail_syncs(&self, fail: bool) {
        self.lock_state().failing_syncs = fail;
    }

    /// Changes the capacity of the disk; its contents stay.
    pub fn set_capacity(&self, bytes: u64) {
        self.lock_state().capacity_bytes = bytes;
    }

    /// Refuses more than this many bytes without showing it in [`Disk::space`], like a quota.
    pub fn set_quota(&self, bytes: u64) {
        self.lock_state().quota_bytes = bytes;
    }

    /// Sets whether files can be opened past the page cache.
    pub fn set_direct(&self, direct: bool) {
        self.lock_state().direct = direct;
    }

    /// Bytes of all files.
    pub fn used(&self) -> u64 {
        self.lock_state().used()
    }

    /// Every file with its length, in order.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let state = self.lock_state();
        let len = |id| state.inodes.get(id).map_or(0, |inode: &Inode| inode.now.len() as u64);
        state.names.now.iter().map(|(path, id)| (path.clone(), len(id))).collect()
    }

    /// Flips one bit of a file, on the disk.
    ///
    /// # Panics
    /// If the file does not have this byte.
    pub fn flip(&self, path: &Path, byte: u64, bit: u8) {
        let mut state = self.lock_state();
        let id = state.names.now[path];
        let inode = state.inodes.get_mut(&id).expect("a name belongs to a file");
        inode.now[byte as usize] ^= 1 << bit;
        inode.sync();
    }

    /// Returns a copy of the disk in its current state.
    #[must_use]
    pub fn copy(&self) -> Self {
        let state = self.lock_state();
        let copy = State {
            names: state.names.clone(),
            inodes: state.inodes.clone(),
            directories: state.directories.clone(),
            locks: BTreeMap::new(),
            ..*state
        };
        Self { state: Arc::new(Mutex::new(copy)) }
    }

    fn parent(path: &Path) -> PathBuf {
        path.parent().unwrap_or(Path::new("/")).to_owned()
    }

    fn inode_of(&self, path: &Path) -> io::Result<u64> {
        self.lock_state().names.now.get(path).copied().ok_or_else(not_found)
    }

    pub(super) fn file_stat(state: &State, id: u64) -> io::Result<FileStat> {
        let inode = state.inodes.get(&id).ok_or_else(not_found)?;
        let links = state.names.now.values().filter(|named| **named == id).count() as u64;
        Ok(FileStat {
            device: 1,
            inode: id,
            len: inode.now.len() as u64,
            modified: SystemTime::UNIX_EPOCH,
            kind: FileKind::File,
            links,
            mode: 0o600,
        })
    }
}

/// The metadata of every directory.
const DIRECTORY: FileStat = FileStat {
    device: 1,
    inode: 0,
    len: 0,
    modified: SystemTime::UNIX_EPOCH,
    kind: FileKind::Directory,
    links: 1,
    mode: 0o700,
};

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock_state();
        if mode.direct && !state.direct {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let known = state.names.now.get(path).copied();
        let id = match known {
            Some(_) if mode.create_new => return Err(io::ErrorKind::AlreadyExists.into()),
            Some(id) => id,
            None if mode.create || mode.create_new => {
                state.room_for_name()?;
                state.change()?;
                let id = state.new_id();
                state.inodes.insert(id, Inode::default());
                state.names.change(&Self::parent(path), vec![(path.to_owned(), Some(id))]);
                id
            }
            None => return Err(not_found()),
        };
        let (disk, direct, life) = (self.clone(), mode.direct, state.life);
        Ok(Arc::new(SimFile { disk, id, direct, life }))
    }

    fn stat(&self, path: &Path) -> io::Result<FileStat> {
        if self.lock_state().directories.iter().any(|known| known == path) {
            return Ok(DIRECTORY);
        }
        let id = self.inode_of(path)?;
        Self::file_stat(&self.lock_state(), id)
    }

    fn entries(&self, directory: &Path) -> io::Result<Vec<(OsString, FileKind)>> {
        let state = self.lock_state();
        if !state.directories.iter().any(|known| known == directory) {
            return Err(not_found());
        }
        let files = state.names.now.keys().map(|path| (path, FileKind::File));
        let folders = state.directories.iter().map(|path| (path, FileKind::Directory));
        let inside = files.chain(folders).filter(|(path, _)| path.parent() == Some(directory));
        let name = |path: &PathBuf| path.file_name().map(OsStr::to_owned);
        let mut names: Vec<_> =
            inside.filter_map(|(path, kind)| Some((name(path)?, kind))).collect();
        names.sort_by(|left, right| left.0.cmp(&right.0));
        Ok(names)
    }

    fn stat_link(&self, path: &Path) -> io::Result<FileStat> {
        self.stat(path)
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_owned())
    }

    fn create_dir_all(&self, directory: &Path) -> io::Result<()> {
        let mut state = self.lock_state();
        for directory in directory.ancestors() {
            if !state.directories.iter().any(|known| known == directory) {
                state.room_for_name()?;
                state.directories.push(directory.to_owned());
            }
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let id = self.inode_of(from)?;
        let mut state = self.lock_state();
        state.change()?;
        let moved = vec![(from.to_owned(), None), (to.to_owned(), Some(id))];
        state.names.change(&Self::parent(to), moved);
        Ok(())
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.inode_of(to).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.inode_of(path)?;
        let mut state = self.lock_state();
        state.change()?;
        state.names.change(&Self::parent(path), vec![(path.to_owned(), None)]);
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock_state();
        state.change()?;
        let gone: Vec<PathBuf> =
            state.names.now.keys().filter(|name| name.starts_with(path)).cloned().collect();
        for name in gone {
            state.names.change(&Self::parent(&name), vec![(name.clone(), None)]);
        }
        Ok(())
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        let mut state = self.lock_state();
        if state.change()? {
            return Err(dead());
        }
        state.names.sync(directory);
        Ok(())
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let state = self.lock_state();
        let available = state.capacity_bytes.saturating_sub(state.used() + state.hidden_bytes);
        let files = state.names_max.saturating_sub(state.names_used());
        Ok(Space { total: state.capacity_bytes, available, files: Some(files) })
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>, LockError> {
        let mut state = self.lock_state();
        if state.locks.contains_key(path) {
            return Err(LockError::Held { pid: "1".into() });
        }
        let life = state.life;
        state.locks.insert(path.to_owned(), life);
        Ok(Box::new(SimLock { disk: self.clone(), path: path.to_owned(), life }))
    }
}
