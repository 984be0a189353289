//! Waiting for something to become true, with a limit and a reason to print.

use std::thread;
use std::time::{Duration, Instant};

/// Limits are for a quiet machine. One on which a dozen servers start at once, on a disk that is
/// shared, gets so many times as long: what is found here are programs that do not go on.
const BUSY: u32 = 3;

/// Asks `ready` every 20 ms until it gives a value.
///
/// # Panics
///
/// After `limit` times [`BUSY`], naming `what` it was waiting for.
pub fn until<T>(what: &str, limit: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
    let (limit, started) = (limit * BUSY, Instant::now());
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(started.elapsed() < limit, "waited {limit:?} in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
