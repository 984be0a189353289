//! Looking around: what the patterns find now, and what became of the files that they found before.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipeline::env::{DiskFile, FileKind, FileStat, OpenMode};
use tokio::time::Instant;

use super::file::{File, FileId, Stage, may_be_copy, may_be_renamed};
use super::glob::Found;
use super::identity::{HEAD_BYTES, PATH_BYTES_MAX, Position, Print, TAIL_BYTES, new_key, read};
use super::tailer::{Chunk, Tailer};

/// How much of the end of a copy is compared with its original.
const COMPARED_BYTES: u64 = 4096;

/// A file that the patterns found and that nobody follows yet.
struct Stranger {
    path: PathBuf,
    stat: FileStat,
}

impl Tailer {
    /// Looks around once. Notes about files that are new or gone go to `chunks`.
    pub(super) fn survey(&mut self, now: Instant, chunks: &mut Vec<Chunk>) {
        let mut found = Found::default();
        for pattern in &self.options.patterns {
            pattern.walk(&*self.env.disk, &mut found);
        }
        let exclusions = &self.options.exclusions;
        found.files.retain(|path, _| !exclusions.iter().any(|exclusion| exclusion.covers(path)));
        let strangers = self.greet(&found, now);
        self.look_after_the_absent(&found, now);
        self.take_in(strangers, &mut found, now, chunks);
        self.search_the_lost(now);
        self.part(now, chunks);
        self.note_problems(found);
        self.surveyed = true;
    }

    /// Takes note of every file that was found and is followed; returns the others.
    fn greet(&mut self, found: &Found, now: Instant) -> Vec<Stranger> {
        let mut strangers = Vec::new();
        // A file may be found by several names.
        let mut met = HashSet::new();
        let mut cut = Vec::new();
        for (path, stat) in &found.files {
            let inode = (stat.device, stat.inode);
            let Some(id) = self.by_inode.get(&inode) else {
                // One that is still empty may be a copy about to be made.
                if stat.len > 0 && met.insert(inode) {
                    strangers.push(Stranger { path: path.clone(), stat: *stat });
                }
                continue;
            };
            let Some(file) = self.files.get_mut(id) else { continue };
            // Of several names it keeps the one it has.
            let keeps = found.files.get(&file.place).is_some_and(|s| (s.device, s.inode) == inode);
            if !keeps {
                tracing::debug!(source = %self.source, from = %file.place.display(),
                    to = %path.display(), "file was renamed");
                file.place.clone_from(path);
            }
            file.stage = Stage::Here;
            if !file.note(stat, now) {
                cut.push(*id);
            }
        }
        cut.into_iter().for_each(|id| self.truncated(id, now));
        strangers
    }

    /// Finds out where the files are that the patterns do not find any more.
    fn look_after_the_absent(&mut self, found: &Found, now: Instant) {
        let seen = |file: &File| {
            let at_place = found.files.get(&file.place);
            at_place.is_some_and(|stat| (stat.device, stat.inode) == file.inode())
        };
        let absent: Vec<FileId> = self
            .files
            .iter()
            .filter(|(_, file)| matches!(file.stage, Stage::Here | Stage::Away { .. }))
            .filter(|(_, file)| !seen(file))
            .map(|(id, _)| *id)
            .collect();
        for id in absent {
            let Some(file) = self.files.get(&id) else { continue };
            let at_place = self.env.disk.stat(&file.place).ok().filter(|stat| is(stat, file));
            let known_gone = file.stage == Stage::Away { gone: true };
            let somewhere = match at_place {
                Some(stat) => Some((file.place.clone(), stat)),
                None if known_gone => None,
                None => self.renamed(file),
            };
            let Some(file) = self.files.get_mut(&id) else { continue };
            let gone = somewhere.is_none();
            let before = std::mem::replace(&mut file.stage, Stage::Away { gone });
            if before == Stage::Here {
                file.quiet_since = now;
            }
            let stat = match somewhere {
                Some((place, stat)) => {
                    file.place = place;
                    Some(stat)
                }
                None => file.handle.as_ref().and_then(|handle| handle.stat().ok()),
            };
            if stat.is_some_and(|stat| !file.note(&stat, now)) {
                self.truncated(id, now);
            }
        }
    }

    /// The name that rotation gave the file, in the same directory.
    fn renamed(&self, file: &File) -> Option<(PathBuf, FileStat)> {
        let mut neighbours = self.neighbours(&file.place, may_be_renamed).ok()?.into_iter();
        neighbours.find(|(_, stat)| is(stat, file))
    }

    /// Files beside `place` whose names are `alike`.
    fn neighbours(
        &self,
        place: &Path,
        alike: fn(&str, &str) -> bool,
    ) -> io::Result<Vec<(PathBuf, FileStat)>> {
        let (Some(directory), Some(name)) = (place.parent(), name_of(place)) else {
            return Ok(Vec::new());
        };
        let mut neighbours = Vec::new();
        for (other, kind) in self.env.disk.list(directory)? {
            if kind == FileKind::File && alike(name, &other) {
                let path = directory.join(&other);
                // One that vanishes meanwhile is no neighbour.
                if let Ok(stat) = self.env.disk.stat(&path) {
                    neighbours.push((path, stat));
                }
            }
        }
        Ok(neighbours)
    }

    /// Decides about each stranger: a lost file under another name, a copy in the making, or new.
    fn take_in(
        &mut self,
        strangers: Vec<Stranger>,
        found: &mut Found,
        now: Instant,
        chunks: &mut Vec<Chunk>,
    ) {
        if strangers.is_empty() {
            return;
        }
        let mut originals: HashMap<PathBuf, Vec<FileId>> = HashMap::new();
        for (id, file) in &self.files {
            let directory = file.place.parent().unwrap_or(Path::new("")).to_owned();
            originals.entry(directory).or_default().push(*id);
        }
        let first = !self.surveyed;
        for stranger in strangers {
            let path = stranger.path.clone();
            if path.as_os_str().len() > PATH_BYTES_MAX {
                found.problems.insert(path, io::ErrorKind::InvalidFilename);
                continue;
            }
            let directory = path.parent().unwrap_or(Path::new("")).to_owned();
            let near = originals.get(&directory).map_or(&[][..], Vec::as_slice);
            match self.recognise(&stranger, near, now) {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    found.note(&path, &error);
                    continue;
                }
            }
            match self.welcome(&stranger, first, now, chunks) {
                Ok(id) => originals.entry(directory).or_default().push(id),
                Err(error) => found.note(&path, &error),
            }
        }
    }

    /// Whether the stranger is a file that is known, or a copy that is to be left alone.
    fn recognise(
        &mut self,
        stranger: &Stranger,
        near: &[FileId],
        now: Instant,
    ) -> io::Result<bool> {
        let Some(name) = name_of(&stranger.path) else { return Ok(false) };
        let inode = (stranger.stat.device, stranger.stat.inode);
        let related: Vec<FileId> = near
            .iter()
            .copied()
            .filter(|id| {
                self.files.get(id).and_then(|file| name_of(&file.place)).is_some_and(|original| {
                    original == name || may_be_copy(original, name) || may_be_copy(name, original)
                })
            })
            .collect();
        let is_lost = |file: &File| matches!(file.stage, Stage::Lost { .. });
        let lost: Vec<FileId> = self
            .files
            .iter()
            .filter(|(id, file)| {
                let telling = file.position.head.is_full() || related.contains(id);
                is_lost(file) && (file.inode() == inode || telling)
            })
            .map(|(id, _)| *id)
            .collect();
        if lost.is_empty() && related.is_empty() {
            return Ok(false);
        }
        let opened = self.env.disk.open(&stranger.path, OpenMode::default())?;
        let stat = opened.stat()?;
        if (stat.device, stat.inode) != inode {
            // It was moved since it was found; the next survey meets it again.
            return Ok(true);
        }
        // By inode first: of two files with equal content each is itself.
        let (by_inode, by_content): (Vec<_>, Vec<_>) =
            lost.into_iter().partition(|id| self.files[id].inode() == inode);
        for id in by_inode.into_iter().chain(by_content) {
            if self.bind(id, &stranger.path, &opened, &stat, now)? {
                return Ok(true);
            }
        }
        for id in related {
            if self.files.get(&id).is_some_and(|file| !is_lost(file))
                && self.is_copy(id, &stranger.path, &opened, now)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Goes on with a lost file in this one, if it holds what was read of it.
    fn bind(
        &mut self,
        id: FileId,
        path: &Path,
        opened: &Arc<dyn DiskFile>,
        stat: &FileStat,
        now: Instant,
    ) -> io::Result<bool> {
        let Some(file) = self.files.get_mut(&id) else { return Ok(false) };
        let same_inode = is(stat, file);
        let nothing_to_tell_by = file.position.head.len == 0;
        if (nothing_to_tell_by && !same_inode) || !file.position.is_in(&**opened)? {
            return Ok(false);
        }
        if !same_inode {
            tracing::info!(source = %self.source, from = %file.place.display(),
                to = %path.display(), offset = file.position.offset, "file goes on in its copy");
        }
        (file.position.device, file.position.inode) = (stat.device, stat.inode);
        file.place = path.to_owned();
        file.handle = Some(opened.clone());
        (file.stage, file.looked) = (Stage::Here, None);
        file.note(stat, now);
        self.by_inode.insert((stat.device, stat.inode), id);
        Ok(true)
    }

    /// Whether the stranger is a copy of the file `id`: one in the making, to be left alone, or one
    /// whose original has been cut meanwhile, to go on with.
    fn is_copy(
        &mut self,
        id: FileId,
        path: &Path,
        opened: &Arc<dyn DiskFile>,
        now: Instant,
    ) -> io::Result<bool> {
        let copy = opened.stat()?;
        let Ok(Some(original)) = self.open(id) else { return Ok(false) };
        let Some(file) = self.files.get(&id) else { return Ok(false) };
        if !file.position.is_in(&*original)? {
            self.truncated(id, now);
            return self.bind(id, path, opened, &copy, now);
        }
        if original.stat()?.len < copy.len {
            return Ok(false);
        }
        let from = copy.len.saturating_sub(COMPARED_BYTES);
        let alike = |offset: u64, bytes: usize| -> io::Result<bool> {
            Ok(read(&**opened, offset, bytes)? == read(&*original, offset, bytes)?)
        };
        let head_bytes = HEAD_BYTES.min(usize::try_from(copy.len).unwrap_or(HEAD_BYTES));
        if !alike(0, head_bytes)? || !alike(from, (copy.len - from) as usize)? {
            return Ok(false);
        }
        if self.held.insert((copy.device, copy.inode), path.to_owned()).is_none() {
            tracing::info!(source = %self.source, file = %path.display(),
                "file holds only what another one holds: a copy, which is not read");
            self.odd("copy_held_back", 1);
        }
        Ok(true)
    }

    /// Follows a file that is new.
    fn welcome(
        &mut self,
        stranger: &Stranger,
        first: bool,
        now: Instant,
        chunks: &mut Vec<Chunk>,
    ) -> io::Result<FileId> {
        let Stranger { path, stat } = stranger;
        self.held.remove(&(stat.device, stat.inode));
        let key = new_key(stat.device, stat.inode, &*self.env.entropy);
        let mut file = File::new(key, path, stat, now);
        if first && self.options.from_end {
            let opened = self.env.disk.open(path, OpenMode::default())?;
            file.position = position_at_end(&*opened, file.position)?;
            file.accepted = file.position.offset;
        }
        let skips = file.position.offset > 0;
        let id = self.add(file);
        if skips {
            chunks.extend(self.note(id, false));
        }
        Ok(id)
    }

    /// Looks for lost files beside where they were, whatever the patterns say; gives up those
    /// whose time is over.
    fn search_the_lost(&mut self, now: Instant) {
        let lost: Vec<FileId> = self
            .files
            .iter()
            .filter(|(_, file)| matches!(file.stage, Stage::Lost { searched: false, .. }))
            .map(|(id, _)| *id)
            .collect();
        for id in lost {
            let Some(file) = self.files.get(&id) else { continue };
            let Stage::Lost { until, .. } = file.stage else { continue };
            // A directory that cannot be listed may be back later.
            let Ok(neighbours) = self.neighbours(&file.place, may_be_renamed) else { continue };
            let searched = file.inode() != (0, 0);
            let original = name_of(&file.place).unwrap_or_default().to_owned();
            let inode = file.inode();
            if let Some(file) = self.files.get_mut(&id) {
                file.stage = Stage::Lost { until, searched };
            }
            for (path, stat) in neighbours {
                let other = name_of(&path).unwrap_or_default();
                let copied = other == original || may_be_copy(&original, other);
                let candidate = copied || (stat.device, stat.inode) == inode;
                if !candidate || self.by_inode.contains_key(&(stat.device, stat.inode)) {
                    continue;
                }
                let Ok(opened) = self.env.disk.open(&path, OpenMode::default()) else { continue };
                if self.bind(id, &path, &opened, &stat, now).is_ok_and(|bound| bound) {
                    break;
                }
            }
        }
    }

    /// Lets go of what is read to its end and gone for good.
    fn part(&mut self, now: Instant, chunks: &mut Vec<Chunk>) {
        let late = self.options.late_line_after;
        let mut leaving = Vec::new();
        for (id, file) in &mut self.files {
            match file.stage {
                Stage::Away { gone: true } if file.is_done(now, late) => {
                    // Once more round: perhaps there is a copy.
                    file.stage = Stage::Lost { until: now, searched: false };
                    self.by_inode.remove(&file.inode());
                    if file.handle.take().is_none() && file.len > file.position.offset {
                        tracing::warn!(source = %self.source, file = %file.place.display(),
                            bytes = file.len - file.position.offset,
                            "file was deleted before it was read to its end");
                    }
                }
                Stage::Lost { until, .. } if until < now && file.outstanding == 0 => {
                    leaving.push(*id);
                }
                _ => {}
            }
        }
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
                tracing::warn!(source = %self.source, path = %path.display(), %problem,
                    "cannot be looked at; trying on");
                self.odd("unreadable", 1);
            }
        }
        for path in self.problems.keys().filter(|path| !found.problems.contains_key(*path)) {
            tracing::info!(source = %self.source, path = %path.display(), "can be looked at again");
        }
        self.problems = found.problems;
        self.held.retain(|_, path| found.files.contains_key(path));
    }
}

fn name_of(path: &Path) -> Option<&str> {
    path.file_name().and_then(OsStr::to_str)
}

fn is(stat: &FileStat, file: &File) -> bool {
    (stat.device, stat.inode) == file.inode()
}

/// The end of the file as it is; in the middle of a line, the rest of that line is passed over.
fn position_at_end(file: &dyn DiskFile, mut position: Position) -> io::Result<Position> {
    let len = file.stat()?.len;
    let tail_at = len.saturating_sub(TAIL_BYTES as u64);
    let tail = read(file, tail_at, (len - tail_at) as usize)?;
    let head_bytes = HEAD_BYTES.min(usize::try_from(len).unwrap_or(HEAD_BYTES));
    position.offset = tail_at + tail.len() as u64;
    position.skipping = tail.last().is_some_and(|last| *last != b'\n');
    position.head = Print::of(&read(file, 0, head_bytes)?);
    position.tail = Print::of(&tail);
    Ok(position)
}
