//! `sequence`: produces numbered events, for measurements and tests of the pipeline.
//!
//! Each body is the event's number in decimal digits, padded with dots to the configured size. The
//! next number is stored as a position with each batch: after a restart the numbers continue
//! without a gap, and events that only one channel lacks are created again for that channel alone.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use kit::listening::DRAIN;
use peers::limits::Cut;
use pipeline::env::Entropy;
use pipeline::units::ByteSize;
use pipeline::{
    Batch, BuildContext, BuildError, Classify, Component, ErrorClass, Guarantee, IntakeError,
    ResendMode, Source, SourceContext, SourceError, SourcePosition,
};
use schemars::JsonSchema;
use serde::Deserialize;
use support::backoff::jittered;
use support::failure_log::{FailureLog, seconds};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

/// The only key of this source's positions.
const KEY: Bytes = Bytes::from_static(b"next");
/// Digits of the largest number.
const DIGITS_MAX: usize = 20;
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Settings of the `sequence` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Number of events, which count from 0. Default: no limit.
    #[serde(default)]
    count: Option<u64>,
    /// Size of each body in bytes; a longer number is not padded.
    #[serde(default = "default_size")]
    size: ByteSize,
    /// Rate in events per second. Default: as many as the channels accept.
    #[serde(default)]
    rate: Option<u32>,
    /// Events in a batch.
    #[serde(default = "default_batch_events")]
    batch_events: u32,
}

fn default_size() -> ByteSize {
    ByteSize(0)
}

fn default_batch_events() -> u32 {
    1000
}

impl Component for Config {
    const KIND: &'static str = "sequence";
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        const BATCH_MAX: ByteSize = ByteSize::mib(64);
        if self.batch_events == 0 {
            return Err(BuildError::invalid("batch_events", "must be at least 1"));
        }
        if self.rate == Some(0) {
            let problem = "must be at least 1; remove it for the highest possible rate";
            return Err(BuildError::invalid("rate", problem));
        }
        let batch = (self.size.0 + DIGITS_MAX as u64).saturating_mul(self.batch_events.into());
        if batch > BATCH_MAX.0 {
            let problem = format!(
                "is too large: `batch_events` events of this size exceed {BATCH_MAX}; lower one of \
                 the two"
            );
            return Err(BuildError::invalid("size", problem));
        }
        Ok(Box::new(Numbers {
            name: cx.name.clone(),
            entropy: cx.env.entropy.clone(),
            end: self.count.unwrap_or(u64::MAX),
            body_bytes: self.size.0 as usize,
            rate: self.rate,
            batch_events: self.batch_events.into(),
            work: TaskTracker::new(),
        }))
    }
}

struct Numbers {
    name: Arc<str>,
    entropy: Arc<dyn Entropy>,
    end: u64,
    body_bytes: usize,
    rate: Option<u32>,
    batch_events: u64,
    /// Batches that are being stored: they continue even if the source ends.
    work: TaskTracker,
}

impl Numbers {
    /// Creates the events from `start` to `end`, with the position after them.
    fn batch(&self, start: u64, end: u64) -> Batch {
        let mut bodies = Vec::with_capacity((end - start) as usize * (self.body_bytes + 2));
        let mut lengths = Vec::with_capacity((end - start) as usize);
        let mut digits = [0; DIGITS_MAX];
        for number in start..end {
            let from = bodies.len();
            bodies.extend_from_slice(decimal(number, &mut digits));
            bodies.resize(bodies.len().max(from + self.body_bytes), b'.');
            lengths.push((bodies.len() - from) as u32);
            bodies.push(b'\n');
        }
        let mut batch = Batch::of_lines(bodies.into(), &lengths);
        let value = Some(Bytes::copy_from_slice(&end.to_le_bytes()));
        batch.envelope.positions.push(SourcePosition {
            source: self.name.clone(),
            key: KEY,
            value,
            after: None,
        });
        batch
    }

    /// Returns the maximum number of events in the next batch: as configured, or lower for the
    /// downstream agents.
    fn events_max(&self, cx: &SourceContext) -> u64 {
        let Some(bytes) = cx.intake.batch_bytes_max() else { return self.batch_events };
        let cut = Cut::within(bytes);
        let number_bytes = self.body_bytes.max(DIGITS_MAX) as u64 + 1;
        self.batch_events.min(cut.events).min(cut.body_bytes / number_bytes).max(1)
    }

    /// Returns the position of each required channel.
    fn standing(&self, cx: &SourceContext) -> Vec<u64> {
        let next = |positions: &Vec<(Bytes, Bytes)>| {
            let value = positions.iter().find(|(key, _)| *key == KEY).map(|(_, value)| value);
            value.and_then(|value| value[..].try_into().ok()).map_or(0, u64::from_le_bytes)
        };
        cx.positions.positions(&self.name).iter().map(next).collect()
    }

    /// Creates and stores the next batch; returns its number of events.
    async fn step(&self, standing: &mut [u64], cx: &SourceContext) -> Result<u64, IntakeError> {
        let start = standing.iter().copied().min().unwrap_or(0);
        let further = standing.iter().copied().filter(|next| *next > start).min();
        let end = start.saturating_add(self.events_max(cx)).min(self.end);
        let end = further.map_or(end, |further| end.min(further));
        let batch = self.batch(start, end);
        let intake = cx.positions.clone();
        let stored = if further.is_none() {
            self.work.spawn(async move { intake.accept(batch).await })
        } else {
            let lagging = (0..).zip(standing.iter()).filter(|(_, next)| **next == start);
            let lagging: Vec<usize> = lagging.map(|(channel, _)| channel).collect();
            self.work.spawn(async move { intake.accept_into(batch, &lagging).await })
        };
        // The task ends without a result only when the runtime shuts down.
        stored.await.unwrap_or(Err(IntakeError::Stopping))?;
        standing.iter_mut().filter(|next| **next == start).for_each(|next| *next = end);
        Ok(end - start)
    }

    async fn make(&self, cx: &SourceContext) -> Result<(), SourceError> {
        let started = Instant::now();
        let (mut made, mut trouble) = (0_u64, FailureLog::default());
        let mut standing = self.standing(cx);
        while standing.iter().any(|next| *next < self.end) {
            let error = match self.step(&mut standing, cx).await {
                Ok(events) => {
                    made += events;
                    if let Some((failures, lasted)) = trouble.over(Instant::now()) {
                        tracing::info!(
                            source = %self.name, failures, lasted_seconds = seconds(lasted),
                            "batches are stored again",
                        );
                    }
                    if let Some(rate) = self.rate {
                        let due = Duration::from_secs_f64(made as f64 / f64::from(rate));
                        tokio::time::sleep_until(started + due).await;
                    }
                    continue;
                }
                Err(IntakeError::Stopping) => break,
                Err(error) => error,
            };
            match error.class() {
                ErrorClass::Transient | ErrorClass::Indeterminate => {}
                class @ (ErrorClass::Poison | ErrorClass::Blocked | ErrorClass::Fatal) => {
                    let message = "cannot store a batch".to_owned();
                    return Err(SourceError { class, message, source: Some(Box::new(error)) });
                }
            }
            let (now, text) = (Instant::now(), error.to_string());
            trouble.count(now);
            if let Some((failures, lasts)) = trouble.should_log(now, &text) {
                tracing::warn!(
                    source = %self.name, error = %text, failures, lasts_seconds = seconds(lasts),
                    "cannot store a batch; retrying",
                );
            }
            let pause = jittered(RETRY_MIN, RETRY_MAX, trouble.failures(), self.entropy.next_u64());
            tokio::time::sleep(pause).await;
            // Some channels may have it: ask them for their positions.
            standing = self.standing(cx);
        }
        Ok(())
    }
}

/// Formats `number` in decimal digits.
fn decimal(mut number: u64, digits: &mut [u8; DIGITS_MAX]) -> &[u8] {
    let mut at = DIGITS_MAX;
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

#[async_trait]
impl Source for Numbers {
    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn resend_mode(&self) -> ResendMode {
        ResendMode::ByPosition
    }

    fn batch_bytes(&self) -> u64 {
        self.batch_events.saturating_mul(self.body_bytes as u64)
    }

    async fn open(&mut self, cx: &SourceContext) -> Result<(), SourceError> {
        if self.standing(cx).is_empty() {
            let message = "the source has no required channel".to_owned();
            return Err(SourceError { class: ErrorClass::Fatal, message, source: None });
        }
        Ok(())
    }

    async fn run(&mut self, cx: SourceContext) -> Result<(), SourceError> {
        let made = cx.stop.run_until_cancelled(self.make(&cx)).await;
        // Batches in flight are stored to their end. If one still waits for room, the next start
        // asks the channels which of them have it.
        self.work.close();
        let _ = timeout(DRAIN, self.work.wait()).await;
        match made {
            Some(Ok(())) => {
                tracing::info!(source = %self.name, count = self.end, "all numbers are produced");
                cx.stop.cancelled().await;
                Ok(())
            }
            Some(Err(error)) => Err(error),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
