//! The world, injected: wall clock, randomness, network, names and disk.
//!
//! Only the crate `env` (the real world) and the simulator create an [`Env`]. Timers are
//! `tokio::time`, which both can pause. Disk calls are synchronous and short; async code runs them
//! by [`Env::offload`], so that a slow disk does not stop the reactor, and the simulator can run
//! them in place.

mod disk;
mod names;
mod net;
pub mod over;
mod program;
pub mod small_file;
mod usage;
mod watch;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;

pub use disk::{
    Disk, DiskFile, FileKind, FileStat, Lock, LockError, OpenDirectory, OpenMode, Space, is_full,
    resolved,
};
pub use names::{Names, NoNames, Service};
pub use net::{Datagrams, Listener, Net, Stream};
pub use program::{Child, Connecting, Printed, Process, Started};
pub use usage::Usage;
pub use watch::{Change, Coverage, Watch};

/// Everything outside the process. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    /// Wall-clock time.
    pub clock: Arc<dyn Clock>,
    /// Random bits.
    pub entropy: Arc<dyn Entropy>,
    /// Connections.
    pub net: Arc<dyn Net>,
    /// Resolves names to addresses.
    pub names: Arc<dyn Names>,
    /// Files.
    pub disk: Arc<dyn Disk>,
    /// Runs blocking work.
    pub blocking: Arc<dyn Blocking>,
    /// Name of this host, as headers and file names show it.
    pub host: Arc<str>,
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").field("host", &self.host).finish_non_exhaustive()
    }
}

/// A moment by the wall clock and by the monotonic one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// In milliseconds since 1970.
    pub wall_ms: i64,
    /// The monotonic time.
    pub at: Instant,
}

impl Moment {
    /// Minimum step that counts. A smaller one is within the accuracy of clocks that NTP adjusts.
    pub const STEP_MIN_MS: i64 = 1_000;

    /// Returns whether the wall clock has stepped back between this moment and `now`.
    pub fn is_before_step(self, now: Self) -> bool {
        let since = now.at.saturating_duration_since(self.at).as_millis();
        let since = i64::try_from(since).unwrap_or(i64::MAX);
        now.wall_ms.saturating_sub(self.wall_ms) < since.saturating_sub(Self::STEP_MIN_MS)
    }
}

impl Env {
    /// This moment.
    pub fn moment(&self) -> Moment {
        let wall_ms = i64::try_from(unix_millis(self.clock.now())).unwrap_or(i64::MAX);
        Moment { wall_ms, at: Instant::now() }
    }

    /// Runs blocking work off the reactor and waits for its result. The work runs to its end even
    /// if the future is dropped.
    ///
    /// # Panics
    /// If the work panics.
    pub async fn offload<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = oneshot::channel();
        self.blocking.run(Box::new(move || {
            // The caller may be gone; only the work itself matters.
            let _ = done.send(work());
        }));
        result.await.expect("offloaded work ends with its result")
    }
}

/// Wall-clock time. It may jump, also backwards: use it only for text that people read and for file
/// names.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> SystemTime;
}

/// Random bits.
pub trait Entropy: Send + Sync {
    /// The next 64 random bits.
    fn next_u64(&self) -> u64;

    /// Sixteen random bytes.
    fn bytes16(&self) -> [u8; 16] {
        let (high, low) = (self.next_u64(), self.next_u64());
        (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
    }
}

/// Runs blocking work.
pub trait Blocking: Send + Sync {
    /// Starts `work` soon, without waiting for it.
    fn run(&self, work: Box<dyn FnOnce() + Send>);

    /// Runs `work` in the thread of the caller, an async task, and lets another thread run the
    /// other tasks in the meantime; returns whether it did. This saves two wake-ups of threads. A
    /// world without spare threads does nothing and returns `false`.
    fn here(&self, _work: &mut dyn FnMut()) -> bool {
        false
    }

    /// Starts `work` soon, without waiting for it, as [`Blocking::run`] does. The work has low
    /// priority if there are not enough cores, because new events do not wait for it; for example,
    /// reading a backlog.
    fn run_behind(&self, work: Box<dyn FnOnce() + Send>) {
        self.run(work);
    }

    /// Returns the runtime of low-priority tasks, such as the writing of a store's files: by
    /// default that of the caller, an async task.
    fn behind(&self) -> Handle {
        Handle::current()
    }

    /// Runs a program to its end, at most for `limit`, and returns its output. Blocks. A world
    /// without programs, such as a simulated one, fails.
    ///
    /// # Errors
    /// The program cannot be started, takes too long, prints too much, or does not succeed.
    fn output(&self, program: &str, _: &[String], _limit: Duration) -> io::Result<Vec<u8>> {
        Err(io::Error::new(io::ErrorKind::Unsupported, format!("cannot run {program} here")))
    }

    /// Returns how many pieces of work [`Blocking::run`] executes in parallel on separate cores.
    fn cores(&self) -> usize {
        1
    }

    /// Starts a program whose output is read while it runs. Must be called in a tokio runtime. A
    /// world without programs fails.
    ///
    /// # Errors
    /// The program cannot be started; the error names it.
    fn start(&self, program: &str, _arguments: &[String]) -> io::Result<Started> {
        Err(io::Error::new(io::ErrorKind::Unsupported, format!("cannot run {program} here")))
    }

    /// Starts a program that connects to a Unix socket of this process. Only this user can reach
    /// the socket, which is removed after the first connection. Must be called in a tokio runtime.
    /// A world without programs fails.
    ///
    /// # Errors
    /// The program cannot be started; the error names it.
    fn start_connecting(&self, program: &Connecting<'_>) -> io::Result<Child> {
        let name = program.command.first().map_or("", String::as_str);
        Err(io::Error::new(io::ErrorKind::Unsupported, format!("cannot run {name} here")))
    }

    /// A variable of the process's environment; none in a world without processes.
    fn variable(&self, _name: &str) -> Option<OsString> {
        None
    }

    /// Returns the resource usage of this process; `None` in a world without processes, such as a
    /// simulated one.
    fn usage(&self) -> Option<Usage> {
        None
    }
}

/// Seconds and milliseconds since 1970 of a moment; 0 before it.
pub fn unix_millis(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
