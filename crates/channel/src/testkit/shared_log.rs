//! A log with several owners, like a topic, and with its accidents: missing answers, late writes,
//! fenced owners.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::remote::{Failure, Log, LogError, Place, Stored};

/// The result of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accident {
    /// It succeeds.
    None,
    /// It is refused: nothing is stored.
    Refused,
    /// No answer comes. It is stored once the log has another owner, or never.
    NoAnswer {
        /// True if it will be stored.
        lands: bool,
    },
    /// It is stored, but no answer comes.
    AnswerLost,
}

enum Write {
    Frames(Vec<Bytes>),
    State(Bytes),
}

#[derive(Default)]
struct Inner {
    frames: BTreeMap<Place, Bytes>,
    next: Place,
    state: Option<Bytes>,
    /// Number of the owner; increases at each fence.
    owner: u64,
    /// The results of the next writes, in order.
    accidents: VecDeque<Accident>,
    /// So many calls that write nothing fail.
    failures: u32,
    under_way: Option<Write>,
    loses_answers: bool,
}

impl Inner {
    fn land(&mut self, write: Write) -> Vec<Place> {
        match write {
            Write::State(state) => {
                self.state = Some(state);
                Vec::new()
            }
            Write::Frames(frames) => {
                let places = frames.into_iter().map(|frame| {
                    self.next += 1;
                    self.frames.insert(self.next, frame);
                    self.next
                });
                let places = places.collect();
                // As in a topic, which has a marker after each transaction.
                self.next += 1;
                places
            }
        }
    }

    fn works(&mut self) -> Result<(), LogError> {
        if self.failures == 0 {
            return Ok(());
        }
        self.failures -= 1;
        Err(failed())
    }
}

fn failed() -> LogError {
    LogError::Failed(io::Error::other("an accident"))
}

/// A log on other hosts. Clones share it.
#[derive(Clone, Default)]
pub struct SharedLog(Arc<Mutex<Inner>>);

impl SharedLog {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A way to it for one more owner.
    pub fn way(&self) -> Arc<dyn Log> {
        Arc::new(Way { log: self.clone(), owner: AtomicU64::new(0) })
    }

    /// Adds the result of the next write without one.
    pub fn next_write(&self, accident: Accident) {
        self.inner().accidents.push_back(accident);
    }

    /// Deletes and recreates the log, as may happen to a topic: it is empty.
    pub fn make_anew(&self) {
        let mut inner = self.inner();
        *inner = Inner { owner: inner.owner, ..Inner::default() };
    }

    /// So many calls that write nothing fail.
    pub fn fail(&self, calls: u32) {
        self.inner().failures = calls;
    }

    /// From now on each write is stored, but no answer comes.
    pub fn lose_answers(&self) {
        self.inner().loses_answers = true;
    }

    /// Ends all accidents.
    pub fn recover(&self) {
        let mut inner = self.inner();
        inner.accidents.clear();
        inner.failures = 0;
    }

    /// Frames that are not released.
    pub fn frames(&self) -> usize {
        self.inner().frames.len()
    }
}

struct Way {
    log: SharedLog,
    owner: AtomicU64,
}

impl Way {
    fn write(&self, write: Write) -> Result<Vec<Place>, Failure> {
        let mut inner = self.log.inner();
        if inner.owner != self.owner.load(Ordering::Relaxed) {
            return Err(Failure::Unknown(failed()));
        }
        let lost = if inner.loses_answers { Accident::AnswerLost } else { Accident::None };
        match inner.accidents.pop_front().unwrap_or(lost) {
            Accident::None => Ok(inner.land(write)),
            Accident::Refused => Err(Failure::Nothing(failed())),
            Accident::AnswerLost => {
                inner.land(write);
                // Until it becomes the owner again.
                inner.owner += 1;
                Err(Failure::Unknown(failed()))
            }
            Accident::NoAnswer { lands } => {
                inner.under_way = Some(write).filter(|_| lands);
                Err(Failure::Unknown(failed()))
            }
        }
    }
}

impl Log for Way {
    fn name(&self) -> &str {
        "a log in memory"
    }

    fn fence(&self) -> Result<(), LogError> {
        let mut inner = self.log.inner();
        inner.works()?;
        if let Some(write) = inner.under_way.take() {
            inner.land(write);
        }
        inner.owner += 1;
        self.owner.store(inner.owner, Ordering::Relaxed);
        Ok(())
    }

    fn state(&self) -> Result<Option<Bytes>, LogError> {
        let mut inner = self.log.inner();
        inner.works()?;
        Ok(inner.state.clone())
    }

    fn store_state(&self, state: &Bytes) -> Result<(), Failure> {
        self.write(Write::State(state.clone())).map(drop)
    }

    fn append(&self, frames: &[Bytes]) -> Result<Vec<Place>, Failure> {
        self.write(Write::Frames(frames.to_vec()))
    }

    fn read(&self, from: Place, bytes: usize) -> Result<Vec<Stored>, LogError> {
        let mut inner = self.log.inner();
        inner.works()?;
        let mut left = bytes;
        let mut found = Vec::new();
        for (place, frame) in inner.frames.range(from..) {
            if left == 0 {
                break;
            }
            left = left.saturating_sub(frame.len());
            found.push(Stored { place: *place, frame: frame.clone() });
        }
        Ok(found)
    }

    fn release(&self, below: Place) -> Result<(), LogError> {
        let mut inner = self.log.inner();
        inner.works()?;
        inner.frames.retain(|place, _| *place >= below);
        Ok(())
    }
}
