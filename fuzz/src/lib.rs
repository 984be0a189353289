//! Every decoder of untrusted bytes as a fuzz target: a function that must keep its guarantees for
//! any input.
//!
//! ```text
//!   seeds (corpus/) ──► cargo test: each seed, and mutations of it
//!                  └──► fuzz/run:   libFuzzer, guided by coverage
//! ```
//!
//! A target checks more than "no panic": input in two pieces gives the same result as in one,
//! decoded data survives a round trip, acknowledged data is stored. [`Target::check`] also compares
//! the memory and the time of an input with its length.

mod net;
mod rig;
mod targets;

use peak_alloc::PeakAlloc;
use rustix::time::{ClockId, clock_gettime};

pub use targets::TARGETS;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Memory that any input may use: empty buffers, a source, the tables of a pattern.
const BASE_BYTES: usize = 4 << 20;
/// Additional memory per input byte: a byte can be an event with several headers, for example an
/// empty syslog line, and the target keeps the events of two runs.
const BYTES_PER_BYTE: usize = 2048;
/// CPU time that any input may use, in microseconds. Generous, for slow machines.
const BASE_MICROS: u64 = 100_000;
/// Additional CPU time per byte, in a build with little optimization.
const MICROS_PER_BYTE: u64 = 30;
/// Number of slow runs until an input counts as slow, because a single one may be due to the
/// machine.
const SLOW_TIMES: usize = 4;
/// Length of an extended input.
const LONG_BYTES: usize = 16 << 10;
/// One in this many inputs is extended.
const LONG_EACH: u8 = 16;

/// A decoder, or a few similar ones.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Name of the target, of its seed folder, and of its dictionary.
    pub name: &'static str,
    /// Reads an input. Returns the number of its events, records or settings.
    ///
    /// Panics if a guarantee is broken.
    read: fn(&[u8]) -> usize,
    /// An additional seed folder, relative to the root of the repository; `fuzz/run` names it, too.
    pub more_seeds: Option<&'static str>,
    /// Minimum number of events in all of its seeds together, which proves that they reach the
    /// decoder.
    pub seeds_hold: usize,
}

impl Target {
    /// Reads `input` within limits of memory and time proportional to its length. Returns the
    /// number of its events, records or settings.
    ///
    /// # Panics
    /// If a guarantee is broken: this is what the fuzzer looks for.
    pub fn check(&self, input: &[u8]) -> usize {
        let found = self.within_limits(input);
        if let Some(long) = made_long(input) {
            self.within_limits(&long);
        }
        found
    }

    fn within_limits(&self, input: &[u8]) -> usize {
        ALLOCATOR.reset_peak_usage();
        let before = ALLOCATOR.current_usage();
        let (found, mut micros) = self.timed(input);
        let held = ALLOCATOR.peak_usage().saturating_sub(before);
        let may_hold = BASE_BYTES + BYTES_PER_BYTE * input.len();
        assert!(held <= may_hold, "it held {held} bytes of memory, and may hold {may_hold}");
        let may_cost = BASE_MICROS + MICROS_PER_BYTE * input.len() as u64;
        for _ in 1..SLOW_TIMES {
            if micros <= may_cost {
                break;
            }
            micros = micros.min(self.timed(input).1);
        }
        assert!(micros <= may_cost, "it took {micros} µs, and may take {may_cost}");
        found
    }

    fn timed(&self, input: &[u8]) -> (usize, u64) {
        let before = processor_micros();
        let found = (self.read)(input);
        (found, processor_micros() - before)
    }
}

/// For a few inputs, repeats the bytes after the selector: a fuzzer rarely reaches long inputs, and
/// superlinear growth shows only there.
fn made_long(input: &[u8]) -> Option<Vec<u8>> {
    let sum = input.iter().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte));
    let (choices, rest) = input.split_at_checked(2).filter(|(_, rest)| !rest.is_empty())?;
    let times = LONG_BYTES / rest.len();
    (sum % LONG_EACH == 0 && times > 1).then(|| [choices, &rest.repeat(times)].concat())
}

/// Returns the CPU time of this thread, which other processes do not affect.
fn processor_micros() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec * 1_000_000 + time.tv_nsec / 1_000).unwrap_or_default()
}
