//! Recomputes receipts from the ledger and the store, for `aqueduct verify`.
//!
//! | finding | meaning |
//! |---|---|
//! | the receipt or a record was changed | its hash, or its form, is wrong |
//! | a covered or recorded file is missing | it was deleted |
//! | a file that the receipt should list | it was added with an old number, or the receipt is wrong |
//! | a late file without a record | it was added by another program |
//! | counts that differ from the ledger | the receipt is wrong, or entries were changed |
//!
//! Counts are compared as far as the ledger still has the entries. A late file whose directory has
//! a note is not a finding: a collector is about to record it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use complete::{LateFile, LateRecord, RECEIPT, Receipt, late_name};
use ledger::{Audit, CommittedFile, Dataset, Ledger, LedgerError, NoteKind, NotedPlace};
use pipeline::env::unix_millis;
use storage::FileSystem;

use super::receipt_content::{events_of, shares};

/// The receipts of a dataset.
#[derive(Debug, Default)]
pub struct ReceiptAudit {
    /// Their number.
    pub receipts: u64,
    /// Late files that will be recorded.
    pub unrecorded: u64,
    /// The problems, each with its path.
    pub problems: Vec<String>,
}

/// Recomputes every receipt of a dataset whose ledger was read before. Files that receipts from
/// before `expired` cover may be deleted.
///
/// # Errors
/// The store failed.
pub async fn audit_receipts(
    fs: Arc<dyn FileSystem>,
    dataset: Dataset,
    audit: &Audit,
    expired: Option<SystemTime>,
) -> Result<ReceiptAudit, LedgerError> {
    let mut auditing = Auditing {
        ledger: Ledger::for_reading(fs, dataset),
        committed: BTreeMap::new(),
        next: audit.view.next(),
        expired: expired.and_then(|at| i64::try_from(unix_millis(at)).ok()),
        found: ReceiptAudit::default(),
    };
    // Each dataset with receipts has them; without, its directories need not be listed.
    if auditing.ledger.notes(NoteKind::Edges).await?.is_empty() {
        return Ok(auditing.found);
    }
    auditing.add_committed(audit);
    for directory in auditing.ledger.directories_with(RECEIPT).await? {
        auditing.found.receipts += 1;
        auditing.directory(&directory).await?;
    }
    Ok(auditing.found)
}

struct Auditing {
    ledger: Ledger,
    /// Files of the entries that the ledger has, by directory.
    committed: BTreeMap<String, Vec<CommittedFile>>,
    /// Number of entries.
    next: u64,
    expired: Option<i64>,
    found: ReceiptAudit,
}

/// The records of late files of a directory.
struct Records {
    files: Vec<LateFile>,
    /// Names of records that cannot be read.
    damaged: Vec<String>,
}

impl Records {
    fn name(&self, name: &str) -> bool {
        self.files.iter().any(|file| file.name == name)
    }
}

impl Auditing {
    fn add_committed(&mut self, audit: &Audit) {
        for (file, _) in &audit.files {
            let (directory, name) = file.target.rsplit_once('/').unwrap_or(("", &file.target));
            let Some(entry) = self.ledger.entry_of(name) else { continue };
            self.committed.entry(directory.to_owned()).or_default().push(CommittedFile {
                name: name.to_owned(),
                temp: file.temp.clone(),
                entry,
                bytes: file.len,
                events: file.events,
                shares: file.shares.clone(),
            });
        }
    }

    async fn directory(&mut self, directory: &str) -> Result<(), LedgerError> {
        let receipt = self.ledger.read_sidecar(directory, RECEIPT).await?;
        let Some(receipt) = receipt.as_deref().and_then(Receipt::parse) else {
            self.problem(
                directory,
                RECEIPT,
                "cannot be read, so it proves nothing; restore it from a copy of the store",
            );
            return Ok(());
        };
        let names = self.ledger.names_in(directory).await?;
        let records = self.records(directory, &names).await?;
        if !receipt.is_intact() {
            self.problem(
                directory,
                RECEIPT,
                "was changed after the sink wrote it, so it proves nothing; restore it from a \
                 copy of the store",
            );
        }
        for name in &records.damaged {
            self.problem(
                directory,
                name,
                "cannot be read; restore it from the trash, a snapshot or a backup",
            );
        }
        let is_expired = self.expired.is_some_and(|before| receipt.made_at_ms <= before);
        let known: BTreeSet<&String> = names.iter().collect();
        let recorded = records.files.iter().map(|file| &file.name);
        let missing = receipt.files.iter().chain(recorded).filter(|name| !known.contains(name));
        for name in missing.filter(|_| !is_expired) {
            self.problem(
                directory,
                name,
                "is missing, although the receipt or a record of late files lists it; restore it \
                 from the trash, a snapshot or a backup",
            );
        }
        self.check_files(directory, &receipt, &names, &records).await?;
        self.check_counts(directory, &receipt, &records);
        Ok(())
    }

    /// Each file is covered by the receipt, or recorded as late.
    async fn check_files(
        &mut self,
        directory: &str,
        receipt: &Receipt,
        names: &[String],
        records: &Records,
    ) -> Result<(), LedgerError> {
        let covered: BTreeSet<&String> = receipt.files.iter().collect();
        let is_read = |name: &&String| !name.starts_with(['_', '.']) && !covered.contains(name);
        let mut late = Vec::new();
        for name in names.iter().filter(is_read).filter(|name| !records.name(name)) {
            match self.ledger.entry_of(name) {
                None => self.problem(
                    directory,
                    name,
                    "is not a file of this sink; move it to another directory",
                ),
                Some(entry) if receipt.is_late(entry) => late.push((name, entry)),
                Some(_) => {
                    let problem = "is not in the receipt, although its ledger entry is older; \
                                   report this as a bug";
                    self.problem(directory, name, problem);
                }
            }
        }
        if late.is_empty() {
            return Ok(());
        }
        if self.has_note(directory).await? {
            self.found.unrecorded += late.len() as u64;
            return Ok(());
        }
        // A note is removed after the record is written.
        let names = self.ledger.names_in(directory).await?;
        let records = self.records(directory, &names).await?;
        for (name, entry) in late.into_iter().filter(|(name, _)| !records.name(name)) {
            let problem = match entry < self.next {
                true => format!(
                    "came after the receipt, and its record {} is missing; restore the record from \
                     the trash or a backup",
                    late_name(entry)
                ),
                false => "came after the receipt, and its entry is not in the ledger; check the \
                          ledger with `aqueduct ledger show`"
                    .to_owned(),
            };
            self.problem(directory, name, &problem);
        }
        Ok(())
    }

    fn check_counts(&mut self, directory: &str, receipt: &Receipt, records: &Records) {
        let committed = self.committed.get(directory).map_or(&[][..], Vec::as_slice);
        let counted: Option<u64> =
            receipt.files.iter().map(|name| events_of(name, committed)).sum();
        let mut problems = Vec::new();
        if let (Some(counted), Some(events)) = (counted, receipt.events)
            && counted != events
        {
            let problem =
                format!("counts {events} events, but the ledger {counted}; report this as a bug");
            problems.push((RECEIPT, problem));
        }
        let shares = shares(&receipt.files, committed);
        for line in receipt.all_edges() {
            let Some((shares, told)) = shares.as_ref().zip(line.in_directory.as_ref()) else {
                continue;
            };
            let counted = shares.get(&line.origin).cloned().unwrap_or_default();
            if counted != *told {
                let (told, counted) = (told.events, counted.events);
                let name = if line.name.is_empty() { &line.origin } else { &line.name };
                let problem = format!(
                    "counts {told} events of {name}, but the ledger {counted}, or other batches; \
                     report this as a bug"
                );
                problems.push((RECEIPT, problem));
            }
        }
        for file in &records.files {
            if let Some((told, counted)) = file.events.zip(events_of(&file.name, committed))
                && told != counted
            {
                let problem = format!(
                    "is recorded with {told} events, but the ledger {counted}; report this as a bug"
                );
                problems.push((&file.name, problem));
            }
        }
        for (name, problem) in problems {
            self.problem(directory, name, &problem);
        }
    }

    async fn records(&self, directory: &str, names: &[String]) -> Result<Records, LedgerError> {
        let mut records = Records { files: Vec::new(), damaged: Vec::new() };
        for name in names.iter().filter(|name| name.starts_with("_late-")) {
            let content = self.ledger.read_sidecar(directory, name).await?;
            let record = content.and_then(|it| serde_json::from_slice::<LateRecord>(&it).ok());
            match record.filter(|record| *name == late_name(record.entry)) {
                Some(record) => records.files.extend(record.files),
                None => records.damaged.push(name.clone()),
            }
        }
        Ok(records)
    }

    async fn has_note(&self, directory: &str) -> Result<bool, LedgerError> {
        let is_of_it = |place: &NotedPlace| place.directory == directory;
        for note in self.ledger.notes(NoteKind::Receipt).await? {
            if self.ledger.noted(NoteKind::Receipt, &note).await?.iter().any(is_of_it) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn problem(&mut self, directory: &str, name: &str, problem: &str) {
        self.found.problems.push(format!("{directory}/{name} {problem}"));
    }
}
