//! Taps: places in the flow where readers get copies of events.
//!
//! ```text
//!   source, channel, sink ── pass ──► Point ──try──► queue of each line ──► its reader
//!                                       └─ no line: one read of a number
//! ```
//!
//! # Invariants
//!
//! 1. The flow never waits for a reader: events without room in a line are counted as missed.
//! 2. A line has a bounded number of batches and bytes. A batch is shared with the flow, not
//!    copied.
//! 3. Without a line, a batch costs only one read of a number.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pipeline::{Batch, Events, Identity};
use tokio::sync::mpsc;

/// Batches that wait for a reader.
const BATCHES_MAX: usize = 32;

/// Bytes of bodies that wait for a reader. A larger batch is accepted if nothing else waits.
const BYTES_MAX: u64 = 8 << 20;

/// A place where events pass: a source, a channel, or the sinks of a group. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Point(Arc<Lines>);

#[derive(Debug, Default)]
struct Lines {
    /// Number of lines.
    count: AtomicUsize,
    lines: Mutex<Vec<Arc<Shared>>>,
}

/// State that both ends of a line share.
#[derive(Debug)]
struct Shared {
    /// The part of the place that is looked at.
    part: usize,
    queue: mpsc::Sender<Passed>,
    waiting_bytes: AtomicU64,
    missed: AtomicU64,
}

/// A batch that has passed.
#[derive(Debug, Clone)]
pub struct Passed {
    /// Its name, if it has one.
    pub identity: Option<Identity>,
    /// Its events.
    pub events: Events,
}

/// A reader's end; the line ends when it is dropped.
#[derive(Debug)]
pub struct Line {
    point: Point,
    shared: Arc<Shared>,
    passed: mpsc::Receiver<Passed>,
}

impl Point {
    /// Passes events at a place with one part.
    pub fn pass(&self, batch: &Batch) {
        self.pass_at(0, batch);
    }

    /// Passes events at this part.
    pub fn pass_at(&self, part: usize, batch: &Batch) {
        if self.is_watched() && !batch.is_empty() {
            self.offer(part, &Passed::from_batch(batch));
        }
    }

    /// Returns `true` if there are readers of any part.
    pub fn is_watched(&self) -> bool {
        self.0.count.load(Ordering::Relaxed) > 0
    }

    /// Offers it to each line of the part.
    #[cold]
    pub fn offer(&self, part: usize, passed: &Passed) {
        let bytes = passed.events.body_bytes();
        for line in self.lines().iter().filter(|line| line.part == part) {
            let waiting = line.waiting_bytes.load(Ordering::Relaxed);
            let has_room = waiting == 0 || waiting + bytes <= BYTES_MAX;
            line.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
            if !has_room || line.queue.try_send(passed.clone()).is_err() {
                line.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
                line.missed.fetch_add(passed.events.len() as u64, Ordering::Relaxed);
            }
        }
    }

    /// A line from this part.
    pub fn open(&self, part: usize) -> Line {
        let (queue, passed) = mpsc::channel(BATCHES_MAX);
        let (waiting_bytes, missed) = (AtomicU64::new(0), AtomicU64::new(0));
        let shared = Arc::new(Shared { part, queue, waiting_bytes, missed });
        let mut lines = self.lines();
        lines.push(shared.clone());
        self.0.count.store(lines.len(), Ordering::Relaxed);
        drop(lines);
        Line { point: self.clone(), shared, passed }
    }

    fn lines(&self) -> MutexGuard<'_, Vec<Arc<Shared>>> {
        // Each change is whole.
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Passed {
    /// Of this batch.
    pub fn from_batch(batch: &Batch) -> Self {
        Self { identity: batch.envelope.identity, events: batch.events.clone() }
    }
}

impl Line {
    /// The next batch that has passed. Cancel safe.
    pub async fn next(&mut self) -> Passed {
        match self.passed.recv().await {
            Some(passed) => {
                let bytes = passed.events.body_bytes();
                self.shared.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
                passed
            }
            // Both ends of the queue are held here.
            None => std::future::pending().await,
        }
    }

    /// Events that found no room since this was asked last.
    pub fn take_missed(&self) -> u64 {
        self.shared.missed.swap(0, Ordering::Relaxed)
    }

    /// Returns `true` if it is a line of this place.
    pub fn is_of(&self, point: &Point) -> bool {
        Arc::ptr_eq(&self.point.0, &point.0)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut lines = self.point.lines();
        lines.retain(|line| !Arc::ptr_eq(line, &self.shared));
        self.point.0.count.store(lines.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_line_gets_what_passes_at_its_part_and_ends_with_its_reader() {
        let point = Point::default();
        point.pass_at(1, &Batch::of(["before"]));
        let (mut line, other) = (point.open(1), point.open(0));
        point.pass_at(1, &Batch::of(["one", "two"]));
        point.pass_at(1, &Batch::default());
        let passed = line.next().await;
        assert_eq!(passed.events, Batch::of(["one", "two"]).events);
        assert!(line.next().now_or_never().is_none());
        assert_eq!((line.take_missed(), other.take_missed()), (0, 0));
        drop(line);
        assert!(point.is_watched());
        drop(other);
        assert!(!point.is_watched());
    }

    #[tokio::test]
    async fn events_without_room_are_missed_and_nothing_waits() {
        let point = Point::default();
        let mut line = point.open(0);
        for _ in 0..BATCHES_MAX + 3 {
            point.pass(&Batch::of(["a", "b"]));
        }
        assert_eq!(line.take_missed(), 6);
        for _ in 0..BATCHES_MAX {
            line.next().await;
        }
        // No batch waits: one is accepted whatever its size, but not a second one.
        let large = Batch::of(["x".repeat(BYTES_MAX as usize + 1)]);
        for _ in 0..3 {
            point.pass(&large);
        }
        assert_eq!(line.take_missed(), 2);
        line.next().await;
        point.pass(&Batch::of(["small"]));
        assert_eq!(line.next().await.events.len(), 1);
        assert_eq!(line.take_missed(), 0);
    }
}
