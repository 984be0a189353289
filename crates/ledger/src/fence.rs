//! Fencing: cleans up after another collector, without knowing whether it is dead.
//!
//! ```text
//!  suspect ─► FENCE(X) in the ledger ─► publish what entries of X name ─► delete X's stage
//! ```
//!
//! # Rules (the model of the protocol shows what each prevents)
//!
//! 1. No file of X is deleted before its fence is in the ledger: X may only be paused, and could
//!    win an entry that names deleted files. After the fence X wins nothing: it finds the index
//!    taken, reads the fence, and continues as a new incarnation.
//! 2. Files that an entry before the fence names are published, not deleted.
//! 3. A fence stays in every checkpoint forever, because X may wake up at any time.

use std::collections::{BTreeMap, BTreeSet};

use support::mutant;
use tokio::time::Instant;
use tracing::{info, warn};

use super::dataset::{Dataset, WriterId};
use super::entry::{Kind, StagedFile};
use super::error::LedgerError;
use super::store::Ledger;
use crate::committer::{AttemptKind, Verdict};

impl Ledger {
    /// Cleans up the stages of other collectors that have not changed for the configured time.
    /// Returns quickly if the next check is not due.
    ///
    /// # Errors
    /// The store failed, or this author was fenced itself. Nothing is lost; the next call
    /// continues.
    pub async fn sweep(&mut self, now: Instant) -> Result<(), LedgerError> {
        let quiet = self.options.sweep_after;
        if !self.known.watch.is_due(now, quiet) {
            return Ok(());
        }
        let stages = self.foreign_stages().await?;
        for suspect in self.known.watch.observe(stages, now, quiet) {
            self.fence(suspect).await?;
        }
        Ok(())
    }

    /// Fences one incarnation of a collector, and deletes its staged files that no entry names.
    ///
    /// # Errors
    /// As [`Ledger::sweep`].
    pub async fn fence(&mut self, suspect: WriterId) -> Result<(), LedgerError> {
        let WriterId { collector, incarnation } = suspect;
        if mutant!("no_fence") {
            self.read_ahead().await;
        } else if let Verdict::Won(index) = self.append(AttemptKind::Fence(suspect)).await? {
            warn!(%collector, %incarnation, index,
                "excluded a stopped collector from the commit ledger (fencing), because it left \
                 staged files; they are published or deleted now; no event is lost, no action \
                 needed");
        }
        // The fence is in the view now, and all entries before it.
        let named = self.named_by(suspect).await?;
        self.known.unpublished.extend(named);
        self.publish_all().await?;
        let desk = self.dataset.staged(&Dataset::desk(suspect));
        if self.awaits(&desk) {
            // The next look finds it there still.
            return Ok(());
        }
        // Without their copy, merged files would keep their many blocks.
        self.finish_merges().await?;
        self.fs.delete(&desk).await?;
        info!(%collector, %incarnation, "deleted the staged files of a stopped collector");
        Ok(())
    }

    /// The files that entries of this generation by `author` name and that are staged still. Those
    /// of older generations are published.
    async fn named_by(&self, author: WriterId) -> Result<Vec<StagedFile>, LedgerError> {
        let staged = self.staged_by(author).await?;
        let entries = self.read_whole(self.view().first()..self.view().next()).await?;
        let mut named = Vec::new();
        for entry in entries.into_iter().filter(|entry| entry.author == author) {
            if let Kind::Commit { files, .. } = entry.kind {
                named.extend(files.into_iter().filter(|file| staged.contains(&file.temp)));
            }
        }
        Ok(named)
    }

    /// Returns the staged files of other collectors, by incarnation.
    async fn foreign_stages(&self) -> Result<BTreeMap<WriterId, BTreeSet<String>>, LedgerError> {
        let mut stages = BTreeMap::new();
        for author in self.authors().await? {
            if author.collector != self.author.collector {
                stages.insert(author, self.staged_by(author).await?);
            }
        }
        Ok(stages)
    }
}
