//! Waiting for something to become true, with a limit and a reason to print.

use std::thread;
use std::time::{Duration, Instant};

/// Asks `ready` every 20 ms until it gives a value.
///
/// # Panics
///
/// After `limit`, naming `what` it was waiting for.
pub fn until<T>(what: &str, limit: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(started.elapsed() < limit, "waited {limit:?} in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
