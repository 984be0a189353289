//! Makes names durable together.
//!
//! A roll of a thousand files creates, closes and renames them concurrently, and each step ends
//! with a sync of its directory. Callers that wait for the same directory share one sync. A caller
//! that arrives during a sync may have changed a name that this sync does not cover, and shares the
//! next one.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pipeline::Env;

/// Directories that must be synced.
pub(super) struct Names {
    env: Env,
    directories: Mutex<BTreeMap<PathBuf, Arc<Directory>>>,
}

#[derive(Default)]
struct Directory {
    /// Syncs that were asked for.
    asked: AtomicU64,
    /// Number of completed requests. Locked during a sync.
    done: tokio::sync::Mutex<u64>,
}

impl Names {
    pub(super) fn new(env: Env) -> Self {
        Self { env, directories: Mutex::default() }
    }

    /// Makes the current or later names in `directory` durable. May be dropped.
    ///
    /// # Errors
    /// The sync that covers this call failed.
    pub(super) async fn sync(&self, directory: &Path) -> io::Result<()> {
        let waiting = Waiting { names: self, directory, shared: self.shared(directory) };
        self.sync_shared(&waiting.shared, directory).await
    }

    async fn sync_shared(&self, shared: &Directory, directory: &Path) -> io::Result<()> {
        let number = shared.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut done = shared.done.lock().await;
        if *done >= number {
            return Ok(());
        }
        // All callers before this have changed their names before they asked.
        let covered = shared.asked.load(Ordering::SeqCst);
        let (disk, path) = (self.env.disk.clone(), directory.to_owned());
        self.env.offload(move || disk.sync_dir(&path)).await?;
        *done = covered;
        Ok(())
    }

    fn shared(&self, directory: &Path) -> Arc<Directory> {
        let mut directories = self.directories();
        if let Some(shared) = directories.get(directory) {
            return shared.clone();
        }
        directories.entry(directory.to_owned()).or_default().clone()
    }

    fn directories(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Arc<Directory>>> {
        // Complete between two calls, whichever thread panicked in between.
        self.directories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A caller that waits for a directory; the directory is forgotten with the last one.
struct Waiting<'a> {
    names: &'a Names,
    directory: &'a Path,
    shared: Arc<Directory>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut directories = self.names.directories();
        // The map's and this one.
        if Arc::strong_count(&self.shared) == 2 {
            directories.remove(self.directory);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Condvar;
    use std::time::Duration;

    use futures::future::join_all;
    use pipeline::env::over::DiskOver;
    use pipeline::env::{Disk, DiskFile, OpenMode};

    use super::*;

    /// A disk whose syncs of directories wait for permission, and are counted.
    struct Gated {
        below: Arc<dyn Disk>,
        /// Number of syncs begun, and how many of them may end.
        begun: Mutex<(usize, usize)>,
        changed: Condvar,
    }

    impl DiskOver for Gated {
        fn below(&self) -> &dyn Disk {
            &*self.below
        }

        fn open_over(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
            self.below.open(path, mode)
        }

        fn sync_dir_over(&self, directory: &Path) -> io::Result<()> {
            let mut begun = self.begun.lock().unwrap();
            begun.0 += 1;
            let number = begun.0;
            drop(self.changed.wait_while(begun, |begun| begun.1 < number).unwrap());
            self.below.sync_dir(directory)
        }
    }

    impl Gated {
        fn begun(&self) -> usize {
            self.begun.lock().unwrap().0
        }

        fn let_end(&self, syncs: usize) {
            self.begun.lock().unwrap().1 = syncs;
            self.changed.notify_all();
        }
    }

    fn gated() -> (Arc<Gated>, Arc<Names>) {
        let mut env = env::real();
        let (below, begun, changed) = (env.disk.clone(), Mutex::default(), Condvar::new());
        let disk = Arc::new(Gated { below, begun, changed });
        env.disk = disk.clone();
        (disk, Arc::new(Names::new(env)))
    }

    #[tokio::test]
    async fn waiters_share_only_a_sync_that_began_after_them() {
        let ((disk, names), folder) = (gated(), tempfile::tempdir().unwrap());
        let one = || {
            let (names, path) = (names.clone(), folder.path().to_owned());
            tokio::spawn(async move { names.sync(&path).await })
        };
        let first = one();
        while disk.begun() < 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let later: Vec<_> = (0..20).map(|_| one()).collect();
        tokio::time::sleep(Duration::from_millis(20)).await;
        disk.let_end(1);
        first.await.unwrap().unwrap();
        while disk.begun() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(later.iter().all(|task| !task.is_finished()), "the first sync does not cover them");
        disk.let_end(2);
        for task in join_all(later).await {
            task.unwrap().unwrap();
        }
        assert_eq!(disk.begun(), 2, "they share one");
        assert!(names.directories().is_empty(), "nothing waits, nothing is kept");
    }

    #[tokio::test]
    async fn a_directory_that_is_not_there_is_an_error_for_each() {
        let ((disk, names), folder) = (gated(), tempfile::tempdir().unwrap());
        disk.let_end(usize::MAX);
        let missing = folder.path().join("missing");
        let tried = join_all((0..3).map(|_| names.sync(&missing))).await;
        assert!(tried.iter().all(Result::is_err), "{tried:?}");
        assert!(names.directories().is_empty());
    }
}
