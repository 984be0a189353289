//! A log in memory, and the protocol that follows it. The log checks every confirmation against
//! the events in the channels.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use kit::follow::{CatchUp, Follow, Known, Puts, Start};
use pipeline::{Batch, ErrorClass, Guarantee, SourceContext, SourceError, SourcePosition};
use tokio::sync::Notify;

use super::channels::Channels;

const KEY: Bytes = Bytes::from_static(b"log");

/// A call that the log does not answer as usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The next opening is refused.
    Refuses,
    /// The next read fails.
    DiesAtRead,
    /// The connection ends right after a batch was handed over.
    DiesAfterRead,
    /// The next confirmation is never answered.
    Hangs,
}

#[derive(Debug, Default)]
struct Inner {
    bodies: Vec<String>,
    /// Another value after the log was made again.
    id: u64,
    confirmed: usize,
    /// Events that the source held at most.
    held_max: usize,
    opened: u64,
    closed: u64,
    faults: Vec<Fault>,
    broken: Vec<String>,
}

/// The log.
pub(crate) struct Log {
    inner: Mutex<Inner>,
    changed: Notify,
    channels: Arc<Channels>,
}

impl Log {
    pub(crate) fn new(channels: Arc<Channels>) -> Arc<Self> {
        Arc::new(Self { inner: Mutex::default(), changed: Notify::new(), channels })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn append<S: Into<String>>(&self, bodies: impl IntoIterator<Item = S>) {
        self.inner().bodies.extend(bodies.into_iter().map(Into::into));
        self.changed.notify_waiters();
    }

    pub(crate) fn fail(&self, fault: Fault) {
        self.inner().faults.push(fault);
    }

    /// Replaces the log by another one with the same events.
    pub(crate) fn replace(&self) {
        self.inner().id += 1;
    }

    pub(crate) fn bodies(&self) -> Vec<String> {
        self.inner().bodies.clone()
    }

    /// Whether all events are confirmed.
    pub(crate) fn is_confirmed(&self) -> bool {
        let inner = self.inner();
        inner.confirmed == inner.bodies.len()
    }

    pub(crate) fn held_max(&self) -> usize {
        self.inner().held_max
    }

    /// Openings and closings.
    pub(crate) fn links(&self) -> (u64, u64) {
        let inner = self.inner();
        (inner.opened, inner.closed)
    }

    /// Rules that were broken.
    pub(crate) fn broken(&self) -> Vec<String> {
        let mut broken = self.inner().broken.clone();
        broken.extend(self.channels.broken());
        broken
    }

    fn takes(&self, fault: Fault) -> bool {
        let faults = &mut self.inner().faults;
        let at = faults.iter().position(|it| *it == fault);
        at.map(|at| faults.remove(at)).is_some()
    }

    fn confirm(&self, next: usize) {
        let confirmed = self.inner().confirmed.min(next);
        let bodies = self.inner().bodies[confirmed..next].to_vec();
        for body in bodies.iter().filter(|body| !self.channels.have(body)) {
            self.inner().broken.push(format!("confirms what is not stored: {body}"));
        }
        let mut inner = self.inner();
        inner.confirmed = inner.confirmed.max(next);
    }

    /// The next events after a position, when there are some.
    async fn after(&self, next: usize, most: usize) -> Vec<String> {
        loop {
            let changed = self.changed.notified();
            {
                let inner = self.inner();
                let end = inner.bodies.len().min(next.saturating_add(most));
                if next < end {
                    return inner.bodies[next..end].to_vec();
                }
            }
            changed.await;
        }
    }
}

/// The protocol.
pub(crate) struct Reader {
    pub(crate) log: Arc<Log>,
    pub(crate) catch_up: CatchUp,
    pub(crate) batch_max: usize,
    pub(crate) drain: Duration,
}

/// The log, opened at an event.
pub(crate) struct Link {
    next: usize,
    until: Option<usize>,
    id: u64,
    /// The events of the next batch.
    batch: Vec<String>,
}

fn failed(class: ErrorClass, message: &str) -> SourceError {
    SourceError { class, message: message.to_owned(), source: None }
}

impl Reader {
    fn position(&self, known: &Known) -> Result<Option<usize>, SourceError> {
        let Some((_, value)) = known.iter().find(|(key, _)| *key == KEY) else { return Ok(None) };
        let (next, id) = value.split_at(8);
        if id != self.log.inner().id.to_le_bytes() {
            return Err(failed(ErrorClass::Blocked, "the position belongs to another log"));
        }
        Ok(Some(u64::from_le_bytes(next.try_into().expect("a position has 8 bytes")) as usize))
    }
}

impl Link {
    fn take(&mut self) -> Batch {
        let mut batch = Batch::of(std::mem::take(&mut self.batch));
        let value = [(self.next as u64).to_le_bytes(), self.id.to_le_bytes()].concat();
        batch.envelope.positions.push(SourcePosition {
            source: "in".into(),
            key: KEY,
            value: Some(value.into()),
            after: None,
        });
        batch
    }
}

impl Follow for Reader {
    const KIND: &'static str = "log";
    type Link = Link;

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn batch_bytes(&self) -> u64 {
        1
    }

    fn catch_up(&self) -> CatchUp {
        self.catch_up
    }

    fn drain(&self) -> Duration {
        self.drain
    }

    async fn open(&mut self, start: &Start, _: &SourceContext) -> Result<Link, SourceError> {
        if self.log.takes(Fault::Refuses) {
            return Err(failed(ErrorClass::Transient, "refused"));
        }
        let until = start.until.as_ref().map(|until| self.position(until)).transpose()?.flatten();
        let next = self.position(&start.known)?.unwrap_or(0);
        let mut inner = self.log.inner();
        inner.opened += 1;
        Ok(Link { next, until, id: inner.id, batch: Vec::new() })
    }

    async fn read(&mut self, link: &mut Link, puts: &mut Puts) -> Result<(), SourceError> {
        if link.until.is_none() {
            self.log.confirm(link.next);
        }
        loop {
            let left = link.until.map_or(usize::MAX, |until| until - link.next);
            if left == 0 {
                return Ok(());
            }
            let batch = self.log.after(link.next, left.min(self.batch_max)).await;
            if self.log.takes(Fault::DiesAtRead) {
                return Err(failed(ErrorClass::Transient, "the log has ended"));
            }
            let before = link.next;
            link.next += batch.len();
            link.batch = batch;
            {
                let mut inner = self.log.inner();
                let held = link.next.saturating_sub(inner.confirmed);
                inner.held_max = inner.held_max.max(held);
            }
            puts.stored().await;
            if link.until.is_none() {
                if self.log.takes(Fault::Hangs) {
                    std::future::pending::<()>().await;
                }
                self.log.confirm(before);
            }
            let batch = link.take();
            puts.begin(batch);
            if self.log.takes(Fault::DiesAfterRead) {
                tokio::time::sleep(Duration::from_millis(10)).await;
                return Err(failed(ErrorClass::Transient, "the log has ended"));
            }
            if link.until.is_none() && self.log.inner().bodies.len() == link.next {
                puts.stored().await;
                self.log.confirm(link.next);
            }
        }
    }

    async fn flush(&mut self, link: &mut Link, puts: &mut Puts) {
        if !link.batch.is_empty() {
            puts.stored().await;
            puts.begin(link.take());
        }
    }

    async fn close(&mut self, _: Link) {
        self.log.inner().closed += 1;
    }
}
