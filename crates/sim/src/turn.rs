//! Store calls that change the ledger. A process stopped just before one of them continues with
//! outdated information.
//!
//! ```text
//!  wins an entry             ■ stopped ─────────────────────────────────► wins it?
//!  fences it, clears away              fence ─► ■ stopped ──────────────────────► clears away
//!  a third one                                    seals, makes g+1, deletes g ─► …
//!
//!  renames in g+1            ■ stopped ─────────────────────────────────► renames it in?
//!  does so first, deletes g            g+1 is in ─► ■ stopped ─────────────────────► deletes g
//!  a third one                                    seals g+1, makes g+2 ─► deletes g+1?
//! ```

use crate::asked::{Asked, ROOT};
use crate::books;

/// A store call that changes the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Creates an entry.
    Entry,
    /// Creates the next generation.
    GenerationIn,
    /// Deletes an old generation.
    GenerationOut,
    /// Deletes the staged files of a collector.
    Sweep,
}

/// Where the first host is stopped, and then the first one at the resulting call.
pub(crate) const RACES: &[[Turn; 2]] =
    &[[Turn::Entry, Turn::Sweep], [Turn::GenerationIn, Turn::GenerationOut]];

impl Turn {
    /// Classifies a call.
    pub(crate) fn parse(asked: &Asked) -> Option<Self> {
        let is_generation =
            |path| books::ledger_place(path).is_some_and(|(_, place)| !place.contains('/'));
        let is_entry = |path| {
            let (_, place) = books::ledger_place(path)?;
            let (_, name) = place.split_once('/')?;
            name.parse::<u64>().is_ok().then_some(Self::Entry)
        };
        match asked {
            // In an object store, generations are never deleted, and a stage is cleared file by
            // file.
            Asked::Put(path) if path.ends_with("/checkpoint") => {
                books::ledger_place(path).map(|_| Self::GenerationIn)
            }
            Asked::Put(path) => is_entry(path),
            Asked::Rename(from, _) if is_generation(from) => Some(Self::GenerationOut),
            Asked::Rename(_, to) if is_generation(to) => Some(Self::GenerationIn),
            Asked::Rename(_, to) => is_entry(to),
            Asked::Delete(path) => {
                let (_, below) = path.strip_prefix(ROOT)?.split_once('/')?;
                let desk = below.strip_prefix("stage/")?;
                (desk.matches('/').count() == 1).then_some(Self::Sweep)
            }
            _ => None,
        }
    }
}
