//! A broker in memory with one queue, and the protocol that consumes it. The broker checks every
//! call against the rules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use kit::consume::{Arrived, Consume, Content, Load, Problem, Verdict, not_received};
use kit::messages::Event;
use pipeline::{
    Classify, ErrorClass, Guarantee, ResendMode, SourceContext, SourceError, SourcePosition,
};
use tokio::sync::Notify;

use super::channels::Channels;

/// The body of a message that cannot become an event.
pub(crate) const UNUSABLE: &str = "unusable";

/// A call that the broker does not answer as usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection ends in front of the next acknowledgement.
    DiesBeforeAcknowledgement,
    /// The connection ends after the next acknowledgement has arrived.
    DiesAfterAcknowledgement,
    /// The next acknowledgement is never answered.
    Hangs,
    /// The next delivery ends the connection.
    DiesAtDelivery,
    /// The next connection is refused.
    Refuses,
}

/// The treatment of messages that cannot be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    Hold,
    Reject,
}

#[derive(Debug, Default)]
struct Inner {
    bodies: Vec<String>,
    queued: BTreeSet<usize>,
    /// Deliveries without an acknowledgement: their connections, and whether the message was
    /// stored before.
    open: BTreeMap<usize, (u64, bool)>,
    delivered: BTreeSet<usize>,
    acknowledged: BTreeSet<usize>,
    rejected: BTreeSet<usize>,
    released: Vec<usize>,
    connections: u64,
    closed: u64,
    faults: Vec<Fault>,
    broken: Vec<String>,
    /// Messages that the source held at most.
    unanswered_max: usize,
}

/// The broker.
pub(crate) struct Broker {
    inner: Mutex<Inner>,
    changed: Notify,
    channels: Arc<Channels>,
}

impl Broker {
    pub(crate) fn new(channels: Arc<Channels>) -> Arc<Self> {
        Arc::new(Self { inner: Mutex::default(), changed: Notify::new(), channels })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn publish<S: Into<String>>(&self, bodies: impl IntoIterator<Item = S>) {
        let mut inner = self.inner();
        for body in bodies {
            let number = inner.bodies.len();
            inner.bodies.push(body.into());
            inner.queued.insert(number);
        }
        drop(inner);
        self.changed.notify_waiters();
    }

    pub(crate) fn fail(&self, fault: Fault) {
        self.inner().faults.push(fault);
    }

    /// Ends every connection.
    pub(crate) fn cut(&self) {
        let mut inner = self.inner();
        inner.requeue(|_| true);
        inner.connections += 1;
        drop(inner);
        self.changed.notify_waiters();
    }

    /// Whether every message is acknowledged or rejected.
    pub(crate) fn is_done(&self) -> bool {
        let inner = self.inner();
        inner.acknowledged.len() + inner.rejected.len() == inner.bodies.len()
    }

    pub(crate) fn acknowledged(&self) -> usize {
        self.inner().acknowledged.len()
    }

    pub(crate) fn rejected(&self) -> Vec<String> {
        let inner = self.inner();
        inner.rejected.iter().map(|number| inner.bodies[*number].clone()).collect()
    }

    /// Bodies that the source returned, in order.
    pub(crate) fn released(&self) -> Vec<String> {
        let inner = self.inner();
        inner.released.iter().map(|number| inner.bodies[*number].clone()).collect()
    }

    /// Connections that were closed in order.
    pub(crate) fn closed(&self) -> u64 {
        self.inner().closed
    }

    pub(crate) fn unanswered_max(&self) -> usize {
        self.inner().unanswered_max
    }

    /// Rules that were broken.
    pub(crate) fn broken(&self) -> Vec<String> {
        let mut broken = self.inner().broken.clone();
        broken.extend(self.channels.broken());
        broken
    }
}

impl Inner {
    fn requeue(&mut self, of: impl Fn(u64) -> bool) {
        let back: Vec<usize> = self
            .open
            .iter()
            .filter(|(_, (link, _))| of(*link))
            .map(|(number, _)| *number)
            .collect();
        for number in back {
            self.open.remove(&number);
            self.queued.insert(number);
        }
    }

    fn takes(&mut self, fault: Fault) -> bool {
        let at = self.faults.iter().position(|it| *it == fault);
        at.map(|at| self.faults.remove(at)).is_some()
    }

    /// Ends a delivery, which must be open on this connection; whether it was stored before.
    fn end(&mut self, what: &str, number: usize, link: u64) -> bool {
        match self.open.remove(&number) {
            Some((of, was_stored)) if of == link => was_stored,
            _ => {
                self.broken.push(format!("{what} what is not delivered: {}", self.bodies[number]));
                false
            }
        }
    }
}

/// The connection has ended.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Ended(&'static str);

impl Classify for Ended {
    fn class(&self) -> ErrorClass {
        ErrorClass::Indeterminate
    }
}

/// A connection; it ends when it is dropped.
pub(crate) struct Link {
    broker: Arc<Broker>,
    number: u64,
}

impl Drop for Link {
    fn drop(&mut self) {
        let number = self.number;
        self.broker.inner().requeue(|link| link == number);
    }
}

impl Link {
    fn is_open(&self) -> bool {
        self.broker.inner().connections == self.number
    }

    fn check(&self) -> Result<(), Ended> {
        if self.is_open() { Ok(()) } else { Err(Ended("the connection has ended")) }
    }

    fn die(&self) -> Ended {
        self.broker.cut();
        Ended("the connection has ended")
    }
}

/// The protocol.
pub(crate) struct Queue {
    pub(crate) broker: Arc<Broker>,
    pub(crate) policy: Policy,
    /// Messages that a round has at most.
    pub(crate) round_max: usize,
    /// Each round stores the number of its last message as the position.
    pub(crate) has_positions: bool,
}

impl Queue {
    /// The next delivery, if a message is queued.
    fn deliver(&self, link: &Link) -> Result<Option<Arrived<usize>>, Ended> {
        let mut inner = self.broker.inner();
        let Some(number) = inner.queued.first().copied() else { return Ok(None) };
        if inner.takes(Fault::DiesAtDelivery) {
            drop(inner);
            return Err(link.die());
        }
        inner.queued.remove(&number);
        let body = inner.bodies[number].clone();
        let was_stored = self.broker.channels.have(&body);
        inner.open.insert(number, (link.number, was_stored));
        let is_repeated = !inner.delivered.insert(number);
        let content = match body.starts_with(UNUSABLE) {
            true => Content::Unusable("not an event".into()),
            false => Content::Event(Event { headers: Vec::new(), body: body.into() }),
        };
        Ok(Some(Arrived { ack: number, content, is_repeated }))
    }
}

impl Consume for Queue {
    type Link = Link;
    type Ack = usize;
    type Error = Ended;

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    fn resend_mode(&self) -> ResendMode {
        ResendMode::Nothing
    }

    fn round_max(&self) -> usize {
        self.round_max
    }

    async fn open(&mut self, _cx: &SourceContext) -> Result<Link, SourceError> {
        if self.broker.inner().takes(Fault::Refuses) {
            return Err(not_received(Ended("no connection")));
        }
        let mut inner = self.broker.inner();
        inner.connections += 1;
        let number = inner.connections;
        inner.requeue(|_| true);
        drop(inner);
        Ok(Link { broker: self.broker.clone(), number })
    }

    async fn prepare(&mut self, _link: &mut Link, load: Load) -> Result<(), Ended> {
        let mut inner = self.broker.inner();
        inner.unanswered_max = inner.unanswered_max.max(load.unanswered);
        Ok(())
    }

    async fn next(&mut self, link: &mut Link) -> Result<Arrived<usize>, Ended> {
        loop {
            let changed = self.broker.changed.notified();
            link.check()?;
            if let Some(arrived) = self.deliver(link)? {
                return Ok(arrived);
            }
            changed.await;
        }
    }

    async fn idle(&mut self, link: &mut Link) -> Ended {
        loop {
            let changed = self.broker.changed.notified();
            if let Err(ended) = link.check() {
                return ended;
            }
            changed.await;
        }
    }

    fn positions(&mut self, acks: &[usize]) -> Vec<SourcePosition> {
        let value = acks.last().filter(|_| self.has_positions);
        let position = value.map(|last| SourcePosition {
            source: "in".into(),
            key: Bytes::from_static(b"queue"),
            value: Some(Bytes::copy_from_slice(&last.to_le_bytes())),
            after: None,
        });
        position.into_iter().collect()
    }

    async fn acknowledge(&mut self, link: &mut Link, acks: Vec<usize>) -> Result<(), Ended> {
        if self.broker.inner().takes(Fault::Hangs) {
            return std::future::pending().await;
        }
        if self.broker.inner().takes(Fault::DiesBeforeAcknowledgement) {
            return Err(link.die());
        }
        link.check()?;
        for number in acks {
            let body = self.broker.inner().bodies[number].clone();
            let is_stored = self.broker.channels.have(&body);
            let mut inner = self.broker.inner();
            if !is_stored {
                inner.broken.push(format!("acknowledges what is not stored: {body}"));
            }
            inner.end("acknowledges", number, link.number);
            inner.acknowledged.insert(number);
            if let Some(earlier) = inner.open.keys().next().filter(|it| **it < number) {
                let earlier = inner.bodies[*earlier].clone();
                inner.broken.push(format!("acknowledges {body} before {earlier}"));
            }
        }
        if self.broker.inner().takes(Fault::DiesAfterAcknowledgement) {
            return Err(link.die());
        }
        Ok(())
    }

    fn verdict(&self, _ack: &usize, _problem: &Problem) -> Verdict<Ended> {
        match self.policy {
            Policy::Hold => Verdict::Hold(Ended("a message cannot be stored")),
            Policy::Reject => Verdict::Reject,
        }
    }

    async fn reject(
        &mut self,
        link: &mut Link,
        ack: usize,
        _problem: &Problem,
    ) -> Result<(), Ended> {
        link.check()?;
        let body = self.broker.inner().bodies[ack].clone();
        let is_stored = self.broker.channels.have(&body);
        let mut inner = self.broker.inner();
        if !inner.end("rejects", ack, link.number) && is_stored {
            inner.broken.push(format!("rejects what is stored: {body}"));
        }
        inner.rejected.insert(ack);
        Ok(())
    }

    fn is_open(&self, link: &Link) -> bool {
        link.is_open()
    }

    async fn release(&mut self, link: &mut Link, acks: Vec<usize>) -> Result<(), Ended> {
        link.check()?;
        for number in acks {
            let body = self.broker.inner().bodies[number].clone();
            let is_stored = self.broker.channels.have(&body);
            let mut inner = self.broker.inner();
            if !inner.end("returns", number, link.number) && is_stored {
                inner.broken.push(format!("returns what is stored: {body}"));
            }
            inner.queued.insert(number);
            inner.released.push(number);
        }
        Ok(())
    }

    async fn close(&mut self, link: Link, _limit: Duration) {
        self.broker.inner().closed += 1;
        drop(link);
    }
}
