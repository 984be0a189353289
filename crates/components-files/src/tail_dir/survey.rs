//! A survey: finds the files that match now, and checks those that matched before.

use std::collections::HashSet;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use pipeline::env::{FileKind, FileStat};
use tokio::time::Instant;

use super::candidates::Candidate;
use super::chunk::Chunk;
use super::file::{FileId, Stage};
use super::flume_positions::FlumePositions;
use super::glob::Found;
use super::names::{may_be_renamed, name_of, shown};
use super::notes::Notes;
use super::recover::FORGET_AFTER;
use super::tailer::Tailer;

impl Tailer {
    /// Surveys once; returns notes about new and removed files.
    pub(super) fn survey(&mut self, now: Instant) -> Option<Chunk> {
        let mut notes = Notes::default();
        self.seen.listings.clear();
        self.seen.may_miss = false;
        let mut found = self.walk();
        if found.is_out_of_files && self.hold_fewer(now) {
            found = self.walk();
        }
        self.seen.may_be_links = std::mem::take(&mut found.may_be_links);
        self.note_for_lacking(&mut notes);
        self.seen.read_by_flume =
            self.flume.as_ref().map(FlumePositions::paths).unwrap_or_default();
        self.resume_from_flume(&found, now, &mut notes);
        let (mut candidates, seen) = self.update_followed(&found, now);
        self.locate_missing(&seen, now);
        self.add_renamed(&mut candidates);
        self.find_the_lost(&candidates, now);
        self.take_in(candidates, &mut found, now, &mut notes);
        self.search_the_lost(now);
        self.part(now, &mut notes);
        self.watched.surveyed(std::mem::take(&mut found.directories));
        self.say_found(&mut found, now);
        self.seen.may_miss |= found.is_out_of_files;
        self.note_problems(found);
        self.seen.is_first = false;
        notes.finish()
    }

    /// Finds all files that the patterns match now.
    fn walk(&mut self) -> Found {
        let mut found = Found::new(self.options.follow_symlinks);
        let Self { options, env, report, .. } = self;
        let excluded = |path: &Path| options.exclusions.iter().any(|e| e.covers(path));
        for (pattern, matched) in options.patterns.iter().zip(report.patterns()) {
            *matched |= pattern.walk(&*env.disk, excluded, &mut found) > 0;
        }
        found
    }

    /// Updates every followed file that was found. Returns the other files, and the ids of the
    /// updated ones.
    fn update_followed(
        &mut self,
        found: &Found,
        now: Instant,
    ) -> (Vec<Candidate>, HashSet<FileId>) {
        let (mut candidates, mut seen) = (Vec::new(), HashSet::new());
        // A file may be found by several names.
        let mut met = HashSet::new();
        let mut cut = Vec::new();
        for (path, stat) in &found.files {
            let inode = (stat.device, stat.inode);
            let Some(id) = self.files.at_inode(inode) else {
                // An empty file may become a copy.
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
                // Nothing was read of the deleted file: this may be a new file with the same inode.
                file.position.path.clone_from(path);
            }
            file.stage = Stage::Here;
            if !file.note(stat, now) {
                cut.push(id);
            }
            // If it has several names, it keeps the current one, which a pattern need not match.
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

    /// Locates followed files that the patterns do not match any more.
    fn locate_missing(&mut self, seen: &HashSet<FileId>, now: Instant) {
        let absent = self.files.iter();
        let absent = absent.filter(|(id, file)| file.is_followed() && !seen.contains(id));
        let absent: Vec<FileId> = absent.map(|(id, _)| id).collect();
        for id in absent {
            let Some(file) = self.files.get(id) else { continue };
            let at_place = self.env.disk.stat(&file.place).ok().filter(|stat| file.is(stat));
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

    /// Finds the file under another name in the same directory.
    fn renamed(&mut self, id: FileId) -> Option<(PathBuf, FileStat)> {
        let place = self.files.get(id)?.place.clone();
        let neighbours = self.neighbours(&place).ok()?;
        let file = self.files.get(id)?;
        neighbours.into_iter().find(|(_, stat)| file.is(stat))
    }

    /// Returns the files next to `place` with names that rotation may derive from its name.
    pub(super) fn neighbours(&mut self, place: &Path) -> io::Result<Vec<(PathBuf, FileStat)>> {
        let (Some(directory), Some(name)) = (place.parent(), name_of(place)) else {
            return Ok(Vec::new());
        };
        // Each directory is listed once per survey, however many files left it.
        let listings = &mut self.seen.listings;
        if !listings.contains_key(directory) {
            let listing = self.env.disk.entries(directory)?;
            listings.insert(directory.to_owned(), listing);
        }
        let mut neighbours = Vec::new();
        for (other, kind) in &listings[directory] {
            if *kind == FileKind::File && may_be_renamed(name, other.as_bytes()) {
                let path = directory.join(other);
                // It may vanish in between.
                if let Ok(stat) = self.env.disk.stat(&path) {
                    neighbours.push((path, stat));
                }
            }
        }
        Ok(neighbours)
    }

    /// Stops following files that were read to the end and are gone permanently.
    fn part(&mut self, now: Instant, notes: &mut Notes) {
        let late = self.options.late_line_after;
        let (mut leaving, mut unread, mut missing) = (Vec::new(), 0, Vec::new());
        let disk = &*self.env.disk;
        let mut parted = Vec::new();
        for (id, file) in self.files.iter_mut() {
            match file.stage {
                Stage::Away { gone: true } if file.is_done(now, late) => {
                    // Wait one more survey: a copy may exist.
                    file.stage = Stage::Lost { until: now, searched: false };
                    parted.push(file.inode());
                    if let Some(handle) = file.handle.take() {
                        self.handles.close_later(handle);
                    } else if file.len > file.position.offset {
                        unread += 1;
                        tracing::warn!(source = %self.source, file = %shown(&file.place),
                            offset = file.position.offset, bytes = file.len - file.position.offset,
                            "file was deleted before it was read completely; its unread events are \
                             lost; keep rotated files longer");
                    }
                }
                Stage::Lost { until, .. } if until < now && file.outstanding == 0 => {
                    leaving.push(id);
                }
                Stage::Unnamed { until } if until < now => {
                    if disk.stat(&file.place).is_ok_and(|stat| file.is(&stat)) {
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

    /// Logs paths that cannot be read, once per change.
    fn note_problems(&mut self, found: Found) {
        for (path, problem) in &found.problems {
            if self.seen.problems.get(path) != Some(problem) {
                tracing::warn!(source = %self.source, path = %shown(path), %problem,
                    "cannot access a path of `paths`; its files wait; retrying; check the \
                     permissions");
                self.count_anomaly("unreadable", 1);
            }
        }
        for path in self.seen.problems.keys().filter(|path| !found.problems.contains_key(*path)) {
            tracing::info!(source = %self.source, path = %shown(path), "path is accessible again");
        }
        self.seen.problems = found.problems;
        self.seen.held.retain(|_, path| found.files.contains_key(path));
    }
}
