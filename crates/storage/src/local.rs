//! `file://`: the disk behind `Env`. A name or a file counts once it is synced, as in HDFS.

mod gather;
mod names;
mod write_behind;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use pipeline::Env;
use pipeline::env::{Disk, FileKind, OpenMode};

use crate::{CreateOptions, FileSystem, FileWriter, FsError, Listed, Stat, split};
use gather::{Gather, Open};
use names::Names;
use write_behind::{End, Piece, WriteBehind};

/// Files of this machine.
pub struct Local {
    env: Env,
    names: Arc<Names>,
    behind: Arc<WriteBehind>,
    open: Arc<Open>,
}

impl Local {
    /// The files behind `env`.
    pub fn new(env: Env) -> Self {
        let names = Arc::new(Names::new(env.clone()));
        let behind = WriteBehind::new(env.clone());
        Self { env, names, behind, open: Arc::default() }
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
}

/// The meaning of what the system said.
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
        _ => FsError::Failed { call, path, source },
    }
}

/// Makes `directory` and those above it. Returns where new names are, the topmost first.
fn make(disk: &dyn Disk, directory: &Path) -> io::Result<Vec<PathBuf>> {
    let missing: Vec<&Path> =
        directory.ancestors().take_while(|above| disk.stat(above).is_err()).collect();
    disk.create_dir_all(directory).map_err(|error| match missing.last() {
        Some(topmost) => io::Error::new(error.kind(), format!("{}: {error}", topmost.display())),
        None => error,
    })?;
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
        let file = self.run("create", path, move |disk, path| disk.open(path, mode)).await?;
        let (names, behind, path) = (self.names.clone(), self.behind.clone(), path.into());
        let gather = Gather::new(self.open.clone());
        Ok(Box::new(LocalWriter { names, behind, path, end: End::new(file), gather }))
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), FsError> {
        let target = PathBuf::from(to);
        let renamed = self.run("rename", from, move |disk, from| disk.rename_new(from, &target));
        renamed.await.map_err(|error| match error {
            // It is the new name that is taken.
            FsError::AlreadyExists { .. } => FsError::AlreadyExists { path: to.into() },
            error => error,
        })?;
        for path in [to, from] {
            let synced = self.names.sync(Path::new(split(path).0)).await;
            synced.map_err(|error| explain(error, "rename", path))?;
        }
        Ok(())
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
        let deleted = self.run("delete", path, |disk, path| {
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
            // Its directory has gone too, deleted by another program.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(explain(error, "delete", path)),
        }
    }

    async fn mkdirs(&self, directory: &str) -> Result<(), FsError> {
        let made = self.run("mkdirs", directory, |disk, path| Ok(make(disk, path))).await?;
        let made = made.map_err(|error| match error.kind() {
            // Not the directory is missing, but what it would be made in.
            io::ErrorKind::NotFound => {
                FsError::NoDirectory { path: directory.into(), source: error.into() }
            }
            _ => explain(error, "mkdirs", directory),
        });
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
    gather: Gather,
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
