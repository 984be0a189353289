//! `file://`: the disk of `Env`. As in HDFS, a name or a file counts once it is synced.
//!
//! A directory is locked while a name in it changes, so that its small files can be merged
//! ([`exchange`]) and a reader finds each byte once.

mod exchange;
mod gather;
mod hold;
mod names;
mod write_behind;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use pipeline::Env;
use pipeline::env::{Disk, FileKind, OpenMode};
use tokio::time::sleep;

use crate::{CreateOptions, FileSystem, FileWriter, FsError, Listed, Stat, split};
use exchange::{MergeInputs, Rules};
use gather::{Open, WriteBuffer};
use names::Names;
use write_behind::{End, Piece, WriteBehind};

/// Attempts to lock a directory, and the pause between them.
const HELD: (u32, Duration) = (100, Duration::from_millis(10));

/// Files of this machine.
pub struct Local {
    env: Env,
    rules: Rules,
    /// Attempts to lock a directory that another process has locked.
    tries_max: u32,
    names: Arc<Names>,
    behind: Arc<WriteBehind>,
    open: Arc<Open>,
}

impl Local {
    /// Creates a store on the disk of `env`.
    pub fn new(env: Env) -> Self {
        let names = Arc::new(Names::new(env.clone()));
        let behind = WriteBehind::new(env.clone());
        let (rules, tries_max) = (Rules::IN_FORCE, HELD.0);
        Self { env, rules, tries_max, names, behind, open: Arc::default() }
    }

    /// Runs `work` on the disk, off the reactor.
    async fn run<T: Send + 'static>(
        &self,
        call: &'static str,
        path: &str,
        work: impl FnOnce(&dyn Disk, &Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, FsError> {
        let (disk, target) = (self.env.disk.clone(), PathBuf::from(path));
        let result = self.env.offload(move || work(&*disk, &target)).await;
        result.map_err(|error| explain(error, call, path))
    }

    /// The same for work on names of a directory, which may be locked for a moment.
    async fn run_held<T: Send + 'static>(
        &self,
        call: &'static str,
        path: &str,
        work: impl FnOnce(&dyn Disk, &Path) -> io::Result<T> + Clone + Send + 'static,
    ) -> Result<T, FsError> {
        for _ in 1..self.tries_max {
            let (disk, target) = (self.env.disk.clone(), PathBuf::from(path));
            let work = work.clone();
            match self.env.offload(move || work(&*disk, &target)).await {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(HELD.1).await,
                result => return result.map_err(|error| explain(error, call, path)),
            }
        }
        self.run(call, path, work).await
    }

    /// Milliseconds since 1970.
    fn now(&self) -> u64 {
        let since = self.env.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The directory of a path on the disk.
fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// Maps an error of the system.
fn explain(error: io::Error, call: &'static str, path: &str) -> FsError {
    let (path, kind) = (path.to_owned(), error.kind());
    let source = Box::new(error);
    match kind {
        io::ErrorKind::NotFound => FsError::NotFound { path },
        io::ErrorKind::AlreadyExists => FsError::AlreadyExists { path },
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            FsError::Denied { call, path, source }
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            FsError::NoRoom { call, path, source }
        }
        io::ErrorKind::WouldBlock => FsError::Unavailable { call, path, source },
        io::ErrorKind::Unsupported => FsError::Unfit { call, path, source },
        _ => FsError::Failed { call, path, source },
    }
}

/// Creates `directory` and its parents. Returns the directories with new names, the topmost first.
fn make(disk: &dyn Disk, directory: &Path, rules: Rules) -> io::Result<Vec<PathBuf>> {
    let missing: Vec<&Path> =
        directory.ancestors().take_while(|above| disk.stat(above).is_err()).collect();
    let Some(topmost) = missing.last() else {
        // The path may exist without being a directory.
        disk.create_dir_all(directory)?;
        return Ok(Vec::new());
    };
    for made in missing.iter().rev() {
        let held = hold::shared(disk, parent(made), rules);
        held.and_then(|_held| disk.create_dir_all(made)).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", topmost.display()))
        })?;
    }
    Ok(missing.iter().rev().filter_map(|made| made.parent()).map(Path::to_owned).collect())
}

#[async_trait]
impl FileSystem for Local {
    async fn create(
        &self,
        path: &str,
        _options: CreateOptions,
    ) -> Result<Box<dyn FileWriter>, FsError> {
        // A store is read later, and mostly elsewhere.
        let mode =
            OpenMode { write: true, create_new: true, uncached: true, ..OpenMode::default() };
        let rules = self.rules;
        let opened = self.run_held("create", path, move |disk, path| {
            let _held = hold::shared(disk, parent(path), rules)?;
            disk.open(path, mode)
        });
        let file = opened.await?;
        let (names, behind, path) = (self.names.clone(), self.behind.clone(), path.into());
        let gather = WriteBuffer::new(self.open.clone());
        Ok(Box::new(LocalWriter { names, behind, path, end: End::new(file), gather }))
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), FsError> {
        let (target, rules) = (PathBuf::from(to), self.rules);
        let renamed = self.run_held("rename", from, move |disk, from| {
            let _held = hold::shared(disk, parent(&target), rules)?;
            disk.rename_new(from, &target)
        });
        renamed.await.map_err(|error| match error {
            // The new name is taken.
            FsError::AlreadyExists { .. } => FsError::AlreadyExists { path: to.into() },
            error => error,
        })?;
        for path in [to, from] {
            let synced = self.names.sync(Path::new(split(path).0)).await;
            synced.map_err(|error| explain(error, "rename", path))?;
        }
        Ok(())
    }

    async fn can_concat(&self, desk: &str) -> Result<(), FsError> {
        self.mkdirs(desk).await?;
        let (unique, rules) = (self.env.entropy.next_u64(), self.rules);
        self.run("concat", desk, move |disk, desk| exchange::works(disk, desk, unique, rules)).await
    }

    async fn can_concat_in(&self, directory: &str, desk: &str) -> Result<(), FsError> {
        self.mkdirs(desk).await?;
        let (unique, rules, desk) = (self.env.entropy.next_u64(), self.rules, PathBuf::from(desk));
        let fits =
            move |disk: &dyn Disk, path: &Path| exchange::fits(disk, path, &desk, unique, rules);
        self.run_held("concat", directory, fits).await
    }

    async fn concat(&self, target: &str, sources: &[String], desk: &str) -> Result<(), FsError> {
        let (directory, name) = split(target);
        let mut files = vec![name.into()];
        for source in sources {
            let (own, name) = split(source);
            if own != directory || files.contains(&name.into()) {
                let source = "all files must be different and in one directory".into();
                return Err(FsError::Unfit { call: "concat", path: target.into(), source });
            }
            files.push(name.into());
        }
        self.mkdirs(desk).await?;
        let (unique, now) = (self.env.entropy.next_u64(), self.now());
        let (directory, desk) = (Path::new(directory), Path::new(desk));
        let joining = Arc::new(MergeInputs::new(directory, files, desk, unique, self.rules));
        let own = joining.clone();
        let built = self.run("concat", target, move |disk, _| own.build(disk)).await.map(Arc::new);
        let (joined, built) = match built {
            Ok(built) => {
                let (own, new) = (joining.clone(), built.clone());
                let work = move |disk: &dyn Disk, _: &Path| own.exchange(disk, &new, now);
                (self.run_held("concat", target, work).await, Some(built))
            }
            Err(error) => (Err(error), None),
        };
        if joined.is_err() {
            let work = move |disk: &dyn Disk, _: &Path| joining.give_up(disk, built.as_deref());
            // Remaining files are tidied up later.
            drop(self.run("concat", target, work).await);
        }
        joined
    }

    async fn replace(&self, from: &str, to: &str) -> Result<(), FsError> {
        let (target, rules) = (PathBuf::from(to), self.rules);
        let replaced = self.run_held("replace", from, move |disk, from| {
            let _held = hold::shared(disk, parent(&target), rules)?;
            disk.rename(from, &target)
        });
        replaced.await?;
        for path in [to, from] {
            let synced = self.names.sync(Path::new(split(path).0)).await;
            synced.map_err(|error| explain(error, "replace", path))?;
        }
        Ok(())
    }

    async fn tidy(&self, desk: &str) -> Result<(), FsError> {
        let (now, rules) = (self.now(), self.rules);
        self.run("tidy", desk, move |disk, desk| exchange::tidy(disk, desk, now, rules)).await
    }

    async fn read(&self, path: &str) -> Result<Bytes, FsError> {
        let read = self.run("read", path, |disk, path| {
            let file = disk.open(path, OpenMode::default())?;
            let len = usize::try_from(file.stat()?.len).map_err(io::Error::other)?;
            Ok(Bytes::from(file.read(0, len)?))
        });
        read.await
    }

    async fn read_part(&self, path: &str, at: u64, bytes: usize) -> Result<Bytes, FsError> {
        let read = self.run("read", path, move |disk, path| {
            let file = disk.open(path, OpenMode::default())?;
            Ok(Bytes::from(file.read(at, bytes)?))
        });
        read.await
    }

    async fn stat(&self, path: &str) -> Result<Stat, FsError> {
        let stat = self.run("stat", path, |disk, path| disk.stat(path)).await?;
        let directory = stat.kind == FileKind::Directory;
        let len = if directory { 0 } else { stat.len };
        let modified = Some(stat.modified);
        Ok(Stat { len, directory, block_size: None, modified })
    }

    async fn list(&self, directory: &str) -> Result<Vec<Listed>, FsError> {
        let names = self.run("list", directory, |disk, directory| disk.list(directory)).await?;
        let listed = |(name, kind)| Listed { name, directory: kind == FileKind::Directory };
        Ok(names.into_iter().map(listed).collect())
    }

    async fn delete(&self, path: &str) -> Result<bool, FsError> {
        let rules = self.rules;
        let deleted = self.run_held("delete", path, move |disk, path| {
            let _held = hold::shared(disk, parent(path), rules)?;
            match disk.stat(path)?.kind {
                FileKind::Directory => disk.remove_dir_all(path)?,
                _ => disk.remove_file(path)?,
            }
            Ok(())
        });
        match deleted.await {
            Ok(()) => {}
            Err(FsError::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
        match self.names.sync(Path::new(split(path).0)).await {
            Ok(()) => Ok(true),
            // Its directory was also deleted, by another program.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(explain(error, "delete", path)),
        }
    }

    async fn mkdirs(&self, directory: &str) -> Result<(), FsError> {
        let rules = self.rules;
        let made = self.run_held("mkdirs", directory, move |disk, path| {
            match make(disk, path, rules) {
                // The parent is missing, not the directory itself.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Err(error)),
                made => made.map(Ok),
            }
        });
        let made = made
            .await?
            .map_err(|error| FsError::NoDirectory { path: directory.into(), source: error.into() });
        for above in made? {
            let synced = self.names.sync(&above).await;
            synced.map_err(|error| explain(error, "mkdirs", directory))?;
        }
        Ok(())
    }
}

struct LocalWriter {
    names: Arc<Names>,
    behind: Arc<WriteBehind>,
    path: String,
    end: Arc<End>,
    gather: WriteBuffer,
}

impl LocalWriter {
    async fn append(&mut self, piece: Option<Piece>) -> Result<(), FsError> {
        let Some(piece) = piece else { return Ok(()) };
        let appended = self.behind.append(&self.end, piece).await;
        appended.map_err(|error| explain(error, "write", &self.path))
    }
}

#[async_trait]
impl FileWriter for LocalWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), FsError> {
        let piece = self.gather.add(&bytes);
        self.append(piece).await
    }

    async fn sync(&mut self) -> Result<(), FsError> {
        let rest = self.gather.rest();
        self.append(rest).await?;
        let synced = self.behind.sync(&self.end).await;
        synced.map_err(|error| explain(error, "sync", &self.path))
    }

    async fn close(mut self: Box<Self>) -> Result<(), FsError> {
        self.sync().await?;
        let synced = self.names.sync(Path::new(split(&self.path).0)).await;
        synced.map_err(|error| explain(error, "close", &self.path))
    }
}
