//! Looking around: what the patterns find now, and what became of the files that they found before.

use std::collections::HashSet;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use pipeline::env::{FileKind, FileStat};
use tokio::time::Instant;

use super::file::{File, FileId, Stage};
use super::glob::Found;
use super::names::{may_be_renamed, name_of, shown};
use super::recover::FORGET_AFTER;
use super::strangers::Stranger;
use super::tailer::{Chunk, Tailer};

impl Tailer {
    /// Looks around once. Notes about files that are new or gone go to `chunks`.
    pub(super) fn survey(&mut self, now: Instant, chunks: &mut Vec<Chunk>) {
        self.listings.clear();
        let mut found = self.walk();
        if found.is_out_of_files && self.hold_fewer(now) {
            found = self.walk();
        }
        self.may_be_links = std::mem::take(&mut found.may_be_links);
        let (mut strangers, seen) = self.greet(&found, now);
        self.look_after_the_absent(&seen, now);
        self.meet_the_unmet(&mut strangers);
        self.find_the_lost(&strangers, now);
        self.take_in(strangers, &mut found, now, chunks);
        self.search_the_lost(now);
        self.part(now, chunks);
        self.directories = std::mem::take(&mut found.directories);
        self.say_found(&mut found, now);
        self.note_problems(found);
        self.surveyed = true;
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

    /// Takes note of every file that was found and is followed; returns the others, and whom it met.
    fn greet(&mut self, found: &Found, now: Instant) -> (Vec<Stranger>, HashSet<FileId>) {
        let (mut strangers, mut seen) = (Vec::new(), HashSet::new());
        // A file may be found by several names.
        let mut met = HashSet::new();
        let mut cut = Vec::new();
        for (path, stat) in &found.files {
            let inode = (stat.device, stat.inode);
            let Some(id) = self.by_inode.get(&inode).copied() else {
                // One that is still empty may be a copy about to be made.
                if stat.len > 0 && met.insert(inode) {
                    strangers.push(Stranger {
                        path: path.clone(),
                        found_as: path.clone(),
                        stat: *stat,
                    });
                }
                continue;
            };
            seen.insert(id);
            let Some(file) = self.files.get_mut(&id) else { continue };
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
                self.moved(id, path.clone());
            }
        }
        cut.into_iter().for_each(|id| self.truncated(id, now));
        (strangers, seen)
    }

    /// Finds out where the files are that the patterns do not find any more.
    fn look_after_the_absent(&mut self, seen: &HashSet<FileId>, now: Instant) {
        let absent = self.files.iter();
        let absent = absent.filter(|(id, file)| file.is_followed() && !seen.contains(id));
        let absent: Vec<FileId> = absent.map(|(id, _)| *id).collect();
        for id in absent {
            let Some(file) = self.files.get(&id) else { continue };
            let at_place = self.env.disk.stat(&file.place).ok().filter(|stat| is(stat, file));
            let known_gone = file.stage == Stage::Away { gone: true };
            let somewhere = match at_place {
                Some(stat) => Some((file.place.clone(), stat)),
                None if known_gone => None,
                None => self.renamed(id),
            };
            let Some(file) = self.files.get_mut(&id) else { continue };
            let gone = somewhere.is_none();
            let before = std::mem::replace(&mut file.stage, Stage::Away { gone });
            if before == Stage::Here {
                file.quiet_since = now;
            }
            let held = file.handle.as_ref().and_then(|handle| handle.stat().ok());
            let stat = somewhere.as_ref().map(|(_, stat)| *stat).or(held);
            let whole = stat.is_none_or(|stat| file.note(&stat, now));
            if let Some((place, _)) = somewhere {
                self.moved(id, place);
            }
            if !whole {
                self.truncated(id, now);
            }
        }
    }

    /// The name that rotation gave the file, in the same directory.
    fn renamed(&mut self, id: FileId) -> Option<(PathBuf, FileStat)> {
        let place = self.files.get(&id)?.place.clone();
        let neighbours = self.neighbours(&place).ok()?;
        let file = self.files.get(&id)?;
        neighbours.into_iter().find(|(_, stat)| is(stat, file))
    }

    /// Files beside `place` whose names rotation may have made of its name.
    pub(super) fn neighbours(&mut self, place: &Path) -> io::Result<Vec<(PathBuf, FileStat)>> {
        let (Some(directory), Some(name)) = (place.parent(), name_of(place)) else {
            return Ok(Vec::new());
        };
        // Listed once in a survey, however many files have gone from it.
        if !self.listings.contains_key(directory) {
            let listing = self.env.disk.entries(directory)?;
            self.listings.insert(directory.to_owned(), listing);
        }
        let mut neighbours = Vec::new();
        for (other, kind) in &self.listings[directory] {
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
    fn part(&mut self, now: Instant, chunks: &mut Vec<Chunk>) {
        let late = self.options.late_line_after;
        let (mut leaving, mut unread, mut missing) = (Vec::new(), 0, Vec::new());
        let disk = &*self.env.disk;
        for (id, file) in &mut self.files {
            match file.stage {
                Stage::Away { gone: true } if file.is_done(now, late) => {
                    // Once more round: perhaps there is a copy.
                    file.stage = Stage::Lost { until: now, searched: false };
                    self.by_inode.remove(&file.inode());
                    if let Some(handle) = file.handle.take() {
                        self.deleted.push(handle);
                    } else if file.len > file.position.offset {
                        unread += 1;
                        tracing::warn!(source = %self.source, file = %shown(&file.place),
                            offset = file.position.offset, bytes = file.len - file.position.offset,
                            "file was deleted before it was read to its end");
                    }
                }
                Stage::Lost { until, .. } if until < now && file.outstanding == 0 => {
                    leaving.push(*id);
                }
                Stage::Unnamed { until } if until < now => {
                    if disk.stat(&file.place).is_ok_and(|stat| is(&stat, file)) {
                        file.stage = Stage::Unnamed { until: now + FORGET_AFTER };
                    } else {
                        leaving.push(*id);
                    }
                }
                Stage::Lost { .. } if file.is_reported_missing(now) => missing.push(*id),
                _ => {}
            }
        }
        if unread > 0 {
            self.odd("vanished_unread", unread);
        }
        missing.into_iter().for_each(|id| self.say_missing(id, now));
        for id in leaving {
            let Some(file) = self.files.get_mut(&id) else { continue };
            file.stage = Stage::Leaving;
            if file.stored {
                chunks.extend(self.note(id, true));
            } else {
                self.remove(id);
            }
        }
    }

    /// Says what cannot be looked at, once for each change.
    fn note_problems(&mut self, found: Found) {
        for (path, problem) in &found.problems {
            if self.problems.get(path) != Some(problem) {
                tracing::warn!(source = %self.source, path = %shown(path), %problem,
                    "cannot be looked at; trying on");
                self.odd("unreadable", 1);
            }
        }
        for path in self.problems.keys().filter(|path| !found.problems.contains_key(*path)) {
            tracing::info!(source = %self.source, path = %shown(path), "can be looked at again");
        }
        self.problems = found.problems;
        self.held.retain(|_, path| found.files.contains_key(path));
    }
}

/// Whether this is what the file is, by device and inode.
pub(super) fn is(stat: &FileStat, file: &File) -> bool {
    (stat.device, stat.inode) == file.inode()
}
