//! Another store with the guarantees of an object store, for tests: each rename is a conditional
//! put and a deletion, so that a process can die between the two, and no directory exists without a
//! file. Over a store that fails at the n-th call, it fails between any two of its steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use crate::{CreateOptions, FileSystem, FileWriter, FsError, Listed, Stat, split};

/// The name of an object while it is put. Readers skip it.
const PUTTING: &str = "/_aqueduct/putting";

/// A store without directories, over one that has them.
#[derive(Clone)]
pub struct Objects {
    inner: Arc<dyn FileSystem>,
}

impl Objects {
    /// Over this store, which several may be over.
    pub fn over(inner: Arc<dyn FileSystem>) -> Self {
        Self { inner }
    }

    /// Puts an object in one step, unless its name is taken. One that was asked for by a process
    /// that died since arrives just so.
    ///
    /// # Errors
    /// [`FsError::AlreadyExists`], or the store failed.
    pub async fn put_new(&self, path: &str, content: Bytes) -> Result<(), FsError> {
        static PUTS: AtomicU64 = AtomicU64::new(0);
        let number = PUTS.fetch_add(1, Ordering::Relaxed);
        let aside = format!("{PUTTING}/{number}");
        self.inner.mkdirs(PUTTING).await?;
        self.inner.mkdirs(split(path).0).await?;
        let mut writer = self.inner.create(&aside, CreateOptions::default()).await?;
        writer.write(content).await?;
        writer.close().await?;
        self.inner.rename(&aside, path).await
    }

    /// The files below a directory, however deep.
    async fn below(&self, directory: &str) -> Result<Vec<String>, FsError> {
        let (mut open, mut files) = (vec![directory.to_owned()], Vec::new());
        while let Some(directory) = open.pop() {
            let listed = match self.inner.list(&directory).await {
                Ok(listed) => listed,
                Err(FsError::NotFound { .. }) => continue,
                Err(error) => return Err(error),
            };
            for Listed { name, directory: is_directory } in listed {
                let path = format!("{}/{name}", directory.trim_end_matches('/'));
                if is_directory { open.push(path) } else { files.push(path) }
            }
        }
        Ok(files)
    }

    async fn is_file(&self, path: &str) -> Result<bool, FsError> {
        match self.inner.stat(path).await {
            Ok(stat) => Ok(!stat.directory),
            Err(FsError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl FileSystem for Objects {
    fn is_tree(&self) -> bool {
        false
    }

    async fn create(
        &self,
        path: &str,
        _options: CreateOptions,
    ) -> Result<Box<dyn FileWriter>, FsError> {
        if self.is_file(path).await? {
            return Err(FsError::AlreadyExists { path: path.into() });
        }
        let (store, path, content) = (self.clone(), path.to_owned(), BytesMut::new());
        Ok(Box::new(ObjectWriter { store, path, content }))
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), FsError> {
        if !self.is_file(from).await? {
            return match self.below(from).await?.is_empty() {
                true => Err(FsError::NotFound { path: from.into() }),
                false => {
                    let source = "an object store cannot rename directories".into();
                    Err(FsError::Unfit { call: "rename", path: from.into(), source })
                }
            };
        }
        let content = self.inner.read(from).await?;
        match self.put_new(to, content.clone()).await {
            Ok(()) => {}
            Err(error @ FsError::AlreadyExists { .. }) => {
                if self.inner.read(to).await? != content {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
        drop(self.inner.delete(from).await);
        Ok(())
    }

    async fn read(&self, path: &str) -> Result<Bytes, FsError> {
        self.inner.read(path).await
    }

    async fn read_part(&self, path: &str, at: u64, bytes: usize) -> Result<Bytes, FsError> {
        self.inner.read_part(path, at, bytes).await
    }

    async fn stat(&self, path: &str) -> Result<Stat, FsError> {
        let stat = self.inner.stat(path).await?;
        if stat.directory && self.below(path).await?.is_empty() {
            return Err(FsError::NotFound { path: path.into() });
        }
        Ok(stat)
    }

    async fn list(&self, directory: &str) -> Result<Vec<Listed>, FsError> {
        let mut names = self.inner.list(directory).await?;
        let mut empty = Vec::new();
        for listed in names.iter().filter(|listed| listed.directory) {
            let path = format!("{}/{}", directory.trim_end_matches('/'), listed.name);
            if self.below(&path).await?.is_empty() {
                empty.push(listed.name.clone());
            }
        }
        names.retain(|listed| !empty.contains(&listed.name));
        match names.is_empty() {
            true => Err(FsError::NotFound { path: directory.into() }),
            false => Ok(names),
        }
    }

    async fn delete(&self, path: &str) -> Result<bool, FsError> {
        if self.is_file(path).await? {
            return self.inner.delete(path).await;
        }
        let below = self.below(path).await?;
        for file in &below {
            self.inner.delete(file).await?;
        }
        Ok(!below.is_empty())
    }

    async fn mkdirs(&self, _directory: &str) -> Result<(), FsError> {
        Ok(())
    }
}

struct ObjectWriter {
    store: Objects,
    path: String,
    content: BytesMut,
}

#[async_trait]
impl FileWriter for ObjectWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), FsError> {
        self.content.extend_from_slice(&bytes);
        Ok(())
    }

    async fn sync(&mut self) -> Result<(), FsError> {
        let source = "an object is durable only after it is closed".into();
        Err(FsError::Unfit { call: "sync", path: self.path.clone(), source })
    }

    async fn close(self: Box<Self>) -> Result<(), FsError> {
        self.store.put_new(&self.path, self.content.freeze()).await
    }
}
