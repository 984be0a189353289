//! The state of a directory, and waivers, for other programs.

use std::collections::BTreeSet;
use std::sync::Arc;

use complete::{Departure, Edge, RECEIPT, Receipt, Roster, State};
use ledger::{Audit, Dataset, Ledger, LedgerError, NoteKind, NotedPlace, Token};
use pipeline::Origin;
use storage::FileSystem;

use super::bucket::confined;
use super::edges;
pub use super::edges::Leave;
pub use super::receipt_audit::{ReceiptAudit, audit_receipts};

/// The state of a directory of a dataset.
#[derive(Debug)]
pub struct Report {
    /// The state.
    pub state: State,
    /// Its receipt, if it has one.
    pub receipt: Option<Receipt>,
    /// Whether the receipt lists the files that it was made with.
    pub is_intact: bool,
    /// Names of files of later entries than the receipt.
    pub late: Vec<String>,
    /// Names of files that the receipt lists and that do not exist.
    pub missing: Vec<String>,
    /// The edges of the dataset, as of the last period that one of them has passed.
    pub roster: Roster,
    /// Edges that are waived for the directory.
    pub waived: BTreeSet<Origin>,
}

/// Reads the state of a directory below the prefix of a dataset.
///
/// # Errors
/// The store failed.
pub async fn report(
    fs: Arc<dyn FileSystem>,
    dataset: Dataset,
    directory: &str,
) -> Result<Report, LedgerError> {
    let ledger = Ledger::for_reading(fs, dataset);
    let content = ledger.read_sidecar(directory, RECEIPT).await?;
    let receipt = content.as_deref().and_then(Receipt::parse);
    // After the receipt: a later file is then late, and none of its own is missed.
    let names = ledger.names_in(directory).await?;
    let entries: Vec<(&String, u64)> =
        names.iter().filter_map(|name| Some((name, ledger.entry_of(name)?))).collect();
    let is_late = |entry| receipt.as_ref().is_some_and(|receipt| receipt.is_late(entry));
    let late = entries.iter().filter(|(_, entry)| is_late(*entry));
    let late = late.map(|(name, _)| (*name).clone()).collect();
    let state = match &receipt {
        Some(receipt) => receipt.state(entries.iter().map(|(_, entry)| *entry)),
        None => State::Open,
    };
    let missing = receipt.iter().flat_map(|receipt| receipt.missing(&names)).cloned().collect();
    let is_intact = receipt.as_ref().is_none_or(Receipt::is_intact);
    let roster = edges::read(&ledger).await?.0;
    let waived = edges::waivers(&ledger).await?.into_iter();
    let waived = waived.filter(|(_, waived)| waived == directory).map(|(origin, _)| origin);
    let waived = waived.collect();
    Ok(Report { state, receipt, is_intact, late, missing, roster, waived })
}

/// An act of an operator.
#[derive(Debug)]
pub struct Act<'a> {
    /// The operator.
    pub by: &'a str,
    /// The time, in milliseconds since 1970.
    pub at: i64,
    /// Names the record.
    pub token: [u8; 16],
}

/// Waives an edge for a directory.
///
/// # Errors
/// The store failed.
pub async fn waive(
    fs: Arc<dyn FileSystem>,
    dataset: Dataset,
    (origin, directory): (Origin, &str),
    Act { by, at, token }: Act<'_>,
) -> Result<(), LedgerError> {
    let lines = [format!("{origin}/{directory}"), format!("by/{}", confined(Some(by)))];
    let places = lines.map(|directory| NotedPlace { directory, at });
    let ledger = Ledger::for_reading(fs, dataset);
    ledger.note_from_outside(NoteKind::Waiver, Token(token), &places).await
}

/// Reads the edges of a dataset, as of the last period that one of them has passed, and the records
/// of those that have left.
///
/// # Errors
/// There is no ledger, or the store failed.
pub async fn roster(
    fs: Arc<dyn FileSystem>,
    dataset: Dataset,
) -> Result<(Roster, Vec<Leave>), LedgerError> {
    let ledger = Ledger::for_reading(fs.clone(), dataset.clone());
    let (mut roster, leaves) = (edges::read(&ledger).await?.0, edges::leaves(&ledger).await?);
    let audit = Audit::read(fs, dataset).await?;
    for (origin, newest) in edges::newest(audit.view.settled()) {
        roster.newest(origin, newest);
    }
    Ok((roster, leaves))
}

/// Records that an edge, which [`roster`] has returned, has left: it is not expected until a later
/// report or batch.
///
/// # Errors
/// The store failed.
pub async fn leave(
    fs: Arc<dyn FileSystem>,
    dataset: Dataset,
    (origin, edge): (Origin, &Edge),
    Act { by, at, token }: Act<'_>,
) -> Result<(), LedgerError> {
    let departure = Departure { at, newest: edge.newest };
    let place = Leave { origin, departure, by: by.to_owned() }.place();
    let ledger = Ledger::for_reading(fs, dataset);
    ledger.note_from_outside(NoteKind::Leave, Token(token), &[place]).await
}
