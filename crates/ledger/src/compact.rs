//! Compaction: turns a generation of many entries into one checkpoint. Several collectors may do it
//! at the same time.
//!
//! ```text
//! seal g ─► publish all of g ─► checkpoint, in directories inside g ─rename─► g+1 ─► delete g
//! ```
//!
//! # Rules (the model of the protocol shows what each prevents)
//!
//! 1. No entry is appended after a seal, and the checkpoint contains all entries up to the seal.
//! 2. Every file of g is published before g+1 exists. Keys in a checkpoint are therefore visible,
//!    and a reader needs only the newest generation.
//! 3. The directory that becomes g+1 is inside g and is deleted with it: a compactor that was
//!    paused cannot bring back a deleted generation. No step creates g on the way.
//! 4. A generation is not sealed while a committed file of it waits for a directory that refuses
//!    it: after a seal, rule 2 would block every commit. Until then the generation grows.
//! 5. A generation is deleted in one step when its successor exists and its predecessor is deleted.
//!    Single indexes are never freed. An object store can only delete object by object: there a
//!    generation stays, and rule 3 holds because the name of its successor is never free again.
//! 6. The checkpoint carries the files of the entries that a table lacks (`tables`). No entry is
//!    appended after the seal, so it carries all of them.
//! 7. The directory that becomes g+1 has the name of the file in it, `checkpoint`. A store that
//!    moves a directory into an existing one then finds the name taken in a g+1 that was faster.

use storage::{FsError, Listed};
use support::mutant;
use tracing::{debug, info};

use super::checkpoint;
use super::dataset::Dataset;
use super::error::LedgerError;
use super::store::{CHECKS_MAX, Ledger, write_file};
use super::view::View;
use crate::committer::AttemptKind;

/// Name of a directory that becomes a generation: the same as the file in it.
const NEXT: &str = "checkpoint";

impl Ledger {
    /// Turns the generation into a checkpoint if it has many entries, and forgets the epochs that
    /// their origins have declared empty.
    ///
    /// # Errors
    /// The store failed. Nothing is lost; the next collector that meets the seal continues.
    pub async fn compact(&mut self) -> Result<(), LedgerError> {
        if self.view().entries() < self.options.compact_after || !self.may_seal().await? {
            return Ok(());
        }
        if mutant!("index_freed") {
            for index in self.view().first()..self.view().next() {
                let freed = self.dataset.entry(self.view().generation(), index);
                drop(self.fs.delete(&freed).await);
            }
        }
        if mutant!("checkpoint_before_seal") {
            let index = self.view().next();
            self.known.view.absorb_seal(index);
        }
        self.append(AttemptKind::Seal(self.view().generation())).await?;
        self.succeed().await?;
        self.remember().await;
        info!(
            generation = self.view().generation(),
            "started a new directory (generation) of the commit ledger"
        );
        Ok(())
    }

    /// Returns whether every file of the known generation is visible. While a file waits for its
    /// directory, the generation grows by one entry for each roll.
    async fn may_seal(&mut self) -> Result<bool, LedgerError> {
        if mutant!("checkpoint_before_publish") {
            return Ok(true);
        }
        if self.waiting_files() == 0 {
            self.note_generation().await?;
            self.publish_all().await?;
        }
        Ok(self.waiting_files() == 0)
    }

    /// Makes the successor of a sealed generation, unless it exists, and continues there.
    pub(super) async fn succeed(&mut self) -> Result<(), LedgerError> {
        if self.known.view.is_sealed() {
            if !mutant!("checkpoint_before_publish") {
                self.publish_generation().await?;
            }
            self.rename_in().await?;
        }
        let newest = self.newest().await?;
        if newest.generation() <= self.known.view.generation() {
            return Err(LedgerError::Sealed { generation: self.known.view.generation() });
        }
        self.take_over(newest)?;
        self.delete_old().await;
        Ok(())
    }

    /// Publishes every file of every entry of the sealed generation.
    async fn publish_generation(&mut self) -> Result<(), LedgerError> {
        self.note_generation().await?;
        self.publish_all().await?;
        self.all_published()
    }

    /// Notes the files of every entry of the generation that are staged still.
    async fn note_generation(&mut self) -> Result<(), LedgerError> {
        let staged = self.staged_files().await?;
        let (first, end) = (self.known.view.first(), self.known.view.next());
        let entries = self.read_whole(first..end).await?;
        for entry in entries {
            self.note_files(entry, &staged);
        }
        Ok(())
    }

    /// Writes the checkpoint and renames it in as the next generation. That something is missing or
    /// there already means that another one was faster.
    async fn rename_in(&mut self) -> Result<(), LedgerError> {
        let generation = self.known.view.generation();
        let name = format!("next-{}", self.author.incarnation);
        let desk = self.dataset.staged(&format!("{}/{name}", Dataset::desk(self.author)));
        let prepared = format!("{desk}/{NEXT}");
        self.fs.delete(&desk).await?;
        self.fs.mkdirs(&prepared).await?;
        let carried = self.to_carry().await?;
        let content = checkpoint::encode(&self.known.view, &self.known.declared, carried.as_ref());
        let draft = format!("{prepared}/checkpoint");
        write_file(&*self.fs, &draft, content).await?;
        let side = format!("{}/{name}", self.dataset.generation(generation));
        let (within, successor) =
            (format!("{side}/{NEXT}"), self.dataset.generation(generation + 1));
        let begin = self.dataset.checkpoint(generation + 1);
        let way = match mutant!("next_outside") {
            // An object store keeps all generations, so the name of a paused compactor is taken.
            _ if !self.fs.is_tree() => vec![(&draft, &begin)],
            true => vec![(&prepared, &successor)],
            false => vec![(&desk, &side), (&within, &successor)],
        };
        for (from, to) in way {
            match self.fs.rename(from, to).await {
                Ok(()) | Err(FsError::NotFound { .. } | FsError::AlreadyExists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if !self.fs.is_tree() {
            self.fs.delete(&desk).await?;
        }
        Ok(())
    }

    /// Returns the view at the beginning of the newest generation.
    pub(super) async fn newest(&self) -> Result<View, LedgerError> {
        for attempt in 0.. {
            let generation = newest(&self.generations().await?, &self.dataset)?;
            if generation == 0 {
                return Ok(View::new(0));
            }
            let path = self.dataset.checkpoint(generation);
            match self.fs.read(&path).await {
                Ok(bytes) => {
                    return checkpoint::decode(bytes, generation)
                        .map_err(|source| LedgerError::Entry { path, source });
                }
                // Deleted between the two calls: there is a newer one.
                Err(FsError::NotFound { .. }) if attempt < CHECKS_MAX => {}
                Err(error) => return Err(error.into()),
            }
        }
        unreachable!("the last attempt returns")
    }

    /// Returns the existing generations, oldest first.
    async fn generations(&self) -> Result<Vec<u64>, LedgerError> {
        let names = self.fs.list(&self.dataset.ledger()).await?;
        let number = |listed: &Listed| listed.name.strip_prefix('g')?.parse::<u64>().ok();
        let mut generations: Vec<u64> = names.iter().filter_map(number).collect();
        generations.sort_unstable();
        if generations.is_empty() && !self.fs.is_tree() {
            // The first generation exists once its first entry does.
            generations.push(0);
        }
        Ok(generations)
    }

    /// Deletes generations older than the newest one, oldest first. The next compaction retries
    /// those that failed.
    async fn delete_old(&self) {
        if !self.fs.is_tree() {
            return;
        }
        let Ok(mut generations) = self.generations().await else { return };
        generations.pop();
        if mutant!("generations_out_of_order") {
            generations.drain(..generations.len().saturating_sub(1));
        }
        for old in &generations {
            let from = self.dataset.generation(*old);
            let desk = Dataset::desk(self.author);
            let to = self.dataset.staged(&format!("{desk}/old-g{old}"));
            let gone = match self.fs.rename(&from, &to).await {
                Ok(()) => self.fs.delete(&to).await.map(drop),
                Err(FsError::NotFound { .. }) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = gone {
                debug!(generation = old, %error,
                    "cannot delete an old generation of the ledger; retrying later");
                return;
            }
        }
    }
}

/// The newest of these generations.
fn newest(generations: &[u64], dataset: &Dataset) -> Result<u64, LedgerError> {
    let newest = generations.last().copied();
    newest.ok_or_else(|| LedgerError::NoGeneration { path: dataset.ledger() })
}
