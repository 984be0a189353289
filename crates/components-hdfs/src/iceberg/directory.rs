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
use iceberg::TableError;
use iceberg::metadata::Table;
use iceberg::versions::{HINT, committed, compressed_names, created, name, version_of};
use pipeline::Env;
use pipeline::env::unix_millis;
use serde_json::Value;
use storage::{CreateOptions, FileSystem, FsError};
use support::hex::hex;

use super::{Catalog, CatalogError, CommitAnswer};

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
    async fn read(&self) -> Result<Option<(u64, Vec<u8>)>, CatalogError> {
        let Some(version) = self.newest().await? else { return Ok(None) };
        match self.fs.read(&self.path(&name(version))).await {
            Ok(content) => Ok(Some((version, content.to_vec()))),
            Err(error) if error.is_not_found() && self.has(version).await? => {
                Err(TableError::Unsupported {
                    problem: format!(
                        "has compressed metadata; set its property \
                         `write.metadata.compression-codec` to `none`, and change it once with \
                         the program that wrote version {version}"
                    ),
                }
                .into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Writes a file under a new name, for a rename.
    async fn written(&self, content: Vec<u8>) -> Result<String, FsError> {
        let path = self.path(&format!("aqueduct-{}.tmp", hex(&self.env.entropy.bytes16())));
        let created = match self.fs.create(&path, CreateOptions::default()).await {
            Err(FsError::NotFound { .. }) => {
                self.fs.mkdirs(&self.metadata).await?;
                self.fs.create(&path, CreateOptions::default()).await
            }
            created => created,
        };
        let mut writer = created?;
        writer.write(content.into()).await?;
        writer.close().await?;
        Ok(path)
    }

    /// Creates a version. `false` if it exists.
    async fn create_version(&self, version: u64, content: &Value) -> Result<bool, Step> {
        let written = self.written(content.to_string().into_bytes()).await;
        let written = written.map_err(Step::Before)?;
        match self.fs.rename(&written, &self.path(&name(version))).await {
            Ok(()) => Ok(true),
            Err(FsError::AlreadyExists { .. }) => {
                // If this fails, the file stays until a removal of orphan files.
                let _ = self.fs.delete(&written).await;
                Ok(false)
            }
            Err(error) => Err(Step::Rename(error)),
        }
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
        // A writer may have died before it wrote the hint.
        self.set_hint(version).await?;
        Ok(Some(Table::from_metadata(&content)?))
    }

    async fn create(&self, request: &Value) -> Result<(), CatalogError> {
        let uuid = uuid(self.env.entropy.bytes16());
        let at_ms = i64::try_from(unix_millis(self.env.clock.now())).unwrap_or(i64::MAX);
        let first = created(request, &uuid, at_ms);
        Ok(self.create_version(1, &first).await.map(drop).map_err(FsError::from)?)
    }

    async fn commit(&self, request: &Value) -> Result<CommitAnswer, CatalogError> {
        let changed = || Ok(CommitAnswer::Unsettled(CatalogError::Changed));
        let Some((version, content)) = self.read().await? else { return changed() };
        let base: Value = serde_json::from_slice(&content).map_err(|error| {
            CatalogError::Table(TableError::Malformed { problem: error.to_string() })
        })?;
        let url = format!("{}/metadata/{}", self.location, name(version));
        let Some(next) = committed(&base, &url, request) else { return changed() };
        match self.create_version(version + 1, &next).await {
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
        if let Err(error) = self.set_hint(version + 1).await {
            tracing::debug!(%error, "cannot write {}; the next load writes it", self.path(HINT));
        }
        Ok(CommitAnswer::Done)
    }
}

/// Returns a random UUID in its text form.
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex(&bytes);
    let (a, b, c, d, e) = (&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]);
    format!("{a}-{b}-{c}-{d}-{e}")
}

#[cfg(test)]
mod tests;
