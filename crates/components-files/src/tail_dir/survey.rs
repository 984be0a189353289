//! Looking around: what the patterns find now, and what became of the files that they found before.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use pipeline::env::{FileKind, FileStat};
use tokio::time::Instant;

use super::candidates::Candidate;
use super::file::{File, FileId, Stage};
use super::flume::FlumePositions;
use super::followed::Inode;
use super::glob::Found;
use super::names::{may_be_renamed, name_of, shown};
use super::notes::Notes;
use super::recover::FORGET_AFTER;
use super::tailer::{Chunk, Tailer};

/// What the last survey found, besides the files that are followed.
pub(super) struct Seen {
    /// There was none.
    is_first: bool,
    /// What the first one finds and no earlier run has read is read from its end on.
    from_end: bool,
    /// Names that are read from their beginning all the same: Flume read a file of that name.
    read_by_flume: HashSet<PathBuf>,
    /// What could not be looked at.
    problems: BTreeMap<PathBuf, io::ErrorKind>,
    /// Directories as they were found, where that was needed.
    listings: HashMap<PathBuf, Vec<(OsString, FileKind)>>,
    /// Names that may be links.
    may_be_links: HashSet<PathBuf>,
    /// Files held back as copies.
    held: BTreeMap<Inode, PathBuf>,
}

impl Seen {
    /// Nothing was seen yet.
    pub(super) fn new(from_end: bool) -> Self {
        Self {
            is_first: true,
            from_end,
            read_by_flume: HashSet::new(),
            problems: BTreeMap::new(),
            listings: HashMap::new(),
            may_be_links: HashSet::new(),
            held: BTreeMap::new(),
        }
    }

    /// Whether there was no survey yet.
    pub(super) fn is_first(&self) -> bool {
        self.is_first
    }

    /// Whether what is found by this name now is to be read from its end on.
    pub(super) fn begins_at_end(&self, path: &Path) -> bool {
        self.is_first && self.from_end && !self.read_by_flume.contains(path)
    }

    /// Whether this name may be a link.
    pub(super) fn may_be_link(&self, path: &Path) -> bool {
        self.may_be_links.contains(path)
    }

    /// A file is a copy, which is not read; `true` if it was not known as that.
    pub(super) fn hold(&mut self, inode: Inode, path: &Path) -> bool {
        self.held.insert(inode, path.to_owned()).is_none()
    }

    /// A file is no copy any more.
    pub(super) fn let_go(&mut self, inode: Inode) {
        self.held.remove(&inode);
    }

    /// Whether the file is held back as a copy.
    pub(super) fn is_held(&self, inode: Inode) -> bool {
        self.held.contains_key(&inode)
    }

    /// What cannot be looked at.
    pub(super) fn problems(&self) -> &BTreeMap<PathBuf, io::ErrorKind> {
        &self.problems
    }

    /// Whether nothing is to be decided that only time tells.
    pub(super) fn is_calm(&self) -> bool {
        self.held.is_empty() && self.problems.is_empty()
    }
}

impl Tailer {
    /// Looks around once; returns notes about files that are new or gone.
    pub(super) fn survey(&mut self, now: Instant) -> Option<Chunk> {
        let mut notes = Notes::default();
        self.seen.listings.clear();
        let mut found = self.walk();
        if found.is_out_of_files && self.hold_fewer(now) {
            found = self.walk();
        }
        self.seen.may_be_links = std::mem::take(&mut found.may_be_links);
        self.note_for_lacking(&mut notes);
        self.seen.read_by_flume =
            self.flume.as_ref().map(FlumePositions::paths).unwrap_or_default();
        self.go_on_from_flume(&found, now, &mut notes);
        let (mut candidates, seen) = self.greet(&found, now);
        self.look_after_the_absent(&seen, now);
        self.add_renamed(&mut candidates);
        self.find_the_lost(&candidates, now);
        self.take_in(candidates, &mut found, now, &mut notes);
        self.search_the_lost(now);
        self.part(now, &mut notes);
        self.watched.surveyed(std::mem::take(&mut found.directories));
        self.say_found(&mut found, now);
        self.note_problems(found);
        self.seen.is_first = false;
        notes.finish()
    }

    /// What the patterns find now.
    fn walk(&mut self) -> Found {
        let mut found = Found::new(self.options.follow_symlinks);
        let Self { options, env, report, .. } = self;
        let excluded = |path: &Path| options.exclusions.iter().any(|e| e.covers(path));
        for (pattern, matched) in options.patterns.iter().zip(report.patterns()) {
            *matched |= pattern.walk(&*env.disk, excluded, &mut found) > 0;
        }
        found
    }

    /// Takes note of every file that was found and is followed; returns the others, and those that
    /// it met.
    fn greet(&mut self, found: &Found, now: Instant) -> (Vec<Candidate>, HashSet<FileId>) {
        let (mut candidates, mut seen) = (Vec::new(), HashSet::new());
        // A file may be found by several names.
        let mut met = HashSet::new();
        let mut cut = Vec::new();
        for (path, stat) in &found.files {
            let inode = (stat.device, stat.inode);
            let Some(id) = self.files.at_inode(inode) else {
                // One that is still empty may be a copy about to be made.
                if stat.len > 0 && met.insert(inode) {
                    candidates.push(Candidate {
                        path: path.clone(),
                        found_as: path.clone(),
                        stat: *stat,
                    });
                }
                continue;
            };
            seen.insert(id);
            let Some(file) = self.files.get_mut(id) else { continue };
            if file.stage == (Stage::Away { gone: true }) && file.position.offset == 0 {
                // Nothing was read of the deleted one: this may be its inode used again.
                file.position.path.clone_from(path);
            }
            file.stage = Stage::Here;
            if !file.note(stat, now) {
                cut.push(id);
            }
            // Of several names it keeps the one it has, which a pattern need not match.
            let same = |stat: FileStat| (stat.device, stat.inode) == inode;
            let place = || found.files.get(&file.place).copied();
            let at_place = || place().or_else(|| self.env.disk.stat(&file.place).ok());
            if file.place.as_os_str() != path.as_os_str() && !at_place().is_some_and(same) {
                self.files.moved(id, path.clone());
            }
        }
        cut.into_iter().for_each(|id| self.truncated(id, now));
        (candidates, seen)
    }

    /// Finds out where the files are that the patterns do not find any more.
    fn look_after_the_absent(&mut self, seen: &HashSet<FileId>, now: Instant) {
        let absent = self.files.iter();
        let absent = absent.filter(|(id, file)| file.is_followed() && !seen.contains(id));
        let absent: Vec<FileId> = absent.map(|(id, _)| id).collect();
        for id in absent {
            let Some(file) = self.files.get(id) else { continue };
            let at_place = self.env.disk.stat(&file.place).ok().filter(|stat| is(stat, file));
            let known_gone = file.stage == Stage::Away { gone: true };
            let somewhere = match at_place {
                Some(stat) => Some((file.place.clone(), stat)),
                None if known_gone => None,
                None => self.renamed(id),
            };
            let Some(file) = self.files.get_mut(id) else { continue };
            let gone = somewhere.is_none();
            let before = std::mem::replace(&mut file.stage, Stage::Away { gone });
            if before == Stage::Here {
                file.quiet_since = now;
            }
            let held = file.handle.as_ref().and_then(|handle| handle.stat().ok());
            let stat = somewhere.as_ref().map(|(_, stat)| *stat).or(held);
            let whole = stat.is_none_or(|stat| file.note(&stat, now));
            if let Some((place, _)) = somewhere {
                self.files.moved(id, place);
            }
            if !whole {
                self.truncated(id, now);
            }
        }
    }

    /// The name that rotation gave the file, in the same directory.
    fn renamed(&mut self, id: FileId) -> Option<(PathBuf, FileStat)> {
        let place = self.files.get(id)?.place.clone();
        let neighbours = self.neighbours(&place).ok()?;
        let file = self.files.get(id)?;
        neighbours.into_iter().find(|(_, stat)| is(stat, file))
    }

    /// Files next to `place` whose names rotation may have made of its name.
    pub(super) fn neighbours(&mut self, place: &Path) -> io::Result<Vec<(PathBuf, FileStat)>> {
        let (Some(directory), Some(name)) = (place.parent(), name_of(place)) else {
            return Ok(Vec::new());
        };
        // Listed once in a survey, however many files have gone from it.
        let listings = &mut self.seen.listings;
        if !listings.contains_key(directory) {
            let listing = self.env.disk.entries(directory)?;
            listings.insert(directory.to_owned(), listing);
        }
        let mut neighbours = Vec::new();
        for (other, kind) in &listings[directory] {
            if *kind == FileKind::File && may_be_renamed(name, other.as_bytes()) {
                let path = directory.join(other);
                // One that vanishes meanwhile is no neighbour.
                if let Ok(stat) = self.env.disk.stat(&path) {
                    neighbours.push((path, stat));
                }
            }
        }
        Ok(neighbours)
    }

    /// Lets go of what is read to its end and gone for good.
    fn part(&mut self, now: Instant, notes: &mut Notes) {
        let late = self.options.late_line_after;
        let (mut leaving, mut unread, mut missing) = (Vec::new(), 0, Vec::new());
        let disk = &*self.env.disk;
        let mut parted = Vec::new();
        for (id, file) in self.files.iter_mut() {
            match file.stage {
                Stage::Away { gone: true } if file.is_done(now, late) => {
                    // Once more round: perhaps there is a copy.
                    file.stage = Stage::Lost { until: now, searched: false };
                    parted.push(file.inode());
                    if let Some(handle) = file.handle.take() {
                        self.handles.close_later(handle);
                    } else if file.len > file.position.offset {
                        unread += 1;
                        tracing::warn!(source = %self.source, file = %shown(&file.place),
                            offset = file.position.offset, bytes = file.len - file.position.offset,
                            "file was deleted before it was read to its end");
                    }
                }
                Stage::Lost { until, .. } if until < now && file.outstanding == 0 => {
                    leaving.push(id);
                }
                Stage::Unnamed { until } if until < now => {
                    if disk.stat(&file.place).is_ok_and(|stat| is(&stat, file)) {
                        file.stage = Stage::Unnamed { until: now + FORGET_AFTER };
                    } else {
                        leaving.push(id);
                    }
                }
                Stage::Lost { .. } if file.is_reported_missing(now) => missing.push(id),
                _ => {}
            }
        }
        parted.into_iter().for_each(|inode| self.files.leave_inode(inode));
        if unread > 0 {
            self.count_anomaly("vanished_unread", unread);
        }
        missing.into_iter().for_each(|id| self.say_missing(id, now));
        for id in leaving {
            let Some(file) = self.files.get_mut(id) else { continue };
            file.stage = Stage::Leaving;
            if file.stored {
                self.note(id, true, notes);
            } else {
                self.files.remove(id);
            }
        }
    }

    /// Says what cannot be looked at, once for each change.
    fn note_problems(&mut self, found: Found) {
        for (path, problem) in &found.problems {
            if self.seen.problems.get(path) != Some(problem) {
                tracing::warn!(source = %self.source, path = %shown(path), %problem,
                    "cannot be looked at; trying on");
                self.count_anomaly("unreadable", 1);
            }
        }
        for path in self.seen.problems.keys().filter(|path| !found.problems.contains_key(*path)) {
            tracing::info!(source = %self.source, path = %shown(path), "can be looked at again");
        }
        self.seen.problems = found.problems;
        self.seen.held.retain(|_, path| found.files.contains_key(path));
    }
}

/// Whether this is what the file is, by device and inode.
pub(super) fn is(stat: &FileStat, file: &File) -> bool {
    (stat.device, stat.inode) == file.inode()
}
