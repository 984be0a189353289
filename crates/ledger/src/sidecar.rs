//! Small files of this program next to the data, and the committed files of each directory.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use storage::{FileSystem, FsError, split};

use super::audit::{index_of, reader};
use super::dataset::{Dataset, Token};
use super::entry::{Share, StagedFile};
use super::error::LedgerError;
use super::notes::{NoteKind, NotedPlace};
use super::store::{Ledger, write_file};

/// Maximum size of a small file that is read.
const READ_MAX: u64 = 64 << 20;

/// A file of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedFile {
    /// Its name in its directory.
    pub name: String,
    /// Path of the staged file, below the dataset's own directory.
    pub temp: String,
    /// Index of the entry.
    pub entry: u64,
    /// Its size.
    pub bytes: u64,
    /// Events in it.
    pub events: u64,
    /// Its events by origin; empty if they were not counted.
    pub shares: Vec<Share>,
}

impl Ledger {
    /// A ledger for calls that only read, and for [`Ledger::note_from_outside`].
    pub fn for_reading(fs: Arc<dyn FileSystem>, dataset: Dataset) -> Self {
        reader(fs, dataset)
    }

    /// Creates a file in a directory below the prefix, in one step; returns whether it is new. An
    /// existing file stays.
    ///
    /// # Errors
    /// The store failed.
    pub async fn put_sidecar(
        &self,
        directory: &str,
        name: &str,
        content: Bytes,
    ) -> Result<bool, LedgerError> {
        let temp = format!("{}/{}{name}", self.desk(self.author), directory.replace('/', "~"));
        self.fs.delete(&temp).await?;
        write_file(&*self.fs, &temp, content).await?;
        let path = self.dataset.published(&format!("{directory}/{name}"));
        match self.fs.rename(&temp, &path).await {
            Ok(()) => return Ok(true),
            Err(FsError::AlreadyExists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        self.fs.delete(&temp).await?;
        Ok(false)
    }

    /// Reads a small file in a directory below the prefix, if it exists.
    ///
    /// # Errors
    /// The store failed.
    pub async fn read_sidecar(
        &self,
        directory: &str,
        name: &str,
    ) -> Result<Option<Bytes>, LedgerError> {
        let path = self.dataset.published(&format!("{directory}/{name}"));
        let read = match self.fs.stat(&path).await {
            Ok(stat) if stat.len <= READ_MAX => self.fs.read(&path).await,
            Ok(_) => return Ok(None),
            Err(error) => Err(error),
        };
        match read {
            Ok(content) => Ok(Some(content)),
            Err(FsError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the names of the files in a directory below the prefix, sorted.
    ///
    /// # Errors
    /// The store failed.
    pub async fn names_in(&self, directory: &str) -> Result<Vec<String>, LedgerError> {
        let listed = self.list(self.dataset.published(directory).trim_end_matches('/')).await?;
        let files = listed.into_iter().filter(|one| !one.directory);
        let mut names: Vec<String> = files.map(|one| one.name).collect();
        names.sort();
        Ok(names)
    }

    /// Returns the directories below the prefix that contain a file of this name. Skips directories
    /// that readers skip: names with `_` or `.` at the beginning.
    ///
    /// # Errors
    /// The store failed.
    pub async fn directories_with(&self, name: &str) -> Result<Vec<String>, LedgerError> {
        let (mut found, mut unread) = (Vec::new(), vec![String::new()]);
        while let Some(directory) = unread.pop() {
            let path = self.dataset.published(&directory);
            for listed in self.list(path.trim_end_matches('/')).await? {
                if listed.directory && !listed.name.starts_with(['_', '.']) {
                    unread
                        .push(format!("{directory}/{}", listed.name).trim_matches('/').to_owned());
                } else if !listed.directory && listed.name == name {
                    found.push(directory.clone());
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Returns the index of the entry that has published a file of this name; `None` if it is not a
    /// file of this dataset.
    pub fn entry_of(&self, name: &str) -> Option<u64> {
        index_of(name, self.dataset.sink())
    }

    /// Returns the files of the entries from `from` on that the ledger still has, by directory, as
    /// far as the view goes. `None` if another collector has replaced them meanwhile.
    ///
    /// # Errors
    /// The store failed.
    pub async fn committed_files(
        &self,
        from: u64,
    ) -> Result<Option<BTreeMap<String, Vec<CommittedFile>>>, LedgerError> {
        let mut by_directory: BTreeMap<String, Vec<CommittedFile>> = BTreeMap::new();
        let mut next = from;
        while next < self.view().next() {
            let read = self.commits(next).await?;
            if read.end <= next {
                return Ok(None);
            }
            for (entry, files) in read.commits {
                for file in files {
                    let (directory, name) =
                        file.target.rsplit_once('/').unwrap_or(("", &file.target));
                    let (name, files) =
                        (name.to_owned(), by_directory.entry(directory.to_owned()).or_default());
                    let StagedFile { temp, len: bytes, events, shares, .. } = file;
                    files.push(CommittedFile { name, temp, entry, bytes, events, shares });
                }
            }
            next = read.end;
        }
        Ok(Some(by_directory))
    }

    /// Writes a note for an operator, without a collector.
    ///
    /// # Errors
    /// The store failed.
    pub async fn note_from_outside(
        &self,
        kind: NoteKind,
        token: Token,
        places: &[NotedPlace],
    ) -> Result<(), LedgerError> {
        let target = self.dataset.note(kind, &token.to_string());
        let staged = self.dataset.staged(&format!("{token}.note"));
        self.fs.mkdirs(split(&target).0).await?;
        let lines = places.iter().map(|place| format!("{} {}\n", place.at, place.directory));
        let content = Bytes::from(lines.collect::<String>());
        write_file(&*self.fs, &staged, content).await?;
        self.fs.rename(&staged, &target).await?;
        Ok(())
    }
}
