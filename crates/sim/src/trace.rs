//! The trace of a run: a hash to compare runs, and text for people.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use xxhash_rust::xxh3::Xxh3;

use crate::world::World;

/// Prints the agents' own log lines within the trace if it is shown. They are not part of the hash.
pub(crate) fn listen(world: &Arc<World>) {
    if world.trace.is_shown() {
        let timer = Time(world.clone());
        let filter = "debug,h2=info,hyper=info,hyper_util=info,tower=info,turmoil=info";
        tracing_subscriber::fmt()
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .with_env_filter(filter)
            .with_timer(timer)
            .init();
    }
}

struct Time(Arc<World>);

impl FormatTime for Time {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        write!(w, "{:>10.3}", self.0.now().as_secs_f64() * 1e3)
    }
}

/// The trace so far.
pub(crate) struct Trace {
    state: Mutex<State>,
    show: bool,
}

struct State {
    hash: Xxh3,
    line: String,
}

impl Trace {
    /// Creates an empty trace. `show` also prints each line to stderr.
    pub(crate) fn new(show: bool) -> Self {
        Self { state: Mutex::new(State { hash: Xxh3::new(), line: String::new() }), show }
    }

    /// Returns whether the trace is printed.
    pub(crate) fn is_shown(&self) -> bool {
        self.show
    }

    /// Adds an event at `host`.
    pub(crate) fn note(&self, at: Duration, host: &str, what: fmt::Arguments<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { hash, line } = &mut *state;
        line.clear();
        writeln!(line, "{:>10.3} {host:<12} {what}", at.as_secs_f64() * 1e3)
            .expect("a string takes every write");
        hash.update(line.as_bytes());
        if self.show {
            // Ignore a closed stderr.
            drop(std::io::stderr().write_all(line.as_bytes()));
        }
    }

    /// Returns the hash of the trace.
    pub(crate) fn hash(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).hash.digest()
    }
}
