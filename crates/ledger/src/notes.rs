//! Notes: directories that get files, for later work on behalf of their readers.
//!
//! ```text
//!  note of a roll's new directories ─► entry won ─► files visible ─► work done, note removed
//!  <prefix>/_aqueduct/<sink>/notes/<roll>             a marker is due
//!                            partitions/<roll>        a partition of a table is due
//!                            merges/<roll>            small files are to be merged
//!                            table/<number>           how far a table got: no work
//!                            receipts/<roll>          a receipt, or the record of a late file
//!                            edges/<random>           how far edges got: no work
//!                            waivers/<random>         edges that an operator has waived: no work
//!                            leaves/<random>          edges that have left: no work
//!                            lineage/<hash>           a receipt or a record that a server of
//!                                                     OpenLineage does not have yet
//!                            properties/<hash>        the same for a partition of a table
//! ```
//!
//! A note is in the store before the entry with its directories, so no directory gets files without
//! a note, whichever process dies. A note does not prove a commit: a roll may fail after its note.
//! The work for a note may be done any number of times, by any collector.

use bytes::Bytes;
use storage::{CreateOptions, FsError, split};

use super::dataset::{Dataset, Token};
use super::error::LedgerError;
use super::store::{Ledger, write_file};

/// Maximum size of a note: a roll has some hundred directories, each of some thousand bytes.
const NOTE_BYTES_MAX: u64 = 16 << 20;

/// The kind of work that is due for the directories of a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteKind {
    /// A marker, once they are complete.
    Marker,
    /// A partition of a table, once they have a file.
    Partition,
    /// Their small files are merged, once no more are added.
    Merge,
    /// How far a table got: its identity, and a number of entries. See `tables`.
    Table,
    /// A receipt of a complete directory, or a record of late files in it.
    Receipt,
    /// How far the edges of the dataset got. The places are of the caller's own form.
    Edges,
    /// Edges that an operator has waived. The places are of the caller's own form.
    Waiver,
    /// Edges that an operator has declared to have left. The places are of the caller's own form.
    Leave,
    /// A receipt or a record of late files is sent to a server of OpenLineage.
    Lineage,
    /// A receipt or a record of late files is written to a partition of a table.
    Properties,
}

impl NoteKind {
    /// The directory of the notes.
    fn directory(self) -> &'static str {
        match self {
            Self::Marker => "notes",
            Self::Partition => "partitions",
            Self::Merge => "merges",
            Self::Table => "table",
            Self::Receipt => "receipts",
            Self::Edges => "edges",
            Self::Waiver => "waivers",
            Self::Leave => "leaves",
            Self::Lineage => "lineage",
            Self::Properties => "properties",
        }
    }
}

/// A directory that gets files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NotedPlace {
    /// Below the prefix.
    pub directory: String,
    /// The time of one of its events, in milliseconds since 1970. If the path contains a time, all
    /// events have the same one.
    pub at: i64,
}

impl Ledger {
    /// Notes that a roll will have files in these directories. To be called before its commit.
    ///
    /// # Errors
    /// The store failed.
    pub async fn note(
        &self,
        kind: NoteKind,
        roll: Token,
        places: &[NotedPlace],
    ) -> Result<(), LedgerError> {
        let lines = places.iter().map(|place| format!("{} {}\n", place.at, place.directory));
        let content = Bytes::from(lines.collect::<String>());
        // The note is written elsewhere and renamed: an existing note is complete.
        let staged = format!("{}/{roll}.note", self.desk(self.author));
        let target = self.dataset.note(kind, &roll.to_string());
        self.fs.delete(&staged).await?;
        write_file(&*self.fs, &staged, content).await?;
        for made in [false, true] {
            match self.fs.rename(&staged, &target).await {
                // The answer of an earlier try was lost.
                Err(FsError::AlreadyExists { .. }) => break,
                Err(FsError::NotFound { .. }) if !made => {
                    self.fs.mkdirs(split(&target).0).await?;
                }
                Err(error) => return Err(error.into()),
                Ok(()) => return Ok(()),
            }
        }
        self.fs.delete(&staged).await?;
        Ok(())
    }

    /// The names of the notes of this kind, of all collectors.
    ///
    /// # Errors
    /// The store failed.
    pub async fn notes(&self, kind: NoteKind) -> Result<Vec<String>, LedgerError> {
        let listed = self.list(split(&self.dataset.note(kind, "")).0).await?;
        Ok(listed.into_iter().filter(|one| !one.directory).map(|one| one.name).collect())
    }

    /// Returns the places of a note; empty if it was removed in the meantime, or is not a note.
    ///
    /// # Errors
    /// The store failed.
    pub async fn noted(&self, kind: NoteKind, note: &str) -> Result<Vec<NotedPlace>, LedgerError> {
        let path = self.dataset.note(kind, note);
        let read = match self.fs.stat(&path).await {
            Ok(stat) if stat.len <= NOTE_BYTES_MAX => self.fs.read(&path).await,
            Ok(_) => return Ok(Vec::new()),
            Err(error) => Err(error),
        };
        match read {
            Ok(content) => Ok(places(&content)),
            Err(FsError::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a note after its work is done.
    ///
    /// # Errors
    /// The store failed.
    pub async fn remove_note(&self, kind: NoteKind, note: &str) -> Result<(), LedgerError> {
        self.fs.delete(&self.dataset.note(kind, note)).await?;
        Ok(())
    }

    /// Returns whether a directory below the prefix has a visible file.
    ///
    /// # Errors
    /// The store failed.
    pub async fn has_files(&self, directory: &str) -> Result<bool, LedgerError> {
        let listed = self.list(self.dataset.published(directory).trim_end_matches('/')).await?;
        Ok(listed.iter().any(|one| !one.directory && !one.name.starts_with(['_', '.'])))
    }

    /// Creates an empty file with this name in a directory below the prefix; returns whether it is
    /// new.
    ///
    /// # Errors
    /// The store failed.
    pub async fn mark(&self, directory: &str, name: &str) -> Result<bool, LedgerError> {
        let path = self.dataset.published(&format!("{directory}/{name}"));
        match self.fs.create(&path, CreateOptions::default()).await {
            Ok(file) => file.close().await?,
            Err(FsError::AlreadyExists { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        Ok(true)
    }
}

/// Parses the places of a note. Skips a line that leads out of the prefix or was written by another
/// program.
fn places(content: &[u8]) -> Vec<NotedPlace> {
    let inside = |path: &str| !path.split('/').any(|name| matches!(name, "" | "." | ".."));
    let text = String::from_utf8_lossy(content);
    let place = |line: &str| {
        let (at, directory) = line.split_once(' ')?;
        let (at, directory) = (at.parse().ok()?, directory.to_owned());
        inside(&directory).then_some(NotedPlace { directory, at })
    };
    text.lines().filter_map(place).collect()
}

impl Dataset {
    /// The file of a note.
    pub(super) fn note(&self, kind: NoteKind, name: &str) -> String {
        self.staged(&format!("{}/{name}", kind.directory()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_leads_to_no_directory_outside_the_prefix() {
        let note = b"7 day=1/host=a%20b\nx\n-8 a b\n9 ../etc\n9 /etc\n1 \n";
        let place = |at, directory: &str| NotedPlace { directory: directory.into(), at };
        assert_eq!(places(note), [place(7, "day=1/host=a%20b"), place(-8, "a b")]);
    }
}
