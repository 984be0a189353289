//! Sends pieces to the channels: each batch with the position after it, to the channels that lack
//! it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kit::until_stored::{Refused, UntilStored};
use peers::limits::Cut;
use pipeline::env::Entropy;
use pipeline::{Batch, PieceLimits, PositionIntake, SourcePosition};

use super::config::Options;
use super::mark::Mark;

/// Maximum number of positions that one batch removes.
const FORGET_MAX: usize = 1_000;

/// Stores batches.
pub(super) struct Feed {
    source: Arc<str>,
    intake: Arc<dyn PositionIntake>,
    until_stored: UntilStored,
    /// Keys to remove with the next batch for all channels.
    forget: BTreeSet<Bytes>,
}

impl Feed {
    pub(super) fn new(
        source: Arc<str>,
        entropy: Arc<dyn Entropy>,
        intake: Arc<dyn PositionIntake>,
    ) -> Self {
        let until_stored = UntilStored::new(source.clone(), entropy, intake.clone());
        Self { source, intake, until_stored, forget: BTreeSet::new() }
    }

    /// Returns the limits of a batch: the configured ones, or lower ones of the downstream agents.
    pub(super) fn limits(&self, options: &Options) -> PieceLimits {
        let set = PieceLimits { bytes: options.batch_bytes(), events: options.batch_events };
        let Some(cut) = self.intake.batch_bytes_max().map(Cut::within) else { return set };
        let smaller = |set: usize, most: u64| set.min(usize::try_from(most).unwrap_or(usize::MAX));
        PieceLimits {
            bytes: smaller(set.bytes, cut.body_bytes),
            events: smaller(set.events, cut.events),
        }
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
            let keys: Vec<Bytes> =
                batch.envelope.positions.iter().map(|it| it.key.clone()).collect();
            let lacks = |known: &[(Bytes, Bytes)]| known.iter().any(|(key, _)| keys.contains(key));
            self.until_stored.put(batch, None, lacks).await?;
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
        batch.envelope.positions.push(SourcePosition {
            source,
            key: key.clone(),
            value,
            after: None,
        });
        let lacks = |known: &[(Bytes, Bytes)]| {
            let value = known.iter().find(|(known, _)| *known == key).map(|(_, value)| value);
            let has = value.and_then(|value| Mark::decode(value));
            has.is_none_or(|has| has.sight != mark.sight || has.at < mark.at)
        };
        self.until_stored.put(batch, targets, lacks).await
    }

    fn add_forgotten(&mut self, batch: &mut Batch) {
        for _ in 0..FORGET_MAX {
            let Some(key) = self.forget.pop_first() else { return };
            let source = self.source.clone();
            batch.envelope.positions.push(SourcePosition { source, key, value: None, after: None });
        }
    }

    /// Waits for unfinished batches, for `limit` at most.
    pub(super) async fn finish(&self, limit: Duration) {
        self.until_stored.finish(limit).await;
    }
}
