//! The seed of a run: printed, so that the same kill times can be requested again.

use std::time::{SystemTime, UNIX_EPOCH};

use rand::SeedableRng;
use rand::rngs::StdRng;

/// Returns the generator of test `name`, from `AQUEDUCT_SEED` or the clock.
///
/// # Panics
///
/// When `AQUEDUCT_SEED` is not a number.
#[allow(clippy::print_stderr, reason = "the seed is of no use unless it is shown")]
pub fn rng(name: &str) -> StdRng {
    let seed = match std::env::var("AQUEDUCT_SEED") {
        Ok(text) => text.parse().expect("AQUEDUCT_SEED is a whole number"),
        Err(_) => clock_seconds(),
    };
    eprintln!("{name}: AQUEDUCT_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

fn clock_seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("the clock of a test machine stands after 1970").as_secs()
}
