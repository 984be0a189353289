//! The batches of a run, one put at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pipeline::env::Entropy;
use pipeline::{Batch, PieceLimits, PositionIntake, SourceContext, SourcePosition};
use support::mutant;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::DropGuard;

use super::limits;
use super::start::{Known, Leg, aimed, numbered, stored_number};
use super::store::{Refused, Store};

/// Stores the batches of a run.
///
/// Its methods never return once a batch cannot be stored: the adapter ends the run then.
pub struct Puts {
    source: Arc<str>,
    intake: Arc<dyn PositionIntake>,
    /// The number of the last put, if it is stored.
    number: Option<u64>,
    /// Channels catch up to this number: theirs does not change before they have.
    aim: Option<u64>,
    send: mpsc::Sender<Batch>,
    /// Batches that were handed over.
    begun: u64,
    stored: Arc<Stored>,
}

/// The batches of a run that are stored.
#[derive(Default)]
struct Stored {
    batches: AtomicU64,
    changed: Notify,
}

/// The task that stores them. Dropping it ends a put that waits for room.
pub(super) struct Storing {
    pub(super) task: JoinHandle<Result<(), Refused>>,
    waits: DropGuard,
}

impl Storing {
    /// Begins without a batch.
    pub(super) fn begin(
        leg: &Leg,
        source: &Arc<str>,
        entropy: &Arc<dyn Entropy>,
        cx: &SourceContext,
    ) -> (Self, Puts) {
        let intake = cx.positions.clone();
        let store = Store::new(source.clone(), entropy.clone(), intake.clone());
        let waits = store.stop().drop_guard();
        let (send, batches) = mpsc::channel(1);
        let stored = Arc::<Stored>::default();
        let into = leg.into.clone().filter(|_| !mutant!("follow_catches_up_everywhere"));
        let task = tokio::spawn(store_each(batches, store, into, stored.clone()));
        let puts = Puts {
            source: source.clone(),
            intake,
            number: leg.number,
            aim: leg.start.until.as_deref().map(stored_number),
            send,
            begun: 0,
            stored,
        };
        (Self { task, waits }, puts)
    }

    /// Ends a put that waits for room, and returns the task.
    pub(super) fn stop_waiting(self) -> JoinHandle<Result<(), Refused>> {
        if mutant!("follow_waits_after_stop") {
            self.waits.disarm();
        }
        self.task
    }
}

async fn store_each(
    mut batches: mpsc::Receiver<Batch>,
    mut store: Store,
    into: Option<Vec<usize>>,
    stored: Arc<Stored>,
) -> Result<(), Refused> {
    while let Some(batch) = batches.recv().await {
        store.put(batch, into.clone()).await?;
        stored.batches.fetch_add(1, Ordering::AcqRel);
        stored.changed.notify_waiters();
    }
    Ok(())
}

impl Puts {
    /// As [`Intake::batch_bytes_max`](pipeline::Intake::batch_bytes_max).
    pub fn batch_bytes_max(&self) -> Option<u64> {
        self.intake.batch_bytes_max()
    }

    /// Returns the limits of a batch: these, or lower ones of the downstream agents.
    pub fn limits(&self, bytes: usize, events: usize) -> PieceLimits {
        limits(&*self.intake, bytes, events)
    }

    /// Waits until no put is under way. Cancel safe.
    pub async fn stored(&mut self) {
        if mutant!("follow_confirmed_before_stored") {
            return;
        }
        loop {
            let changed = self.stored.changed.notified();
            if self.stored.batches.load(Ordering::Acquire) == self.begun {
                return;
            }
            // If the task has ended, the adapter ends the run.
            changed.await;
        }
    }

    /// Begins a put, after [`stored`](Self::stored). The batch carries the position after it.
    pub fn begin(&mut self, mut batch: Batch) {
        if let Some(number) = &mut self.number {
            *number += u64::from(self.aim.is_none());
            batch.envelope.positions.push(numbered(&self.source, *number));
        }
        if self.aim.is_some() {
            batch.envelope.positions.push(aimed(&self.source, self.aim));
        }
        self.send(batch);
    }

    /// Begins a put when the last one is stored.
    pub async fn put(&mut self, batch: Batch) {
        self.stored().await;
        self.begin(batch);
    }

    /// Ends the run of channels that catch up: they get the positions of the others.
    pub(super) async fn reach(&mut self, start: &Known, until: &Known) {
        let position = |(key, value): &(_, _), is_kept: bool| SourcePosition {
            source: self.source.clone(),
            key: bytes::Bytes::clone(key),
            value: is_kept.then(|| bytes::Bytes::clone(value)),
            after: None,
        };
        let is_gone = |(key, _): &&(_, _)| !until.iter().any(|(other, _)| other == key);
        let mut positions: Vec<SourcePosition> =
            start.iter().filter(is_gone).map(|it| position(it, false)).collect();
        positions.extend(until.iter().map(|it| position(it, true)));
        positions.push(aimed(&self.source, None));
        let mut batch = Batch::of::<&[u8]>([]);
        batch.envelope.positions = positions;
        self.stored().await;
        self.send(batch);
        self.stored().await;
    }

    fn send(&mut self, batch: Batch) {
        self.begun += 1;
        // There is room. If the task has ended, the batch counts as begun and is never stored.
        let _ = self.send.try_send(batch);
    }
}
