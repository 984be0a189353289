//! Shared state of one simulation.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::dice::Dice;
use crate::name_book::NameBook;
use crate::trace::Trace;

/// Maximum number of reported violations: the first ones matter.
const VIOLATIONS_MAX: usize = 10;

/// Shared state of one simulation.
pub(crate) struct World {
    pub(crate) trace: Trace,
    /// Choices of the store and of the disks' threads.
    pub(crate) dice: Dice,
    /// The hosts behind each name.
    pub(crate) names: NameBook,
    elapsed_nanos: AtomicU64,
    violations: Mutex<Vec<(Duration, String)>>,
    /// Injected faults, by kind.
    faults: Mutex<BTreeMap<&'static str, u64>>,
}

/// Locks a mutex. Poisoning is harmless: no critical section leaves partial state.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// Creates the world of `seed`.
    pub(crate) fn new(seed: u64, show: bool) -> Self {
        Self {
            trace: Trace::new(show),
            dice: Dice::new(seed, "world"),
            names: NameBook::default(),
            elapsed_nanos: AtomicU64::new(0),
            violations: Mutex::default(),
            faults: Mutex::default(),
        }
    }

    /// Returns the simulated time since the start.
    pub(crate) fn now(&self) -> Duration {
        let ticks = Duration::from_nanos(self.elapsed_nanos.load(Ordering::Relaxed));
        turmoil::sim_elapsed().unwrap_or(ticks).max(ticks)
    }

    /// Sets the simulated time.
    pub(crate) fn advance(&self, to: Duration) {
        let nanos = u64::try_from(to.as_nanos()).expect("a simulation is shorter than 500 years");
        self.elapsed_nanos.store(nanos, Ordering::Relaxed);
    }

    /// Adds an event at `host` to the trace.
    pub(crate) fn note(&self, host: &str, what: fmt::Arguments<'_>) {
        self.trace.note(self.now(), host, what);
    }

    /// Records a broken guarantee.
    pub(crate) fn violation(&self, what: String) {
        self.note("VIOLATION", format_args!("{what}"));
        let mut violations = lock(&self.violations);
        if violations.len() < VIOLATIONS_MAX {
            violations.push((self.now(), what));
        }
    }

    /// Returns the broken guarantees so far.
    pub(crate) fn violations(&self) -> Vec<String> {
        let told =
            |(at, what): &(Duration, String)| format!("at {:.3} s: {what}", at.as_secs_f64());
        lock(&self.violations).iter().map(told).collect()
    }

    /// Counts an injected fault of this kind.
    pub(crate) fn count_fault(&self, kind: &'static str) {
        *lock(&self.faults).entry(kind).or_default() += 1;
    }

    /// Returns the injected faults, by kind.
    pub(crate) fn faults(&self) -> BTreeMap<String, u64> {
        lock(&self.faults).iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect()
    }
}
