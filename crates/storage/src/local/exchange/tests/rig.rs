//! A disk that stops before each of its calls, and a directory whose reader checks there.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pipeline::Env;
use pipeline::env::over::{DiskOver, FileOver};
use pipeline::env::{Clock, Disk, DiskFile, FileStat, OpenDirectory, OpenMode};
use tempfile::TempDir;

use super::super::super::Local;
use super::super::{KEPT_MILLIS, Rules};
use crate::{FileSystem, FsError};

/// An action before a call; the flag is true if the call takes a lock.
type Step = Arc<dyn Fn(u64, bool) -> io::Result<()> + Send + Sync>;

#[derive(Clone)]
struct Steps {
    disk: Arc<dyn Disk>,
    number: Arc<AtomicU64>,
    step: Step,
}

impl Steps {
    fn next(&self, holds: bool) -> io::Result<()> {
        (self.step)(self.number.fetch_add(1, Ordering::SeqCst), holds)
    }
}

impl DiskOver for Steps {
    fn below(&self) -> &dyn Disk {
        &*self.disk
    }

    fn before(&self) -> io::Result<()> {
        self.next(false)
    }

    fn open_over(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(StepsFile { file: self.disk.open(path, mode)?, steps: self.clone() }))
    }

    fn open_directory_over(&self, path: &Path) -> io::Result<Box<dyn OpenDirectory>> {
        let directory = self.disk.open_directory(path)?;
        Ok(Box::new(StepsDirectory { directory, steps: self.clone() }))
    }
}

struct StepsFile {
    file: Arc<dyn DiskFile>,
    steps: Steps,
}

impl FileOver for StepsFile {
    fn below(&self) -> &dyn DiskFile {
        &*self.file
    }

    fn write_over(&self, buffers: &[IoSlice<'_>], at: u64, durable: bool) -> io::Result<()> {
        self.steps.next(false)?;
        self.file.write_at(buffers, at, durable)
    }

    fn sync_over(&self) -> io::Result<()> {
        self.steps.next(false)?;
        self.file.sync()
    }
}

struct StepsDirectory {
    directory: Box<dyn OpenDirectory>,
    steps: Steps,
}

impl OpenDirectory for StepsDirectory {
    fn try_lock(&self, alone: bool) -> io::Result<bool> {
        self.steps.next(true)?;
        self.directory.try_lock(alone)
    }

    fn stat(&self) -> io::Result<FileStat> {
        self.directory.stat()
    }
}

struct At(u64);

impl Clock for At {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.0)
    }
}

/// A directory with small files, and the results of its reader.
#[derive(Clone)]
pub(super) struct Rig {
    root: Arc<TempDir>,
    /// Lines that were visible: they stay so.
    pub(super) visible: Arc<Mutex<BTreeSet<String>>>,
    problem: Arc<Mutex<Option<String>>>,
    rules: Rules,
}

/// Returns the lines of a directory and its subdirectories, with repetitions.
pub(super) fn lines(directory: &Path) -> Vec<String> {
    let Ok(open) = File::open(directory) else { return Vec::new() };
    // By its number, so that the directory is the same one for all of its files.
    let entries = fs::read_dir(format!("/proc/self/fd/{}", open.as_raw_fd())).unwrap();
    let paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    let read = |path: &PathBuf| match path.is_dir() {
        true => lines(path),
        false => fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect(),
    };
    paths.iter().flat_map(read).collect()
}

impl Rig {
    pub(super) fn new(rules: Rules) -> Self {
        let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        for directory in ["day", "stage", "desk"] {
            fs::create_dir(root.path().join(directory)).unwrap();
        }
        for name in ["a", "b", "c", "y"] {
            fs::write(root.path().join("day").join(name), format!("{name}\n")).unwrap();
        }
        for name in ["x", "z", "w"] {
            fs::write(root.path().join("stage").join(name), format!("{name}\n")).unwrap();
        }
        let visible = ["a", "b", "c", "y"].map(str::to_owned).into_iter().collect();
        let (visible, problem) = (Arc::new(Mutex::new(visible)), Arc::default());
        Self { root: Arc::new(root), visible, problem, rules }
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.root.path().join(name).to_str().unwrap().to_owned()
    }

    /// The reader looks.
    pub(super) fn look(&self) {
        self.compare(&lines(&self.root.path().join("day")));
    }

    pub(super) fn compare(&self, found: &[String]) {
        let once: BTreeSet<String> = found.iter().cloned().collect();
        let visible = self.visible.lock().unwrap();
        if once.len() != found.len() || !once.is_superset(&visible) {
            let said = format!("found {found:?}, and {visible:?} were visible");
            self.problem.lock().unwrap().get_or_insert(said);
        }
    }

    /// A collector at this time. Before each of its calls the reader looks, and `step` is done.
    pub(super) fn collector(
        &self,
        now: u64,
        step: impl Fn(u64, bool) -> io::Result<()> + Send + Sync + 'static,
    ) -> (Local, Arc<AtomicU64>) {
        let (mut env, rig): (Env, _) = (env::real(), self.clone());
        let step: Step = Arc::new(move |number, holds| {
            rig.look();
            step(number, holds)
        });
        let number = Arc::new(AtomicU64::new(0));
        env.disk = Arc::new(Steps { disk: env.disk.clone(), number: number.clone(), step });
        env.clock = Arc::new(At(now));
        let local = Local { rules: self.rules, tries_max: 2, ..Local::new(env) };
        (local, number)
    }

    pub(super) fn plain(&self, now: u64) -> Local {
        self.collector(now, |_, _| Ok(())).0
    }

    /// `sources` of the directory become part of `a`.
    pub(super) async fn merge(&self, by: &Local, sources: &[&str]) -> Result<(), FsError> {
        let sources: Vec<_> = sources.iter().map(|it| self.path(&format!("day/{it}"))).collect();
        by.concat(&self.path("day/a"), &sources, &self.path("desk")).await
    }

    /// A staged file gets its name in the directory, unless it has it.
    pub(super) async fn publish(&self, by: &Local, name: &str, to: &str) -> Result<(), FsError> {
        let (from, to) = (self.path(&format!("stage/{name}")), self.path(&format!("day/{to}")));
        if !Path::new(&from).exists() {
            return Ok(());
        }
        by.rename(&from, &to).await?;
        self.visible.lock().unwrap().insert(name.to_owned());
        Ok(())
    }

    pub(super) async fn tidy(&self, now: u64) {
        drop(self.plain(now).tidy(&self.path("desk")).await);
        drop(self.plain(now + KEPT_MILLIS).tidy(&self.path("desk")).await);
    }

    pub(super) fn on_desk(&self) -> usize {
        fs::read_dir(self.root.path().join("desk")).unwrap().count()
    }

    pub(super) fn found(&self) -> Result<(), String> {
        self.look();
        self.problem.lock().unwrap().take().map_or(Ok(()), Err)
    }
}
