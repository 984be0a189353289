//! Merges: small files of one directory become a large one. A reader that lists the directory finds
//! each byte exactly once at every moment.
//!
//! ```text
//!  files a b c ─► copy of abc on the stage ─► entry of the ledger won ─► concat ─► replace
//!    a b c visible                                    a b c             abc        abc
//!                                                (3 files of 1 block)  (3 blocks)  (1 block)
//! ```
//!
//! `concat` and the replacing rename are one step of the store each and do not change any bytes.
//! Any collector that reads the entry completes it, depending on the files that exist:
//!
//! | sources | target | copy | action |
//! |---|---|---|---|
//! | all exist | of its own length | | `concat` |
//! | none exists | of the full length | staged | the replacing rename |
//! | all exist | changed from outside | missing | `concat`: it removes no byte |
//! | anything else | | staged | delete the copy, if a second check finds the same |
//! | one missing, or the target | | missing | none: the merge is over |
//!
//! # Rules (the simulator shows what each prevents)
//!
//! 1. The entry is won before a visible file is touched, and after the copy is complete.
//! 2. The target is replaced only after all sources are removed.
//! 3. A merge is won only if all entries before it were read before its directory was listed,
//!    except merges of other directories; and only in the generation in which it began.
//! 4. No file of a directory is merged while a merge of it is open. A merge is over once its copy
//!    and one of the files for `concat` are missing: then neither call can take effect, however
//!    late.
//! 5. A checkpoint carries every merge that is not over.
//!
//! The copy may be deleted at any time: then the merged file keeps its many blocks.

use std::collections::BTreeSet;

use storage::FsError;
use support::mutant;
use tokio::time::sleep;
use tracing::{debug, warn};

use super::error::LedgerError;
use super::store::{Ledger, PAUSE};

mod draft;
mod holders;
mod record;

pub use draft::{Base, Draft, MergeLimits, MergeOutcome};
pub(crate) use holders::Holders;
pub(crate) use record::{COPY, MergeBody, Merges};
pub use record::{Merge, MergedFile};

/// Maximum number of checks of one merge before it is postponed.
const CHECKS_MAX: u32 = 8;
/// Maximum number of refused calls for it until then: others wait for the ledger.
const REFUSED_MAX: u32 = 2;

/// The files of a merge that exist in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    /// Number of existing sources.
    sources: usize,
    /// The length of its target, if it exists.
    target: Option<u64>,
    /// True if its copy is staged.
    copy: bool,
}

/// The remaining action of a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Concat,
    Replace,
    DeleteCopy,
    Nothing,
}

impl Merge {
    /// Returns the remaining action by the table in the module's documentation.
    fn left(&self, found: Found) -> Left {
        let (all, none) = (found.sources == self.sources.len(), found.sources == 0);
        match found.target {
            _ if mutant!("replaced_before_concat") && found.copy => Left::Replace,
            Some(len) if all && (len == self.target.len || !found.copy) => Left::Concat,
            Some(len) if none && len == self.bytes() && found.copy => Left::Replace,
            _ if found.copy => Left::DeleteCopy,
            _ => Left::Nothing,
        }
    }
}

impl Ledger {
    /// Checks that the store can concatenate files.
    ///
    /// # Errors
    /// [`FsError::Unfit`] in the error if it cannot, or another error of the store.
    pub async fn can_merge(&self) -> Result<(), LedgerError> {
        Ok(self.fs.can_concat(&self.dataset.merging()).await?)
    }

    /// Completes open merges; merges that the store refuses stay open.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn finish_merges(&mut self) -> Result<(), LedgerError> {
        if let Err(error) = self.fs.tidy(&self.dataset.merging()).await {
            debug!(%error, "cannot delete leftovers of merges; retrying later");
        }
        let open: Vec<Merge> = self.view().open_merges().cloned().collect();
        for merge in open {
            if self.finish(&merge).await? {
                self.known.view.merge_is_over(&merge.copy);
            }
        }
        Ok(())
    }

    /// Completes one merge; returns whether it is over.
    async fn finish(&self, merge: &Merge) -> Result<bool, LedgerError> {
        let (mut before, mut refused, mut cause) = (None, 0, None);
        for _ in 0..CHECKS_MAX {
            let found = self.find_files(merge).await?;
            let again = before.replace(found) == Some(found);
            let done = match merge.left(found) {
                Left::Nothing => return Ok(true),
                Left::Concat => self.concat(merge).await,
                Left::Replace => self.replace(merge).await,
                // Files that another collector has just merged look so, too.
                Left::DeleteCopy if !again => Ok(()),
                Left::DeleteCopy => {
                    let (directory, copy) = (merge.directory(), &merge.copy);
                    debug!(directory, copy, "the small files changed, so they are not merged");
                    self.fs.delete(&self.dataset.staged(copy)).await.map(drop)
                }
            };
            if let Err(error) = done {
                cause = Some(error);
                refused += 1;
                if refused == REFUSED_MAX {
                    break;
                }
                sleep(PAUSE).await;
            }
        }
        if let Some(error) = cause {
            let (directory, error) = (merge.directory(), &error as &dyn std::error::Error);
            warn!(
                directory,
                error,
                "cannot merge the small files of a directory; no event is lost; retrying; fix the \
                 cause in `error`"
            );
        }
        Ok(false)
    }

    /// Looks up the files of a merge. If they change between the lookups, the store refuses the
    /// next call, or a second check finds the change.
    async fn find_files(&self, merge: &Merge) -> Result<Found, LedgerError> {
        let directory = self.dataset.published(merge.directory());
        let listed = self.list(directory.trim_end_matches('/')).await?;
        let names: BTreeSet<&str> = listed.iter().map(|one| one.name.as_str()).collect();
        let is_there = |file: &&MergedFile| {
            file.target.rsplit('/').next().is_some_and(|name| names.contains(name))
        };
        let sources = merge.sources.iter().filter(is_there).count();
        let target = self.length(&self.dataset.published(&merge.target.target)).await?;
        let copy = self.length(&self.dataset.staged(&merge.copy)).await?.is_some();
        Ok(Found { sources, target, copy })
    }

    async fn length(&self, path: &str) -> Result<Option<u64>, LedgerError> {
        match self.fs.stat(path).await {
            Ok(stat) => Ok(Some(stat.len)),
            Err(FsError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn concat(&self, merge: &Merge) -> Result<(), FsError> {
        let sources = merge.sources.iter().map(|file| self.dataset.published(&file.target));
        let target = self.dataset.published(&merge.target.target);
        self.fs.concat(&target, &sources.collect::<Vec<_>>(), &self.dataset.merging()).await
    }

    async fn replace(&self, merge: &Merge) -> Result<(), FsError> {
        let target = self.dataset.published(&merge.target.target);
        self.fs.replace(&self.dataset.staged(&merge.copy), &target).await
    }

    /// Returns whether a missing committed file was merged into another one.
    pub(super) async fn is_merged(&self, target: &str) -> Result<bool, LedgerError> {
        if self.newest().await?.generation() > self.view().generation() {
            // It was published before the next generation existed.
            return Ok(true);
        }
        let mut entries = self.read_whole(self.view().first()..self.view().next()).await?;
        entries.extend(self.unread_entries().await?);
        Ok(Holders::of(&entries).of_file(target).next().is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merge() -> Merge {
        let file = |name: &str, len| MergedFile { target: format!("d/{name}"), len };
        let sources = vec![file("b", 20), file("c", 30)];
        Merge { copy: "stage/x.merged".into(), target: file("a", 10), sources, crc: 7 }
    }

    /// The table of the page, row by row.
    #[test]
    fn existing_files_decide_the_remaining_merge_steps() {
        let left = |sources, target, copy| merge().left(Found { sources, target, copy });
        for copy in [true, false] {
            assert_eq!(left(2, Some(10), copy), Left::Concat);
        }
        assert_eq!(left(0, Some(60), true), Left::Replace);
        assert_eq!(left(0, Some(60), false), Left::Nothing);
        assert_eq!(left(2, Some(11), false), Left::Concat, "a changed target takes no byte away");
        for (sources, target) in
            [(2, Some(11)), (2, None), (1, Some(10)), (1, Some(60)), (0, Some(61)), (0, None)]
        {
            assert_eq!(left(sources, target, true), Left::DeleteCopy, "{sources} {target:?}");
        }
        for (sources, target) in [(2, None), (1, Some(10)), (0, Some(10)), (0, None)] {
            assert_eq!(left(sources, target, false), Left::Nothing, "{sources} {target:?}");
        }
    }

    #[test]
    fn a_merge_that_leads_out_of_its_directory_is_damaged() {
        let body = MergeBody::from_merge(&merge());
        assert_eq!(body.clone().into_merge().unwrap(), merge());
        for damage in [
            |body: &mut MergeBody| body.files.truncate(1),
            |body: &mut MergeBody| body.files[1].target = "e/b".into(),
            |body: &mut MergeBody| body.files[1].target = "d/../b".into(),
            |body: &mut MergeBody| body.copy = "/stage".into(),
        ] {
            let mut damaged = body.clone();
            damage(&mut damaged);
            assert!(damaged.into_merge().is_err());
        }
    }
}
