//! Contexts for sources under test, which have the sides of the intake that the source may use. A
//! source that uses another one fails its test.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::batch::{Batch, BatchSize};
use crate::floors::Floors;
use crate::identity::{Epoch, Identity, KeySet, Origin};
use crate::intake::{Intake, IntakeError, Known, Outage, Permit, PositionIntake, RelayIntake};
use crate::ledgers::LedgerState;
use crate::routing::Routing;
use crate::source::SourceContext;

const POSITIONS: &str = "this source keeps no positions in its channels";
const RELAY: &str = "this source relays no batches of other agents";

/// The context of a source that needs nothing more than [`Intake`].
pub fn plain_context(intake: Arc<dyn Intake>, stop: CancellationToken) -> SourceContext {
    let narrow = Arc::new(NarrowIntake(intake.clone()));
    SourceContext { intake, positions: narrow.clone(), relay: narrow, stop }
}

/// The context of a source that keeps positions.
pub fn position_context(
    positions: Arc<dyn PositionIntake>,
    stop: CancellationToken,
) -> SourceContext {
    SourceContext { positions: positions.clone(), ..plain_context(positions, stop) }
}

/// The context of a source that relays batches.
pub fn relay_context(relay: Arc<dyn RelayIntake>, stop: CancellationToken) -> SourceContext {
    SourceContext { relay: relay.clone(), ..plain_context(relay, stop) }
}

/// An intake without its wider sides.
struct NarrowIntake(Arc<dyn Intake>);

#[async_trait]
impl Intake for NarrowIntake {
    async fn accept(&self, batch: Batch) -> Result<(), IntakeError> {
        self.0.accept(batch).await
    }

    async fn reserve(&self, size: BatchSize) -> Result<Box<dyn Permit + '_>, IntakeError> {
        self.0.reserve(size).await
    }

    fn batch_bytes_max(&self) -> Option<u64> {
        self.0.batch_bytes_max()
    }
}

#[async_trait]
impl PositionIntake for NarrowIntake {
    fn positions(&self, _source: &str) -> Vec<Vec<(Bytes, Bytes)>> {
        unreachable!("{POSITIONS}")
    }

    async fn accept_into(&self, _batch: Batch, _channels: &[usize]) -> Result<(), IntakeError> {
        unreachable!("{POSITIONS}")
    }

    fn stores_in_turn(&self) -> bool {
        unreachable!("{POSITIONS}")
    }
}

impl RelayIntake for NarrowIntake {
    fn known(&self, _origin: Origin, _epoch: Epoch) -> Known {
        unreachable!("{RELAY}")
    }

    fn close_epochs(&self, _floors: &Floors) {
        unreachable!("{RELAY}")
    }

    fn is_closed(&self, _identity: Identity) -> bool {
        unreachable!("{RELAY}")
    }

    fn watch_committed(&self) -> broadcast::Receiver<Arc<KeySet>> {
        unreachable!("{RELAY}")
    }

    fn is_full(&self) -> bool {
        unreachable!("{RELAY}")
    }

    fn outage(&self) -> Option<Outage> {
        unreachable!("{RELAY}")
    }

    fn batch_bytes_taken(&self) -> Option<u64> {
        unreachable!("{RELAY}")
    }

    fn ledgers(&self) -> Vec<LedgerState> {
        unreachable!("{RELAY}")
    }

    fn routing(&self) -> Option<Routing> {
        unreachable!("{RELAY}")
    }
}
