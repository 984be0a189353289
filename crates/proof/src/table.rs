//! Compares an Iceberg table with the ledger whose files were appended to it.
//!
//! ```text
//!  ledger: events of the entries ──┐
//!  table:  rows that were appended ┼─► equal, and each file of the table exists: proved
//!          rows of its files ──────┘
//! ```
//!
//! A program that compacts the table replaces files, and deletes them later. The ledger still names
//! them. If the table is proved, such a file is *replaced*, not missing.
//!
//! Read the table before the ledger: the ledger then has at least the entries of the table.

use std::collections::BTreeSet;
use std::sync::Arc;

use components_hdfs::table_in;
use futures::{StreamExt, stream};
use iceberg::TableError;
use iceberg::location::path;
use iceberg::manifest::{ListedFile, ListedManifest};
use iceberg::metadata::Table;
use iceberg::position::{Appended, Position};
use ledger::{Audit, Dataset, Place};
use pipeline::Env;
use storage::{FileSystem, FsError};
use thiserror::Error;

/// Files that are looked up at the same time.
const LOOKED_UP_AT_ONCE: usize = 16;
/// Problems of one kind that are listed, at most.
const LISTED_MAX: usize = 10;

/// Where the metadata of a table is.
#[derive(Debug, Clone)]
pub enum TableSource {
    /// The answer of a catalog, or a file of metadata.
    Metadata(Vec<u8>),
    /// URL of the directory of a table without a catalog server.
    Directory(String),
}

/// Why a table cannot be read.
#[derive(Debug, Error)]
pub enum TableReadError {
    /// The metadata is malformed, or needs a feature that is not supported.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The directory has no table.
    #[error("{url} is not the directory of a table: it has no metadata/version-hint.text")]
    NoTable {
        /// Its URL.
        url: String,
    },
    /// The directory cannot be read.
    #[error("cannot read the metadata of the table in {url}")]
    Directory {
        /// Its URL.
        url: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file of the table cannot be read.
    #[error(
        "cannot read {url}, which the metadata of the table names; if the table has changed since \
         its metadata was read, read it again; the table must be in the store of --store"
    )]
    File {
        /// Its URL.
        url: String,
        /// The cause.
        #[source]
        source: FsError,
    },
}

/// A table, as its readers see it.
pub(crate) struct SeenTable {
    table: Table,
    files: Vec<ListedFile>,
    /// Paths of its files in the store.
    paths: BTreeSet<String>,
    /// Its files that do not exist, or have another length.
    broken: Vec<String>,
}

/// The result of a comparison.
#[derive(Debug, Default)]
pub(crate) struct TableProof {
    pub(crate) location: String,
    pub(crate) rows: u64,
    pub(crate) files: u64,
    /// Entries of the ledger that the table lacks so far.
    pub(crate) entries_later: u64,
    /// Files of the ledger that a compaction of the table has replaced, and that were deleted.
    pub(crate) replaced: BTreeSet<String>,
    pub(crate) problems: Vec<String>,
}

impl SeenTable {
    /// Reads the table, and looks up each of its files.
    pub(crate) async fn read(
        source: &TableSource,
        fs: &Arc<dyn FileSystem>,
        env: &Env,
    ) -> Result<Self, TableReadError> {
        let table = match source {
            TableSource::Metadata(bytes) => Table::read(bytes)?,
            TableSource::Directory(url) => {
                let url = url.trim_end_matches('/').to_owned();
                let loaded = table_in(fs.clone(), env, &url, path(&url)?).await;
                match loaded {
                    Ok(Some(table)) => table,
                    Ok(None) => return Err(TableReadError::NoTable { url }),
                    Err(source) => return Err(TableReadError::Directory { url, source }),
                }
            }
        };
        let files = files_of(&table, &**fs).await?;
        let mut paths = BTreeSet::new();
        for file in &files {
            paths.insert(path(&file.url)?.to_owned());
        }
        let looked_up = files.iter().map(|file| async move {
            let found = fs.stat(path(&file.url)?).await;
            match found {
                Ok(stat) if stat.len == file.bytes => Ok(None),
                Ok(stat) => Ok(Some(format!(
                    "{} of the table has {} bytes instead of {}",
                    file.url, stat.len, file.bytes
                ))),
                Err(FsError::NotFound { .. }) => {
                    Ok(Some(format!("{} of the table is missing", file.url)))
                }
                Err(source) => Err(TableReadError::File { url: file.url.clone(), source }),
            }
        });
        let mut looked_up = stream::iter(looked_up).buffered(LOOKED_UP_AT_ONCE);
        let mut broken = Vec::new();
        while let Some(found) = looked_up.next().await {
            broken.extend(found?);
        }
        drop(looked_up);
        Ok(Self { table, files, paths, broken })
    }

    /// Compares the table with the ledger of `dataset`, which was read later.
    pub(crate) fn compare(
        &self,
        audit: &Audit,
        dataset: &Dataset,
    ) -> Result<TableProof, TableError> {
        let rows = self.files.iter().map(|file| file.rows).sum();
        let mut proof = TableProof {
            location: self.table.location.clone(),
            rows,
            files: self.files.len() as u64,
            ..TableProof::default()
        };
        let restore = "restore it from a snapshot of the store or a backup, or roll the table back";
        let broken = self.broken.iter().take(LISTED_MAX);
        proof.problems.extend(broken.map(|problem| format!("{problem}; {restore}")));
        let left_out = self.broken.len().saturating_sub(LISTED_MAX);
        if left_out > 0 {
            proof.problems.push(format!("{left_out} further files of the table are missing"));
        }
        let Some(identity) = audit.identity else {
            proof.problems.push("the ledger has no identity yet: start the collector".to_owned());
            return Ok(proof);
        };
        let property = Position::property(identity);
        let Some(position) = Position::read(&self.table, &property)? else {
            proof.problems.push(format!(
                "no file of this ledger is in the table: it lacks the property `{property}`; check \
                 --table, --store and --sink"
            ));
            return Ok(proof);
        };
        proof.add_position(position, &property, audit);
        if proof.problems.is_empty() {
            let gone = audit.files_by_entry().filter(|(entry, file, place)| {
                let is_in_table = self.paths.contains(&dataset.published(&file.target));
                matches!(place, Place::Gone(_)) && *entry < position.number && !is_in_table
            });
            proof.replaced = gone.map(|(_, file, _)| file.target.clone()).collect();
        }
        Ok(proof)
    }
}

impl TableProof {
    /// Compares the rows with the position, and the position with the ledger.
    fn add_position(&mut self, position: Position, property: &str, audit: &Audit) {
        let Position { number, appended } = position;
        let end = audit.view.next();
        if number > end {
            self.problems.push(format!(
                "the table has entries up to {number}, but the ledger ends at {end}: the ledger is \
                 an older copy; see `aqueduct ledger --help`"
            ));
            return;
        }
        self.entries_later = audit.commits_from(number);
        let Some(Appended { from, rows }) = appended else {
            self.problems.push(format!(
                "the rows of the table cannot be proved, because an older version made the first \
                 append: the table lacks the property `{property}.rows`"
            ));
            return;
        };
        self.problems.extend(difference(
            (self.rows, "the table has"),
            (rows, "the sink has appended"),
            "look for deleted rows, a rollback, and other writers in the snapshots of the table",
        ));
        if let Some(events) = audit.events(from..number) {
            self.problems.extend(difference(
                (rows, "the sink has appended"),
                (events, "the ledger has"),
                "keep the report, and report this as a bug",
            ));
        }
    }

    /// Returns whether the table has every row of the ledger up to its number.
    pub(crate) fn is_proved(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Describes the difference of two counts of rows.
fn difference(one: (u64, &str), other: (u64, &str), advice: &str) -> Option<String> {
    let ((one, found), (other, expected)) = (one, other);
    let (count, kind) = match one.cmp(&other) {
        std::cmp::Ordering::Equal => return None,
        std::cmp::Ordering::Less => (other - one, "fewer"),
        std::cmp::Ordering::Greater => (one - other, "more"),
    };
    Some(format!("{found} {one} rows, {count} {kind} than {expected} ({other}); {advice}"))
}

/// Reads the data files that readers of the table see.
async fn files_of(table: &Table, fs: &dyn FileSystem) -> Result<Vec<ListedFile>, TableReadError> {
    let mut files = Vec::new();
    let list = table.snapshot.as_ref().and_then(|it| it.manifest_list.as_deref());
    let Some(list) = list else { return Ok(files) };
    for manifest in ListedManifest::read_list(&read(fs, list).await?)? {
        files.extend(ListedFile::read_manifest(&read(fs, manifest.url()).await?)?);
    }
    Ok(files)
}

async fn read(fs: &dyn FileSystem, url: &str) -> Result<Vec<u8>, TableReadError> {
    let content = fs.read(path(url)?).await;
    let content = content.map_err(|source| TableReadError::File { url: url.to_owned(), source })?;
    Ok(content.to_vec())
}
