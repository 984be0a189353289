//! `stress`: produces the same event as fast as the channels accept it, to load the pipeline.
//!
//! A batch is created once and stored many times, so that the source itself costs almost nothing.
//! As in Flume, bodies are bytes of 0x7f. Events have no numbers: use `sequence` to detect lost or
//! repeated events.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kit::gathered::Destination;
use kit::listening::DRAIN;
use metrics::Metrics;
use peers::limits::Cut;
use pipeline::env::Entropy;
use pipeline::units::ByteSize;
use pipeline::{
    Batch, BuildContext, BuildError, Classify, Component, ErrorClass, Guarantee, IntakeError,
    ResendMode, Source, SourceContext, SourceError,
};
use schemars::JsonSchema;
use serde::Deserialize;
use support::backoff::jittered;
use support::failure_log::{FailureLog, seconds};
use tokio::time::{Instant, sleep, sleep_until};

/// Maximum size of a batch.
const BATCH_MAX: ByteSize = ByteSize::mib(64);
/// Pauses between attempts to store a batch.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Settings of the `stress` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Size of each body in bytes.
    #[serde(default = "pipeline::units::bytes::<500>")]
    size: ByteSize,
    /// Number of events to send, stored or not. Default: no limit.
    #[serde(default)]
    max_total_events: Option<u64>,
    /// Number of events to store. Default: no limit.
    #[serde(default)]
    max_successful_events: Option<u64>,
    /// Events in a batch. Flume's default is 1.
    #[serde(default = "pipeline::units::number_u32::<1000>")]
    batch_events: u32,
    /// Rate in events per second. Default: as many as the channels accept.
    #[serde(default)]
    rate: Option<u32>,
}

impl Component for Config {
    const KIND: &'static str = "stress";
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        if self.batch_events == 0 {
            return Err(BuildError::invalid("batch_events", "must be at least 1"));
        }
        if self.rate == Some(0) {
            let problem = "must be at least 1; remove it for the highest possible rate";
            return Err(BuildError::invalid("rate", problem));
        }
        if self.size.0.saturating_add(1).saturating_mul(self.batch_events.into()) > BATCH_MAX.0 {
            let problem = format!(
                "is too large: `batch_events` events of this size exceed {BATCH_MAX}; lower one of \
                 the two"
            );
            return Err(BuildError::invalid("size", problem));
        }
        Ok(Box::new(Stress {
            name: cx.name.clone(),
            entropy: cx.env.entropy.clone(),
            metrics: cx.metrics.clone(),
            settings: self,
        }))
    }
}

struct Stress {
    name: Arc<str>,
    entropy: Arc<dyn Entropy>,
    metrics: Metrics,
    settings: Config,
}

/// Number of events so far.
#[derive(Default)]
struct Tally {
    total: u64,
    successful: u64,
}

impl Stress {
    /// Creates a batch of `events` events.
    fn batch(&self, events: u64) -> Batch {
        let size = self.settings.size.0 as usize;
        let mut bodies = vec![0x7f; (size + 1) * events as usize];
        bodies.iter_mut().skip(size).step_by(size + 1).for_each(|end| *end = b'\n');
        Batch::of_lines(bodies.into(), &vec![size as u32; events as usize])
    }

    /// Returns the number of events in the next batch; 0 at the end.
    fn next(&self, tally: &Tally, bytes_max: Option<u64>) -> u64 {
        let Config { max_total_events, max_successful_events, .. } = self.settings;
        let left = |most: Option<u64>, so_far: u64| most.map_or(u64::MAX, |most| most - so_far);
        let fits = bytes_max.map(Cut::within).map_or(u64::MAX, |cut| {
            cut.events.min(cut.body_bytes / (self.settings.size.0 + 1)).max(1)
        });
        u64::from(self.settings.batch_events)
            .min(fits)
            .min(left(max_total_events, tally.total))
            .min(left(max_successful_events, tally.successful))
    }

    async fn make(&self, cx: &SourceContext, to: &Destination) -> Result<(), SourceError> {
        let (started, mut tally, mut trouble) =
            (Instant::now(), Tally::default(), FailureLog::default());
        let mut batch = Batch::default();
        loop {
            let events = self.next(&tally, cx.intake.batch_bytes_max());
            if events == 0 {
                let Tally { total, successful } = tally;
                tracing::info!(source = %self.name, total, successful, "all events are produced");
                return Ok(());
            }
            if batch.len() as u64 != events {
                batch = self.batch(events);
            }
            tally.total += events;
            match to.store(batch.clone()).await {
                Ok(()) => {
                    tally.successful += events;
                    if let Some((failures, lasted)) = trouble.over(Instant::now()) {
                        tracing::info!(
                            source = %self.name, failures, lasted_seconds = seconds(lasted),
                            "batches are stored again",
                        );
                    }
                }
                Err(IntakeError::Stopping) => return Ok(()),
                Err(error) => self.failed(error, &mut trouble).await?,
            }
            if let Some(rate) = self.settings.rate {
                let due = Duration::from_secs_f64(tally.total as f64 / f64::from(rate));
                sleep_until(started + due).await;
            }
        }
    }

    /// Waits after a batch that was not stored; its events are lost.
    async fn failed(
        &self,
        error: IntakeError,
        trouble: &mut FailureLog,
    ) -> Result<(), SourceError> {
        match error.class() {
            ErrorClass::Transient | ErrorClass::Indeterminate => {}
            class @ (ErrorClass::Poison | ErrorClass::Blocked | ErrorClass::Fatal) => {
                let message = "cannot store a batch of generated events".to_owned();
                return Err(SourceError { class, message, source: Some(Box::new(error)) });
            }
        }
        let (now, text) = (Instant::now(), error.to_string());
        trouble.count(now);
        if let Some((failures, lasts)) = trouble.should_log(now, &text) {
            tracing::warn!(
                source = %self.name, error = %text, failures, lasts_seconds = seconds(lasts),
                "cannot store a batch of generated events, which is dropped; continuing with the \
                 next one; fix the cause in `error`",
            );
        }
        sleep(jittered(RETRY.0, RETRY.1, trouble.failures(), self.entropy.next_u64())).await;
        Ok(())
    }
}

#[async_trait]
impl Source for Stress {
    fn guarantee(&self) -> Guarantee {
        // A batch that is not stored is not repeated.
        Guarantee::BestEffort
    }

    fn resend_mode(&self) -> ResendMode {
        ResendMode::Nothing
    }

    fn batch_bytes(&self) -> u64 {
        self.settings.size.0.saturating_mul(self.settings.batch_events.into())
    }

    async fn run(&mut self, cx: SourceContext) -> Result<(), SourceError> {
        let (name, metrics) = (self.name.clone(), self.metrics.clone());
        let to = Destination::new(name, metrics, cx.intake.clone(), usize::MAX);
        let ended = cx.stop.run_until_cancelled(self.make(&cx, &to)).await;
        to.finish(DRAIN).await;
        ended.unwrap_or(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use kit::testkit::channels::Channels;
    use pipeline::testkit::{build, plain_context};
    use serde_json::{Value, json};
    use tokio_util::sync::CancellationToken;

    use super::*;

    async fn run(settings: &Value, channels: &Arc<Channels>) {
        let cx = BuildContext::alone("in", Path::new("unused"), env::real());
        let mut source = build::<Config>(settings, &cx).unwrap();
        let cx = plain_context(channels.clone(), CancellationToken::new());
        source.open(&cx).await.unwrap();
        source.run(cx).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn produces_the_set_number_of_events_of_the_set_size() {
        for (setting, refusals, stored, puts) in [
            ("max_total_events", 0, 25, 3),
            ("max_total_events", 1, 15, 2),
            ("max_successful_events", 1, 25, 3),
        ] {
            let channels = Arc::new(Channels::new(1));
            channels.refuse(0, refusals);
            run(&json!({ setting: 25, "batch_events": 10, "size": "3B" }), &channels).await;
            let events = channels.events(0);
            assert_eq!((events.len(), channels.puts(0)), (stored, puts), "{setting} {refusals}");
            assert!(events.iter().all(|event| event.body == "\x7f\x7f\x7f"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_held_and_batches_are_cut_to_what_the_next_agents_take() {
        let channels = Arc::new(Channels::new(1));
        channels.agree(2_000);
        let began = Instant::now();
        run(&json!({ "max_total_events": 100, "rate": 10, "size": "90B" }), &channels).await;
        assert_eq!(began.elapsed().as_secs(), 10);
        assert!(channels.agree(0) <= 2_000 && channels.puts(0) >= 10);
        assert_eq!(channels.events(0).len(), 100);
    }

    #[test]
    fn settings_that_can_never_work_are_named() {
        let cx = BuildContext::alone("in", Path::new("unused"), env::real());
        for (settings, named) in [
            (json!({ "batch_events": 0 }), "batch_events"),
            (json!({ "rate": 0 }), "rate"),
            (json!({ "size": "1MiB" }), "size"),
        ] {
            let error = build::<Config>(&settings, &cx).err().unwrap();
            assert_eq!(error.path, named, "{error}");
        }
    }
}
