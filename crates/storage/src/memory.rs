//! A store in memory, for tests and the simulator: names are durable immediately, as with a
//! NameNode, and bytes once they are synced.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use tokio::time::sleep;

use crate::{CreateOptions, FileSystem, FileWriter, FsError, Listed, Stat, split};

/// A store in memory. Clones are the same store.
#[derive(Clone, Default)]
pub struct Memory {
    names: Arc<Mutex<BTreeMap<String, Node>>>,
    latency: Duration,
    moves_into: bool,
}

#[derive(Clone)]
enum Node {
    Directory,
    File(Arc<Mutex<Content>>),
}

#[derive(Default)]
struct Content {
    bytes: BytesMut,
    /// Bytes that survive a loss of power.
    durable: usize,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the same store for a client whose calls each take this long: calls of several
    /// clients then interleave, differently for each choice.
    pub fn with_latency(&self, latency: Duration) -> Self {
        Self { latency, ..self.clone() }
    }

    /// Returns the same store for a client whose renames may move a directory into an existing one,
    /// as with an HDFS gateway.
    pub fn moving_into(&self) -> Self {
        Self { moves_into: true, ..self.clone() }
    }

    /// Loses unsynced bytes.
    pub fn lose_power(&self) {
        for node in self.names().values() {
            if let Node::File(content) = node {
                let mut content = lock(content);
                let durable = content.durable;
                content.bytes.truncate(durable);
            }
        }
    }

    /// Every file with its content, by path.
    pub fn files(&self) -> BTreeMap<String, Bytes> {
        let names = self.names();
        let files = names.iter().filter_map(|(path, node)| match node {
            Node::Directory => None,
            Node::File(content) => Some((path.clone(), lock(content).bytes.clone().freeze())),
        });
        files.collect()
    }

    /// The content of one file.
    pub fn file(&self, path: &str) -> Option<Bytes> {
        match self.names().get(path) {
            Some(Node::File(content)) => Some(lock(content).bytes.clone().freeze()),
            Some(Node::Directory) | None => None,
        }
    }

    /// The path of every directory.
    pub fn directories(&self) -> Vec<String> {
        let names = self.names();
        let directories = names.iter().filter(|(_, node)| matches!(node, Node::Directory));
        directories.map(|(path, _)| path.clone()).collect()
    }

    /// Puts a whole file in one step, replacing a file with its name, and creates the directories
    /// above it, like an object store.
    pub fn put(&self, path: &str, content: &[u8]) {
        let mut names = self.names();
        for (end, _) in path.match_indices('/').skip(1) {
            names.insert(path[..end].into(), Node::Directory);
        }
        let content = Content { bytes: content.into(), durable: content.len() };
        names.insert(path.into(), Node::File(Arc::new(Mutex::new(content))));
    }

    /// Removes a file in one step. `false`: it does not exist.
    pub fn remove(&self, path: &str) -> bool {
        let mut names = self.names();
        let is_file = matches!(names.get(path), Some(Node::File(_)));
        is_file && names.remove(path).is_some()
    }

    /// The path and the bytes of each file below a directory, however deep.
    pub fn lengths_below(&self, directory: &str) -> Vec<(String, u64)> {
        let prefix = format!("{}/", directory.trim_end_matches('/'));
        let names = self.names();
        let below = names.range(prefix.clone()..);
        let below = below.take_while(|(path, _)| path.starts_with(&prefix));
        let files = below.filter_map(|(path, node)| match node {
            Node::Directory => None,
            Node::File(content) => Some((path.clone(), lock(content).bytes.len() as u64)),
        });
        files.collect()
    }

    fn names(&self) -> MutexGuard<'_, BTreeMap<String, Node>> {
        lock(&self.names)
    }
}

/// No operation is left half done under a lock, so a panic elsewhere does no harm.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn is_directory(names: &BTreeMap<String, Node>, path: &str) -> bool {
    path == "/" || matches!(names.get(path), Some(Node::Directory))
}

fn not_found(path: &str) -> FsError {
    FsError::NotFound { path: path.into() }
}

/// Checks that `path` is free, in an existing directory.
fn free(names: &BTreeMap<String, Node>, path: &str) -> Result<(), FsError> {
    if names.contains_key(path) {
        return Err(FsError::AlreadyExists { path: path.into() });
    }
    if !is_directory(names, split(path).0) {
        return Err(not_found(split(path).0));
    }
    Ok(())
}

/// The paths below `directory`.
fn below(names: &BTreeMap<String, Node>, directory: &str) -> Vec<String> {
    let prefix = format!("{}/", directory.trim_end_matches('/'));
    let from = names.range(prefix.clone()..);
    from.take_while(|(path, _)| path.starts_with(&prefix)).map(|(path, _)| path.clone()).collect()
}

#[async_trait]
impl FileSystem for Memory {
    async fn create(
        &self,
        path: &str,
        _options: CreateOptions,
    ) -> Result<Box<dyn FileWriter>, FsError> {
        sleep(self.latency).await;
        let mut names = self.names();
        free(&names, path)?;
        let content = Arc::new(Mutex::new(Content::default()));
        names.insert(path.into(), Node::File(content.clone()));
        Ok(Box::new(MemoryWriter { content, latency: self.latency }))
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), FsError> {
        sleep(self.latency).await;
        let mut names = self.names();
        let node = names.get(from).cloned().ok_or_else(|| not_found(from))?;
        let into = format!("{to}/{}", split(from).1);
        let is_into = self.moves_into && is_directory(&names, from) && is_directory(&names, to);
        let to = if is_into { &into } else { to };
        free(&names, to)?;
        for path in below(&names, from) {
            let moved = names.remove(&path).expect("a path that was just listed is there");
            names.insert(format!("{to}{}", &path[from.len()..]), moved);
        }
        names.remove(from);
        names.insert(to.into(), node);
        Ok(())
    }

    async fn can_concat(&self, _desk: &str) -> Result<(), FsError> {
        Ok(())
    }

    async fn concat(&self, target: &str, sources: &[String], _desk: &str) -> Result<(), FsError> {
        sleep(self.latency).await;
        let mut names = self.names();
        let file = |path: &str| match names.get(path) {
            Some(Node::File(content)) => Ok(content.clone()),
            _ => Err(not_found(path)),
        };
        let (into, mut more) = (file(target)?, BytesMut::new());
        for path in sources {
            more.extend_from_slice(&lock(&*file(path)?).bytes);
            if split(path).0 != split(target).0 || path == target {
                let source = "all files must be different and in one directory".into();
                return Err(FsError::Unfit { call: "concat", path: path.clone(), source });
            }
        }
        let mut into = lock(&into);
        into.bytes.extend_from_slice(&more);
        into.durable = into.bytes.len();
        sources.iter().for_each(|path| drop(names.remove(path)));
        Ok(())
    }

    async fn replace(&self, from: &str, to: &str) -> Result<(), FsError> {
        sleep(self.latency).await;
        let mut names = self.names();
        let Some(Node::File(content)) = names.get(from).cloned() else {
            return Err(not_found(from));
        };
        if !names.contains_key(to) {
            free(&names, to)?;
        }
        names.remove(from);
        names.insert(to.into(), Node::File(content));
        Ok(())
    }

    async fn read(&self, path: &str) -> Result<Bytes, FsError> {
        sleep(self.latency).await;
        match self.names().get(path) {
            Some(Node::File(content)) => Ok(lock(content).bytes.clone().freeze()),
            _ => Err(not_found(path)),
        }
    }

    async fn read_part(&self, path: &str, at: u64, bytes: usize) -> Result<Bytes, FsError> {
        let content = self.read(path).await?;
        let at = usize::try_from(at).unwrap_or(usize::MAX).min(content.len());
        Ok(content.slice(at..content.len().min(at.saturating_add(bytes))))
    }

    async fn stat(&self, path: &str) -> Result<Stat, FsError> {
        sleep(self.latency).await;
        let names = self.names();
        if is_directory(&names, path) {
            return Ok(Stat { len: 0, directory: true, block_size: None, modified: None });
        }
        match names.get(path) {
            Some(Node::File(content)) => {
                let len = lock(content).bytes.len() as u64;
                Ok(Stat { len, directory: false, block_size: None, modified: None })
            }
            _ => Err(not_found(path)),
        }
    }

    async fn list(&self, directory: &str) -> Result<Vec<Listed>, FsError> {
        sleep(self.latency).await;
        let names = self.names();
        if !is_directory(&names, directory) {
            return Err(not_found(directory));
        }
        let prefix = format!("{}/", directory.trim_end_matches('/'));
        let own = below(&names, directory).into_iter().filter_map(|path| {
            let name = path.strip_prefix(&prefix)?;
            let directory = is_directory(&names, &path);
            (!name.contains('/')).then(|| Listed { name: name.into(), directory })
        });
        Ok(own.collect())
    }

    async fn delete(&self, path: &str) -> Result<bool, FsError> {
        sleep(self.latency).await;
        let mut names = self.names();
        for path in below(&names, path) {
            names.remove(&path);
        }
        Ok(names.remove(path).is_some())
    }

    async fn mkdirs(&self, directory: &str) -> Result<(), FsError> {
        sleep(self.latency).await;
        let mut names = self.names();
        let ends = directory.match_indices('/').map(|(at, _)| at).skip(1).chain([directory.len()]);
        for end in ends {
            let path = &directory[..end];
            if matches!(names.get(path), Some(Node::File(_))) {
                return Err(FsError::AlreadyExists { path: path.into() });
            }
            names.insert(path.into(), Node::Directory);
        }
        Ok(())
    }
}

struct MemoryWriter {
    content: Arc<Mutex<Content>>,
    latency: Duration,
}

#[async_trait]
impl FileWriter for MemoryWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), FsError> {
        sleep(self.latency).await;
        lock(&self.content).bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn sync(&mut self) -> Result<(), FsError> {
        sleep(self.latency).await;
        let mut content = lock(&self.content);
        content.durable = content.bytes.len();
        Ok(())
    }

    async fn close(mut self: Box<Self>) -> Result<(), FsError> {
        self.sync().await
    }
}
