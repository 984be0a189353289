//! Changes in directories, reported by inotify.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{CStr, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use pipeline::env::{Change, Coverage, Watch};
use rustix::fs::inotify::{
    CreateFlags, Event, ReadFlags, Reader, WatchFlags, add_watch, init, remove_watch,
};
use rustix::fs::statfs;
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Changes of names.
const NAMES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR)
    // A directory may be watched by two names, and by only one of them for its files.
    .union(WatchFlags::MASK_ADD);

/// File systems that others write to without notice to this kernel, by their magic numbers: NFS,
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
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    watched: HashMap<i32, Watched>,
    moves: Moves,
}

/// Puts together the two events that a move consists of.
#[derive(Default)]
struct Moves {
    /// The old names of the last move, with the number that its second event has as well.
    from: Option<(u32, Vec<PathBuf>)>,
    counted: u64,
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
        Ok(Self { queue, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each part is replaced as a whole, so a panic elsewhere does no harm here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that the kernel has queued.
    fn read(&self, queue: &OwnedFd) -> io::Result<BTreeSet<Change>> {
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut events = Reader::new(queue, &mut buffer);
        let State { watched, moves } = &mut *self.state();
        let mut changes = BTreeSet::new();
        loop {
            match events.next() {
                Ok(event) => {
                    note(watched.get(&event.wd()), &event, moves, &mut changes);
                }
                Err(Errno::AGAIN) if changes.is_empty() => return Err(Errno::AGAIN.into()),
                Err(Errno::AGAIN) => return Ok(changes),
                Err(Errno::INTR) => {}
                Err(other) => return Err(other.into()),
            }
        }
    }
}

/// Adds the changes of one event.
fn note(
    watched: Option<&Watched>,
    event: &Event<'_>,
    moves: &mut Moves,
    changes: &mut BTreeSet<Change>,
) {
    let (events, name) = (event.events(), event.file_name());
    if events.contains(ReadFlags::QUEUE_OVERFLOW) {
        changes.insert(Change::Uncounted);
    }
    // An event of a directory that is no longer watched.
    let Some(watched) = watched else { return };
    let path = |directory: &PathBuf| match name.map(CStr::to_bytes) {
        Some(name) => directory.join(OsStr::from_bytes(name)),
        None => directory.clone(),
    };
    let paths: Vec<PathBuf> = watched.paths.iter().map(path).collect();
    let is_directory = events.contains(ReadFlags::ISDIR);
    if !is_directory {
        changes.extend(moves.note(watched, event, &paths));
    }
    // On the way to the files only directories count.
    if !watched.content && name.is_some() && !is_directory {
        return;
    }
    let change = if events.contains(ReadFlags::MODIFY) { Change::Content } else { Change::Name };
    changes.extend(paths.into_iter().map(change));
}

impl Moves {
    /// Returns the move that this event completes, once for each way to name it. `paths` are the
    /// event's paths.
    fn note(&mut self, watched: &Watched, event: &Event<'_>, paths: &[PathBuf]) -> Vec<Change> {
        let (events, cookie) = (event.events(), event.cookie());
        if events.contains(ReadFlags::MOVED_FROM) && watched.content {
            self.from = Some((cookie, paths.to_vec()));
        }
        if !events.contains(ReadFlags::MOVED_TO) {
            return Vec::new();
        }
        let Some((_, from)) = self.from.take_if(|(of, _)| *of == cookie) else { return Vec::new() };
        let nth = self.counted;
        self.counted += 1;
        let ways = from.iter().flat_map(|from| paths.iter().map(move |to| (from, to)));
        ways.map(|(from, to)| Change::Moved { nth, from: from.clone(), to: to.clone() }).collect()
    }
}

/// Returns `true` if other machines may change its contents unnoticed.
fn is_remote(directory: &Path) -> bool {
    statfs(directory).is_ok_and(|stat| REMOTE.contains(&stat.f_type))
}

#[async_trait]
impl Watch for Inotify {
    fn set_directories(&self, directories: &BTreeMap<PathBuf, bool>) -> io::Result<Coverage> {
        let mut state = self.state();
        let watched = &mut state.watched;
        let mut sight = Coverage::default();
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
                // It does not exist; the parent directory reports its return.
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(Errno::ACCESS) => sight.blind |= *content,
                Err(other) => return Err(other.into()),
            }
        }
        for number in watched.keys().filter(|number| !now.contains_key(number)) {
            // The kernel has removed the watch of a deleted directory.
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
                // The changes are unknown: the caller checks everything.
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
        changed.expect("a change is reported").into_iter().collect()
    }

    #[tokio::test]
    async fn content_moves_and_directories_on_the_way_are_distinguished() {
        let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (root, logs) = (root.path().to_owned(), root.path().join("logs"));
        let log = logs.join("a.log");
        fs::create_dir(&logs).unwrap();
        fs::write(&log, "one\n").unwrap();
        let watch = Inotify::new().unwrap();
        let both = BTreeMap::from([(root.clone(), false), (logs.clone(), true)]);
        assert!(watch.set_directories(&both).unwrap().new);
        assert!(!watch.set_directories(&both).unwrap().new, "the same names are nothing new");

        fs::write(root.join("stranger"), "not asked for").unwrap();
        fs::write(&log, "two\n").unwrap();
        assert_eq!(changes(&watch).await, [Change::Content(log.clone())]);
        let (rotated, further) = (logs.join("a.log.1"), root.join("a.log.2"));
        let moved = |nth, from: &PathBuf, to: &PathBuf| Change::Moved {
            nth,
            from: from.clone(),
            to: to.clone(),
        };
        fs::rename(&log, &rotated).unwrap();
        let names = [&log, &rotated].map(|name| Change::Name(name.clone()));
        assert_eq!(changes(&watch).await, [&names[..], &[moved(0, &log, &rotated)]].concat());
        // For a directory whose files are not watched, only the move into it is reported.
        fs::rename(&rotated, &further).unwrap();
        let gone = [Change::Name(rotated.clone()), moved(1, &rotated, &further)];
        assert_eq!(changes(&watch).await, gone);
        fs::rename(&further, &log).unwrap();
        assert_eq!(changes(&watch).await, [Change::Name(log.clone())]);
        fs::rename(&log, elsewhere.path().join("a.log")).unwrap();
        assert_eq!(changes(&watch).await, [Change::Name(log.clone())], "it is not watched");
        fs::create_dir(root.join("more")).unwrap();
        assert_eq!(changes(&watch).await, [Change::Name(root.join("more"))]);
    }

    #[tokio::test]
    async fn content_changes_are_seen_in_a_directory_watched_by_two_names() {
        let root = tempfile::tempdir().unwrap();
        let (logs, also) = (root.path().join("a"), root.path().join("b"));
        fs::create_dir(&logs).unwrap();
        std::os::unix::fs::symlink(&logs, &also).unwrap();
        fs::write(logs.join("a.log"), "one\n").unwrap();
        let watch = Inotify::new().unwrap();
        watch.set_directories(&BTreeMap::from([(logs.clone(), true), (also, false)])).unwrap();
        fs::write(logs.join("a.log"), "two\n").unwrap();
        assert!(changes(&watch).await.contains(&Change::Content(logs.join("a.log"))));
    }

    #[tokio::test]
    async fn a_directory_that_was_replaced_is_new() {
        let root = tempfile::tempdir().unwrap();
        let logs = root.path().join("logs");
        fs::create_dir(&logs).unwrap();
        let watch = Inotify::new().unwrap();
        let one = BTreeMap::from([(logs.clone(), true)]);
        assert!(watch.set_directories(&one).unwrap().new);
        fs::rename(&logs, root.path().join("old")).unwrap();
        fs::create_dir(&logs).unwrap();
        assert!(watch.set_directories(&one).unwrap().new);
        fs::write(logs.join("a.log"), "x").unwrap();
        let content = Change::Content(logs.join("a.log"));
        while !changes(&watch).await.contains(&content) {}
    }
}
