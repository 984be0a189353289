//! Commits for a table whose catalog is another system: which entries it lacks, and how far it got.
//!
//! ```text
//!  entries g0: 0 1 2 3 │ SEAL        the table has the entries below 2
//!  checkpoint of g1: 2 3 carried     compaction keeps the files of later ones
//!  table/<number>                    a record of the number, in the store
//! ```
//!
//! The table contains the number of the next entry that it lacks. The record in the store is a
//! lower bound of that number: it is written before the first commit, for the end of the ledger
//! then, and after each commit to the table. It never becomes smaller. Once a record exists, every
//! checkpoint carries the files of the entries at and after it, so no entry is forgotten before the
//! table has it, whichever collector compacts.

use std::collections::BTreeMap;

use super::carried::Carried;
use super::dataset::{Dataset, Token};
use super::entry::{Kind, StagedFile};
use super::error::LedgerError;
use super::notes::{NoteKind, NotedPlace};
use super::store::Ledger;

/// Maximum number of entries that [`Ledger::commits`] reads from the store.
const READ_MAX: u64 = 256;
/// Stands for the identity of the table in a record that has none.
const NO_TABLE: &str = "-";

/// How far a table got, as recorded in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRecord {
    /// Identity of the table; `None` before the first commit to it.
    pub uuid: Option<String>,
    /// The table contains all entries below this index.
    pub number: u64,
}

impl TableRecord {
    /// Later records are greater.
    fn order(&self) -> (u64, bool) {
        (self.number, self.uuid.is_some())
    }
}

/// Commits in the order of their entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commits {
    /// The files of each.
    pub commits: BTreeMap<u64, Vec<StagedFile>>,
    /// The first index that was not read.
    pub end: u64,
    /// Earlier commits than this index are forgotten.
    pub kept_from: u64,
}

impl Ledger {
    /// Returns some commits from the entry `from` on, as far as the view goes.
    ///
    /// # Errors
    /// The store failed.
    pub async fn commits(&self, from: u64) -> Result<Commits, LedgerError> {
        let view = self.view();
        let carried = view.carried();
        let mut commits: BTreeMap<u64, Vec<StagedFile>> =
            carried.commits.range(from..).map(|(index, files)| (*index, files.clone())).collect();
        let first = from.max(view.first());
        let mut end = first;
        let last = view.next().min(first.saturating_add(READ_MAX));
        if first < last {
            for entry in self.read_whole(first..last).await? {
                end = entry.index + 1;
                if let Kind::Commit { files, .. } = entry.kind {
                    commits.insert(entry.index, files);
                }
            }
        }
        Ok(Commits { commits, end, kept_from: carried.from })
    }

    /// Returns the dataset.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Returns the directory of the records of the table.
    pub fn table_records(&self) -> String {
        self.dataset.note(NoteKind::Table, "").trim_end_matches('/').to_owned()
    }

    /// Reads the entries of other collectors, and publishes their files.
    ///
    /// # Errors
    /// The store failed.
    pub async fn refresh(&mut self) -> Result<(), LedgerError> {
        let staged = self.staged_files().await?;
        self.catch_up(&staged).await?;
        self.publish_all().await?;
        self.remember().await;
        Ok(())
    }

    /// Returns the record of the table, if it has one.
    ///
    /// # Errors
    /// The store failed.
    pub async fn table_record(&self) -> Result<Option<TableRecord>, LedgerError> {
        loop {
            let notes = self.notes(NoteKind::Table).await?;
            let mut last: Option<TableRecord> = None;
            for note in &notes {
                for NotedPlace { directory, at } in self.noted(NoteKind::Table, note).await? {
                    let Ok(number) = u64::try_from(at) else { continue };
                    let uuid = (directory != NO_TABLE).then_some(directory);
                    let found = TableRecord { uuid, number };
                    if last.as_ref().is_none_or(|last| found.order() > last.order()) {
                        last = Some(found);
                    }
                }
            }
            // If all were removed since they were listed, a later one exists.
            if last.is_some() || notes.is_empty() {
                return Ok(last);
            }
        }
    }

    /// Records how far the table got, and removes earlier records.
    ///
    /// # Errors
    /// The store failed.
    pub async fn record_table(&self, record: &TableRecord) -> Result<(), LedgerError> {
        let (number, has_table) = record.order();
        let name = Token((u128::from(number) << 1 | u128::from(has_table)).to_be_bytes());
        let directory = record.uuid.clone().unwrap_or_else(|| NO_TABLE.to_owned());
        let at = i64::try_from(number).unwrap_or(i64::MAX);
        self.note(NoteKind::Table, name, &[NotedPlace { directory, at }]).await?;
        for note in self.notes(NoteKind::Table).await? {
            // Names have a fixed length, so their order is the order of the records.
            if note < name.to_string() {
                self.remove_note(NoteKind::Table, &note).await?;
            }
        }
        Ok(())
    }

    /// Returns the files that the next checkpoint must carry, because a table lacks them.
    pub(super) async fn to_carry(&self) -> Result<Option<Carried>, LedgerError> {
        let Some(TableRecord { number, .. }) = self.table_record().await? else { return Ok(None) };
        let mut carried = Carried { from: number, commits: BTreeMap::new() };
        let mut next = number;
        while next < self.view().next() {
            let Commits { commits, end, kept_from } = self.commits(next).await?;
            carried.from = carried.from.max(kept_from);
            carried.commits.extend(commits);
            if end <= next {
                // Another collector was faster, and has deleted the generation.
                break;
            }
            next = end;
        }
        Ok(Some(carried))
    }
}
