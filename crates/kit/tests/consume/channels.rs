//! Required channels in memory that fail and fill up as a test asks.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pipeline::{Batch, BatchSize, ChannelError, Intake, IntakeError, Permit, PositionIntake, Rest};
use tokio::sync::Notify;

/// A linear congruential generator, good enough to choose faults.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % limit
    }
}

/// The result of a put into one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Stores,
    /// Nothing is stored.
    Fails,
    /// The batch is stored, and the answer is a failure.
    Loses,
    /// Nothing is stored, and no put ever will be.
    Breaks,
}

#[derive(Debug, Default)]
struct One {
    bodies: Vec<String>,
    positions: Vec<(Bytes, Bytes)>,
    outcomes: VecDeque<Outcome>,
    is_full: bool,
}

#[derive(Debug, Default)]
struct Inner {
    all: Vec<One>,
    puts: usize,
    broken: Vec<String>,
    /// Bytes of the largest batch that fits.
    limit: u64,
    /// Lives of the agent so far.
    kills: u64,
}

/// The channels, in order.
pub(crate) struct Channels {
    inner: Mutex<Inner>,
    /// Duration of each put.
    latency: Duration,
    changed: Notify,
}

impl Channels {
    pub(crate) fn new(count: usize) -> Self {
        Self::with(count, Duration::ZERO, u64::MAX)
    }

    pub(crate) fn with(count: usize, latency: Duration, limit: u64) -> Self {
        let all = (0..count).map(|_| One::default()).collect();
        let inner = Mutex::new(Inner { all, limit, ..Inner::default() });
        Self { inner, latency, changed: Notify::new() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Results of the next puts into a channel; all further ones succeed.
    pub(crate) fn script(&self, channel: usize, outcomes: &[Outcome]) {
        self.inner().all[channel].outcomes.extend(outcomes);
    }

    pub(crate) fn set_full(&self, channel: usize, is_full: bool) {
        self.inner().all[channel].is_full = is_full;
        self.changed.notify_waiters();
    }

    /// The bodies in a channel, in the order in which they were stored.
    pub(crate) fn bodies(&self, channel: usize) -> Vec<String> {
        self.inner().all[channel].bodies.clone()
    }

    /// Whether every channel has the body.
    pub(crate) fn have(&self, body: &str) -> bool {
        self.inner().all.iter().all(|one| one.bodies.iter().any(|it| it == body))
    }

    /// Rules that were broken.
    pub(crate) fn broken(&self) -> Vec<String> {
        self.inner().broken.clone()
    }

    /// Waits forever if the agent of a put was killed.
    async fn alive(&self, kills: u64) {
        if self.inner().kills != kills {
            std::future::pending::<()>().await;
        }
    }

    async fn room(&self) {
        let kills = self.inner().kills;
        loop {
            let changed = self.changed.notified();
            self.alive(kills).await;
            if self.inner().all.iter().all(|one| !one.is_full) {
                return;
            }
            changed.await;
        }
    }

    async fn put(&self, parts: Vec<(usize, Batch)>, is_rest: bool) -> Result<(), IntakeError> {
        let kills = {
            let mut inner = self.inner();
            inner.puts += 1;
            if inner.puts > 1 {
                inner.broken.push("two puts at a time".into());
            }
            inner.kills
        };
        tokio::time::sleep(self.latency).await;
        self.alive(kills).await;
        let mut inner = self.inner();
        inner.puts -= 1;
        let (puts, mut lacking, mut failure) = (parts.len(), Vec::new(), None);
        for (channel, batch) in parts {
            let one = &mut inner.all[channel];
            let outcome = one.outcomes.pop_front().unwrap_or(Outcome::Stores);
            if matches!(outcome, Outcome::Stores | Outcome::Loses) {
                one.store(&batch);
            }
            let name = format!("c{channel}");
            let error = match outcome {
                Outcome::Stores => continue,
                Outcome::Breaks => ChannelError::NoPutBack,
                Outcome::Fails | Outcome::Loses => ChannelError::Full { channel: name },
            };
            lacking.push((channel, batch));
            failure.get_or_insert(error);
        }
        match failure {
            None => Ok(()),
            Some(source) if is_rest || lacking.len() < puts => {
                let rest = Box::new(Rest { parts: lacking, ..Rest::default() });
                Err(IntakeError::Partly { rest, source })
            }
            Some(error) => Err(error.into()),
        }
    }
}

#[allow(dead_code, reason = "only the tests of `follow` change channels between two lives")]
impl Channels {
    /// Sets the bytes of the largest batch that fits.
    pub(crate) fn set_limit(&self, limit: u64) {
        self.inner().limit = limit;
    }

    /// Kills the agent: puts under way store nothing.
    pub(crate) fn kill(&self) {
        let mut inner = self.inner();
        (inner.kills, inner.puts) = (inner.kills + 1, 0);
    }

    /// Whether a channel has not read yet all that another one had stored before it.
    pub(crate) fn are_catching_up(&self) -> bool {
        let inner = self.inner();
        inner.all.iter().flat_map(|one| &one.positions).any(|(key, _)| key == "catching up to")
    }

    /// Replaces the channel by an empty one.
    pub(crate) fn clear(&self, channel: usize) {
        self.inner().all[channel] = One::default();
    }
}

impl One {
    fn store(&mut self, batch: &Batch) {
        let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
        self.bodies.extend(batch.iter().map(|event| text(event.body())));
        for position in &batch.envelope.positions {
            self.positions.retain(|(key, _)| *key != position.key);
            let value = position.value.clone();
            self.positions.extend(value.map(|value| (position.key.clone(), value)));
        }
    }
}

#[async_trait]
impl Intake for Channels {
    async fn accept(&self, _batch: Batch) -> Result<(), IntakeError> {
        unreachable!("the adapter reserves room first")
    }

    async fn reserve(&self, size: BatchSize) -> Result<Box<dyn Permit + '_>, IntakeError> {
        let limit = self.inner().limit;
        if size.bytes > limit {
            let (size_bytes, capacity_bytes) = (size.bytes, limit);
            let channel = "c0".to_owned();
            return Err(ChannelError::TooLarge { channel, size_bytes, capacity_bytes }.into());
        }
        self.room().await;
        Ok(Box::new(Reserved(self)))
    }
}

#[async_trait]
impl PositionIntake for Channels {
    fn positions(&self, _source: &str) -> Vec<Vec<(Bytes, Bytes)>> {
        self.inner().all.iter().map(|one| one.positions.clone()).collect()
    }

    async fn accept_into(&self, batch: Batch, channels: &[usize]) -> Result<(), IntakeError> {
        self.room().await;
        let parts = channels.iter().map(|channel| (*channel, batch.clone())).collect();
        self.put(parts, false).await
    }

    async fn accept_rest(&self, rest: Rest) -> Result<(), IntakeError> {
        self.room().await;
        self.put(rest.parts, true).await
    }

    fn stores_in_turn(&self) -> bool {
        true
    }
}

struct Reserved<'a>(&'a Channels);

#[async_trait]
impl Permit for Reserved<'_> {
    async fn commit(self: Box<Self>, batch: Batch) -> Result<(), IntakeError> {
        let channels = 0..self.0.inner().all.len();
        let parts = channels.map(|channel| (channel, batch.clone())).collect();
        self.0.put(parts, false).await
    }
}
