//! Tools for tests of channels: a simulated disk, a world around it, and the suite that every
//! channel passes.

pub mod conformance;
mod refusing;
mod shared_log;
mod sim_disk;
mod sim_files;
mod sim_handles;
mod sim_limits;
mod sim_restore;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use pipeline::Env;
use pipeline::env::{Blocking, Clock, Entropy, Listener, Net, NoNames, Stream};

pub use crate::durable::fuzzed::read_segment;
pub use conformance::Suite;
pub use refusing::Refusing;
pub use shared_log::{Accident, SharedLog};
pub use sim_disk::SimDisk;

/// A clock that advances only by calls.
#[derive(Debug, Default)]
pub struct SimClock {
    millis: AtomicU64,
}

impl SimClock {
    /// Moves it on.
    pub fn advance(&self, by: Duration) {
        self.millis.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> SystemTime {
        let millis = 1_700_000_000_000 + self.millis.load(Ordering::Relaxed);
        SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
    }
}

/// Random numbers of a seed: SplitMix64.
#[derive(Debug)]
pub struct SimEntropy(Mutex<u64>);

impl SimEntropy {
    /// The numbers that follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }
}

/// The next number of a SplitMix64 sequence.
pub(crate) fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Entropy for SimEntropy {
    fn next_u64(&self) -> u64 {
        split_mix(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Runs blocking work in place.
struct InPlace;

impl Blocking for InPlace {
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }
}

/// A network without peers.
struct NoNet;

#[async_trait]
impl Net for NoNet {
    async fn connect(&self, _address: &str) -> std::io::Result<Box<dyn Stream>> {
        Err(std::io::ErrorKind::NetworkUnreachable.into())
    }
    async fn listen(&self, _address: &str) -> std::io::Result<Box<dyn Listener>> {
        Err(std::io::ErrorKind::AddrNotAvailable.into())
    }
}

/// A world of one thread around a simulated disk.
pub fn world(disk: &SimDisk, seed: u64) -> Env {
    Env {
        clock: Arc::new(SimClock::default()),
        entropy: Arc::new(SimEntropy::new(seed)),
        net: Arc::new(NoNet),
        names: Arc::new(NoNames),
        disk: Arc::new(disk.clone()),
        blocking: Arc::new(InPlace),
        host: Arc::from("sim"),
    }
}
