//! Addresses of this machine for servers of tests, benchmarks and the demonstration.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// First of the assigned ports, and their number. Linux assigns clients ports from 32768 on.
const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

/// Returns a loopback address on which nothing listens, another one at each call of a process.
///
/// It is below the ephemeral ports. A port that the system chooses is an ephemeral one: until its
/// server listens, the system can assign it to any client, even to one that connects to this very
/// port and is then connected to itself.
///
/// # Errors
///
/// The last error, after a thousand attempts without a free address.
pub fn find_free_address() -> io::Result<SocketAddr> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut refused = None;
    for _ in 0..1_000 {
        // Spread by process, so that processes that run side by side seldom meet.
        let step =
            std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = FIRST + u16::try_from(step % u32::from(COUNT)).expect("a remainder below it");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        match TcpListener::bind(address) {
            Ok(_) => return Ok(address),
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.expect("each try has failed"))
}

/// Does the same for tests and benchmarks.
///
/// # Panics
///
/// If there is no free address.
#[must_use]
pub fn free_address() -> SocketAddr {
    find_free_address().expect("loopback has a free port")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_is_free_another_and_never_one_that_a_client_is_given() {
        let first = free_address();
        let _taken = TcpListener::bind(first).unwrap();
        let more: Vec<_> = (0..50).map(|_| free_address()).collect();
        assert!(!more.contains(&first), "{more:?}");
        assert!(more.iter().all(|it| (FIRST..FIRST + COUNT).contains(&it.port())), "{more:?}");
    }
}
