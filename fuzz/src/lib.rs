//! Every decoder of bytes from outside as a target: a function of an input that must hold its
//! promises whatever the input is.
//!
//! ```text
//!   seeds (corpus/) ──► cargo test: each seed, and changes of it
//!                  └──► fuzz/run:   libFuzzer, which follows the coverage
//! ```
//!
//! A target is more than "no panic": what comes in two pieces says the same as in one, what is read
//! and written again is equal, what is answered by yes is stored. For each of them,
//! [`Target::check`] also holds the memory that an input takes and the time that it costs against
//! its length.

mod net;
mod rig;
mod targets;

use peak_alloc::PeakAlloc;
use rustix::time::{ClockId, clock_gettime};

pub use targets::TARGETS;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What every input may hold at once: empty buffers, a source, the tables of a pattern.
const BASE_BYTES: usize = 4 << 20;
/// What each byte of an input may hold in addition: it can be an event with several headers, an
/// empty line of syslog for one, and the target keeps the events of two runs.
const BYTES_PER_BYTE: usize = 2048;
/// What every input may cost, in microseconds of the processor. Much, for a slow machine.
const BASE_MICROS: u64 = 100_000;
/// What each byte may cost in addition, in a build without much optimisation.
const MICROS_PER_BYTE: u64 = 30;
/// How often an input must be slow to be slow: once may be the machine.
const SLOW_TIMES: usize = 4;
/// Bytes of an input that is made long.
const LONG_BYTES: usize = 16 << 10;
/// One of so many inputs is made long.
const LONG_EACH: u8 = 16;

/// A decoder, or a few that are alike.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Name of the target, of its seeds' folder, and of its dictionary.
    pub name: &'static str,
    /// Reads an input; answers how many events, records or settings were in it.
    ///
    /// It panics if a promise is broken.
    read: fn(&[u8]) -> usize,
    /// A further folder of seeds, from the root of the repository; `fuzz/run` names it too.
    pub more_seeds: Option<&'static str>,
    /// What is in all of its seeds together at least: they reach the decoder.
    pub seeds_hold: usize,
}

impl Target {
    /// Reads `input` within limits of memory and time in proportion to its length; answers how many
    /// events, records or settings were in it.
    ///
    /// # Panics
    /// If a promise is broken: that is what is looked for.
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

/// The same over and over behind the bytes that choose, for a few inputs: a fuzzer seldom comes to
/// long ones, and what grows faster than an input shows at its length.
fn made_long(input: &[u8]) -> Option<Vec<u8>> {
    let sum = input.iter().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte));
    let (choices, rest) = input.split_at_checked(2).filter(|(_, rest)| !rest.is_empty())?;
    let times = LONG_BYTES / rest.len();
    (sum % LONG_EACH == 0 && times > 1).then(|| [choices, &rest.repeat(times)].concat())
}

/// Time of the processor that this thread has had, which no other process adds to.
fn processor_micros() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec * 1_000_000 + time.tv_nsec / 1_000).unwrap_or_default()
}
