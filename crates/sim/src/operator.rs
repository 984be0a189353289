//! Changes the ledger from outside and repairs it like an operator: stops all collectors and runs
//! `aqueduct ledger rebuild` or `adopt` with each data directory, the most recent one first.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use components_hdfs::hdfs::place;
use ledger::{self, DecisionError, Memory, Remembered};
use pipeline::Env;
use pipeline::env::Blocking;
use storage::memory::Memory as Store;
use storage::{CreateOptions, FileSystem, FileWriter, FsError, Listed, Stat, StoreUrl};

use crate::asked::{Asked, ROOT};
use crate::books::Books;
use crate::dice::Dice;
use crate::machine::Machine;
use crate::world::World;

/// The sink in these seeds, and its store.
const SINK: &str = "main";
const URL: &str = "hdfs://store/logs/%{host}";

/// The owner of the store and the operator of the collectors.
pub(crate) struct Operator<'a> {
    pub(crate) world: &'a World,
    pub(crate) books: &'a Arc<Books>,
    pub(crate) collectors: &'a [Arc<Machine>],
}

impl Operator<'_> {
    /// Changes the ledger if every collector must notice the change.
    pub(crate) fn change(&self, dice: &Dice) -> Option<()> {
        let ledger = format!("{ROOT}{SINK}/ledger");
        let store = self.books.memory();
        let newest = store.directories().into_iter().filter_map(|path| {
            let generation = path.strip_prefix(&ledger)?.strip_prefix("/g")?.parse::<u64>().ok()?;
            Some((generation, path))
        });
        let (_, newest) = newest.max()?;
        let index = |path: &String| path.strip_prefix(&newest)?.strip_prefix('/')?.parse().ok();
        let entries: Vec<u64> = store.files().keys().filter_map(index).collect();
        let entry = |index: u64| format!("{newest}/{index:020}");
        let last = entries.iter().max().map(|last| entry(*last));
        let gone: Vec<String> = match dice.below(3) {
            0 => vec![ledger],
            // A hole before other entries.
            1 if entries.len() > 1 => vec![entry(*entries.first()?)],
            // An older copy. A collector that has not read further cannot notice it.
            2 => {
                let read = self.collectors.iter().map(|collector| self.remembered(collector));
                let read: Vec<u64> = read.collect::<Option<_>>()?;
                let known = read.into_iter().min()?;
                if !entries.iter().any(|index| index + 1 == known) {
                    return None;
                }
                entries.into_iter().filter(|index| *index + 1 >= known).map(entry).collect()
            }
            _ => return None,
        };
        if gone.is_empty() {
            return None;
        }
        self.world.note("owner of the store", format_args!("deletes {gone:?}"));
        for path in &gone {
            if let Err(error) = now(store.delete(path)) {
                self.world.violation(format!("{path} is not deleted: {error}"));
            }
        }
        // A seal is the last entry. Without it a write that is in flight may succeed.
        if last.is_some_and(|last| store.file(&last).is_none()) {
            self.books.unseal(SINK);
        }
        Some(())
    }

    /// Returns the number of entries that this collector remembers.
    fn remembered(&self, collector: &Arc<Machine>) -> Option<u64> {
        let (_, name) = dataset();
        let path = Memory::path(&directory(), &name);
        Some(Remembered::read(&collector.env(), &path).ok()??.view.next())
    }

    /// Returns the collectors, the one that remembers most first.
    fn in_order(&self) -> Vec<&Arc<Machine>> {
        let mut order: Vec<&Arc<Machine>> = self.collectors.iter().collect();
        order.sort_by_key(|collector| Reverse(self.remembered(collector)));
        order
    }

    /// Creates the ledger operator for this collector.
    fn for_collector(&self, collector: &Arc<Machine>) -> ledger::Operator {
        let (dataset, name) = dataset();
        let fs = Arc::new(Observed { store: self.books.memory(), books: self.books.clone() });
        let env = Env { blocking: Arc::new(AtOnce), ..collector.env() };
        ledger::Operator { fs, dataset, name, env, directory: directory() }
    }

    /// Adopts the current ledger on each collector. Returns `false` if it has a hole and cannot be
    /// adopted.
    pub(crate) fn adopt(&self) -> bool {
        for collector in self.in_order() {
            match now(self.for_collector(collector).adopt()) {
                Ok(decided) => {
                    let (notes, view) = (&decided.notes, &decided.standing.view);
                    let count = view.settled().keys.count();
                    self.world
                        .note("operator", format_args!("adopted: {count} batches, {notes:?}"));
                    self.books.disown(SINK, view);
                    self.books.restate(SINK, view);
                }
                Err(DecisionError::Refused(told)) => {
                    self.world.note("operator", format_args!("{told}"));
                    return false;
                }
                Err(error) => {
                    self.world.violation(format!("the ledger is not adopted: {error:?}"));
                }
            }
        }
        self.world.count_fault("ledger adopted");
        true
    }

    /// Rebuilds the ledger from everything that is left and remembered.
    pub(crate) fn rebuild(&self) {
        for collector in self.in_order() {
            match now(self.for_collector(collector).rebuild()) {
                Ok(decided) => {
                    let (notes, view) = (&decided.notes, &decided.standing.view);
                    let count = view.settled().keys.count();
                    self.world
                        .note("operator", format_args!("rebuilt: {count} batches, {notes:?}"));
                    self.books.restate(SINK, view);
                }
                Err(DecisionError::Refused(told)) => {
                    self.world.note("operator", format_args!("{told}"));
                }
                Err(error) => {
                    self.world.violation(format!("the ledger is not rebuilt: {error:?}"));
                }
            }
        }
    }
}

fn directory() -> PathBuf {
    Path::new("/data/sinks").join(SINK)
}

fn dataset() -> (ledger::Dataset, String) {
    let url = StoreUrl::parse(URL).expect("the URL of every configuration");
    place::dataset(&url, SINK).expect("its path is one that sinks take")
}

/// Runs a future that never waits, outside of all hosts.
fn now<T>(work: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().build().expect("a runtime can be made");
    runtime.block_on(work)
}

/// Runs blocking work inline: the operator's host has no threads.
struct AtOnce;

impl Blocking for AtOnce {
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }
}

/// The operator's access to the store: without delays, and checked by the books.
struct Observed {
    store: Store,
    books: Arc<Books>,
}

#[async_trait]
impl FileSystem for Observed {
    async fn create(
        &self,
        path: &str,
        options: CreateOptions,
    ) -> Result<Box<dyn FileWriter>, FsError> {
        self.store.create(path, options).await
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), FsError> {
        self.store.rename(from, to).await?;
        // Skip the ledger itself: only an operator may create it again.
        if !to.ends_with("/ledger") {
            self.books.see(&Asked::Rename(from.into(), to.into()));
        }
        Ok(())
    }

    async fn read(&self, path: &str) -> Result<Bytes, FsError> {
        self.store.read(path).await
    }

    async fn read_part(&self, path: &str, at: u64, bytes: usize) -> Result<Bytes, FsError> {
        self.store.read_part(path, at, bytes).await
    }

    async fn stat(&self, path: &str) -> Result<Stat, FsError> {
        self.store.stat(path).await
    }

    async fn list(&self, directory: &str) -> Result<Vec<Listed>, FsError> {
        self.store.list(directory).await
    }

    async fn delete(&self, path: &str) -> Result<bool, FsError> {
        let deleted = self.store.delete(path).await?;
        self.books.see(&Asked::Delete(path.into()));
        Ok(deleted)
    }

    async fn mkdirs(&self, directory: &str) -> Result<(), FsError> {
        self.store.mkdirs(directory).await
    }
}
