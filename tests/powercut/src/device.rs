//! The disk with a volatile cache: a file in FUSE that tracks syncs.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyWrite, Request, WriteFlags,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Name of the file.
pub(crate) const FILE: &str = "disk";

/// A disk writes a sector completely or not at all.
const SECTOR: usize = 512;

const PAGE: usize = 4096;
const TTL: Duration = Duration::from_secs(3600);
const INODE: INodeNo = INodeNo(2);

/// Content of the disk.
#[derive(Default)]
struct Content {
    /// Synced pages; missing pages are zero.
    synced: BTreeMap<u64, Box<[u8; PAGE]>>,
    /// Writes since the last sync, in order.
    cached: Vec<(u64, Vec<u8>)>,
    syncs: u64,
}

impl Content {
    fn apply(pages: &mut BTreeMap<u64, Box<[u8; PAGE]>>, mut offset: u64, mut data: &[u8]) {
        while !data.is_empty() {
            let (page, within) = (offset / PAGE as u64, (offset % PAGE as u64) as usize);
            let length = data.len().min(PAGE - within);
            let target = pages.entry(page).or_insert_with(|| Box::new([0; PAGE]));
            target[within..within + length].copy_from_slice(&data[..length]);
            (offset, data) = (offset + length as u64, &data[length..]);
        }
    }

    fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut out = vec![0; length];
        let first = offset / PAGE as u64;
        let last = (offset + length as u64).div_ceil(PAGE as u64);
        let mut copy = |start: u64, data: &[u8]| {
            let (from, to) =
                (start.max(offset), (start + data.len() as u64).min(offset + length as u64));
            if from < to {
                let source = &data[(from - start) as usize..(to - start) as usize];
                out[(from - offset) as usize..(to - offset) as usize].copy_from_slice(source);
            }
        };
        for page in first..last {
            if let Some(data) = self.synced.get(&page) {
                copy(page * PAGE as u64, &data[..]);
            }
        }
        for (start, data) in &self.cached {
            copy(*start, data);
        }
        out
    }

    fn sync(&mut self) {
        for (offset, data) in std::mem::take(&mut self.cached) {
            Self::apply(&mut self.synced, offset, &data);
        }
        self.syncs += 1;
    }
}

/// The mounted disk. Unmounts when dropped.
pub(crate) struct Device {
    content: Arc<Mutex<Content>>,
    _session: BackgroundSession,
}

impl Device {
    /// Mounts a disk of `bytes` at `mount_point`.
    pub(crate) fn mount(mount_point: &Path, bytes: u64) -> io::Result<Self> {
        let content = Arc::new(Mutex::new(Content::default()));
        let file_system = DiskFileSystem { content: content.clone(), bytes };
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("powercut".into())];
        let session = fuser::spawn_mount(file_system, mount_point, &config)?;
        Ok(Self { content, _session: session })
    }

    /// Returns the number of syncs so far.
    pub(crate) fn syncs(&self) -> u64 {
        self.content.lock().unwrap_or_else(PoisonError::into_inner).syncs
    }

    /// Writes the content of the disk after a power failure to `image`. The seed decides which
    /// unsynced sectors survive, from none to all.
    pub(crate) fn cut(&self, image: &Path, bytes: u64, seed: u64) -> io::Result<Survivors> {
        let mut random = StdRng::seed_from_u64(seed);
        let file = File::options().write(true).create_new(true).open(image)?;
        file.set_len(bytes)?;
        let content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        for (page, data) in &content.synced {
            file.write_all_at(&data[..], page * PAGE as u64)?;
        }
        let share: f64 = match random.random_range(0..4) {
            0 => 0.0,
            1 => 1.0,
            _ => random.random(),
        };
        let mut survivors = Survivors::default();
        for (offset, data) in &content.cached {
            for (index, sector) in data.chunks(SECTOR).enumerate() {
                survivors.cached += 1;
                if random.random_bool(share) {
                    survivors.kept += 1;
                    file.write_all_at(sector, offset + (index * SECTOR) as u64)?;
                }
            }
        }
        Ok(survivors)
    }
}

/// Sectors in the cache at the power failure.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Survivors {
    /// All cached sectors.
    pub(crate) cached: u64,
    /// Cached sectors that reached the disk.
    pub(crate) kept: u64,
}

struct DiskFileSystem {
    content: Arc<Mutex<Content>>,
    bytes: u64,
}

impl DiskFileSystem {
    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let directory = inode == INodeNo::ROOT;
        FileAttr {
            ino: inode,
            size: if directory { 0 } else { self.bytes },
            blocks: self.bytes / SECTOR as u64,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if directory { FileType::Directory } else { FileType::RegularFile },
            perm: if directory { 0o700 } else { 0o600 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: PAGE as u32,
            flags: 0,
        }
    }

    fn content(&self) -> std::sync::MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Filesystem for DiskFileSystem {
    fn lookup(&self, _: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == FILE {
            reply.entry(&TTL, &self.attributes(INODE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&TTL, &self.attributes(ino));
    }

    fn open(&self, _: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        // Bypass the page cache, so that every write of the loop device arrives here immediately.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let length = u64::from(size).min(self.bytes.saturating_sub(offset)) as usize;
        reply.data(&self.content().read(offset, length));
    }

    fn write(
        &self,
        _: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        if offset + data.len() as u64 > self.bytes {
            reply.error(Errno::ENOSPC);
            return;
        }
        self.content().cached.push((offset, data.to_vec()));
        reply.written(u32::try_from(data.len()).expect("a FUSE write is at most 1 MiB"));
    }

    fn flush(
        &self,
        _: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn fsync(
        &self,
        _: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        self.content().sync();
        reply.ok();
    }
}
