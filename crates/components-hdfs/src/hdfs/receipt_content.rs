//! The content of receipts and of records, from the state of the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use complete::{Edge, EdgeLine, Judgement, Receipt, Roster};
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

pub(super) fn json(value: &impl Serialize) -> Bytes {
    let mut text = serde_json::to_vec_pretty(value).expect("its maps have texts as keys");
    text.push(b'\n');
    text.into()
}

/// Returns the names of some edges that hold a directory back.
pub(super) fn holders(judgement: &Judgement) -> String {
    /// Maximum number of names.
    const NAMES_MAX: usize = 8;
    let known = judgement.holders.iter().map(|(origin, edge)| match edge.name.as_str() {
        "" => format!("origin {origin}"),
        name => name.to_owned(),
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
        files: Vec::new(),
        files_hash: String::new(),
        edges: lines(&judgement.past),
        waived: lines(&judgement.waived),
        left: lines(&judgement.left),
    }
}
