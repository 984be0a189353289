//! Intake for tests of sources: several required channels that store events and positions together,
//! as real ones do, and fail on request.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pipeline::env::Moment;
use pipeline::{Batch, ChannelError, Intake, IntakeError, PositionIntake, SourcePosition};

/// A stored event.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its body, as text.
    pub body: String,
    /// Its headers.
    pub headers: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
struct One {
    events: Vec<Event>,
    positions: BTreeMap<Bytes, Bytes>,
    /// Number of further puts to refuse.
    refusals: u32,
    refused: u32,
    /// Number of accepted puts.
    puts: usize,
}

impl One {
    /// Stores a put completely or not at all.
    fn put(&mut self, batch: &Batch) -> Result<(), IntakeError> {
        if self.refusals > 0 {
            self.refusals -= 1;
            self.refused += 1;
            let source = std::io::Error::other("refused");
            return Err(ChannelError::Disk { channel: "c".into(), source }.into());
        }
        let is_there = |position: &SourcePosition| {
            let stands = self.positions.get(&position.key);
            position.after.as_ref().is_none_or(|after| stands == Some(after))
        };
        if !batch.envelope.positions.iter().all(is_there) {
            return Err(ChannelError::OutOfTurn { channel: "c".into() }.into());
        }
        self.puts += 1;
        for SourcePosition { key, value, .. } in &batch.envelope.positions {
            match value {
                Some(value) => self.positions.insert(key.clone(), value.clone()),
                None => self.positions.remove(key),
            };
        }
        for event in batch.iter() {
            let text = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
            self.events.push(Event {
                body: String::from_utf8_lossy(event.body()).into_owned(),
                headers: event.headers().map(text).collect(),
            });
        }
        Ok(())
    }
}

/// The channels, in order.
pub struct Channels {
    all: Vec<Mutex<One>>,
    limit: Mutex<Option<u64>>,
    largest: Mutex<u64>,
    /// The last time before which everything was stored.
    reached: Mutex<Option<i64>>,
}

impl Channels {
    /// So many, which are empty.
    pub fn new(count: usize) -> Self {
        let all = (0..count).map(|_| Mutex::default()).collect();
        Self { all, limit: Mutex::default(), largest: Mutex::default(), reached: Mutex::default() }
    }

    /// Returns the last time, in milliseconds, before which the source has stored everything.
    pub fn reached(&self) -> Option<i64> {
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the batch limit of the downstream agents; returns the size of the largest batch since
    /// the last call.
    pub fn agree(&self, bytes: u64) -> u64 {
        *self.limit.lock().unwrap_or_else(PoisonError::into_inner) = Some(bytes);
        std::mem::take(&mut *self.largest.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn one(&self, channel: usize) -> std::sync::MutexGuard<'_, One> {
        self.all[channel].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a batch into one channel.
    ///
    /// # Errors
    /// A refusal that a test asked for, or a batch out of turn.
    pub fn put(&self, channel: usize, batch: &Batch) -> Result<(), IntakeError> {
        let mut largest = self.largest.lock().unwrap_or_else(PoisonError::into_inner);
        *largest = batch.size().bytes.max(*largest);
        self.one(channel).put(batch)
    }

    /// Replaces the channel by an empty one.
    pub fn clear(&self, channel: usize) {
        *self.one(channel) = One::default();
    }

    /// Returns the content of each channel, sorted.
    pub fn lines(&self) -> Vec<Vec<String>> {
        let sorted = |channel: usize| {
            let mut lines: Vec<String> =
                self.one(channel).events.iter().map(|event| event.body.clone()).collect();
            lines.sort();
            lines
        };
        (0..self.all.len()).map(sorted).collect()
    }

    /// Returns the bodies of a channel's events, in order.
    pub fn bodies(&self, channel: usize) -> Vec<String> {
        self.one(channel).events.iter().map(|event| event.body.clone()).collect()
    }

    /// Events of a channel, in their order.
    pub fn events(&self, channel: usize) -> Vec<Event> {
        self.one(channel).events.clone()
    }

    /// Returns the number of puts that a channel accepted.
    pub fn puts(&self, channel: usize) -> usize {
        self.one(channel).puts
    }

    /// Returns the number of keys with a position in a channel.
    pub fn keys(&self, channel: usize) -> usize {
        self.one(channel).positions.len()
    }

    /// Makes the channel refuse the next `puts` puts.
    pub fn refuse(&self, channel: usize, puts: u32) {
        self.one(channel).refusals = puts;
    }

    /// Waits until a channel has refused a put.
    pub async fn wait_for_refusal(&self) {
        self.wait(1, |one| one.refused > 0).await;
    }

    /// Waits until each channel has positions of so many keys.
    pub async fn wait_for_positions(&self, keys: usize) {
        self.wait(self.all.len(), |one| one.positions.len() >= keys).await;
    }

    /// Waits until each channel has an event with this body.
    pub async fn wait_for_line(&self, line: &str) {
        self.wait(self.all.len(), |one| one.events.iter().any(|event| event.body == line)).await;
    }

    /// Waits until each channel has so many events.
    pub async fn wait_for_events(&self, events: usize) {
        self.wait(self.all.len(), |one| one.events.len() >= events).await;
    }

    /// Waits until `channels` channels meet a condition.
    async fn wait(&self, channels: usize, reached: impl Fn(&One) -> bool) {
        for _ in 0..20_000 {
            if (0..self.all.len()).filter(|at| reached(&self.one(*at))).count() >= channels {
                return;
            }
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
        panic!("what was waited for did not come in 10 s");
    }
}

#[async_trait]
impl Intake for Channels {
    async fn accept(&self, batch: Batch) -> Result<(), IntakeError> {
        let all: Vec<usize> = (0..self.all.len()).collect();
        self.accept_into(batch, &all).await
    }

    fn batch_bytes_max(&self) -> Option<u64> {
        *self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl PositionIntake for Channels {
    fn positions(&self, _source: &str) -> Vec<Vec<(Bytes, Bytes)>> {
        let known = |channel: usize| {
            let one = self.one(channel);
            one.positions.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        (0..self.all.len()).map(known).collect()
    }

    async fn accept_into(&self, batch: Batch, channels: &[usize]) -> Result<(), IntakeError> {
        for channel in channels {
            // The agent may die between two channels.
            tokio::task::yield_now().await;
            self.put(*channel, &batch)?;
        }
        Ok(())
    }

    fn stores_in_turn(&self) -> bool {
        true
    }

    fn stored_before(&self, moment: Moment) {
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner) = Some(moment.wall_ms);
    }
}
