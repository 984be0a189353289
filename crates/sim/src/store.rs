//! The store as a host: each call travels to it, runs there, and is answered.
//!
//! ```text
//!   agent ── request, up to seconds ──► store: done, checked by `books` ── answer ──► agent
//!     │                                                                      may be lost
//!     └─ times out, or dies: calls under way are performed anyway
//! ```
//!
//! Names and bytes are in the in-memory store that passes the conformance suite of `storage`. In
//! some seeds the store is an object store with the requests of `objects`, over the same network.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use pipeline::Env;
use storage::memory::Memory;
use storage::{CreateOptions, FileSystem, FileWriter, FsError, Listed, Stat};
use storage_objects::testkit::{ServerTraits, over};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{sleep, timeout};

use crate::asked::Asked;
use crate::books::Books;
use crate::dice::Dice;
use crate::machine::Machine;
use crate::objects::Server;
use crate::scenario::Scenario;
use crate::turn::Turn;
use crate::world::{World, lock};

/// Timeout of a call.
const CALL_LIMIT: Duration = Duration::from_secs(2);

type Call = BoxFuture<'static, ()>;

/// The current faults of the store.
#[derive(Debug, Default)]
pub(crate) struct Mood {
    /// Rejected calls in a thousand.
    pub(crate) refused: AtomicU64,
    /// Calls in a thousand that are performed without a response.
    pub(crate) unheard: AtomicU64,
    /// Late calls in a thousand.
    pub(crate) late: AtomicU64,
    /// Not 0 during an outage, in which all calls fail.
    pub(crate) away: AtomicU64,
    /// The first host that reaches the first of these calls is stopped there; then the next one
    /// counts.
    pub(crate) stops: std::sync::Mutex<VecDeque<Turn>>,
}

impl Mood {
    /// Returns whether the caller is stopped before this call is sent.
    fn stops_at(&self, asked: &Asked) -> bool {
        let turn = Turn::parse(asked);
        turn.is_some() && lock(&self.stops).pop_front_if(|next| turn == Some(*next)).is_some()
    }

    /// Repairs all faults.
    pub(crate) fn heal(&self) {
        for trouble in [&self.refused, &self.unheard, &self.late, &self.away] {
            trouble.store(0, Ordering::Relaxed);
        }
    }
}

/// The store. Clones share its state.
#[derive(Clone)]
pub(crate) struct Store {
    world: Arc<World>,
    memory: Memory,
    books: Arc<Books>,
    pub(crate) mood: Arc<Mood>,
    calls: mpsc::UnboundedSender<Call>,
    compact_after: u64,
    /// Kind of object store, if it is one.
    objects: Option<ServerTraits>,
}

/// The incoming calls of the store's host.
pub(crate) struct Calls(mpsc::UnboundedReceiver<Call>);

impl Calls {
    /// Serves calls forever.
    pub(crate) async fn serve(mut self) {
        while let Some(call) = self.0.recv().await {
            tokio::spawn(call);
        }
    }
}

impl Store {
    /// Creates an empty store, and the calls that its host must serve.
    pub(crate) fn new(world: Arc<World>, books: Arc<Books>, scenario: &Scenario) -> (Self, Calls) {
        let (calls, taken) = mpsc::unbounded_channel();
        let (memory, mood) = (books.memory(), Arc::default());
        let Scenario { compact_after, objects, .. } = *scenario;
        (Self { world, memory, books, mood, calls, compact_after, objects }, Calls(taken))
    }

    /// Returns the number of entries after which its ledger gets a checkpoint.
    pub(crate) fn compact_after(&self) -> u64 {
        self.compact_after
    }

    /// Returns the store as `machine` reaches it, for one opening.
    pub(crate) fn seen_from(&self, machine: &Arc<Machine>, env: &Env) -> Arc<dyn FileSystem> {
        let way = Way { store: self.clone(), machine: machine.clone() };
        match self.objects {
            None => Arc::new(Remote { way }),
            Some(ways) => over(Arc::new(Server::new(way)), ways, env),
        }
    }

    /// Returns its objects, if it is an object store.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Random choices for its responses.
    pub(crate) fn dice(&self) -> &Dice {
        &self.world.dice
    }
}

/// Why a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    /// The store rejected the call and did nothing.
    Refused,
    /// The connection broke.
    Reset,
    /// The call timed out.
    Late,
}

/// The network path from one machine to the store.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) store: Store,
    machine: Arc<Machine>,
}

impl Way {
    /// Runs `work` at the store. Faults decide when, and whether the response arrives.
    pub(crate) async fn ask<T: Send + 'static, E: fmt::Display + Send + 'static>(
        &self,
        asked: Asked,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<Result<T, E>, Silence> {
        let (store, world, mood) = (&self.store, &self.store.world, &self.store.mood);
        if mood.stops_at(&asked) {
            self.machine.stop_here();
        }
        self.machine.thawed().await;
        let dice = &world.dice;
        let set = |trouble: &AtomicU64| dice.chance(trouble.load(Ordering::Relaxed));
        let (refused, unheard, late) = (set(&mood.refused), set(&mood.unheard), set(&mood.late));
        let usual = if late { dice.millis(500, 6000) } else { dice.millis(1, 8) };
        let there = usual + self.machine.way_to_store();
        let back = dice.millis(1, 8);
        if refused || self.machine.is_store_cut() || mood.away.load(Ordering::Relaxed) > 0 {
            sleep(there).await;
            return Err(Silence::Refused);
        }
        let (answer, heard) = oneshot::channel();
        let (books, world, caller) = (store.books.clone(), world.clone(), self.machine.clone());
        let sent = store.calls.send(Box::pin(async move {
            sleep(there).await;
            let result = work.await;
            let outcome = result.as_ref().map_or_else(ToString::to_string, |_| "done".into());
            world.note("store", format_args!("{asked:?} for {}: {outcome}", caller.name));
            if result.is_ok() {
                books.see(&asked);
            }
            sleep(back).await;
            if !unheard && !caller.is_store_cut() {
                // The caller may have timed out or died.
                drop(answer.send(result));
            }
        }));
        sent.expect("the store outlives all callers");
        let heard = match timeout(CALL_LIMIT, heard).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) => Err(Silence::Reset),
            Err(_) => Err(Silence::Late),
        };
        self.machine.thawed().await;
        heard
    }
}

/// The store from one machine, as a file system.
#[derive(Clone)]
struct Remote {
    way: Way,
}

impl Remote {
    fn memory(&self) -> Memory {
        self.way.store.memory.clone()
    }

    async fn call<T: Send + 'static>(
        &self,
        asked: Asked,
        work: impl Future<Output = Result<T, FsError>> + Send + 'static,
    ) -> Result<T, FsError> {
        let (call, path) = (asked.call(), asked.path().to_owned());
        match self.way.ask(asked, work).await {
            Ok(result) => result,
            Err(Silence::Refused) => {
                Err(FsError::Unavailable { call, path, source: "simulated".into() })
            }
            Err(Silence::Reset) => {
                Err(FsError::Failed { call, path, source: "connection reset".into() })
            }
            Err(Silence::Late) => Err(FsError::Timeout { call, path, limit: CALL_LIMIT }),
        }
    }
}

#[async_trait]
impl FileSystem for Remote {
    async fn create(
        &self,
        path: &str,
        options: CreateOptions,
    ) -> Result<Box<dyn FileWriter>, FsError> {
        let (memory, at) = (self.memory(), path.to_owned());
        let work = async move { memory.create(&at, options).await };
        let inner = self.call(Asked::Create(path.into()), work).await?;
        let inner = Arc::new(Mutex::new(Some(inner)));
        Ok(Box::new(RemoteWriter { remote: self.clone(), path: path.into(), inner }))
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), FsError> {
        let memory = self.memory();
        let names = (from.to_owned(), to.to_owned());
        let asked = Asked::Rename(names.0.clone(), names.1.clone());
        self.call(asked, async move { memory.rename(&names.0, &names.1).await }).await
    }

    async fn can_concat(&self, _desk: &str) -> Result<(), FsError> {
        Ok(())
    }

    async fn concat(&self, target: &str, sources: &[String], desk: &str) -> Result<(), FsError> {
        let memory = self.memory();
        let names = (target.to_owned(), sources.to_vec(), desk.to_owned());
        let asked = Asked::Concat(names.0.clone(), names.1.clone());
        self.call(asked, async move { memory.concat(&names.0, &names.1, &names.2).await }).await
    }

    async fn replace(&self, from: &str, to: &str) -> Result<(), FsError> {
        let memory = self.memory();
        let names = (from.to_owned(), to.to_owned());
        let asked = Asked::Replace(names.0.clone(), names.1.clone());
        self.call(asked, async move { memory.replace(&names.0, &names.1).await }).await
    }

    async fn read(&self, path: &str) -> Result<Bytes, FsError> {
        let (memory, at) = (self.memory(), path.to_owned());
        self.call(Asked::Other("read", path.into()), async move { memory.read(&at).await }).await
    }

    async fn read_part(&self, path: &str, at: u64, bytes: usize) -> Result<Bytes, FsError> {
        let (memory, name) = (self.memory(), path.to_owned());
        let work = async move { memory.read_part(&name, at, bytes).await };
        self.call(Asked::Other("read", path.into()), work).await
    }

    async fn stat(&self, path: &str) -> Result<Stat, FsError> {
        let (memory, at) = (self.memory(), path.to_owned());
        self.call(Asked::Other("stat", path.into()), async move { memory.stat(&at).await }).await
    }

    async fn list(&self, path: &str) -> Result<Vec<Listed>, FsError> {
        let (memory, at) = (self.memory(), path.to_owned());
        self.call(Asked::Other("list", path.into()), async move { memory.list(&at).await }).await
    }

    async fn delete(&self, path: &str) -> Result<bool, FsError> {
        let (memory, at) = (self.memory(), path.to_owned());
        self.call(Asked::Delete(path.into()), async move { memory.delete(&at).await }).await
    }

    async fn mkdirs(&self, path: &str) -> Result<(), FsError> {
        let (memory, at) = (self.memory(), path.to_owned());
        self.call(Asked::Mkdirs(path.into()), async move { memory.mkdirs(&at).await }).await
    }
}

struct RemoteWriter {
    remote: Remote,
    path: String,
    /// At the store. A file has one caller at a time.
    inner: Arc<Mutex<Option<Box<dyn FileWriter>>>>,
}

fn closed(path: String) -> FsError {
    FsError::Failed { call: "write", path, source: "the file is closed".into() }
}

#[async_trait]
impl FileWriter for RemoteWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), FsError> {
        let (inner, path) = (self.inner.clone(), self.path.clone());
        let work = async move {
            inner.lock().await.as_mut().ok_or_else(|| closed(path))?.write(bytes).await
        };
        self.remote.call(Asked::Other("write", self.path.clone()), work).await
    }

    async fn sync(&mut self) -> Result<(), FsError> {
        let (inner, path) = (self.inner.clone(), self.path.clone());
        let work =
            async move { inner.lock().await.as_mut().ok_or_else(|| closed(path))?.sync().await };
        self.remote.call(Asked::Other("sync", self.path.clone()), work).await
    }

    async fn close(self: Box<Self>) -> Result<(), FsError> {
        let Self { remote, path, inner } = *self;
        let at = path.clone();
        let work = async move {
            let inner = inner.lock().await.take().ok_or_else(|| closed(at))?;
            inner.close().await
        };
        remote.call(Asked::Other("close", path), work).await
    }
}
