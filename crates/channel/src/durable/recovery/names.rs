//! The file `names`: lives of this channel whose batches have another origin outside.
//!
//! ```text
//! aqueduct names
//! life 91c2… 12582912 is 07ab… but 0-41,43-44
//! check 0a1b2c3d
//! ```
//!
//! A copy of this directory had closed the life, so peers would take its batches for old ones. The
//! numbers after `but` are half-open runs of sequences that were sent under the first name and keep
//! it. In the log every batch keeps its original name: names are translated on the way out. The
//! file contains the newest lives.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::sync::{MutexGuard, PoisonError};

use pipeline::env::{Disk, small_file};
use pipeline::{Account, Epoch, Identity, IntervalSet, KeySet, Origin};
use tracing::warn;

use super::owner_file;
use crate::durable::core::Core;
use crate::durable::log::segment::Owner;

const FIRST_LINE: &str = "aqueduct names";
/// More than this is not our file.
const BYTES_MAX: usize = 16 << 20;
/// Maximum number of lives. The name of a life whose batches are all delivered is never needed.
const LIVES_MAX: usize = 64;

/// One life with its other name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    origin: Origin,
    epoch: Epoch,
    to: Origin,
    kept: IntervalSet,
}

/// The lives with other names, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names {
    all: Vec<Named>,
}

impl Names {
    /// Returns the name of a batch outside, if it differs from its own.
    pub(crate) fn of(&self, key: Identity) -> Option<Identity> {
        let of_life = |n: &&Named| (n.origin, n.epoch) == (key.origin, key.epoch);
        let named = self.all.iter().find(of_life)?;
        let is_kept = named.kept.contains(key.sequence.0);
        (!is_kept).then_some(Identity { origin: named.to, ..key })
    }

    /// The same for a set: each by its name outside.
    pub(crate) fn outside(&self, keys: &KeySet) -> KeySet {
        if self.all.is_empty() {
            return keys.clone();
        }
        let mut outside = keys.clone();
        for Named { origin, epoch, to, kept } in &self.all {
            let Some(sequences) = keys.get(*origin, *epoch) else { continue };
            let moved = sequences.difference(kept);
            let mut gone = KeySet::default();
            gone.insert_set(*origin, *epoch, &moved);
            outside.remove_all(&gone);
            outside.insert_set(*to, *epoch, &moved);
        }
        outside
    }

    /// The epoch of a life that is known as `origin` outside and that `wanted` has batches of.
    pub(crate) fn lowest(&self, origin: Origin, wanted: &KeySet) -> Option<Epoch> {
        let lives = self.all.iter().filter(|named| named.to == origin);
        let lives = lives.filter(|named| wanted.get(named.origin, named.epoch).is_some());
        lives.map(|named| named.epoch).min()
    }

    /// The other name of a life.
    pub(crate) fn of_life(&self, origin: Origin, epoch: Epoch) -> Option<Origin> {
        let of_life = |n: &&Named| (n.origin, n.epoch) == (origin, epoch);
        self.all.iter().find(of_life).map(|named| named.to)
    }

    /// Gives a life another name, except for `kept`; an existing name stays.
    pub(crate) fn give(&mut self, life: (Origin, Epoch), to: Origin, kept: &IntervalSet) {
        let (origin, epoch) = life;
        match self.all.iter_mut().find(|n| (n.origin, n.epoch) == life) {
            Some(named) => named.kept = named.kept.intersection(kept),
            None => self.all.push(Named { origin, epoch, to, kept: kept.clone() }),
        }
    }

    /// Forgets all but the newest lives.
    pub(crate) fn trim(&mut self) {
        let old = self.all.len().saturating_sub(LIVES_MAX);
        self.all.drain(..old);
    }

    /// Translates an account to outside names; `all` has everything that the channel ever stored.
    pub(crate) fn account(&self, account: Account, all: &KeySet) -> Account {
        let mut accepted = self.outside(&account.accepted);
        // Batches that were created under the previous origin.
        for Named { origin, epoch, to, kept } in &self.all {
            let end = all.get(*origin, *epoch).and_then(IntervalSet::last);
            if *to == account.origin
                && let Some(last) = end
            {
                let born = IntervalSet::from(0..last + 1).difference(kept);
                accepted.insert_set(*to, *epoch, &born);
            }
        }
        let pending = self.outside(&account.pending);
        Account { accepted, pending, ..account }
    }

    fn text(&self) -> String {
        let mut lines = format!("{FIRST_LINE}\n");
        for Named { origin, epoch, to, kept } in &self.all {
            write!(lines, "life {origin} {} is {to} but ", epoch.0).expect("a string takes it");
            for (at, run) in kept.runs().iter().enumerate() {
                let comma = if at == 0 { "" } else { "," };
                write!(lines, "{comma}{}-{}", run.start, run.end).expect("a string takes it");
            }
            lines.push('\n');
        }
        let check = crc32c::crc32c(lines.as_bytes());
        format!("{lines}check {check:08x}\n")
    }

    fn parse(text: &str) -> Option<Self> {
        let mut names = Self::default();
        for line in text.lines().filter_map(|line| line.strip_prefix("life ")) {
            let mut words = line.split(' ');
            let (origin, epoch) = (words.next()?.parse().ok()?, Epoch(words.next()?.parse().ok()?));
            let to = words.nth(1)?.parse().ok()?;
            let mut kept = IntervalSet::EMPTY;
            for run in words.nth(1)?.split(',').filter(|run| !run.is_empty()) {
                let (start, end) = run.split_once('-')?;
                kept.insert_range(start.parse().ok()?..end.parse().ok()?);
            }
            names.all.push(Named { origin, epoch, to, kept });
        }
        (names.text() == text).then_some(names)
    }

    /// Reads the file; none is no names.
    ///
    /// # Errors
    /// The disk refused, or the file is not as it was written.
    pub(crate) fn read(disk: &dyn Disk, path: &Path) -> io::Result<Self> {
        let Some(file) = small_file::find(disk, path)? else { return Ok(Self::default()) };
        let length = file.stat()?.len;
        let bytes = file.read(0, usize::try_from(length).unwrap_or(BYTES_MAX).min(BYTES_MAX))?;
        let names = std::str::from_utf8(&bytes).ok().and_then(Self::parse);
        names.ok_or_else(|| {
            io::Error::other(
                "the file `names` is damaged; restore it from a backup, or delete it, but then \
                 batches may be delivered twice",
            )
        })
    }

    /// Writes the file.
    ///
    /// # Errors
    /// The disk failed; the old content stays.
    pub(crate) fn write(&self, disk: &dyn Disk, path: &Path) -> io::Result<()> {
        small_file::replace(disk, path, self.text().as_bytes())
    }
}

impl Core {
    /// Locks the outside names. Ignores a panic of another holder, because every change is
    /// complete.
    pub(crate) fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives this life another name outside, and the channel another origin from its next start on.
    ///
    /// # Errors
    /// The disk refused. The names are as they were, or the next start begins under the old origin.
    pub(crate) fn rename(&self, kept: &IntervalSet) -> io::Result<()> {
        let Owner { origin, epoch, .. } = self.owner;
        let mut names = self.names();
        let known = names.of_life(origin, epoch);
        let to = known.unwrap_or_else(|| self.origin_name.origin(&self.env));
        let mut next = names.clone();
        next.give((origin, epoch), to, kept);
        next.trim();
        let disk = &*self.env.disk;
        next.write(disk, &self.directory.join("names"))?;
        *names = next;
        if known.is_some() {
            return Ok(());
        }
        warn!(
            channel = %self.name, %origin, new_origin = %to,
            "the next agent has received later batches than this channel has sent: its data \
             directory was restored from a backup, or copied to a second machine; unsent events \
             get new identities (a new origin); if two machines use it, stop one",
        );
        self.incident("renamed_life", 1);
        let owner = Owner { origin: to, ..self.owner };
        owner_file::write(disk, &self.directory.join("channel"), &owner)
    }
}

#[cfg(test)]
mod tests {
    use pipeline::Sequence;

    use super::*;

    const OLD: Origin = Origin([1; 16]);
    const NEW: Origin = Origin([2; 16]);

    fn key(origin: Origin, epoch: u64, sequence: u64) -> Identity {
        Identity { origin, epoch: Epoch(epoch), sequence: Sequence(sequence) }
    }

    fn names() -> Names {
        let mut names = Names::default();
        names.give((OLD, Epoch(3)), NEW, &[0, 1, 7].into_iter().collect());
        names
    }

    #[test]
    fn a_life_is_known_by_its_other_name_but_for_what_was_sent() {
        let mut names = names();
        assert_eq!(names.of(key(OLD, 3, 2)), Some(key(NEW, 3, 2)));
        assert_eq!(names.of(key(OLD, 3, 7)), None);
        assert_eq!(names.of(key(OLD, 4, 2)), None);
        // A repeated call leaves fewer sequences out, never more; the other name stays.
        names.give((OLD, Epoch(3)), OLD, &[0, 1, 2].into_iter().collect());
        assert_eq!(names.of(key(OLD, 3, 7)), Some(key(NEW, 3, 7)));
        assert_eq!(names.of(key(OLD, 3, 2)), Some(key(NEW, 3, 2)));
        assert_eq!(names.of(key(OLD, 3, 1)), None);
    }

    #[test]
    fn a_set_is_told_by_its_names_outside() {
        let inside: KeySet = [key(OLD, 3, 0), key(OLD, 3, 2), key(OLD, 4, 2)].into_iter().collect();
        let outside = [key(OLD, 3, 0), key(NEW, 3, 2), key(OLD, 4, 2)].into_iter().collect();
        assert_eq!(names().outside(&inside), outside);
        assert_eq!(names().lowest(NEW, &inside), Some(Epoch(3)));
        let account = Account { pending: inside.clone(), ..Account::empty("main", NEW) };
        let account = names().account(account, &inside);
        assert_eq!(account.accepted, [key(NEW, 3, 2)].into_iter().collect(), "what it answers for");
        assert!(account.pending.contains(key(NEW, 3, 2)) && account.pending.count() == 3);
    }

    #[test]
    fn only_so_many_lives_are_remembered() {
        let mut names = Names::default();
        (0..100).for_each(|n| names.give((OLD, Epoch(n)), NEW, &IntervalSet::EMPTY));
        names.trim();
        assert_eq!(names.all.len(), LIVES_MAX);
        assert!(names.of(key(OLD, 99, 0)).is_some() && names.of(key(OLD, 0, 0)).is_none());
    }

    #[test]
    fn reads_the_written_file_and_detects_damage() {
        for names in [Names::default(), names()] {
            let good = names.text();
            assert_eq!(Names::parse(&good), Some(names));
            for at in 0..good.len() {
                let mut bad = good.clone().into_bytes();
                bad[at] ^= 1;
                assert_eq!(std::str::from_utf8(&bad).ok().and_then(Names::parse), None, "{at}");
            }
        }
    }
}
