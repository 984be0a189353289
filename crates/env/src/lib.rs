//! The real world for [`pipeline::Env`]: this system's clock, randomness, sockets and files.
//!
//! Only this crate may use them. Everything else gets an `Env`, so that the simulator can replace
//! it.

#![expect(clippy::disallowed_methods, reason = "this crate is what the others go through")]

mod background;
mod connecting;
mod directory;
mod disk;
mod limits;
mod lock;
mod names;
mod net;
mod no_links;
mod private;
mod process;
mod program;
mod service;
mod usage;
mod watch;

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use background::BackgroundRuntime;
use pipeline::Env;
use pipeline::env::{Blocking, Child, Clock, Connecting, Entropy, Started};
use tokio::runtime::{Handle, RuntimeFlavor};

pub use disk::RealDisk;
pub use limits::{files_max, raise_file_limit};
#[cfg(feature = "dns")]
pub use names::DnsNames;
pub use names::HostNames;
pub use net::RealNet;
pub use private::{forbid_core_dumps, keep_files_to_owner};
pub use service::{Notification, ServiceManager};

/// Returns the real world. Blocking work runs on the threads of the calling tokio runtime, and
/// low-priority work on a second runtime.
pub fn real() -> Env {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Env {
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        net: Arc::new(RealNet),
        names: Arc::new(names::NAMES),
        disk: Arc::new(RealDisk),
        blocking: Arc::new(BlockingThreads::default()),
        host: host.into(),
    }
}

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// Random numbers of the system, or of the module in a FIPS build. Few are needed: at most one for
/// a batch.
struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn next_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        crypto::random::fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

#[derive(Default)]
struct BlockingThreads {
    behind: BackgroundRuntime,
}

impl Blocking for BlockingThreads {
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        tokio::task::spawn_blocking(work);
    }

    fn here(&self, work: &mut dyn FnMut()) -> bool {
        let has_threads = Handle::try_current().is_ok_and(|runtime| has_threads(&runtime));
        if has_threads {
            tokio::task::block_in_place(work);
        }
        has_threads
    }

    fn cores(&self) -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    fn run_behind(&self, work: Box<dyn FnOnce() + Send>) {
        self.behind().spawn_blocking(work);
    }

    fn behind(&self) -> Handle {
        let current = Handle::current();
        // Tests stop the time with a single thread, which a second runtime would not know.
        if has_threads(&current) { self.behind.handle(current) } else { current }
    }

    fn output(&self, program: &str, arguments: &[String], limit: Duration) -> io::Result<Vec<u8>> {
        program::output(program, arguments, limit)
    }

    fn start(&self, program: &str, arguments: &[String]) -> io::Result<Started> {
        process::start(program, arguments)
    }

    fn start_connecting(&self, program: &Connecting<'_>) -> io::Result<Child> {
        connecting::start(program, SystemEntropy.next_u64())
    }

    fn variable(&self, name: &str) -> Option<std::ffi::OsString> {
        std::env::var_os(name)
    }

    fn usage(&self) -> Option<pipeline::env::Usage> {
        usage::usage()
    }
}

fn has_threads(runtime: &Handle) -> bool {
    runtime.runtime_flavor() == RuntimeFlavor::MultiThread
}
