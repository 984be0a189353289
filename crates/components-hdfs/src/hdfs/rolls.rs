//! The rolls that are not finished yet. Pure of I/O: batches go in, rolls that are to end come out.
//!
//! ```text
//!   batch for /shop         ─► roll of /shop ───────────┐
//!   batch for /pay, /cart   ─► roll of /pay and /cart ──┴─ over ─► the one that waits ─► finishing
//!   batch for /shop, /pay   ─► the two become one
//! ```
//!
//! A batch is delivered by one entry of the ledger, which names all files that it is in. So paths
//! that share a batch end together, and no others do: a path with much traffic does not end the
//! file of one with little.
//!
//! Invariants: two open rolls never have a path in common; no batch is in two rolls, the one that
//! waits included. Those that are full while as many as may be are finished wait as one, so that a
//! slow store has fewer and larger entries to take.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use pipeline::{Identity, Ticket};
use storage::FsError;
use tokio::time::Instant;

use super::content::Cores;
use super::roll::{Fill, Life, Limits};
use super::staged::{FileKey, OpenRoll, Part};

/// The part of the files that may be open that are ended at once to make room for others: one entry
/// serves them all.
const EVICTED: usize = 4;
/// The number of the roll that waits.
const WAITING: u64 = u64::MAX;

/// What is decided about: a roll with its files, or what a model counts of one.
pub(super) trait Growing {
    /// Its clock.
    fn life(&self) -> &Life;
    /// What its files are for.
    fn files(&self) -> impl ExactSizeIterator<Item = &FileKey>;
    /// How full this file is, if it has it.
    fn fill(&self, file: &FileKey) -> Option<Fill>;
    /// The batches in it, as far as they have an identity.
    fn batches(&self) -> impl Iterator<Item = Identity>;
    /// Takes in another roll, which has none of its paths and none of its batches.
    fn join(&mut self, other: Self);

    /// Number of its files.
    fn file_count(&self) -> usize {
        self.files().len()
    }

    /// Whether these parts fit into its files.
    fn has_room(&self, parts: &[Part], limits: &Limits) -> bool {
        parts.iter().all(|part| {
            self.fill(&part.file).is_none_or(|fill| limits.fits(fill, part.bytes_bound))
        })
    }
}

/// The open rolls, and the one that waits for its turn.
pub(super) struct Rolls<R = OpenRoll> {
    /// By number, in the order in which they began.
    open: BTreeMap<u64, R>,
    waiting: Option<R>,
    next_number: u64,
    /// Which of the open rolls has a file.
    by_file: BTreeMap<FileKey, u64>,
    /// Which roll has a batch; [`WAITING`] as well.
    by_batch: HashMap<Identity, u64, RandomState>,
    /// None is over before.
    end: Option<Instant>,
}

impl<R> Default for Rolls<R> {
    fn default() -> Self {
        let (open, by_file, by_batch) = Default::default();
        Self { open, waiting: None, next_number: 0, by_file, by_batch, end: None }
    }
}

impl Rolls {
    /// Adds a batch to the roll that holds one of this identity; `false` if none does.
    pub(super) fn add_again(&mut self, ticket: Ticket, key: Identity) -> bool {
        let Some(number) = self.by_batch.get(&key) else { return false };
        let roll = match *number {
            WAITING => self.waiting.as_mut(),
            number => self.open.get_mut(&number),
        };
        roll.expect("a batch is in a roll").add(ticket, Some(key));
        true
    }

    /// Files that these parts may not fit into count as what they have, not as what is still to be
    /// compressed of them.
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
    /// When to look whether one is over, if nothing comes any more.
    pub(super) fn end(&self) -> Option<Instant> {
        self.end
    }

    /// Files of the open ones.
    pub(super) fn file_count(&self) -> usize {
        self.by_file.len()
    }

    /// All open ones, as one.
    pub(super) fn take_all(&mut self) -> Option<R> {
        self.take(&self.open.keys().copied().collect::<Vec<_>>())
    }

    /// Those that are over `now`, with those that nearly are, as one.
    pub(super) fn take_over(&mut self, now: Instant, limits: &Limits) -> Option<R> {
        // Those that were written to since end later than was thought.
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

    /// Those that have a file which one of these parts does not fit into, as one.
    pub(super) fn take_full(&mut self, parts: &[Part], limits: &Limits) -> Option<R> {
        let mut full = self.touched_by(parts);
        full.retain(|number| !self.open[number].has_room(parts, limits));
        self.take(&full)
    }

    /// Those that have to end so that these parts have files, `files_max` in all, as one: those
    /// that were written to least recently, and where that is not enough those of the parts
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

    /// The roll for these parts of a batch: the one that has files for them, made of several where
    /// several have, or a new one.
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

    /// The roll that has this file.
    pub(super) fn take_of(&mut self, file: &FileKey) -> Option<R> {
        self.take(&Vec::from_iter(self.by_file.get(file).copied()))
    }

    /// Whether this one can wait for its turn with the one that waits already: they have no path in
    /// common, and no more than `files_max` files.
    pub(super) fn may_wait(&self, over: &R, files_max: usize) -> bool {
        self.waiting.as_ref().is_none_or(|waiting| {
            waiting.file_count() + over.file_count() <= files_max
                && !over.files().any(|file| waiting.fill(file).is_some())
        })
    }

    /// Lets one that is over, and may, wait for its turn.
    pub(super) fn wait(&mut self, over: R) {
        self.name_batches(&over, WAITING);
        self.waiting = joined(self.waiting.take().into_iter().chain([over]).collect());
    }

    /// The one that waits for its turn.
    pub(super) fn take_waiting(&mut self) -> Option<R> {
        let waiting = self.waiting.take()?;
        self.forget_batches(&waiting);
        Some(waiting)
    }

    fn first_end(&self) -> Option<Instant> {
        self.open.values().map(|roll| roll.life().end()).min()
    }

    /// The open ones that have a file for one of these parts.
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

/// All of these as one, which keeps the name of the largest.
fn joined<R: Growing>(rolls: Vec<R>) -> Option<R> {
    let mut rolls = rolls;
    let largest = (0..rolls.len()).max_by_key(|at| rolls[*at].file_count())?;
    let mut whole = rolls.swap_remove(largest);
    for roll in rolls {
        whole.join(roll);
    }
    Some(whole)
}
