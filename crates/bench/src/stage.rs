//! A single stage of the pipeline: built from settings like in an agent, in the real environment.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use peers::FloorBoard;
use pipeline::{
    Batch, BuildContext, Env, Epoch, Floors, Identity, Intake, IntakeError, IntervalSet, KeySet,
    Known, Origin, Outcome, PositionIntake, RelayIntake, Role, Settings, Sink, SinkError, Taken,
};
use support::causes::chain;
use tokio::sync::{broadcast, watch};

use crate::error::{Error, Result};

/// The sink of [`deliver`], in messages.
const SINK: &str = "hdfs sink";

/// Builds the component `kind` of a role, with its files in `directory`.
pub(crate) fn build<R: Role + ?Sized>(
    kind: &str,
    settings: &serde_json::Value,
    directory: &Path,
) -> Result<Box<R>> {
    build_in(env::real(), kind, settings, directory)
}

/// Same in another environment.
pub(crate) fn build_in<R: Role + ?Sized>(
    world: Env,
    kind: &str,
    settings: &serde_json::Value,
    directory: &Path,
) -> Result<Box<R>> {
    let refused = |detail: String| Error::Answer { from: format!("component `{kind}`"), detail };
    let entry = catalogue::FULL.find::<R>(kind).map_err(refused)?;
    let alone = BuildContext::alone(kind, directory, world);
    let cx = BuildContext { catalogue: catalogue::FULL, ..alone };
    (entry.build)(&Settings::from_json(settings), &cx).map_err(|error| refused(error.to_string()))
}

/// Returns the seconds until the hdfs sink with these settings has delivered all batches: written,
/// synced and committed. Its data are in `directory`.
pub(crate) async fn deliver(
    settings: &serde_json::Value,
    batches: impl Iterator<Item = Batch>,
    directory: &Path,
) -> Result<f64> {
    let refused = |error: SinkError| failed(SINK, &error);
    let mut sink = build::<dyn Sink>("hdfs", settings, &directory.join("sink"))?;
    sink.open().await.map_err(refused)?;
    let started = Instant::now();
    let mut open = IntervalSet::EMPTY;
    for (ticket, batch) in (0..).zip(batches) {
        sink.write(Taken { ticket, batch }).await.map_err(refused)?;
        open.insert(ticket);
    }
    sink.flush();
    while !open.is_empty() {
        settle(&mut *sink, &mut open).await?;
    }
    let seconds = started.elapsed().as_secs_f64();
    sink.close().await;
    Ok(seconds)
}

async fn settle(sink: &mut dyn Sink, open: &mut IntervalSet) -> Result<()> {
    let settlement = sink.settled().await;
    match settlement.outcome {
        Outcome::Delivered => open.remove_all(&settlement.tickets),
        other => {
            let detail = format!("{other:?}");
            return Err(Error::Content { path_name: SINK.to_owned(), detail });
        }
    }
    Ok(())
}

/// Returns the error of a failed stage.
pub(crate) fn failed(stage: &str, error: &dyn std::error::Error) -> Error {
    Error::Program { program: stage.to_owned(), status: "error".to_owned(), output: chain(error) }
}

/// Events that have arrived at a [`Counter`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// Events of all batches.
    pub(crate) events: u64,
    /// Size of their bodies, without line ends.
    pub(crate) body_bytes: u64,
}

/// An intake that counts events and immediately reports them as stored and delivered, so that only
/// the stage before it is measured.
#[derive(Debug)]
pub(crate) struct Counter {
    arrived: watch::Sender<Arrived>,
    seen: Mutex<KeySet>,
    committed: broadcast::Sender<Arc<KeySet>>,
    floors: FloorBoard,
}

impl Counter {
    pub(crate) fn new() -> Self {
        Self {
            arrived: watch::Sender::default(),
            seen: Mutex::default(),
            committed: broadcast::Sender::new(1024),
            floors: FloorBoard::default(),
        }
    }

    /// Returns a receiver of the counts.
    pub(crate) fn watch(&self) -> watch::Receiver<Arrived> {
        self.arrived.subscribe()
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, KeySet> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Intake for Counter {
    async fn accept(&self, batch: Batch) -> Result<(), IntakeError> {
        if let Some(identity) = batch.envelope.identity {
            self.seen().insert(identity);
            // Before the source starts there is no receiver; the source then queries the set.
            let _ = self.committed.send(Arc::new([identity].into_iter().collect()));
        }
        self.arrived.send_modify(|arrived| {
            arrived.events += batch.len() as u64;
            arrived.body_bytes += batch.body_bytes();
        });
        Ok(())
    }
}

impl PositionIntake for Counter {}

impl RelayIntake for Counter {
    fn known(&self, origin: Origin, epoch: Epoch) -> Known {
        let seen = self.seen().get(origin, epoch).cloned().unwrap_or_default();
        Known { stored: seen.clone(), committed: seen }
    }

    fn close_epochs(&self, floors: &Floors) {
        self.floors.observe(floors);
    }

    fn is_closed(&self, identity: Identity) -> bool {
        self.floors.is_closed(identity)
    }

    fn watch_committed(&self) -> broadcast::Receiver<Arc<KeySet>> {
        self.committed.subscribe()
    }
}
