//! A sink and a source on loopback.

use std::sync::Arc;
use std::time::Duration;

use components_grpc::sink::Config as SinkConfig;
use components_grpc::source::Config as SourceConfig;
use metrics::Metrics;
use pipeline::testkit::{build, relay_context};
use pipeline::{
    Batch, BuildContext, Env, Epoch, Identity, IntervalSet, Origin, Outcome, RelayIntake, Sequence,
    Sink, SourceError, Taken,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longer than any wait takes; only a failing test reaches it.
const LIMIT: Duration = Duration::from_secs(20);

/// A running source.
pub(crate) struct Running {
    pub(crate) address: String,
    pub(crate) stop: CancellationToken,
    pub(crate) metrics: Metrics,
    pub(crate) ended: JoinHandle<Result<(), SourceError>>,
}

/// Starts a source at `address` with these additional settings.
pub(crate) fn start_source(
    env: &Env,
    intake: Arc<dyn RelayIntake>,
    address: &str,
    more: Value,
) -> Running {
    let folder = std::env::temp_dir();
    let settings = merged(json!({ "listen": address }), more);
    let building = BuildContext::alone("in", &folder, env.clone());
    let mut source = build::<SourceConfig>(&settings, &building).unwrap();
    let stop = CancellationToken::new();
    let cx = relay_context(intake, stop.clone());
    let ended = tokio::spawn(async move {
        source.open(&cx).await?;
        source.run(cx).await
    });
    Running { address: address.to_owned(), stop, metrics: building.metrics, ended }
}

impl Running {
    /// Returns the counter of this reason.
    pub(crate) fn anomalies(&self, reason: &str) -> u64 {
        let line = format!("aqueduct_source_anomalies_total{{source=\"in\",reason=\"{reason}\"}} ");
        let text = self.metrics.text();
        let found = text.lines().find_map(|it| it.strip_prefix(&*line));
        found.map_or(0, |count| count.parse().unwrap())
    }

    /// Stops the source and waits for its end.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        within(self.ended).await.unwrap().unwrap();
    }
}

/// Opens a sink to `address` with these additional settings.
pub(crate) async fn open_sink(env: &Env, address: &str, more: Value) -> Box<dyn Sink> {
    let mut sink = sink(env, address, more);
    within(async {
        // The source may not listen yet; a runner retries too.
        while sink.open().await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    sink
}

/// Creates a sink to `address` without opening it.
pub(crate) fn sink(env: &Env, address: &str, more: Value) -> Box<dyn Sink> {
    let folder = std::env::temp_dir();
    let settings = merged(json!({ "address": address }), more);
    build::<SinkConfig>(&settings, &BuildContext::alone("out", &folder, env.clone())).unwrap()
}

fn merged(mut settings: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("settings are an object") };
    settings.as_object_mut().unwrap().extend(more);
    settings
}

/// Returns the result of `future`, and fails if it hangs.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.expect("within the time limit")
}

pub(crate) fn identity(sequence: u64) -> Identity {
    Identity { origin: Origin([3; 16]), epoch: Epoch(1), sequence: Sequence(sequence) }
}

/// Returns batch `sequence` under ticket `sequence + 1000`.
pub(crate) fn taken(sequence: u64) -> Taken {
    let mut batch = Batch::of((0..50).map(|n| format!("batch {sequence} line {n}")));
    batch.envelope.identity = Some(identity(sequence));
    Taken { ticket: sequence + 1000, batch }
}

/// Writes batches, and waits while the window is full.
pub(crate) async fn write(sink: &mut dyn Sink, sequences: std::ops::Range<u64>) {
    for sequence in sequences {
        within(sink.write(taken(sequence))).await.unwrap();
    }
}

/// Outcomes of sequence numbers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdicts {
    pub(crate) stored: IntervalSet,
    pub(crate) delivered: IntervalSet,
    pub(crate) again: IntervalSet,
    pub(crate) held_back: IntervalSet,
    pub(crate) refused: IntervalSet,
    pub(crate) failures: Vec<String>,
}

impl Verdicts {
    /// Collects outcomes from the sink until `enough`.
    pub(crate) async fn until(&mut self, sink: &mut dyn Sink, enough: impl Fn(&Self) -> bool) {
        within(async {
            while !enough(self) {
                let settlement = sink.settled().await;
                self.add(settlement);
            }
        })
        .await;
    }

    pub(crate) fn add(&mut self, settlement: pipeline::Settlement) {
        let sequences = settlement.tickets.iter().map(|ticket| ticket - 1000).collect();
        let set = match settlement.outcome {
            Outcome::Stored => &mut self.stored,
            Outcome::Delivered => &mut self.delivered,
            Outcome::HeldBack(_) => &mut self.held_back,
            Outcome::Again(reason) => {
                self.failures.extend(reason.map(|error| error.to_string()));
                &mut self.again
            }
            Outcome::Refused(letter) => {
                assert!(letter.whole, "the next agent refuses batches, not events");
                self.failures.push(letter.detail);
                &mut self.refused
            }
        };
        set.insert_all(&sequences);
    }
}

/// Returns the sequence numbers of a range.
pub(crate) fn set(range: std::ops::Range<u64>) -> IntervalSet {
    IntervalSet::from(range)
}
