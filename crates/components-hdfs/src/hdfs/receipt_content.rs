//! The content of receipts and of records, from the state of the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use complete::{Edge, EdgeLine, Judgement, Receipt, Roster, Share, file_hash};
use ledger::{CommittedFile, Ledger, Settled};
use pipeline::Origin;
use serde::Serialize;

/// The state of the ledger at one turn, read after the reports.
pub(super) struct Turn {
    pub(super) roster: Roster,
    pub(super) waived: BTreeSet<(Origin, String)>,
    pub(super) settled: Settled,
    /// Number of entries.
    pub(super) entries: u64,
    pub(super) staged: Arc<BTreeSet<String>>,
    pub(super) now: i64,
}

pub(super) fn events_of(name: &str, committed: &[CommittedFile]) -> Option<u64> {
    committed.iter().find(|file| file.name == name).map(|file| file.events)
}

fn bytes_of(name: &str, committed: &[CommittedFile]) -> Option<u64> {
    committed.iter().find(|file| file.name == name).map(|file| file.bytes)
}

pub(super) fn json(value: &impl Serialize) -> Bytes {
    let mut text = serde_json::to_vec_pretty(value).expect("its maps have texts as keys");
    text.push(b'\n');
    text.into()
}

/// Returns the names of some edges that hold a directory back.
pub(super) fn holders(judgement: &Judgement) -> String {
    /// Maximum number of names.
    const NAMES_MAX: usize = 8;
    let known = judgement.holders.iter().map(|(origin, edge)| {
        let held_by = match edge.held_by.as_str() {
            "" => String::new(),
            sources => format!(" (sources {sources} cannot report)"),
        };
        match edge.name.as_str() {
            "" => format!("origin {origin}{held_by}"),
            name => format!("{name}{held_by}"),
        }
    });
    let all: Vec<String> = known.chain(judgement.missing.iter().cloned()).collect();
    let named = all.iter().take(NAMES_MAX).cloned().collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(NAMES_MAX) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// Committed batches of an origin: the first and the last one by epoch and number.
struct Batches {
    count: u64,
    first: (u64, u64),
    last: (u64, u64),
}

/// Returns a receipt without files.
pub(super) fn receipt(
    directory: &str,
    judgement: &Judgement,
    turn: &Turn,
    ledger: &Ledger,
) -> Receipt {
    // Once for all edges: there may be many thousand.
    let mut batches: BTreeMap<Origin, Batches> = BTreeMap::new();
    for (origin, epoch, sequences) in turn.settled.keys.iter() {
        let Some((first, last)) = sequences.first().zip(sequences.last()) else { continue };
        let (first, last) = ((epoch.0, first), (epoch.0, last));
        let known = batches.entry(origin).or_insert(Batches { count: 0, first, last });
        known.count += sequences.count();
        (known.first, known.last) = (known.first.min(first), known.last.max(last));
    }
    let line = |(origin, edge): &(Origin, Edge)| {
        let batches = batches.get(origin);
        EdgeLine {
            name: edge.name.clone(),
            origin: origin.to_string(),
            sent_before_ms: edge.before,
            batches: batches.map_or(0, |it| it.count),
            epochs: batches.map(|it| (it.first.0, it.last.0)),
            numbers: batches.map(|it| (it.first.1, it.last.1)),
            in_directory: None,
        }
    };
    let lines = |edges: &[(Origin, Edge)]| edges.iter().map(line).collect();
    Receipt {
        format: 1,
        directory: directory.to_owned(),
        made_at_ms: turn.now,
        ledger: ledger.identity().to_string(),
        entries: turn.entries,
        events: None,
        bytes: None,
        files: Vec::new(),
        files_hash: String::new(),
        edges: lines(&judgement.past),
        waived: lines(&judgement.waived),
        left: lines(&judgement.left),
        hash: None,
    }
}

/// Adds the covered files to a receipt, with the counts of their entries, and seals it.
pub(super) fn add_files(receipt: &mut Receipt, files: Vec<String>, committed: &[CommittedFile]) {
    receipt.events = files.iter().map(|name| events_of(name, committed)).sum();
    receipt.bytes = files.iter().map(|name| bytes_of(name, committed)).sum();
    receipt.files_hash = file_hash(&files);
    if let Some(shares) = shares(&files, committed) {
        let Receipt { edges, waived, left, .. } = receipt;
        for line in edges.iter_mut().chain(waived).chain(left) {
            line.in_directory = Some(shares.get(&line.origin).cloned().unwrap_or_default());
        }
    }
    receipt.files = files;
    receipt.seal();
}

/// Returns the events of each origin in these files; `None` if they are not counted in all of them.
pub(super) fn shares(
    files: &[String],
    committed: &[CommittedFile],
) -> Option<BTreeMap<String, Share>> {
    let mut sums: BTreeMap<Origin, ledger::Share> = BTreeMap::new();
    for name in files {
        let file = committed.iter().find(|file| file.name == *name)?;
        if file.shares.iter().map(|share| share.events).sum::<u64>() != file.events {
            return None;
        }
        for share in &file.shares {
            let sum = sums.entry(share.origin);
            sum.and_modify(|sum| sum.add(share)).or_insert(*share);
        }
    }
    let share = |(origin, ledger::Share { events, first, last, .. }): (Origin, ledger::Share)| {
        let (epochs, numbers) = (Some((first.0, last.0)), Some((first.1, last.1)));
        (origin.to_string(), Share { events, epochs, numbers })
    };
    Some(sums.into_iter().map(share).collect())
}
