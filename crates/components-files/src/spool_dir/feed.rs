//! Sends pieces to the channels: each batch with the position after it, to the channels that lack
//! it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kit::follow::{Refused, Store, limits};
use pipeline::env::{Entropy, Moment};
use pipeline::{Batch, PieceLimits, PositionIntake, SourcePosition};

use super::config::Options;
use super::mark::Mark;

/// Maximum number of positions that one batch removes.
const FORGET_MAX: usize = 1_000;

/// Stores batches.
pub(super) struct Feed {
    source: Arc<str>,
    intake: Arc<dyn PositionIntake>,
    store: Store,
    /// Keys to remove with the next batch for all channels.
    forget: BTreeSet<Bytes>,
}

impl Feed {
    pub(super) fn new(
        source: Arc<str>,
        entropy: Arc<dyn Entropy>,
        intake: Arc<dyn PositionIntake>,
    ) -> Self {
        let store = Store::new(source.clone(), entropy, intake.clone());
        Self { source, intake, store, forget: BTreeSet::new() }
    }

    /// Returns the limits of a batch: the configured ones, or lower ones of the downstream agents.
    pub(super) fn limits(&self, options: &Options) -> PieceLimits {
        limits(&*self.intake, options.batch_bytes(), options.batch_events)
    }

    /// Reports that everything before this moment is stored.
    pub(super) fn stored_before(&self, moment: Moment) {
        self.intake.stored_before(moment);
    }

    /// Removes the key with one of the next batches.
    pub(super) fn forget_with_next(&mut self, key: Bytes) {
        self.forget.insert(key);
    }

    /// Returns true if there are so many keys to remove that it must not wait.
    pub(super) fn has_many_removals(&self) -> bool {
        self.forget.len() >= FORGET_MAX
    }

    /// Removes the pending keys now.
    pub(super) async fn forget(&mut self) -> Result<(), Refused> {
        while !self.forget.is_empty() {
            let mut batch = Batch::default();
            self.add_forgotten(&mut batch);
            self.store.put(batch, None).await?;
        }
        Ok(())
    }

    /// Stores a batch of the file with its mark, and retries until it succeeds: in `targets`, or in
    /// all channels.
    pub(super) async fn store(
        &mut self,
        mut batch: Batch,
        mark: &Mark,
        targets: Option<Vec<usize>>,
    ) -> Result<(), Refused> {
        let (key, value) = (mark.sight.key(), Some(mark.encode()));
        // A deleted file may have had this inode.
        self.forget.remove(&key);
        if targets.is_none() {
            self.add_forgotten(&mut batch);
        }
        let source = self.source.clone();
        batch.envelope.positions.push(SourcePosition { source, key, value, after: None });
        self.store.put(batch, targets).await
    }

    fn add_forgotten(&mut self, batch: &mut Batch) {
        for _ in 0..FORGET_MAX {
            let Some(key) = self.forget.pop_first() else { return };
            let source = self.source.clone();
            batch.envelope.positions.push(SourcePosition { source, key, value: None, after: None });
        }
    }

    /// Waits for unfinished batches, for `limit` at most.
    pub(super) async fn finish(&mut self, limit: Duration) {
        self.store.finish(limit).await;
    }
}
