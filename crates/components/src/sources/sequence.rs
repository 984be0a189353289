//! `sequence`: produces numbered events, for measurements and tests of the pipeline.
//!
//! Each body is the event's number in decimal digits, padded with dots to the configured size. The
//! next number is stored as a position with each batch: after a restart the numbers continue
//! without a gap, and events that only one channel lacks are created again for that channel alone.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kit::follow::{CatchUp, Follow, Followed, Known, Puts, Start};
use kit::listening::DRAIN;
use peers::limits::Cut;
use pipeline::units::ByteSize;
use pipeline::{
    Batch, BuildContext, BuildError, Component, Guarantee, Source, SourceContext, SourceError,
    SourcePosition,
};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::Instant;

/// The only key of this source's positions.
const KEY: Bytes = Bytes::from_static(b"next");
/// Digits of the largest number.
const DIGITS_MAX: usize = 20;

/// Settings of the `sequence` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Number of events, which count from 0. Default: no limit.
    #[serde(default)]
    count: Option<u64>,
    /// Size of each body in bytes; a longer number is not padded.
    #[serde(default = "pipeline::units::bytes::<0>")]
    size: ByteSize,
    /// Rate in events per second. Default: as many as the channels accept.
    #[serde(default)]
    rate: Option<u32>,
    /// Events in a batch.
    #[serde(default = "pipeline::units::number_u32::<1000>")]
    batch_events: u32,
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
        let numbers = Numbers {
            name: cx.name.clone(),
            end: self.count.unwrap_or(u64::MAX),
            body_bytes: self.size.0 as usize,
            rate: self.rate,
            batch_events: self.batch_events.into(),
        };
        Ok(Box::new(Followed::new(cx, numbers)))
    }
}

struct Numbers {
    name: Arc<str>,
    end: u64,
    body_bytes: usize,
    rate: Option<u32>,
    batch_events: u64,
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
    fn events_max(&self, puts: &Puts) -> u64 {
        let Some(bytes) = puts.batch_bytes_max() else { return self.batch_events };
        let cut = Cut::within(bytes);
        let number_bytes = self.body_bytes.max(DIGITS_MAX) as u64 + 1;
        self.batch_events.min(cut.events).min(cut.body_bytes / number_bytes).max(1)
    }
}

/// Returns the next number of a channel.
fn next(known: &[(Bytes, Bytes)]) -> Option<u64> {
    let (_, value) = known.iter().find(|(key, _)| *key == KEY)?;
    Some(value[..].try_into().map_or(0, u64::from_le_bytes))
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

impl Follow for Numbers {
    const KIND: &'static str = Config::KIND;
    /// The next number, and the one at which the run ends.
    type Link = (u64, Option<u64>);

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn batch_bytes(&self) -> u64 {
        self.batch_events.saturating_mul(self.body_bytes as u64)
    }

    fn catch_up(&self) -> CatchUp {
        CatchUp::Exact
    }

    fn number(&self, known: &[(Bytes, Bytes)]) -> Option<u64> {
        next(known)
    }

    fn drain(&self) -> Duration {
        DRAIN
    }

    async fn open(&mut self, start: &Start, _: &SourceContext) -> Result<Self::Link, SourceError> {
        let until = start.until.as_ref().map(|until: &Known| next(until).unwrap_or(0));
        Ok((next(&start.known).unwrap_or(0), until))
    }

    async fn read(
        &mut self,
        (next, until): &mut Self::Link,
        puts: &mut Puts,
    ) -> Result<(), SourceError> {
        let (started, first, end) = (Instant::now(), *next, until.unwrap_or(self.end));
        while *next < end {
            let start = *next;
            *next = start.saturating_add(self.events_max(puts)).min(end);
            puts.put(self.batch(start, *next)).await;
            if let Some(rate) = self.rate {
                let due = Duration::from_secs_f64((*next - first) as f64 / f64::from(rate));
                tokio::time::sleep_until(started + due).await;
            }
        }
        if until.is_none() {
            puts.stored().await;
            tracing::info!(source = %self.name, count = self.end, "all numbers are produced");
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
