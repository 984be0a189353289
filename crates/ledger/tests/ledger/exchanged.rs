//! Small files are merged on a disk, and a reader finds each line once at every moment.
//!
//! Method: the ledger on `file://`, in a temporary folder, over a disk that dies at the n-th of its
//! calls, for every n; and one that is stopped at the n-th call of its store while others finish
//! the merge, publish late files and merge again. A reader checks before each call.

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use pipeline::env::over::{DiskOver, FileOver};
use pipeline::env::{Disk, DiskFile, OpenMode};
use storage::local::Local;
use storage::{CreateOptions, FileSystem, FileWriter, FsError, Listed, Stat};
use tempfile::TempDir;

use crate::harness::{open, open_again};
use crate::merge::{committed, merged, sound_on};

/// A folder, and the results of its reader in the merged directory.
#[derive(Clone)]
struct Site {
    root: Arc<TempDir>,
    visible: Arc<Mutex<BTreeSet<String>>>,
    watched: Arc<AtomicBool>,
    problem: Arc<Mutex<Option<String>>>,
}

impl Site {
    fn new() -> Self {
        let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let (visible, watched, problem) = Default::default();
        Self { root: Arc::new(root), visible, watched, problem }
    }

    /// The files that a reader finds, and their lines.
    fn read(&self) -> (usize, Vec<String>) {
        let disk = env::real().disk;
        let day = self.root.path().join("logs/day");
        let names = disk.list(&day).unwrap_or_default();
        let text = |name: &String| {
            let file = disk.open(&day.join(name), OpenMode::default()).unwrap();
            String::from_utf8(file.read(0, 10_000).unwrap()).unwrap()
        };
        let all: String = names.iter().map(|(name, _)| text(name)).collect();
        (names.len(), all.lines().map(str::to_owned).collect())
    }

    fn look(&self) {
        if !self.watched.load(Ordering::SeqCst) {
            return;
        }
        let (_, found) = self.read();
        let once: BTreeSet<String> = found.iter().cloned().collect();
        let mut visible = self.visible.lock().unwrap();
        if once.len() != found.len() || !once.is_superset(&visible) {
            let said = format!("found {found:?}, and {visible:?} were visible");
            self.problem.lock().unwrap().get_or_insert(said);
        }
        *visible = once;
    }

    fn store(&self, disk: Arc<dyn Disk>, step: Option<Step>) -> Arc<Rooted> {
        let mut env = env::real();
        env.disk = disk;
        let (local, calls) = (Local::new(env), AtomicU64::new(0));
        Arc::new(Rooted { local, site: self.clone(), step, calls })
    }

    /// Returns a watched site with four committed batches, and its plain store.
    async fn watched() -> (Self, Arc<Rooted>) {
        let site = Self::new();
        let plain = site.plain();
        let mut ledger = open(plain.clone(), 1).await.unwrap();
        committed(&*plain, &mut ledger, 1, 0..4).await;
        site.look();
        site.watched.store(true, Ordering::SeqCst);
        (site, plain)
    }

    fn plain(&self) -> Arc<Rooted> {
        self.store(env::real().disk, None)
    }

    /// Checks that the ledger and the files agree, and that every reader was right.
    async fn is_sound(&self, files: usize, at: u64) {
        self.look();
        assert_eq!(*self.problem.lock().unwrap(), None, "at {at}");
        assert_eq!(self.read().0, files, "at {at}");
        sound_on(self.plain()).await;
    }
}

/// An action before the n-th call of a store.
type Step = Box<dyn Fn(u64) -> BoxFuture<'static, ()> + Send + Sync>;

/// The disk, with the folder as `/`.
struct Rooted {
    local: Local,
    site: Site,
    step: Option<Step>,
    calls: AtomicU64,
}

impl Rooted {
    async fn at(&self, path: &str) -> String {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        self.site.look();
        if let Some(step) = &self.step {
            step(call).await;
        }
        format!("{}{path}", self.site.root.path().display())
    }
}

#[async_trait]
impl FileSystem for Rooted {
    async fn create(
        &self,
        path: &str,
        options: CreateOptions,
    ) -> Result<Box<dyn FileWriter>, FsError> {
        self.local.create(&self.at(path).await, options).await
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), FsError> {
        let root = self.site.root.path().display().to_string();
        self.local.rename(&self.at(from).await, &format!("{root}{to}")).await
    }

    async fn can_concat_in(&self, directory: &str, desk: &str) -> Result<(), FsError> {
        let root = self.site.root.path().display().to_string();
        self.local.can_concat_in(&self.at(directory).await, &format!("{root}{desk}")).await
    }

    async fn concat(&self, target: &str, sources: &[String], desk: &str) -> Result<(), FsError> {
        let root = self.site.root.path().display().to_string();
        let sources: Vec<_> = sources.iter().map(|path| format!("{root}{path}")).collect();
        self.local.concat(&self.at(target).await, &sources, &format!("{root}{desk}")).await
    }

    async fn replace(&self, from: &str, to: &str) -> Result<(), FsError> {
        let root = self.site.root.path().display().to_string();
        self.local.replace(&self.at(from).await, &format!("{root}{to}")).await
    }

    async fn tidy(&self, desk: &str) -> Result<(), FsError> {
        self.local.tidy(&self.at(desk).await).await
    }

    async fn read(&self, path: &str) -> Result<Bytes, FsError> {
        self.local.read(&self.at(path).await).await
    }

    async fn read_part(&self, path: &str, at: u64, bytes: usize) -> Result<Bytes, FsError> {
        self.local.read_part(&self.at(path).await, at, bytes).await
    }

    async fn stat(&self, path: &str) -> Result<Stat, FsError> {
        self.local.stat(&self.at(path).await).await
    }

    async fn list(&self, directory: &str) -> Result<Vec<Listed>, FsError> {
        self.local.list(&self.at(directory).await).await
    }

    async fn delete(&self, path: &str) -> Result<bool, FsError> {
        self.local.delete(&self.at(path).await).await
    }

    async fn mkdirs(&self, directory: &str) -> Result<(), FsError> {
        self.local.mkdirs(&self.at(directory).await).await
    }
}

/// A disk whose process is killed at one of its calls.
#[derive(Clone)]
struct Killed {
    disk: Arc<dyn Disk>,
    site: Site,
    at: u64,
    /// Calls, from when they count.
    calls: Arc<AtomicU64>,
    counts: Arc<AtomicBool>,
}

impl DiskOver for Killed {
    fn below(&self) -> &dyn Disk {
        &*self.disk
    }

    fn before(&self) -> io::Result<()> {
        self.site.look();
        let counts = self.counts.load(Ordering::SeqCst);
        if counts && self.calls.fetch_add(1, Ordering::SeqCst) >= self.at {
            return Err(io::Error::other("killed"));
        }
        Ok(())
    }

    fn open_over(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(KilledFile { file: self.disk.open(path, mode)?, killed: self.clone() }))
    }
}

struct KilledFile {
    file: Arc<dyn DiskFile>,
    killed: Killed,
}

impl FileOver for KilledFile {
    fn below(&self) -> &dyn DiskFile {
        &*self.file
    }

    fn write_over(&self, buffers: &[IoSlice<'_>], at: u64, durable: bool) -> io::Result<()> {
        self.killed.before()?;
        self.file.write_at(buffers, at, durable)
    }

    fn sync_over(&self) -> io::Result<()> {
        self.killed.before()?;
        self.file.sync()
    }
}

#[tokio::test(start_paused = true)]
async fn a_merge_on_a_disk_that_is_killed_at_any_call_is_finished_by_another() {
    for at in 0.. {
        let (site, plain) = Site::watched().await;
        let (calls, counts) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let disk = env::real().disk;
        let killed = Killed { disk, site: site.clone(), at, calls, counts };
        let mut failing = open(site.store(Arc::new(killed.clone()), None), 2).await.unwrap();
        killed.counts.store(true, Ordering::SeqCst);
        drop(merged(&mut failing).await);
        drop(failing);
        // Another collector continues, a late event arrives, and the killed one is started again.
        let mut other = open(plain.clone(), 3).await.unwrap();
        committed(&*plain, &mut other, 3, 4..5).await;
        while merged(&mut other).await.unwrap().is_some() {}
        let again = open_again(plain, 2, Default::default()).await.unwrap();
        assert_eq!(again.view().open_merges().count(), 0, "at {at}");
        site.is_sound(1, at).await;
        if killed.calls.load(Ordering::SeqCst) <= at {
            assert!(at > 60, "a merge has more calls than {at}");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_merger_resumed_after_another_finished_changes_nothing() {
    for at in 0.. {
        let (site, plain) = Site::watched().await;
        let store = plain.clone();
        let step: Step = Box::new(move |call| {
            let store = store.clone();
            Box::pin(async move {
                if call != at {
                    return;
                }
                let mut other = open(store.clone(), 3).await.unwrap();
                committed(&*store, &mut other, 3, 4..5).await;
                while merged(&mut other).await.unwrap().is_some() {}
                committed(&*store, &mut other, 3, 5..7).await;
                while merged(&mut other).await.unwrap().is_some() {}
            })
        });
        let stopping = site.store(env::real().disk, Some(step));
        let done = match open(stopping.clone(), 2).await {
            Ok(mut stopped) => merged(&mut stopped).await.map(drop),
            Err(error) => Err(error),
        };
        done.unwrap();
        let over = stopping.calls.load(Ordering::SeqCst) <= at;
        let mut other = open(plain, 4).await.unwrap();
        while merged(&mut other).await.unwrap().is_some() {}
        assert_eq!(other.view().open_merges().count(), 0, "at {at}");
        assert_eq!(site.read().1.len(), if over { 4 } else { 7 }, "at {at}");
        site.is_sound(1, at).await;
        if over {
            assert!(at > 30, "a merge has more calls than {at}");
            return;
        }
    }
}

/// Exchanged files stay for readers, but not forever.
#[tokio::test]
async fn an_opening_tidies_up_what_merges_have_left() {
    let site = Site::new();
    let plain = site.plain();
    let mut ledger = open(plain.clone(), 1).await.unwrap();
    committed(&*plain, &mut ledger, 1, 0..4).await;
    assert!(merged(&mut ledger).await.unwrap().is_some());
    let desk = site.root.path().join("logs/_aqueduct/store/merging");
    let left = || -> Vec<PathBuf> {
        let names = env::real().disk.list(&desk).unwrap();
        names.into_iter().map(|(name, _)| desk.join(name)).collect()
    };
    let [old] = left().try_into().unwrap();
    // As if it had been left at the beginning of time.
    env::real().disk.rename(&old, &desk.join("0123.old-0")).unwrap();
    open(plain, 2).await.unwrap();
    assert_eq!(left(), Vec::<PathBuf>::new());
}
