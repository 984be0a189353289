//! The indexes of sealed segments in sled: a checkpoint that may be deleted at any time.
//!
//! sled 0.34 does its own I/O and has failure modes that the channel must not inherit: it accepts a
//! torn snapshot as good, panics on a damaged page, and keeps returning old errors. Therefore every
//! call is guarded, any failure moves the directory aside and starts an empty one, and every value
//! has its own checksum. Values stay below 64 KiB, so that sled keeps them in its log and not in
//! separate files. They are read by key: a scan would also read the page after the last one.
//!
//! ```text
//! tree `seg`   segment u64 big-endian, part u16 big-endian  ->  up to 60 KiB of a segment's index
//! ```

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use pipeline::env::{Disk, is_full};
use tokio::time::Instant;
use tracing::warn;

use super::segment_index::{IndexStore, SegmentIndex};

const PART_BYTES: usize = 60 << 10;
const CACHE_BYTES: u64 = 4 << 20;
/// With less free space than this, sled's errors are attributed to the disk, not to its directory.
const ROOM_MIN: u64 = 2 << 20;
/// Time before a retry after the disk had no room.
const RETRY: Duration = Duration::from_secs(30);

/// Indexes of sealed segments in a sled directory. The directory is opened at the first read or
/// write: sled's threads wake up every second while the process lives, and a channel without a
/// backlog needs none of them.
pub(crate) struct SledStore {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    /// `None` inside: it cannot be opened.
    opened: OnceLock<Option<Opened>>,
    /// The time of the next attempt after the disk had no room. Locked during an opening.
    waits_until: Mutex<Option<Instant>>,
}

struct Opened {
    tree: sled::Tree,
    db: sled::Db,
}

/// The result of opening.
enum Tried {
    Open(Opened),
    /// The disk has no room for it; the existing files are sound.
    NoRoom,
    Failed,
}

/// Runs a call with a guard; `None` if it fails or panics.
fn guarded<T>(what: &str, call: impl FnOnce() -> sled::Result<T>) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Some(value),
        Ok(Err(error)) => {
            warn!(%error,
                "the index of a durable channel failed ({what}); reading the segment files \
                 instead; no event is lost, no action needed");
            None
        }
        Err(_) => {
            warn!(
                "the index of a durable channel failed with a panic ({what}); reading the segment \
                 files instead; no event is lost, no action needed"
            );
            None
        }
    }
}

impl SledStore {
    /// Indexes in `directory`; nothing is opened yet.
    pub(crate) fn new(disk: Arc<dyn Disk>, directory: PathBuf) -> Self {
        Self { disk, directory, opened: OnceLock::new(), waits_until: Mutex::default() }
    }

    fn opened(&self) -> Option<&Opened> {
        if let Some(opened) = self.opened.get() {
            return opened.as_ref();
        }
        let mut waits_until = self.waits_until.lock().unwrap_or_else(PoisonError::into_inner);
        if waits_until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let opened = match self.opened.get() {
            Some(opened) => return opened.as_ref(),
            None => match Opened::open(&self.disk, &self.directory) {
                Tried::Open(opened) => Some(opened),
                Tried::Failed => None,
                Tried::NoRoom => {
                    *waits_until = Some(Instant::now() + RETRY);
                    warn!(directory = %self.directory.display(),
                        "no disk space for the index of a durable channel; reading the segment \
                         files instead; no event is lost; retrying; free disk space");
                    return None;
                }
            },
        };
        self.opened.get_or_init(|| opened).as_ref()
    }

    /// Opened if there may be something in it.
    fn opened_if_there(&self) -> Option<&Opened> {
        let there = self.opened.get().is_some() || self.disk.stat(&self.directory).is_ok();
        if there { self.opened() } else { None }
    }
}

impl Opened {
    /// Opens the directory; replaces it by an empty one if it is damaged.
    fn open(disk: &Arc<dyn Disk>, directory: &Path) -> Tried {
        if let Ok(names) = disk.list(directory) {
            // A snapshot that was being written when the process died would be taken for a whole
            // one.
            let torn = names
                .iter()
                .filter(|(name, _)| name.starts_with("snap.") && name.ends_with(".generating"));
            for (name, _) in torn {
                let _ = disk.remove_file(&directory.join(name));
            }
        }
        // sled creates files that all users may read, so restrict the directory.
        let _ = disk.create_dir_all(directory);
        match Self::attempt(disk, directory) {
            Tried::Failed => {}
            tried => return tried,
        }
        let aside = directory.with_extension("damaged");
        warn!(directory = %directory.display(), aside = %aside.display(),
            "the index of a durable channel is damaged; moving it to another name and rebuilding \
             it; no event is lost, no action needed");
        let _ = disk.remove_dir_all(&aside);
        match disk.rename(directory, &aside) {
            Ok(()) => Self::attempt(disk, directory),
            Err(_) => Tried::Failed,
        }
    }

    fn attempt(disk: &Arc<dyn Disk>, directory: &Path) -> Tried {
        let mut is_refused = false;
        let opened = guarded("open", || {
            let db = sled::Config::new()
                .path(directory)
                .mode(sled::Mode::HighThroughput)
                .cache_capacity(CACHE_BYTES)
                .flush_every_ms(None)
                .open();
            let opened = db.and_then(|db| Ok(Self { tree: db.open_tree("seg")?, db }));
            match opened {
                Err(sled::Error::Io(error)) if is_full(&error) => {
                    is_refused = true;
                    Ok(None)
                }
                opened => opened.map(Some),
            }
        });
        let above = directory.parent().unwrap_or(directory);
        match opened {
            Some(Some(opened)) => Tried::Open(opened),
            _ if is_refused => Tried::NoRoom,
            // It panics, or returns another error, when it cannot write.
            _ if disk.space(above).is_ok_and(|space| space.available < ROOM_MIN) => Tried::NoRoom,
            _ => Tried::Failed,
        }
    }
}

/// Returns the key of a part of a segment's index.
fn key(segment: u64, part: u16) -> Vec<u8> {
    [&segment.to_be_bytes()[..], &part.to_be_bytes()].concat()
}

/// Processes part after part, up to the last one, which is missing or shorter than the others.
fn each_part(
    segment: u64,
    mut act: impl FnMut(&[u8]) -> sled::Result<Option<sled::IVec>>,
) -> sled::Result<()> {
    for part in 0..=u16::MAX {
        if act(&key(segment, part))?.is_none_or(|chunk| chunk.len() < PART_BYTES) {
            break;
        }
    }
    Ok(())
}

impl IndexStore for SledStore {
    fn load(&self, segment: u64) -> Option<SegmentIndex> {
        let mut bytes = Vec::new();
        let opened = self.opened_if_there()?;
        guarded("load", || {
            each_part(segment, |key| {
                let chunk = opened.tree.get(key)?;
                bytes.extend_from_slice(chunk.as_deref().unwrap_or_default());
                Ok(chunk)
            })
        })?;
        SegmentIndex::decode(&bytes)
    }

    fn save(&self, segment: u64, index: &SegmentIndex) {
        let Some(opened) = self.opened() else { return };
        self.remove(segment);
        let bytes = index.encode();
        guarded("save", || {
            for (part, chunk) in (0u16..).zip(bytes.chunks(PART_BYTES)) {
                opened.tree.insert(key(segment, part), chunk)?;
            }
            Ok(())
        });
    }

    fn remove(&self, segment: u64) {
        let Some(opened) = self.opened_if_there() else { return };
        guarded("remove", || each_part(segment, |key| opened.tree.remove(key)));
    }

    fn retain(&self, live: &[u64]) {
        if live.is_empty() && self.opened.get().is_none() {
            // If it stays, nothing in it is ever read.
            let _ = self.disk.remove_dir_all(&self.directory);
            return;
        }
        let Some(opened) = self.opened_if_there() else { return };
        let all = || opened.tree.iter().keys().collect::<sled::Result<Vec<_>>>();
        for key in guarded("list", all).unwrap_or_default() {
            let segment = key.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes));
            if segment.is_none_or(|segment| !live.contains(&segment)) {
                guarded("remove", || opened.tree.remove(&key));
            }
        }
    }

    fn flush(&self) {
        if let Some(Some(opened)) = self.opened.get() {
            guarded("flush", || opened.db.flush());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::index::segment_index::Entry;

    fn index(entries: u32) -> SegmentIndex {
        let mut index = SegmentIndex::starting_at(5);
        for n in 0..entries {
            // Values without a pattern, so that the index has many parts.
            let events = n.wrapping_mul(n).wrapping_mul(0x9e37_79b1);
            index.push(Entry { offset: n * 4096, len: 4096, events, after_ms: n, item: 0 }, None);
        }
        index
    }

    #[test]
    fn an_index_of_many_parts_comes_back_after_a_reopen_and_goes_when_removed() {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(env::RealDisk);
        let store = SledStore::new(disk.clone(), dir.path().join("meta"));
        assert!(index(40_000).encode().len() > 2 * PART_BYTES);
        store.save(1, &index(40_000));
        store.save(2, &index(3));
        store.save(3, &index(50_000));
        store.save(3, &index(4));
        store.flush();
        drop(store);
        let store = SledStore::new(disk.clone(), dir.path().join("meta"));
        assert_eq!(store.load(1), Some(index(40_000)));
        assert_eq!(store.load(3), Some(index(4)), "no part is left of the longer one");
        store.remove(3);
        assert_eq!(store.load(3), None);
        assert_eq!(store.opened().unwrap().tree.scan_prefix(3u64.to_be_bytes()).count(), 0);
        store.retain(&[2]);
        assert_eq!((store.load(1), store.load(2)), (None, Some(index(3))));
    }

    #[test]
    fn ignores_and_removes_entries_of_older_versions() {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(env::RealDisk);
        let store = SledStore::new(disk, dir.path().join("meta"));
        let tree = &store.opened().unwrap().tree;
        // Its indexes were larger: a part more than one of ours needs, each of the same size.
        let old = vec![1; PART_BYTES];
        tree.insert(key(1, 0), &old[..]).unwrap();
        tree.insert(key(1, 1), &old[..9]).unwrap();
        assert_eq!(store.load(1), None);
        store.save(1, &index(3));
        assert_eq!(store.load(1), Some(index(3)));
        assert_eq!(tree.scan_prefix(1u64.to_be_bytes()).count(), 1);
    }

    #[test]
    fn a_damaged_directory_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(env::RealDisk);
        let path = dir.path().join("meta");
        let store = SledStore::new(disk.clone(), path.clone());
        store.save(1, &index(3));
        drop(store);
        for (name, _) in disk.list(&path).unwrap() {
            let mode = pipeline::env::OpenMode { write: true, ..Default::default() };
            if let Ok(file) = disk.open(&path.join(name), mode) {
                let noise = [0xa5; 64];
                file.write_at(&[std::io::IoSlice::new(&noise)], 0, true).unwrap();
            }
        }
        let store = SledStore::new(disk, path);
        assert_eq!(store.load(1), None, "an empty one is in its place");
        store.save(1, &index(2));
        assert_eq!(store.load(1), Some(index(2)));
    }

    #[test]
    fn without_a_sealed_segment_sled_is_never_started() {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(env::RealDisk);
        let path = dir.path().join("meta");
        let store = SledStore::new(disk.clone(), path.clone());
        store.retain(&[7]);
        assert_eq!(store.load(7), None);
        store.remove(7);
        store.flush();
        assert!(disk.stat(&path).is_err());
        store.save(7, &index(1));
        drop(store);
        let next = SledStore::new(disk.clone(), path.clone());
        next.retain(&[]);
        assert!(disk.stat(&path).is_err(), "what will not be asked for is thrown away unread");
    }
}
