//! Chunks that were stored: one that is resent after a lost reply is acknowledged and not stored
//! again.
//!
//! A sender that misses a reply resends the same chunk, perhaps while the first copy still waits
//! for room. So each chunk of a host has one [`Place`], and the second copy waits for the first.
//! Places are forgotten after a while, and when the process ends: the source is at least once.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::message::Chunk;

/// Maximum number of remembered chunks; the oldest are removed first.
const CHUNKS_MAX: usize = 1 << 16;

/// Maximum length of a remembered identity. Fluentd and Fluent Bit use 24 bytes.
const CHUNK_BYTES_MAX: usize = 64;

/// True if the chunk is stored. The connection that stores it holds the lock.
pub(super) type Place = Arc<tokio::sync::Mutex<bool>>;

/// Host and identity of a chunk.
type Key = (Arc<str>, Chunk);

/// Chunks of a source, for all of its connections.
#[derive(Debug, Clone)]
pub(super) struct Chunks(Arc<Mutex<Known>>);

#[derive(Debug)]
struct Known {
    window: Duration,
    places: HashMap<Key, Place>,
    /// Oldest first.
    by_age: VecDeque<(Instant, Key)>,
}

impl Chunks {
    /// Creates an empty collection. Chunks are remembered for `window`; 0 disables that.
    pub(super) fn new(window: Duration) -> Self {
        let known = Known { window, places: HashMap::new(), by_age: VecDeque::new() };
        Self(Arc::new(Mutex::new(known)))
    }

    /// Returns the place of a chunk.
    pub(super) fn place(&self, now: Instant, host: &Arc<str>, chunk: &Chunk) -> Place {
        // The state is consistent between calls.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.place(now, host, chunk)
    }
}

impl Known {
    fn place(&mut self, now: Instant, host: &Arc<str>, chunk: &Chunk) -> Place {
        if self.window.is_zero() || chunk.0.len() > CHUNK_BYTES_MAX {
            return Place::default();
        }
        while let Some((at, _)) = self.by_age.front()
            && (now - *at > self.window || self.by_age.len() >= CHUNKS_MAX)
        {
            let (_, oldest) = self.by_age.pop_front().expect("it is there");
            self.places.remove(&oldest);
        }
        let key = (host.clone(), chunk.clone());
        if let Some(place) = self.places.get(&key) {
            return place.clone();
        }
        let place = Place::default();
        self.places.insert(key.clone(), place.clone());
        self.by_age.push_back((now, key));
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    fn is_known(chunks: &Chunks, now: Instant, host: &str, chunk: &str) -> bool {
        let place = chunks.place(now, &host.into(), &Chunk(chunk.into()));
        let mut is_stored = place.try_lock().unwrap();
        std::mem::replace(&mut *is_stored, true)
    }

    #[tokio::test]
    async fn a_chunk_is_known_to_its_host_within_the_window() {
        let (chunks, now) = (Chunks::new(WINDOW), Instant::now());
        assert!(!is_known(&chunks, now, "a", "1"));
        assert!(is_known(&chunks, now + WINDOW, "a", "1"));
        assert!(!is_known(&chunks, now, "b", "1") && !is_known(&chunks, now, "a", "2"));
        assert!(!is_known(&chunks, now + WINDOW * 2, "a", "1"), "forgotten");
        let off = Chunks::new(Duration::ZERO);
        assert!(!is_known(&off, now, "a", "1") && !is_known(&off, now, "a", "1"));
    }

    #[tokio::test]
    async fn the_number_of_chunks_has_a_limit() {
        let (chunks, now) = (Chunks::new(WINDOW), Instant::now());
        for number in 0..=CHUNKS_MAX {
            is_known(&chunks, now, "a", &number.to_string());
        }
        let known = chunks.0.lock().unwrap();
        assert!(known.places.len() == known.by_age.len() && known.places.len() <= CHUNKS_MAX);
    }
}
