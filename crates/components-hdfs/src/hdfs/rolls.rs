//! The unfinished rolls. No I/O: takes batches, returns rolls to end.
//!
//! ```text
//!   batch for /shop         ─► roll of /shop ───────────┐
//!   batch for /pay, /cart   ─► roll of /pay and /cart ──┴─ over ─► the one that waits ─► finishing
//!   batch for /shop, /pay   ─► joins both rolls
//! ```
//!
//! A batch is delivered by one ledger entry, which names all of its files. Paths that share a batch
//! therefore end together, and only those: a busy path does not end the file of a quiet one.
//!
//! Invariants: two open rolls never share a path, and no batch is in two rolls, including the
//! waiting one. If too many rolls are already finishing, further full rolls are joined and wait, so
//! that a slow store gets fewer and larger entries.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use pipeline::{Identity, Ticket};
use storage::FsError;
use tokio::time::Instant;

use super::content::Cores;
use super::roll::{Fill, Life, Limits};
use super::staged::{FileKey, OpenRoll, Part};

/// Fraction of the open files to end together to make space for others, with a single ledger entry.
const EVICTED: usize = 4;
/// The number of the waiting roll.
const WAITING: u64 = u64::MAX;

/// A roll with its files, or a model of one.
pub(super) trait Growing {
    /// Returns its timers.
    fn life(&self) -> &Life;
    /// Returns the keys of its files.
    fn files(&self) -> impl ExactSizeIterator<Item = &FileKey>;
    /// Returns the fill level of this file, if it exists.
    fn fill(&self, file: &FileKey) -> Option<Fill>;
    /// Returns its batches that have an identity.
    fn batches(&self) -> impl Iterator<Item = Identity>;
    /// Adds another roll, which must not share paths or batches.
    fn join(&mut self, other: Self);

    /// Returns the number of its files.
    fn file_count(&self) -> usize {
        self.files().len()
    }

    /// Returns whether these parts fit into its files.
    fn has_room(&self, parts: &[Part], limits: &Limits) -> bool {
        parts.iter().all(|part| {
            self.fill(&part.file).is_none_or(|fill| limits.fits(fill, part.bytes_bound))
        })
    }
}

/// The open rolls, and the waiting one.
pub(super) struct Rolls<R = OpenRoll> {
    /// By number, in the order of their start.
    open: BTreeMap<u64, R>,
    waiting: Option<R>,
    next_number: u64,
    /// The roll of each open file.
    by_file: BTreeMap<FileKey, u64>,
    /// The roll of each batch; may be [`WAITING`].
    by_batch: HashMap<Identity, u64, RandomState>,
    /// Earliest end of an open roll.
    end: Option<Instant>,
}

impl<R> Default for Rolls<R> {
    fn default() -> Self {
        let (open, by_file, by_batch) = Default::default();
        Self { open, waiting: None, next_number: 0, by_file, by_batch, end: None }
    }
}

impl Rolls {
    /// Adds a batch to the roll that contains its identity; `false` if no roll does.
    pub(super) fn add_again(&mut self, ticket: Ticket, key: Identity) -> bool {
        let Some(number) = self.by_batch.get(&key) else { return false };
        let roll = match *number {
            WAITING => self.waiting.as_mut(),
            number => self.open.get_mut(&number),
        };
        roll.expect("a batch is in a roll").add(ticket, Some(key));
        true
    }

    /// Waits for the compression of files that may be too full for these parts, so that their size
    /// is exact.
    pub(super) async fn settle_short(
        &mut self,
        parts: &[Part],
        limits: &Limits,
        cores: &Cores,
    ) -> Result<(), FsError> {
        for Part { file, bytes_bound, .. } in parts {
            let Some(number) = self.by_file.get(file) else { continue };
            let roll = self.open.get_mut(number).expect("it is open");
            if roll.fill(file).is_some_and(|fill| !limits.fits(fill, *bytes_bound)) {
                roll.settle(file, cores).await?;
            }
        }
        Ok(())
    }
}

impl<R: Growing> Rolls<R> {
    /// Returns when to check next, without further batches.
    pub(super) fn end(&self) -> Option<Instant> {
        self.end
    }

    /// Returns the number of open files.
    pub(super) fn file_count(&self) -> usize {
        self.by_file.len()
    }

    /// Takes all open rolls, joined.
    pub(super) fn take_all(&mut self) -> Option<R> {
        self.take(&self.open.keys().copied().collect::<Vec<_>>())
    }

    /// Takes the rolls that are over at `now`, joined with those that nearly are.
    pub(super) fn take_over(&mut self, now: Instant, limits: &Limits) -> Option<R> {
        // Rolls with further batches end later than computed.
        self.end = self.first_end();
        if self.end.is_none_or(|end| end > now) {
            return None;
        }
        let ripe = self.open.iter().filter(|(_, roll)| roll.life().is_ripe(now, limits));
        let over: Vec<u64> = ripe.map(|(number, _)| *number).collect();
        let over = self.take(&over);
        self.end = self.first_end();
        over
    }

    /// Takes the rolls with a file that is too full for one of these parts, joined.
    pub(super) fn take_full(&mut self, parts: &[Part], limits: &Limits) -> Option<R> {
        let mut full = self.touched_by(parts);
        full.retain(|number| !self.open[number].has_room(parts, limits));
        self.take(&full)
    }

    /// Takes the rolls that must end so that these parts fit into `files_max` open files, joined:
    /// the least recently written ones, and if that is not enough, the rolls of the parts
    /// themselves.
    pub(super) fn take_oldest(&mut self, parts: &[Part], files_max: usize) -> Option<R> {
        let is_new = |part: &&Part| !self.by_file.contains_key(&part.file);
        let new_files = parts.iter().filter(is_new).count();
        let excess = (self.file_count() + new_files).saturating_sub(files_max);
        if excess == 0 || new_files == 0 {
            return None;
        }
        let touched = self.touched_by(parts);
        let mut others: Vec<u64> =
            self.open.keys().copied().filter(|number| !touched.contains(number)).collect();
        others.sort_by_key(|number| self.open[number].life().touched());
        let wanted = excess.max(files_max / EVICTED);
        let mut freed = 0;
        others.retain(|number| {
            let is_wanted = freed < wanted;
            freed += if is_wanted { self.open[number].file_count() } else { 0 };
            is_wanted
        });
        if freed < excess {
            return self.take_all();
        }
        self.take(&others)
    }

    /// Returns the roll for these parts: the one with their files, several joined, or a new one.
    pub(super) fn for_parts(
        &mut self,
        parts: &[Part],
        key: Option<Identity>,
        begin: impl FnOnce() -> R,
    ) -> &mut R {
        let touched = self.touched_by(parts);
        let largest = touched.iter().copied().max_by_key(|number| self.open[number].file_count());
        let number = largest.unwrap_or_else(|| {
            self.next_number += 1;
            let roll = begin();
            self.end = self.end.into_iter().chain([roll.life().end()]).min();
            self.open.insert(self.next_number, roll);
            self.next_number
        });
        for other in touched.into_iter().filter(|other| *other != number) {
            let other = self.open.remove(&other).expect("it is open");
            for file in other.files() {
                *self.by_file.get_mut(file).expect("it is open") = number;
            }
            self.name_batches(&other, number);
            self.open.get_mut(&number).expect("it is open").join(other);
        }
        for part in parts {
            if !self.by_file.contains_key(&part.file) {
                self.by_file.insert(part.file.clone(), number);
            }
        }
        self.by_batch.extend(key.map(|key| (key, number)));
        self.open.get_mut(&number).expect("it is open")
    }

    /// Takes the roll that contains this file.
    pub(super) fn take_of(&mut self, file: &FileKey) -> Option<R> {
        self.take(&Vec::from_iter(self.by_file.get(file).copied()))
    }

    /// Returns whether this roll can join the waiting one: they share no path, and have at most
    /// `files_max` files together.
    pub(super) fn may_wait(&self, over: &R, files_max: usize) -> bool {
        self.waiting.as_ref().is_none_or(|waiting| {
            waiting.file_count() + over.file_count() <= files_max
                && !over.files().any(|file| waiting.fill(file).is_some())
        })
    }

    /// Moves a roll to the waiting one.
    pub(super) fn wait(&mut self, over: R) {
        self.name_batches(&over, WAITING);
        self.waiting = joined(self.waiting.take().into_iter().chain([over]).collect());
    }

    /// Takes the waiting roll.
    pub(super) fn take_waiting(&mut self) -> Option<R> {
        let waiting = self.waiting.take()?;
        self.forget_batches(&waiting);
        Some(waiting)
    }

    fn first_end(&self) -> Option<Instant> {
        self.open.values().map(|roll| roll.life().end()).min()
    }

    /// Returns the open rolls with a file for one of these parts.
    fn touched_by(&self, parts: &[Part]) -> Vec<u64> {
        let numbers = parts.iter().filter_map(|part| self.by_file.get(&part.file));
        let mut touched: Vec<u64> = numbers.copied().collect();
        touched.sort_unstable();
        touched.dedup();
        touched
    }

    fn take(&mut self, numbers: &[u64]) -> Option<R> {
        let rolls: Vec<_> = numbers.iter().filter_map(|number| self.open.remove(number)).collect();
        for roll in &rolls {
            for file in roll.files() {
                self.by_file.remove(file);
            }
            self.forget_batches(roll);
        }
        joined(rolls)
    }

    fn name_batches(&mut self, roll: &R, number: u64) {
        self.by_batch.extend(roll.batches().map(|key| (key, number)));
    }

    fn forget_batches(&mut self, roll: &R) {
        for key in roll.batches() {
            self.by_batch.remove(&key);
        }
    }
}

/// Joins these rolls; the result has the token of the largest.
fn joined<R: Growing>(rolls: Vec<R>) -> Option<R> {
    let mut rolls = rolls;
    let largest = (0..rolls.len()).max_by_key(|at| rolls[*at].file_count())?;
    let mut whole = rolls.swap_remove(largest);
    for roll in rolls {
        whole.join(roll);
    }
    Some(whole)
}
