//! The edges of a dataset, as its collectors keep them in the store.
//!
//! Each note of the kind [`NoteKind::Edges`] contains every edge that its writer knew. The facts
//! only grow, so the largest of all notes are true, and any collector may remove a note whose facts
//! are in another one. A note that is missed makes a directory complete later, never earlier: the
//! ledger names every edge with a batch.
//!
//! ```text
//! <prefix>/_aqueduct/<sink>/edges/<random>     <time, or -1> <origin>/<last sign>/<b or ->/<host>
//!                           waivers/<random>   <when>        <origin>/<directory>
//! ```

use std::collections::BTreeSet;

use complete::Roster;
use ledger::{Ledger, LedgerError, NoteKind, NotedPlace, Token};
use pipeline::Origin;

use super::bucket::confined;

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
    Ok((roster, notes))
}

fn add(roster: &mut Roster, place: &NotedPlace) -> Option<()> {
    let mut parts = place.directory.splitn(4, '/');
    let origin = parts.next()?.parse::<Origin>().ok()?;
    let (seen, has_batch, host) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
    roster.see(origin, seen);
    if has_batch == "b" {
        roster.join(origin, seen);
    }
    if place.at >= 0 {
        roster.report(origin, host, place.at);
    }
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
        let host = confined(Some(&edge.name));
        let directory = format!("{origin}/{}/{has_batch}/{host}", edge.seen);
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
