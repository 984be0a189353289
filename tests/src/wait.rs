//! Waits for a condition, with a limit and a description for the message.

use std::thread;
use std::time::{Duration, Instant};

/// Limits are for a quiet machine. A machine that starts a dozen servers at a time, on a shared
/// disk, gets this many times as long: the tests look for programs that hang.
const BUSY: u32 = 3;

/// Polls `ready` every 20 ms until it returns a value.
///
/// # Panics
///
/// After `limit` times [`BUSY`], with the description `what`.
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
