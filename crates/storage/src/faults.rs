//! Stores that fail, for tests: at a chosen call, before the call is applied, after it, or
//! permanently, like a process that dies there. Also a store in which a dead process's rename or
//! put arrives just before that call, and one with a directory that refuses files for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{CreateOptions, FileSystem, FileWriter, FsError, Listed, Stat};

/// The fault at the chosen call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The call is not applied, and returns an error.
    Refused,
    /// The call is applied, and its answer is lost.
    AnswerLost,
    /// The call is not applied, nor is any after it.
    DiesBefore,
    /// The call is applied, and none after it.
    DiesAfter,
    /// The call is applied, right after this rename, whether that is refused or not.
    Ghost {
        /// The old name.
        from: String,
        /// The new name.
        to: String,
    },
    /// The call is applied, right after this file was put, whether that is refused or not: how an
    /// object store does a rename that a dead process had asked for.
    LatePut {
        /// The name.
        to: String,
        /// The content.
        content: Bytes,
    },
}

/// A store that fails at the `at`-th call, counted from 0 over all of its calls and writers.
pub struct Faulty {
    inner: Arc<dyn FileSystem>,
    plan: Arc<Plan>,
}

struct Plan {
    inner: Arc<dyn FileSystem>,
    fault: Fault,
    at: u64,
    calls: AtomicU64,
    dead: AtomicBool,
}

/// The handling of a call.
enum Verdict {
    Work,
    WorkAfter(String, String),
    WorkAfterPut(String, Bytes),
    WorkUnheard,
    Refuse,
}

impl Faulty {
    /// `inner`, with `fault` at call `at`.
    pub fn new(inner: Arc<dyn FileSystem>, fault: Fault, at: u64) -> Self {
        let (calls, dead) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { inner: inner.clone(), plan: Arc::new(Plan { inner, fault, at, calls, dead }) }
    }

    /// Returns the number of calls so far.
    pub fn calls(&self) -> u64 {
        self.plan.calls.load(Ordering::SeqCst)
    }
}

impl Plan {
    fn next(&self) -> Verdict {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        if self.dead.load(Ordering::SeqCst) {
            return Verdict::Refuse;
        }
        if call != self.at {
            return Verdict::Work;
        }
        match &self.fault {
            Fault::Ghost { from, to } => Verdict::WorkAfter(from.clone(), to.clone()),
            Fault::LatePut { to, content } => Verdict::WorkAfterPut(to.clone(), content.clone()),
            Fault::Refused => Verdict::Refuse,
            Fault::AnswerLost => Verdict::WorkUnheard,
            Fault::DiesBefore => {
                self.dead.store(true, Ordering::SeqCst);
                Verdict::Refuse
            }
            Fault::DiesAfter => {
                self.dead.store(true, Ordering::SeqCst);
                Verdict::WorkUnheard
            }
        }
    }

    async fn run<T>(
        &self,
        call: &'static str,
        path: &str,
        work: impl Future<Output = Result<T, FsError>> + Send,
    ) -> Result<T, FsError> {
        let source = "planned".into();
        match self.next() {
            Verdict::Work => work.await,
            Verdict::WorkAfter(from, to) => {
                // The store answers a ghost as it answers any caller, and the answer is lost.
                drop(self.inner.rename(&from, &to).await);
                work.await
            }
            Verdict::WorkAfterPut(to, content) => {
                if let Ok(mut late) = self.inner.create(&to, CreateOptions::default()).await {
                    drop(late.write(content).await);
                    drop(late.close().await);
                }
                work.await
            }
            Verdict::WorkUnheard => {
                work.await?;
                Err(FsError::Failed { call, path: path.into(), source })
            }
            Verdict::Refuse => Err(FsError::Unavailable { call, path: path.into(), source }),
        }
    }
}

#[async_trait]
impl FileSystem for Faulty {
    fn is_tree(&self) -> bool {
        self.inner.is_tree()
    }

    fn syncs_open_files(&self) -> bool {
        self.inner.syncs_open_files()
    }

    async fn create(
        &self,
        path: &str,
        options: CreateOptions,
    ) -> Result<Box<dyn FileWriter>, FsError> {
        let inner = self.plan.run("create", path, self.inner.create(path, options)).await?;
        Ok(Box::new(FaultyWriter { path: path.into(), inner, plan: self.plan.clone() }))
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), FsError> {
        self.plan.run("rename", to, self.inner.rename(from, to)).await
    }

    async fn can_concat(&self, desk: &str) -> Result<(), FsError> {
        self.plan.run("concat", desk, self.inner.can_concat(desk)).await
    }

    async fn can_concat_in(&self, directory: &str, desk: &str) -> Result<(), FsError> {
        self.plan.run("concat", directory, self.inner.can_concat_in(directory, desk)).await
    }

    async fn concat(&self, target: &str, sources: &[String], desk: &str) -> Result<(), FsError> {
        self.plan.run("concat", target, self.inner.concat(target, sources, desk)).await
    }

    async fn tidy(&self, desk: &str) -> Result<(), FsError> {
        self.plan.run("tidy", desk, self.inner.tidy(desk)).await
    }

    async fn replace(&self, from: &str, to: &str) -> Result<(), FsError> {
        self.plan.run("replace", to, self.inner.replace(from, to)).await
    }

    async fn read(&self, path: &str) -> Result<Bytes, FsError> {
        self.plan.run("read", path, self.inner.read(path)).await
    }

    async fn read_part(&self, path: &str, at: u64, bytes: usize) -> Result<Bytes, FsError> {
        self.plan.run("read", path, self.inner.read_part(path, at, bytes)).await
    }

    async fn stat(&self, path: &str) -> Result<Stat, FsError> {
        self.plan.run("stat", path, self.inner.stat(path)).await
    }

    async fn list(&self, directory: &str) -> Result<Vec<Listed>, FsError> {
        self.plan.run("list", directory, self.inner.list(directory)).await
    }

    async fn delete(&self, path: &str) -> Result<bool, FsError> {
        self.plan.run("delete", path, self.inner.delete(path)).await
    }

    async fn mkdirs(&self, directory: &str) -> Result<(), FsError> {
        self.plan.run("mkdirs", directory, self.inner.mkdirs(directory)).await
    }
}

struct FaultyWriter {
    path: String,
    inner: Box<dyn FileWriter>,
    plan: Arc<Plan>,
}

#[async_trait]
impl FileWriter for FaultyWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), FsError> {
        self.plan.run("write", &self.path, self.inner.write(bytes)).await
    }

    async fn sync(&mut self) -> Result<(), FsError> {
        self.plan.run("sync", &self.path, self.inner.sync()).await
    }

    async fn close(self: Box<Self>) -> Result<(), FsError> {
        let Self { path, inner, plan } = *self;
        plan.run("close", &path, inner.close()).await
    }
}

/// A store in which one directory refuses files, like a directory without permission for this user.
pub struct Refusing {
    inner: Arc<dyn FileSystem>,
    directory: String,
    refuses: AtomicBool,
}

impl Refusing {
    /// Wraps `inner`, whose `directory` refuses files in it or below it.
    pub fn new(inner: Arc<dyn FileSystem>, directory: &str) -> Self {
        Self { inner, directory: directory.into(), refuses: AtomicBool::new(true) }
    }

    /// Sets whether it refuses from now on.
    pub fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::SeqCst);
    }

    fn look(&self, call: &'static str, path: &str) -> Result<(), FsError> {
        let below = path.strip_prefix(&self.directory);
        let is_in = below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        match is_in && self.refuses.load(Ordering::SeqCst) {
            true => Err(FsError::Denied { call, path: path.into(), source: "planned".into() }),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl FileSystem for Refusing {
    fn is_tree(&self) -> bool {
        self.inner.is_tree()
    }

    fn syncs_open_files(&self) -> bool {
        self.inner.syncs_open_files()
    }

    async fn create(
        &self,
        path: &str,
        options: CreateOptions,
    ) -> Result<Box<dyn FileWriter>, FsError> {
        self.look("create", path)?;
        self.inner.create(path, options).await
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), FsError> {
        self.look("rename", to)?;
        self.inner.rename(from, to).await
    }

    async fn can_concat(&self, desk: &str) -> Result<(), FsError> {
        self.look("concat", desk)?;
        self.inner.can_concat(desk).await
    }

    async fn can_concat_in(&self, directory: &str, desk: &str) -> Result<(), FsError> {
        self.look("concat", directory)?;
        self.inner.can_concat_in(directory, desk).await
    }

    async fn concat(&self, target: &str, sources: &[String], desk: &str) -> Result<(), FsError> {
        self.look("concat", target)?;
        self.inner.concat(target, sources, desk).await
    }

    async fn tidy(&self, desk: &str) -> Result<(), FsError> {
        self.look("tidy", desk)?;
        self.inner.tidy(desk).await
    }

    async fn replace(&self, from: &str, to: &str) -> Result<(), FsError> {
        self.look("replace", to)?;
        self.inner.replace(from, to).await
    }

    async fn read(&self, path: &str) -> Result<Bytes, FsError> {
        self.look("read", path)?;
        self.inner.read(path).await
    }

    async fn read_part(&self, path: &str, at: u64, bytes: usize) -> Result<Bytes, FsError> {
        self.look("read", path)?;
        self.inner.read_part(path, at, bytes).await
    }

    async fn stat(&self, path: &str) -> Result<Stat, FsError> {
        self.look("stat", path)?;
        self.inner.stat(path).await
    }

    async fn list(&self, directory: &str) -> Result<Vec<Listed>, FsError> {
        self.look("list", directory)?;
        self.inner.list(directory).await
    }

    async fn delete(&self, path: &str) -> Result<bool, FsError> {
        self.look("delete", path)?;
        self.inner.delete(path).await
    }

    async fn mkdirs(&self, directory: &str) -> Result<(), FsError> {
        self.look("mkdirs", directory)?;
        self.inner.mkdirs(directory).await
    }
}
