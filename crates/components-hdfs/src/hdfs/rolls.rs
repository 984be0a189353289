//! The rolls that are open. Pure of I/O: batches go in, rolls that are to end come out.
//!
//! ```text
//!   batch for /shop         ─► roll of /shop
//!   batch for /pay, /cart   ─► roll of /pay and /cart
//!   batch for /shop, /pay   ─► the two become one
//! ```
//!
//! A batch is delivered by one entry of the ledger, which names all files that it is in. So paths
//! that share a batch end together, and no others do: a path with much traffic does not end the
//! file of one with little. Two open rolls never have a path in common, and none has a batch that
//! another one has.

use pipeline::Identity;
use tokio::time::Instant;

use super::roll::Limits;
use super::staged::{OpenRoll, Part};

/// The part of the files that may be open that are ended at once to make room for others: one entry
/// serves them all.
const EVICTED: usize = 4;

/// The open rolls, in no order.
#[derive(Default)]
pub(super) struct Rolls {
    open: Vec<OpenRoll>,
}

impl Rolls {
    /// When the first of them is over if nothing comes any more.
    pub(super) fn end(&self) -> Option<Instant> {
        self.open.iter().map(|roll| roll.life.end()).min()
    }

    /// Files of all of them.
    pub(super) fn file_count(&self) -> usize {
        self.open.iter().map(OpenRoll::file_count).sum()
    }

    /// The roll that holds a batch of this identity.
    pub(super) fn holding(&mut self, key: Identity) -> Option<&mut OpenRoll> {
        self.open.iter_mut().find(|roll| roll.holds(key))
    }

    /// All of them, as one.
    pub(super) fn take_all(&mut self) -> Option<OpenRoll> {
        joined(std::mem::take(&mut self.open))
    }

    /// Those that are over `now`, with those that nearly are, as one.
    pub(super) fn take_over(&mut self, now: Instant, limits: &Limits) -> Option<OpenRoll> {
        if self.end().is_none_or(|end| end > now) {
            return None;
        }
        self.take(|roll| roll.life.is_ripe(now, limits))
    }

    /// Those that have a file which one of these parts does not fit into, as one.
    pub(super) fn take_full(&mut self, parts: &[Part], limits: &Limits) -> Option<OpenRoll> {
        self.take(|roll| !roll.has_room(parts, limits))
    }

    /// Those that have to end so that these parts have files, `files_max` in all, as one: those
    /// that were written to least recently, and where that is not enough those of the parts
    /// themselves.
    pub(super) fn take_oldest(&mut self, parts: &[Part], files_max: usize) -> Option<OpenRoll> {
        let is_open = |part: &&Part| self.open.iter().any(|roll| roll.has_file(&part.directory));
        let new_files = parts.iter().filter(|part| !is_open(part)).count();
        let excess = (self.file_count() + new_files).saturating_sub(files_max);
        if excess == 0 || new_files == 0 {
            return None;
        }
        let wanted = excess.max(files_max / EVICTED);
        self.open.sort_by_key(|roll| (roll.is_touched_by(parts), roll.life.touched()));
        let (mut ending, mut freed) = (0, 0);
        for roll in self.open.iter().filter(|roll| !roll.is_touched_by(parts)) {
            if freed < wanted {
                (ending, freed) = (ending + 1, freed + roll.file_count());
            }
        }
        if freed < excess {
            ending = self.open.len();
        }
        joined(self.open.drain(..ending).collect())
    }

    /// The roll for these parts: the one that has files for them, made of several where several
    /// have, or a new one.
    pub(super) fn for_parts(
        &mut self,
        parts: &[Part],
        begin: impl FnOnce() -> OpenRoll,
    ) -> &mut OpenRoll {
        let roll = self.take(|roll| roll.is_touched_by(parts)).unwrap_or_else(begin);
        self.open.push(roll);
        self.open.last_mut().expect("one was just put in")
    }

    /// The roll that has a file in this directory.
    pub(super) fn take_of(&mut self, directory: &str) -> Option<OpenRoll> {
        self.take(|roll| roll.has_file(directory))
    }

    fn take(&mut self, is_wanted: impl Fn(&OpenRoll) -> bool) -> Option<OpenRoll> {
        joined(self.open.extract_if(.., |roll| is_wanted(roll)).collect())
    }
}

/// All of these as one, which keeps the name of the largest.
fn joined(rolls: Vec<OpenRoll>) -> Option<OpenRoll> {
    let mut rolls = rolls;
    let largest = (0..rolls.len()).max_by_key(|at| rolls[*at].file_count())?;
    let mut whole = rolls.swap_remove(largest);
    for roll in rolls {
        whole.join(roll);
    }
    Some(whole)
}
