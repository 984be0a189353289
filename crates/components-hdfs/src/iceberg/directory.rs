//! A table without a catalog server: the versions of its metadata are files in its directory, as in
//! Iceberg's `HadoopCatalog`.
//!
//! ```text
//!  newest version N ─► N and the commit, in a new file ─rename, never replaces─► version N+1
//!                                                                 ─► version-hint.text
//! ```
//!
//! The rename is the commit. If another writer has created N+1, it fails. If its answer is lost,
//! the caller loads the table again, as after any missing answer of a catalog server.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use iceberg::TableError;
use iceberg::metadata::Table;
use iceberg::versions::{
    HINT, committed, compressed_names, created, forgotten, name, split, version_of,
};
use pipeline::Env;
use pipeline::env::unix_millis;
use serde::de::IgnoredAny;
use serde_json::Value;
use storage::{FileSystem, FsError};
use support::hex::hex;

use super::{
    Catalog, CatalogError, CommitAnswer, DELETED_MAX, check_length, compressed, uuid, write_new,
};

/// A table in a directory of a store.
pub(crate) struct DirectoryCatalog {
    fs: Arc<dyn FileSystem>,
    env: Env,
    /// URL of the table, as readers need it.
    location: String,
    /// Path of its metadata in the store.
    metadata: String,
}

impl DirectoryCatalog {
    /// Creates the catalog of the table at this URL, whose directory in the store is `path`.
    pub(crate) fn new(fs: Arc<dyn FileSystem>, env: Env, location: &str, path: &str) -> Self {
        let (location, metadata) = (location.to_owned(), format!("{path}/metadata"));
        Self { fs, env, location, metadata }
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.metadata)
    }

    async fn exists(&self, name: &str) -> Result<bool, FsError> {
        match self.fs.stat(&self.path(name)).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns whether any writer has created this version.
    async fn has(&self, version: u64) -> Result<bool, FsError> {
        if self.exists(&name(version)).await? {
            return Ok(true);
        }
        for name in compressed_names(version) {
            if self.exists(&name).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the version in the hint, if it has one.
    async fn hint(&self) -> Result<Option<u64>, FsError> {
        match self.fs.read(&self.path(HINT)).await {
            Ok(text) => Ok(String::from_utf8_lossy(&text).trim().parse().ok()),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the newest version; `None` if the table does not exist.
    async fn newest(&self) -> Result<Option<u64>, FsError> {
        let mut newest = match self.hint().await? {
            Some(hint) if self.has(hint).await? => hint,
            // Another writer replaces the hint now, or it names a deleted version.
            _ => match self.fs.list(&self.metadata).await {
                Ok(listed) => match listed.iter().filter_map(|it| version_of(&it.name)).max() {
                    Some(newest) => newest,
                    None => return Ok(None),
                },
                Err(error) if error.is_not_found() => return Ok(None),
                Err(error) => return Err(error),
            },
        };
        while self.has(newest + 1).await? {
            newest += 1;
        }
        Ok(Some(newest))
    }

    /// Reads the newest version.
    async fn read(&self) -> Result<Option<(u64, Bytes)>, CatalogError> {
        let Some(version) = self.newest().await? else { return Ok(None) };
        match self.fs.read(&self.path(&name(version))).await {
            Ok(content) => Ok(Some((version, content))),
            Err(error) if error.is_not_found() && self.has(version).await? => {
                Err(compressed(&format!("version {version}")))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the error of a version that is not a table.
    fn unreadable(&self, version: u64, content: &[u8], error: TableError) -> CatalogError {
        let Err(incomplete) = serde_json::from_slice::<IgnoredAny>(content) else {
            return error.into();
        };
        let problem = format!(
            "has an incomplete version, for example after a power failure: {} ({} bytes: \
             {incomplete}); restore it, or delete it if it is the newest one",
            self.path(&name(version)),
            content.len()
        );
        TableError::Unsupported { problem }.into()
    }

    /// Writes a file under a new name, for a rename.
    async fn written(&self, content: Vec<u8>) -> Result<String, FsError> {
        let path = self.path(&format!("aqueduct-{}.tmp", hex(&self.env.entropy.bytes16())));
        write_new(&*self.fs, &path, content).await?;
        Ok(path)
    }

    /// Creates a version. `false` if it exists.
    async fn create_version(&self, version: u64, content: String) -> Result<bool, Step> {
        let content = content.into_bytes();
        let (length, path) = (content.len() as u64, self.path(&name(version)));
        let written = self.written(content).await.map_err(Step::Before)?;
        match self.fs.rename(&written, &path).await {
            Ok(()) => {
                let complete = check_length(&*self.fs, &path, length).await;
                complete.map(|()| true).map_err(Step::Rename)
            }
            Err(FsError::AlreadyExists { .. }) => {
                // If this fails, the file stays until a removal of orphan files.
                let _ = self.fs.delete(&written).await;
                Ok(false)
            }
            Err(error) => Err(Step::Rename(error)),
        }
    }

    /// Deletes these versions and all earlier ones, from the oldest one on, up to a limit. So no
    /// version between two others is ever missing, where a reader with an old hint would stop. The
    /// next commits delete the others.
    async fn delete_forgotten(&self, versions: &[u64]) -> Result<(), FsError> {
        let (Some(&first), Some(&last)) = (versions.first(), versions.last()) else {
            return Ok(());
        };
        let oldest = self.oldest(first).await?;
        for version in (oldest..=last).take(DELETED_MAX) {
            self.fs.delete(&self.path(&name(version))).await?;
        }
        Ok(())
    }

    /// Returns the oldest version of the unbroken row that ends with this one. There may be
    /// thousands, if the table has not asked to delete them before: so the steps double, and the
    /// rest is bisected.
    async fn oldest(&self, known: u64) -> Result<u64, FsError> {
        let (mut missing, mut oldest, mut step) = (0, known, 1);
        while oldest > missing + 1 {
            let probe = match missing {
                0 => oldest.saturating_sub(step).max(1),
                _ => missing.midpoint(oldest),
            };
            match self.exists(&name(probe)).await? {
                true => (oldest, step) = (probe, step * 2),
                false => missing = probe,
            }
        }
        Ok(oldest)
    }

    /// Makes the hint name this version, unless it names a later one that exists.
    async fn set_hint(&self, version: u64) -> Result<(), FsError> {
        match self.hint().await? {
            Some(hint) if hint == version => return Ok(()),
            Some(hint) if hint > version && self.has(hint).await? => return Ok(()),
            _ => {}
        }
        let (hint, written) = (self.path(HINT), self.written(version.to_string().into()).await?);
        match self.fs.replace(&written, &hint).await {
            // Readers look for the newest version while there is no hint.
            Err(FsError::Unfit { .. }) => {
                self.fs.delete(&hint).await?;
                match self.fs.rename(&written, &hint).await {
                    Err(FsError::AlreadyExists { .. }) => self.fs.delete(&written).await.map(drop),
                    renamed => renamed,
                }
            }
            replaced => replaced,
        }
    }
}

/// When the creation of a version failed.
enum Step {
    /// Before the rename: it does not exist.
    Before(FsError),
    /// In the rename: it may exist.
    Rename(FsError),
}

impl From<Step> for FsError {
    fn from(step: Step) -> Self {
        match step {
            Step::Before(error) | Step::Rename(error) => error,
        }
    }
}

#[async_trait]
impl Catalog for DirectoryCatalog {
    async fn load(&self) -> Result<Option<Table>, CatalogError> {
        let Some((version, content)) = self.read().await? else { return Ok(None) };
        let table = Table::from_metadata(&content)
            .map_err(|error| self.unreadable(version, &content, error))?;
        // A writer may have died before it wrote the hint.
        self.set_hint(version).await?;
        Ok(Some(table))
    }

    async fn create(&self, request: &Value) -> Result<(), CatalogError> {
        let uuid = uuid(self.env.entropy.bytes16());
        let at_ms = i64::try_from(unix_millis(self.env.clock.now())).unwrap_or(i64::MAX);
        let first = created(request, &uuid, at_ms);
        Ok(self.create_version(1, first.to_string()).await.map(drop).map_err(FsError::from)?)
    }

    async fn commit(&self, request: &Value) -> Result<CommitAnswer, CatalogError> {
        let changed = || Ok(CommitAnswer::Unsettled(CatalogError::Changed));
        let Some((version, content)) = self.read().await? else { return changed() };
        let (base, elements) =
            split(&content).map_err(|error| self.unreadable(version, &content, error))?;
        let url = format!("{}/metadata/{}", self.location, name(version));
        let Some(next) = committed(&base, &url, request) else { return changed() };
        let forgotten = forgotten(&base, &next);
        match self.create_version(version + 1, elements.join(next)).await {
            Ok(true) => {}
            Ok(false) => return changed(),
            Err(Step::Before(error)) => return Err(error.into()),
            Err(Step::Rename(error)) => return Ok(CommitAnswer::Unsettled(error.into())),
        }
        // If other writers have created and deleted this version before, readers begin at a later
        // one, and the commit is not in the table.
        match self.newest().await {
            Ok(Some(newest)) if newest == version + 1 => {}
            Ok(_) => return changed(),
            Err(error) => return Ok(CommitAnswer::Unsettled(error.into())),
        }
        let kept = match self.set_hint(version + 1).await {
            Ok(()) => self.delete_forgotten(&forgotten).await,
            failed => failed,
        };
        if let Err(error) = kept {
            let metadata = &self.metadata;
            tracing::debug!(%error, "cannot tidy {metadata}; the next load or commit does it");
        }
        Ok(CommitAnswer::Done)
    }
}

#[cfg(test)]
mod tests;
