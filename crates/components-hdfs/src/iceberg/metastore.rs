//! A table whose newest version is named by its entry in Hive's metastore, as in Iceberg's
//! `HiveCatalog`.
//!
//! ```text
//!  entry: metadata_location ─► version N ─► N and the commit, in a new file
//!   ▲                                          │
//!   └── lock ─► still N? ─► alter_table ◄──────┘
//!               with the requirement that it is still N (HIVE-26882) ─► unlock
//! ```
//!
//! The replacement of the entry is the commit. If its answer is lost, the caller loads the table
//! again, as after any missing answer of a catalog. Two things keep two writers apart, each of them
//! enough: the lock, and the requirement, which metastores without HIVE-26882 ignore, and some
//! databases cannot check.

mod describe;
mod lock;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use iceberg::metadata::Table;
use iceberg::versions::{committed, created, forgotten_files, split};
use pipeline::Env;
use pipeline::env::unix_millis;
use serde_json::Value;
use storage::{FileSystem, FsError};

use super::stores::Stores;
use super::{Catalog, CatalogError, CommitAnswer, DELETED_MAX, compressed, uuid, write_new};
use crate::hive::{Column, Entry, MetastoreError, TableEntry};
use describe::{LOCATION, PREVIOUS, TABLE_TYPE, changes_columns, columns, describe, new_entry};
use lock::TableLock;

/// Property of a table: whether commits lock it.
const LOCKS: &str = "engine.hive.lock-enabled";
/// How often to look for the newest version, while other writers delete versions.
const LOOKS_MAX: u32 = 3;
/// Part of the answer of a metastore with HIVE-26882, if the entry has changed.
const MODIFIED: &str = "The table has been modified";
/// Part of its answer, if its database cannot check the requirement: Derby cannot, and none can
/// without `metastore.try.direct.sql`.
const CANNOT_REQUIRE: &str = "Cannot update parameter with JDO";

/// A table in a metastore, whose files are in a store.
#[derive(Clone)]
pub(crate) struct MetastoreCatalog {
    fs: Arc<dyn FileSystem>,
    env: Env,
    entry: Arc<TableEntry>,
    stores: Stores,
}

/// The newest version.
struct Newest {
    url: String,
    content: Bytes,
}

/// A replacement of the entry.
struct Change {
    /// URL of the version that the entry must have.
    base: String,
    /// URL of the next version.
    next: String,
    /// Its path in the store.
    path: String,
    metadata: Value,
    request: Value,
    /// The columns, if they change.
    columns: Option<Vec<Column>>,
    locks: bool,
}

/// The result of a replacement.
enum Outcome {
    Done,
    /// It has not happened, and will not.
    NotDone(CatalogError),
    Unknown(CatalogError),
}

impl MetastoreCatalog {
    /// Creates the catalog of the table with this entry.
    pub(crate) fn new(
        fs: Arc<dyn FileSystem>,
        env: Env,
        entry: Arc<TableEntry>,
        stores: Stores,
    ) -> Self {
        Self { fs, env, entry, stores }
    }

    /// Returns the URL of the newest version in an entry.
    fn location(&self, entry: &Entry) -> Result<String, CatalogError> {
        let of = |name: &str| entry.parameters.get(name).map(String::as_str);
        match (of(TABLE_TYPE.0), of(LOCATION)) {
            (Some(kind), Some(location)) if kind.eq_ignore_ascii_case(TABLE_TYPE.1) => {
                Ok(location.to_owned())
            }
            _ => {
                let (database, table) = self.entry.names();
                Err(CatalogError::OtherType { table: format!("{database}.{table}") })
            }
        }
    }

    /// Reads the newest version; `None` if the table does not exist.
    async fn newest(&self) -> Result<Option<Newest>, CatalogError> {
        let mut looks = 0;
        loop {
            looks += 1;
            let Some(entry) = self.entry.get().await? else { return Ok(None) };
            let url = self.location(&entry)?;
            let path = self.stores.path_of(&url)?;
            if url.ends_with(".gz.metadata.json") || url.ends_with(".metadata.json.gz") {
                return Err(compressed(&url));
            }
            match self.fs.read(&path).await {
                Ok(content) => return Ok(Some(Newest { url, content })),
                // Other writers may have deleted it after later commits.
                Err(error) if error.is_not_found() && looks < LOOKS_MAX => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Writes a version. A part of it is deleted.
    async fn write(&self, path: &str, content: Vec<u8>) -> Result<(), FsError> {
        let written = write_new(&*self.fs, path, content).await;
        if written.is_err() {
            self.delete(path).await;
        }
        written
    }

    /// Deletes a file that no version of the table needs.
    async fn delete(&self, path: &str) {
        if let Err(error) = self.fs.delete(path).await {
            let hint = "it stays until a removal of orphan files";
            tracing::debug!(%error, "cannot delete {path}; {hint}");
        }
    }

    /// Replaces the entry. Runs to its end even if the caller is aborted, because a lock that is
    /// not released delays all writers for minutes.
    async fn replace(self, change: Change) -> Result<CommitAnswer, CatalogError> {
        let lock = match change.locks {
            false => None,
            true => match TableLock::acquire(&self.entry, &self.env).await {
                Ok(lock) => Some(lock),
                Err(error) => {
                    self.delete(&change.path).await;
                    return Err(error);
                }
            },
        };
        let outcome = self.replace_locked(&change, lock.as_ref()).await;
        let was_held = match lock {
            Some(lock) => lock.release().await,
            None => true,
        };
        match outcome {
            Outcome::Done if was_held => Ok(CommitAnswer::Done),
            Outcome::Done => Ok(CommitAnswer::Unsettled(CatalogError::LostLock)),
            Outcome::Unknown(error) => Ok(CommitAnswer::Unsettled(error)),
            Outcome::NotDone(error) => {
                self.delete(&change.path).await;
                match error {
                    CatalogError::Changed | CatalogError::LostLock => {
                        Ok(CommitAnswer::Unsettled(error))
                    }
                    error => Err(error),
                }
            }
        }
    }

    async fn replace_locked(&self, change: &Change, lock: Option<&TableLock<'_>>) -> Outcome {
        let mut entry = match self.entry.get().await {
            Ok(Some(entry)) => entry,
            Ok(None) => return Outcome::NotDone(CatalogError::Changed),
            Err(error) => return Outcome::NotDone(error.into()),
        };
        match self.location(&entry) {
            Ok(location) if location == change.base => {}
            Ok(_) => return Outcome::NotDone(CatalogError::Changed),
            Err(error) => return Outcome::NotDone(error),
        }
        describe(&mut entry.parameters, &change.metadata, &change.request);
        for (name, url) in [(PREVIOUS, &change.base), (LOCATION, &change.next)] {
            entry.parameters.insert(name.to_owned(), url.clone());
        }
        if let Some(columns) = &change.columns {
            entry.set_columns(columns);
        }
        if let Some(lock) = lock {
            match lock.check().await {
                Ok(()) => {}
                Err(MetastoreError::NoSuchLock { .. }) => {
                    return Outcome::NotDone(CatalogError::LostLock);
                }
                Err(error) => return Outcome::NotDone(error.into()),
            }
        }
        let mut altered = self.entry.alter(&entry, Some((LOCATION, &change.base))).await;
        if lock.is_some() && altered.as_ref().is_err_and(cannot_require) {
            altered = self.entry.alter(&entry, None).await;
        }
        match altered {
            Ok(()) => Outcome::Done,
            Err(error) if error.is_settled() => self.after_refusal(change, error).await,
            Err(error) => Outcome::Unknown(error.into()),
        }
    }

    /// Decides after an error that the metastore has answered. It may have done the work before: it
    /// repeats failed transactions of its database.
    async fn after_refusal(&self, change: &Change, error: MetastoreError) -> Outcome {
        let error = match error {
            MetastoreError::Meta { text, .. } if text.contains(MODIFIED) => CatalogError::Changed,
            error => error.into(),
        };
        let location = match self.entry.get().await {
            Ok(Some(entry)) => self.location(&entry).ok(),
            Ok(None) | Err(_) => None,
        };
        match location {
            Some(location) if location == change.base => Outcome::NotDone(error),
            _ => Outcome::Unknown(error),
        }
    }

    /// Deletes versions that the table has forgotten, if it asks for it.
    async fn delete_forgotten(&self, forgotten: &[String]) {
        for url in forgotten.iter().take(DELETED_MAX) {
            if let Ok(path) = self.stores.path_of(url) {
                self.delete(&path).await;
            }
        }
    }
}

#[async_trait]
impl Catalog for MetastoreCatalog {
    async fn load(&self) -> Result<Option<Table>, CatalogError> {
        let Some(Newest { content, .. }) = self.newest().await? else { return Ok(None) };
        Ok(Some(Table::from_metadata(&content)?))
    }

    async fn create(&self, request: &Value) -> Result<(), CatalogError> {
        let at_ms = i64::try_from(unix_millis(self.env.clock.now())).unwrap_or(i64::MAX);
        let first = created(request, &uuid(self.env.entropy.bytes16()), at_ms);
        let location = first["location"].as_str().unwrap_or_default();
        let url = next_url(location, "", self.env.entropy.bytes16());
        let path = self.stores.path_of(&url)?;
        self.write(&path, first.to_string().into_bytes()).await?;
        let created = self.entry.create(&new_entry(self.entry.names(), &first, &url)).await;
        // Another program may have created it. After an error, the file stays: the call may still
        // be executed.
        if created.is_ok()
            && let Ok(Some(entry)) = self.entry.get().await
            && entry.parameters.get(LOCATION) != Some(&url)
        {
            self.delete(&path).await;
        }
        Ok(created?)
    }

    async fn commit(&self, request: &Value) -> Result<CommitAnswer, CatalogError> {
        let changed = || Ok(CommitAnswer::Unsettled(CatalogError::Changed));
        let Some(Newest { url: base, content }) = self.newest().await? else { return changed() };
        let (before, elements) = split(&content)?;
        let Some(metadata) = committed(&before, &base, request) else { return changed() };
        let location = metadata["location"].as_str().unwrap_or_default();
        let next = next_url(location, &base, self.env.entropy.bytes16());
        let path = self.stores.path_of(&next)?;
        self.write(&path, elements.join(metadata.clone()).into_bytes()).await?;
        let forgotten = forgotten_files(&before, &metadata);
        let change = Change {
            base,
            next,
            path,
            columns: changes_columns(request).then(|| columns(&metadata)),
            locks: locks(&metadata),
            metadata,
            request: request.clone(),
        };
        let replaced = tokio::spawn(self.clone().replace(change)).await;
        // The task fails only if the process ends.
        let answer = replaced.unwrap_or(Ok(CommitAnswer::Unsettled(CatalogError::Changed)))?;
        if matches!(answer, CommitAnswer::Done) {
            self.delete_forgotten(&forgotten).await;
        }
        Ok(answer)
    }
}

/// Returns whether a metastore rejects a replacement only for its requirement.
fn cannot_require(error: &MetastoreError) -> bool {
    matches!(error, MetastoreError::Meta { text, .. } if text.contains(CANNOT_REQUIRE))
}

/// Returns whether commits lock the table.
fn locks(metadata: &Value) -> bool {
    let is_set = metadata["properties"][LOCKS].as_str();
    is_set.is_none_or(|value| value.eq_ignore_ascii_case("true"))
}

/// Returns the URL of the version after the one at `base`.
fn next_url(location: &str, base: &str, random: [u8; 16]) -> String {
    let name = base.rsplit('/').next().unwrap_or_default();
    let number = name.split_once('-').and_then(|(number, _)| number.parse::<u32>().ok());
    let number = number.map_or(0, |number| number.saturating_add(1));
    let location = location.trim_end_matches('/');
    format!("{location}/metadata/{number:05}-{}.metadata.json", uuid(random))
}

#[cfg(test)]
mod tests;
