//! Changes in directories, as inotify tells them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use pipeline::env::{Change, Sight, Watch};
use rustix::fs::inotify::{
    CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init, remove_watch,
};
use rustix::fs::statfs;
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What happens to names.
const NAMES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

/// File systems that others write to without this kernel being told, by their magic numbers: NFS,
/// SMB (three), FUSE, 9P, Ceph, Lustre, AFS (two), GPFS, OCFS2, Coda.
const REMOTE: [i64; 13] = [
    0x6969,
    0x517b,
    0xff53_4d42,
    0xfe53_4d42,
    0x6573_5546,
    0x0102_1997,
    0x00c3_6400,
    0x0bd0_0bd0,
    0x5346_414f,
    0x6b41_4653,
    0x4750_4653,
    0x7461_636f,
    0x7375_7245,
];

/// One inotify object of the kernel.
pub(crate) struct Inotify {
    queue: AsyncFd<OwnedFd>,
    watched: Mutex<HashMap<i32, Watched>>,
}

/// A directory by the names under which it was asked for.
#[derive(Default)]
struct Watched {
    paths: Vec<PathBuf>,
    content: bool,
}

impl Inotify {
    /// Watches nothing yet. Must be called in a tokio runtime.
    pub(crate) fn new() -> io::Result<Self> {
        let queue = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        #[expect(unsafe_code, reason = "tokio has no safe way to wait for a descriptor")]
        // SAFETY: an `OwnedFd` is open, and stays the same descriptor until the `AsyncFd` drops it:
        // it is never taken out nor lent mutably.
        let queue = unsafe { AsyncFd::register_with_interest(queue, Interest::READABLE) }?;
        Ok(Self { queue, watched: Mutex::default() })
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<i32, Watched>> {
        // The map is replaced as a whole, so a panic elsewhere does no harm here.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that the kernel has queued.
    fn read(&self, queue: &OwnedFd) -> io::Result<BTreeSet<Change>> {
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut events = Reader::new(queue, &mut buffer);
        let watched = self.watched();
        let mut changes = BTreeSet::new();
        loop {
            match events.next() {
                Ok(event) => {
                    let watched = watched.get(&event.wd());
                    note(watched, event.events(), event.file_name(), &mut changes);
                }
                Err(Errno::AGAIN) if changes.is_empty() => return Err(Errno::AGAIN.into()),
                Err(Errno::AGAIN) => return Ok(changes),
                Err(Errno::INTR) => {}
                Err(other) => return Err(other.into()),
            }
        }
    }
}

/// Adds what one event means.
fn note(
    watched: Option<&Watched>,
    events: ReadFlags,
    name: Option<&CStr>,
    changes: &mut BTreeSet<Change>,
) {
    if events.contains(ReadFlags::QUEUE_OVERFLOW) {
        changes.insert(Change::Uncounted);
    }
    // An event of a directory that is not asked for any more.
    let Some(watched) = watched else { return };
    // On the way to the files only directories count.
    if !watched.content && name.is_some() && !events.contains(ReadFlags::ISDIR) {
        return;
    }
    let path = |directory: &PathBuf| match name.map(CStr::to_str) {
        Some(Ok(name)) => Some(directory.join(name)),
        // Names that are not UTF-8 are listed nowhere either.
        Some(Err(_)) => None,
        None => Some(directory.clone()),
    };
    let change = if events.contains(ReadFlags::MODIFY) { Change::Content } else { Change::Name };
    changes.extend(watched.paths.iter().filter_map(path).map(change));
}

/// Whether others may change what lies there unseen.
fn is_remote(directory: &Path) -> bool {
    statfs(directory).is_ok_and(|stat| REMOTE.contains(&stat.f_type))
}

#[async_trait]
impl Watch for Inotify {
    fn look_at(&self, directories: &BTreeMap<PathBuf, bool>) -> io::Result<Sight> {
        let mut watched = self.watched();
        let mut sight = Sight::default();
        let mut now: HashMap<i32, Watched> = HashMap::new();
        for (directory, content) in directories {
            let mut flags = NAMES;
            flags.set(WatchFlags::MODIFY, *content);
            match add_watch(self.queue.get_ref(), directory, flags) {
                Ok(number) => {
                    let known = watched.get(&number);
                    sight.new |= known.is_none_or(|known| !known.paths.contains(directory));
                    let entry = now.entry(number).or_default();
                    entry.paths.push(directory.clone());
                    entry.content |= *content;
                    sight.blind |= *content && is_remote(directory);
                }
                // It is gone; the directory above tells when it comes back.
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(Errno::ACCESS) => sight.blind |= *content,
                Err(other) => return Err(other.into()),
            }
        }
        for number in watched.keys().filter(|number| !now.contains_key(number)) {
            // The kernel has forgotten a directory that was deleted by itself.
            let _ = remove_watch(self.queue.get_ref(), *number);
        }
        *watched = now;
        Ok(sight)
    }

    async fn changed(&self) -> BTreeSet<Change> {
        loop {
            let read = match self.queue.readable().await {
                Ok(mut ready) => ready.try_io(|queue| self.read(queue.get_ref())),
                Err(error) => Ok(Err(error)),
            };
            match read {
                Ok(Ok(changes)) if changes.is_empty() => {}
                Ok(Ok(changes)) => return changes,
                // What it was is not known: whoever asks looks at everything.
                Ok(Err(_)) => return BTreeSet::from([Change::Uncounted]),
                Err(_nothing_there) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    async fn changes(watch: &Inotify) -> Vec<Change> {
        let changed = timeout(Duration::from_secs(20), watch.changed()).await;
        changed.expect("a change is told").into_iter().collect()
    }

    #[tokio::test]
    async fn content_names_and_directories_on_the_way_are_told_apart() {
        let root = tempfile::tempdir().unwrap();
        let (root, logs) = (root.path().to_owned(), root.path().join("logs"));
        let log = logs.join("a.log");
        fs::create_dir(&logs).unwrap();
        fs::write(&log, "one\n").unwrap();
        let watch = Inotify::new().unwrap();
        let both = BTreeMap::from([(root.clone(), false), (logs.clone(), true)]);
        assert!(watch.look_at(&both).unwrap().new);
        assert!(!watch.look_at(&both).unwrap().new, "the same names are nothing new");

        fs::write(root.join("stranger"), "not asked for").unwrap();
        fs::write(&log, "two\n").unwrap();
        assert_eq!(changes(&watch).await, [Change::Content(log.clone())]);
        fs::rename(&log, logs.join("a.log.1")).unwrap();
        let renamed = changes(&watch).await;
        assert_eq!(renamed, [log.clone(), logs.join("a.log.1")].map(Change::Name));
        fs::create_dir(root.join("more")).unwrap();
        assert_eq!(changes(&watch).await, [Change::Name(root.join("more"))]);
    }

    #[tokio::test]
    async fn a_directory_that_was_replaced_is_new() {
        let root = tempfile::tempdir().unwrap();
        let logs = root.path().join("logs");
        fs::create_dir(&logs).unwrap();
        let watch = Inotify::new().unwrap();
        let one = BTreeMap::from([(logs.clone(), true)]);
        assert!(watch.look_at(&one).unwrap().new);
        fs::rename(&logs, root.path().join("old")).unwrap();
        fs::create_dir(&logs).unwrap();
        assert!(watch.look_at(&one).unwrap().new);
        fs::write(logs.join("a.log"), "x").unwrap();
        let content = Change::Content(logs.join("a.log"));
        while !changes(&watch).await.contains(&content) {}
    }
}
