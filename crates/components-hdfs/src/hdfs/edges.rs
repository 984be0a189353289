//! The edges of a dataset, as its collectors keep them in the store.
//!
//! Each note of the kind [`NoteKind::Edges`] contains every edge that its writer knew. The facts
//! only grow, so the largest of all notes are true, and any collector may remove a note whose facts
//! are in another one. A note that is missed makes a directory complete later, never earlier: the
//! ledger names every edge with a batch.
//!
//! ```text
//! <prefix>/_aqueduct/<sink>/edges/<random>     <time, or -1> <origin>/<last sign>/<b or ->/<host>
//!                                              and /<source> for each one that holds it back
//!                           waivers/<random>   <when>        <origin>/<directory>
//!                                              <when>        by/<operator>
//!                           leaves/<random>    <when>        <origin>/<operator>/<last batch>
//! ```

use std::collections::{BTreeMap, BTreeSet};

use complete::{Departure, Roster};
use ledger::{Ledger, LedgerError, NoteKind, NotedPlace, Settled, Token};
use pipeline::{Origin, Reached};

use super::bucket::confined;

/// Between the names of sources in a report.
const SEPARATOR: &str = ", ";
/// The name of an edge that has not reported, in a note.
const UNNAMED: &str = "_";

/// The record that an edge has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leave {
    /// The edge.
    pub origin: Origin,
    /// When it left.
    pub departure: Departure,
    /// The operator.
    pub by: String,
}

impl Leave {
    fn parse(NotedPlace { directory, at }: &NotedPlace) -> Option<Self> {
        let mut parts = directory.split('/');
        let (origin, by) = (parts.next()?.parse().ok()?, parts.next()?.to_owned());
        let newest = parts.next()?.split_once('-');
        let newest = newest.and_then(|(epoch, n)| Some((epoch.parse().ok()?, n.parse().ok()?)));
        Some(Self { origin, departure: Departure { at: *at, newest }, by })
    }

    /// Returns the line of a note.
    pub(super) fn place(&self) -> NotedPlace {
        let Departure { at, newest } = self.departure;
        let newest = newest.map_or_else(|| "none".into(), |(epoch, n)| format!("{epoch}-{n}"));
        let by = confined(Some(&self.by));
        NotedPlace { directory: format!("{}/{by}/{newest}", self.origin), at }
    }
}

/// Returns the last listed batch of each origin, by epoch and number.
pub(super) fn newest(settled: &Settled) -> BTreeMap<Origin, (u64, u64)> {
    let mut all: BTreeMap<Origin, (u64, u64)> = BTreeMap::new();
    for (origin, epoch, sequences) in settled.keys.iter() {
        let newest = (epoch.0, sequences.last().unwrap_or_default());
        let known = all.entry(origin).or_insert(newest);
        *known = newest.max(*known);
    }
    all
}

/// Reads the edges, and the names of the notes with them.
///
/// # Errors
/// The store failed.
pub(super) async fn read(ledger: &Ledger) -> Result<(Roster, Vec<String>), LedgerError> {
    let (mut roster, notes) = (Roster::default(), ledger.notes(NoteKind::Edges).await?);
    for note in &notes {
        for place in ledger.noted(NoteKind::Edges, note).await? {
            add(&mut roster, &place);
        }
    }
    for Leave { origin, departure, .. } in leaves(ledger).await? {
        roster.leave(origin, departure);
    }
    Ok((roster, notes))
}

/// Returns the names of sources that a report lists.
fn sources(held_by: &str) -> impl Iterator<Item = &str> {
    held_by.split(SEPARATOR).filter(|name| !name.is_empty())
}

/// Adds a report to a roster, with names as notes contain them.
pub(super) fn report(roster: &mut Roster, origin: Origin, reached: &Reached) {
    let held_by: Vec<String> = sources(&reached.held_by).map(|name| confined(Some(name))).collect();
    let host = confined(Some(&reached.host));
    roster.report(origin, &host, reached.before, &held_by.join(SEPARATOR));
}

/// Adds the edge of a note. Names in a roster are those of notes, so that a note that is read and
/// written again does not change them.
fn add(roster: &mut Roster, place: &NotedPlace) -> Option<()> {
    let mut parts = place.directory.split('/');
    let origin = parts.next()?.parse::<Origin>().ok()?;
    let (seen, has_batch, host) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
    roster.see(origin, seen);
    if has_batch == "b" {
        roster.join(origin, seen);
    }
    let host = Some(host).filter(|host| *host != UNNAMED).unwrap_or_default();
    roster.report(origin, host, place.at, &parts.collect::<Vec<_>>().join(SEPARATOR));
    Some(())
}

/// Writes all edges, and removes the notes that were read before.
///
/// # Errors
/// The store failed.
pub(super) async fn write(
    ledger: &Ledger,
    token: Token,
    roster: &Roster,
    before: &[String],
) -> Result<(), LedgerError> {
    let place = |(origin, edge): (Origin, &complete::Edge)| {
        let has_batch = if edge.has_batch { "b" } else { "-" };
        let host = Some(&*edge.name).filter(|name| !name.is_empty()).unwrap_or(UNNAMED);
        let mut directory = format!("{origin}/{}/{has_batch}/{host}", edge.seen);
        for source in sources(&edge.held_by) {
            directory += &format!("/{source}");
        }
        NotedPlace { directory, at: edge.before.unwrap_or(-1) }
    };
    let places: Vec<NotedPlace> = roster.iter().map(place).collect();
    ledger.note(NoteKind::Edges, token, &places).await?;
    for note in before {
        ledger.remove_note(NoteKind::Edges, note).await?;
    }
    Ok(())
}

/// Reads the edges that an operator has waived, each for one directory.
///
/// # Errors
/// The store failed.
pub(super) async fn waivers(ledger: &Ledger) -> Result<BTreeSet<(Origin, String)>, LedgerError> {
    let mut waived = BTreeSet::new();
    for note in ledger.notes(NoteKind::Waiver).await? {
        for place in ledger.noted(NoteKind::Waiver, &note).await? {
            let parts = place.directory.split_once('/');
            let parts = parts.and_then(|(origin, it)| Some((origin.parse().ok()?, it.to_owned())));
            waived.extend(parts);
        }
    }
    Ok(waived)
}

/// Reads the edges that have left.
///
/// # Errors
/// The store failed.
pub(super) async fn leaves(ledger: &Ledger) -> Result<Vec<Leave>, LedgerError> {
    let mut leaves = Vec::new();
    for note in ledger.notes(NoteKind::Leave).await? {
        leaves.extend(ledger.noted(NoteKind::Leave, &note).await?.iter().filter_map(Leave::parse));
    }
    Ok(leaves)
}
