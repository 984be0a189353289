//! A merge before its entry is won: selects the files and writes their copy.
//!
//! Only two steps block the ledger: finding its end and winning the entry. Commits continue while
//! the copy is written.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use storage::{CreateOptions, FileSystem, FsError, Stat};
use support::mutant;
use tracing::info;

use super::record::{COPY, Merge, MergedFile};
use crate::audit::place_of;
use crate::committer::{AttemptKind, Verdict};
use crate::dataset::{Dataset, WriterId};
use crate::error::LedgerError;
use crate::store::{Ledger, check_length};
use crate::{Token, View};

/// Maximum number of files of one merge: each takes some hundred bytes of its entry.
const FILES_MAX: usize = 500;
/// Maximum number of open merges before another one begins.
const OPEN_MAX: usize = 16;
/// Files that are looked up at the same time.
const LOOKED_UP_AT_ONCE: usize = 16;

/// Limits of a merge.
#[derive(Debug, Clone, Copy)]
pub struct MergeLimits<'a> {
    /// Maximum size of a merged file. Files of at least half of it stay as they are.
    pub size_max: u64,
    /// A directory with a file of this name stays as it is.
    pub unless: Option<&'a str>,
    /// Options for creating the copy.
    pub options: CreateOptions,
}

/// The position of the ledger before a directory is listed.
pub struct Base {
    fs: Arc<dyn FileSystem>,
    dataset: Dataset,
    author: WriterId,
    token: Token,
    extension: String,
    directory: String,
    at: (u64, u64),
}

/// A merge whose copy is written.
#[derive(Debug)]
pub struct Draft {
    merge: Merge,
    at: (u64, u64),
}

/// The result of a draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeOutcome {
    /// Its entry is in the ledger. The files are one, unless the store refuses that for now.
    Won {
        /// Files that became one.
        files: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// Another collector has merged files of the directory in the meantime.
    Stale,
}

impl Ledger {
    /// Completes earlier merges and returns the end of the ledger, for a merge of `directory`.
    /// `None` if a merge of this directory is still open, or if too many are.
    ///
    /// # Errors
    /// The store failed.
    pub async fn merge_base(&mut self, directory: &str) -> Result<Option<Base>, LedgerError> {
        self.read_ahead().await;
        self.finish_merges().await?;
        let view = self.view();
        let is_open = view.open_merges().any(|merge| merge.directory() == directory);
        if is_open || view.open_merges().count() >= OPEN_MAX {
            return Ok(None);
        }
        let at = (view.generation(), view.next());
        Ok(Some(Base {
            token: self.mint(),
            fs: self.fs.clone(),
            dataset: self.dataset.clone(),
            author: self.author,
            extension: self.options.names.extension.clone(),
            directory: directory.to_owned(),
            at,
        }))
    }

    /// Wins the entry of a merge, and merges its files. On failure the copy is deleted.
    ///
    /// # Errors
    /// The store failed. The entry may still be won: then any collector finishes it.
    pub async fn merge(&mut self, draft: Draft) -> Result<MergeOutcome, LedgerError> {
        let Draft { merge, at } = draft;
        let (files, bytes) = (1 + merge.sources.len() as u64, merge.bytes());
        if mutant!("merge_without_entry") {
            self.known.view.begin_merge(&merge);
            self.finish_merges().await?;
            return Ok(MergeOutcome::Won { files, bytes });
        }
        let copy = self.dataset.staged(&merge.copy);
        let directory = merge.directory().to_owned();
        let verdict = self.append(AttemptKind::Merge { merge, at }).await?;
        self.remember().await;
        let Verdict::Won(index) = verdict else {
            // The files would be one of many blocks if its entry were won after all.
            self.fs.delete(&copy).await?;
            return Ok(MergeOutcome::Stale);
        };
        self.finish_merges().await?;
        info!(directory, index, files, bytes, "merged the small files of a directory");
        Ok(MergeOutcome::Won { files, bytes })
    }
}

impl View {
    /// Returns `true` if a merge of `directory` that began `at` must not be won, because its listed
    /// files may have been merged since.
    pub(crate) fn is_stale(&self, directory: &str, at: (u64, u64)) -> bool {
        let (generation, next) = at;
        !mutant!("merge_behind_another")
            && (self.generation() != generation || self.merges().has_since(directory, next))
    }
}

impl Base {
    /// Lists the directory, and copies the selected files. `None`: there is nothing to merge.
    ///
    /// # Errors
    /// The store failed.
    pub async fn draft(self, limits: MergeLimits<'_>) -> Result<Option<Draft>, LedgerError> {
        let files = chosen(self.candidates(&limits).await?, limits.size_max);
        let Some((target, sources)) = files.split_first().filter(|(_, more)| !more.is_empty())
        else {
            return Ok(None);
        };
        let copy = format!("{}/{}{COPY}", Dataset::desk(self.author), self.token);
        let (target, sources) = (target.clone(), sources.to_vec());
        let mut merge = Merge { copy, target, sources, crc: 0 };
        let copied = self.copy(&mut merge, limits.options).await;
        if !matches!(copied, Ok(true)) {
            drop(self.fs.delete(&self.dataset.staged(&merge.copy)).await);
        }
        Ok(copied?.then_some(Draft { merge, at: self.at }))
    }

    /// The files of the directory that are small, and that this sink has published, in the order of
    /// the entries that did.
    async fn candidates(
        &self,
        limits: &MergeLimits<'_>,
    ) -> Result<Vec<(MergedFile, Stat)>, LedgerError> {
        let below = self.dataset.published(&self.directory);
        let listed = match self.fs.list(below.trim_end_matches('/')).await {
            Ok(listed) => listed,
            Err(FsError::NotFound { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        if listed.iter().any(|one| limits.unless == Some(one.name.as_str())) {
            return Ok(Vec::new());
        }
        self.fs.can_concat_in(below.trim_end_matches('/'), &self.dataset.merging()).await?;
        let ending = format!(".{}", self.extension);
        let place = |name: &str| {
            name.ends_with(&ending).then(|| place_of(name, self.dataset.sink())).flatten()
        };
        let files = listed.into_iter().filter(|one| !one.directory);
        let mut named: Vec<_> =
            files.filter_map(|one| Some((place(&one.name)?, one.name))).collect();
        named.sort_unstable();
        let looked_up = named.into_iter().map(|(_, name)| async move {
            let target = match self.directory.as_str() {
                "" => name,
                directory => format!("{directory}/{name}"),
            };
            match self.fs.stat(&self.dataset.published(&target)).await {
                Ok(stat) => Ok(Some((MergedFile { target, len: stat.len }, stat))),
                // Removed from outside, or merged by another collector: the entry will be stale.
                Err(FsError::NotFound { .. }) => Ok(None),
                Err(error) => Err(LedgerError::from(error)),
            }
        });
        let looked_up = stream::iter(looked_up).buffered(LOOKED_UP_AT_ONCE);
        let files: Vec<_> = looked_up.try_collect().await?;
        let is_small = |stat: &Stat| stat.len > 0 && stat.len < limits.size_max / 2;
        let small = files.into_iter().flatten().filter(|(_, stat)| is_small(stat));
        Ok(small.collect())
    }

    /// Writes the copy; `false` if a file is not as it was.
    async fn copy(&self, merge: &mut Merge, options: CreateOptions) -> Result<bool, LedgerError> {
        let path = self.dataset.staged(&merge.copy);
        let mut writer = self.fs.create(&path, options).await?;
        let mut crc = 0;
        for file in [&merge.target].into_iter().chain(&merge.sources) {
            let bytes = match self.fs.read(&self.dataset.published(&file.target)).await {
                Ok(bytes) if bytes.len() as u64 == file.len => bytes,
                Ok(_) | Err(FsError::NotFound { .. }) => return Ok(false),
                Err(error) => return Err(error.into()),
            };
            crc = crc32c::crc32c_append(crc, &bytes);
            writer.write(bytes).await?;
        }
        writer.close().await?;
        check_length(&*self.fs, &path, merge.bytes()).await?;
        merge.crc = crc;
        Ok(true)
    }
}

/// Returns the first of these that fit into one file, at least two; otherwise none. A store merges
/// only files with the same block size.
fn chosen(files: Vec<(MergedFile, Stat)>, size_max: u64) -> Vec<MergedFile> {
    let (mut chosen, mut bytes, mut block) = (Vec::new(), 0, None);
    for (file, stat) in files {
        let fits = bytes + file.len <= size_max && stat.block_size == block;
        if !chosen.is_empty() && (!fits || chosen.len() == FILES_MAX) {
            if chosen.len() > 1 {
                return chosen;
            }
            chosen.clear();
        }
        if chosen.is_empty() {
            (bytes, block) = (0, stat.block_size);
        }
        bytes += file.len;
        chosen.push(file);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, len: u64, block: u64) -> (MergedFile, Stat) {
        let stat = Stat { len, directory: false, block_size: Some(block), modified: None };
        (MergedFile { target: name.into(), len }, stat)
    }

    fn names(files: Vec<(MergedFile, Stat)>) -> String {
        chosen(files, 100).into_iter().map(|file| file.target).collect()
    }

    #[test]
    fn files_in_a_row_become_one_as_far_as_they_fit() {
        assert_eq!(names(vec![file("a", 40, 1), file("b", 40, 1), file("c", 40, 1)]), "ab");
        assert_eq!(names(vec![file("a", 49, 1), file("b", 51, 1), file("c", 1, 1)]), "ab");
        assert_eq!(names(vec![file("a", 60, 1), file("b", 45, 1), file("c", 40, 1)]), "bc");
        assert_eq!(names(vec![file("a", 10, 1), file("b", 10, 2), file("c", 10, 2)]), "bc");
        assert_eq!(names(vec![file("a", 10, 1)]), "a", "which is no merge");
        assert_eq!(names(vec![]), "");
    }
}
