//! Decides what an unknown file is: a lost file under another name, a copy in progress, or a new
//! file.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipeline::env::{DiskFile, FileStat};
use tokio::time::Instant;

use super::file::{File, FileId, Stage};
use super::glob::Found;
use super::identity::{Fingerprint, HEAD_BYTES, PATH_BYTES_MAX, Position, TAIL_BYTES, new_key};
use super::names::{may_be_copy, name_of, shown, stem};
use super::notes::Notes;
use super::reported::Why;
use super::tailer::Tailer;

/// Bytes at the end of a copy that are compared with the original.
const COMPARED_BYTES: u64 = 4096;

/// A file that is not followed yet, which a pattern matches now or did before a rename.
pub(super) struct Candidate {
    pub(super) path: PathBuf,
    /// The name that a pattern matches: its path, unless it was renamed before a survey.
    pub(super) found_as: PathBuf,
    pub(super) stat: FileStat,
}

impl Candidate {
    pub(super) fn inode(&self) -> (u64, u64) {
        (self.stat.device, self.stat.inode)
    }
}

/// Finds the files that a candidate could be, without a search through all files.
#[derive(Default)]
struct Index {
    /// Files by their directory and the stem of their name, for their current and original path.
    by_stem: HashMap<OsString, HashMap<Vec<u8>, Vec<FileId>>>,
    /// Lost files by device and inode.
    lost: HashMap<(u64, u64), FileId>,
    /// Lost files that are recognised by their beginning alone.
    lost_heads: HashMap<Fingerprint, Vec<FileId>>,
}

impl Index {
    fn add(&mut self, id: FileId, file: &File) {
        let (now, found) = (&*file.place, &*file.position.path);
        self.add_name(id, now);
        if found.as_os_str() != now.as_os_str() {
            self.add_name(id, found);
        }
        if file.is_lost() {
            self.lost.insert(file.inode(), id);
            if file.position.head.is_full() {
                self.lost_heads.entry(file.position.head).or_default().push(id);
            }
        }
    }

    fn add_name(&mut self, id: FileId, path: &Path) {
        let (Some(directory), Some(name)) = (path.parent(), name_of(path)) else { return };
        let directory = directory.as_os_str();
        if !self.by_stem.contains_key(directory) {
            self.by_stem.insert(directory.to_owned(), HashMap::new());
        }
        let Some(stems) = self.by_stem.get_mut(directory) else { return };
        let ids = stems.entry(stem(name).to_owned()).or_default();
        if ids.last() != Some(&id) {
            ids.push(id);
        }
    }

    /// Files that `path` may be a copy of by its name, or that had this name.
    fn related(&self, path: &Path) -> Vec<FileId> {
        let (Some(directory), Some(name)) = (path.parent(), name_of(path)) else {
            return Vec::new();
        };
        let Some(stems) = self.by_stem.get(directory.as_os_str()) else { return Vec::new() };
        let whole = stem(name);
        let separators = (0..whole.len()).filter(|at| matches!(whole[*at], b'-' | b'_'));
        let ids = separators.chain([whole.len()]).filter_map(|end| stems.get(&whole[..end]));
        ids.flatten().copied().collect()
    }
}

impl Tailer {
    /// Decides about each candidate.
    pub(super) fn take_in(
        &mut self,
        mut candidates: Vec<Candidate>,
        found: &mut Found,
        now: Instant,
        notes: &mut Notes,
    ) {
        if candidates.is_empty() {
            return;
        }
        let mut index = Index::default();
        self.files.iter().for_each(|(id, file)| index.add(id, file));
        // Match candidates that keep their inode first: files with equal content may be mistaken
        // for each other.
        candidates.sort_by_key(|candidate| !index.lost.contains_key(&candidate.inode()));
        for candidate in candidates {
            let Candidate { path, found_as, .. } = &candidate;
            if found_as.as_os_str().len() > PATH_BYTES_MAX {
                found.problems.insert(found_as.clone(), io::ErrorKind::InvalidFilename);
                continue;
            }
            let decided = match self.recognise(&candidate, &index, now) {
                Ok(true) => continue,
                Ok(false) => self.follow_new(&candidate, now, notes),
                Err(error) => Err(error),
            };
            match decided {
                Ok(id) => self.files.get(id).into_iter().for_each(|file| index.add(id, file)),
                Err(error) => found.note(path, &error),
            }
        }
    }

    /// Returns true if the candidate is a known file, or a copy that must not be read.
    fn recognise(
        &mut self,
        candidate: &Candidate,
        index: &Index,
        now: Instant,
    ) -> io::Result<bool> {
        let Candidate { path, found_as, .. } = candidate;
        let by_inode = index.lost.get(&candidate.inode());
        let mut related = index.related(found_as);
        related.retain(|id| self.may_be_copy_of(*id, found_as));
        if by_inode.is_none() && related.is_empty() && index.lost_heads.is_empty() {
            return Ok(false);
        }
        let opened = self.open_at(path)?;
        let stat = opened.stat()?;
        if (stat.device, stat.inode) != candidate.inode() {
            // It was moved since the survey found it; the next survey finds it again.
            self.seen.may_miss = true;
            return Ok(true);
        }
        let mut possible: Vec<FileId> = by_inode.into_iter().chain(&related).copied().collect();
        if !index.lost_heads.is_empty() {
            let head = Fingerprint::new(&opened.read(0, HEAD_BYTES)?);
            possible.extend(index.lost_heads.get(&head).into_iter().flatten());
        }
        for id in possible {
            if self.is_lost(id) && self.bind(id, path, &opened, &stat, now)? {
                return Ok(true);
            }
        }
        for id in related {
            if !self.is_lost(id)
                && !self.was_found_as(id, found_as)
                && self.is_copy(id, path, &opened, now)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns true if the file was found by this name. If the file has moved, the file that has
    /// this name now is the writer's next one, even if they are alike; a copy has another name.
    fn was_found_as(&self, id: FileId, path: &Path) -> bool {
        self.files.get(id).is_some_and(|file| path == file.position.path)
    }

    fn is_lost(&self, id: FileId) -> bool {
        self.files.get(id).is_some_and(File::is_lost)
    }

    /// Continues a lost file in this candidate, if it contains what was read of the lost file.
    fn bind(
        &mut self,
        id: FileId,
        path: &Path,
        opened: &Arc<dyn DiskFile>,
        stat: &FileStat,
        now: Instant,
    ) -> io::Result<bool> {
        let Some(file) = self.files.get_mut(id) else { return Ok(false) };
        let same_inode = file.is(stat);
        let nothing_to_tell_by = file.position.head.len == 0;
        if (nothing_to_tell_by && !same_inode) || !file.position.is_in(&**opened)? {
            return Ok(false);
        }
        let why = match same_inode {
            true if file.place == path || file.position.path == path => Why::Known,
            true => Why::Renamed,
            false => Why::Copied,
        };
        file.missing_since = None;
        (file.position.device, file.position.inode) = (stat.device, stat.inode);
        file.handle = Some(opened.clone());
        self.handles.opened(id);
        (file.stage, file.looked) = (Stage::Here, None);
        file.note(stat, now);
        self.files.enter_inode((stat.device, stat.inode), id);
        let place = self.real_place(path)?;
        if let Some(file) = self.files.get_mut(id).filter(|file| path == file.position.path) {
            file.home.clone_from(&place);
        }
        self.say_linked(path, &place, now);
        self.files.moved(id, place);
        self.say_followed(id, why, now);
        Ok(true)
    }

    /// Returns the location of the file found as `path`: the target if `path` is a link. A link in
    /// a parent directory does not count.
    pub(super) fn real_place(&self, path: &Path) -> io::Result<PathBuf> {
        let disk = &*self.env.disk;
        let is_link = self.seen.may_be_link(path) && disk.is_link(path)?;
        if is_link { disk.canonical(path) } else { Ok(path.to_owned()) }
    }

    /// Returns true if the candidate is a copy of the file `id`: either in progress, and not to be
    /// read, or complete because the original has been truncated, and to be continued.
    fn is_copy(
        &mut self,
        id: FileId,
        path: &Path,
        opened: &Arc<dyn DiskFile>,
        now: Instant,
    ) -> io::Result<bool> {
        let copy = opened.stat()?;
        let Ok(Some((original, _))) = self.open(id) else { return Ok(false) };
        let Some(file) = self.files.get(id) else { return Ok(false) };
        if !file.position.is_in(&*original)? {
            self.truncated(id, now);
            return self.bind(id, path, opened, &copy, now);
        }
        if original.stat()?.len < copy.len {
            return Ok(false);
        }
        let from = copy.len.saturating_sub(COMPARED_BYTES);
        let alike = |offset: u64, bytes: usize| -> io::Result<bool> {
            Ok(opened.read(offset, bytes)? == original.read(offset, bytes)?)
        };
        let head_bytes = HEAD_BYTES.min(usize::try_from(copy.len).unwrap_or(HEAD_BYTES));
        if !alike(0, head_bytes)? || !alike(from, (copy.len - from) as usize)? {
            return Ok(false);
        }
        if self.seen.hold((copy.device, copy.inode), path) {
            tracing::info!(source = %self.source, file = %shown(path),
                "skipping a file that is a copy of another one");
            self.count_anomaly("copy_held_back", 1);
        }
        Ok(true)
    }

    /// Starts to follow a new file.
    fn follow_new(
        &mut self,
        candidate: &Candidate,
        now: Instant,
        notes: &mut Notes,
    ) -> io::Result<FileId> {
        let Candidate { path, found_as, stat } = candidate;
        self.seen.unmark_copy((stat.device, stat.inode));
        let key = new_key(stat.device, stat.inode, &*self.env.entropy);
        let mut file = File::new(key, found_as, self.real_place(path)?, stat, now);
        if path != found_as {
            (file.home, file.stage) = (found_as.clone(), Stage::Away { gone: false });
        }
        if self.seen.begins_at_end(found_as) {
            let opened = self.open_at(path)?;
            file.position = position_at_end(&*opened, file.position)?;
            file.accepted = file.position.offset;
        }
        let skips = file.position.offset > 0;
        let place = file.place.clone();
        let id = self.files.add(file);
        self.say_linked(path, &place, now);
        self.say_followed(id, Why::New, now);
        if skips {
            self.note(id, false, notes);
        }
        Ok(id)
    }

    /// Looks for lost files that the patterns do not find by their inodes, next to their last
    /// location. This comes before another file can be mistaken for one of them.
    pub(super) fn find_the_lost(&mut self, candidates: &[Candidate], now: Instant) {
        let lost = self.lost_and_not_searched();
        if lost.is_empty() {
            return;
        }
        let found: HashSet<(u64, u64)> = candidates.iter().map(Candidate::inode).collect();
        for id in lost {
            let Some(file) = self.files.get(id) else { continue };
            let (place, inode) = (file.place.clone(), file.inode());
            if found.contains(&inode) || self.files.at_inode(inode).is_some() {
                continue;
            }
            let Ok(neighbours) = self.neighbours(&place) else { continue };
            let itself =
                neighbours.into_iter().find(|(_, stat)| (stat.device, stat.inode) == inode);
            if let Some((path, stat)) = itself {
                self.try_to_bind(id, &path, &stat, now);
            }
        }
    }

    fn lost_and_not_searched(&self) -> Vec<FileId> {
        let unsearched = |file: &File| matches!(file.stage, Stage::Lost { searched: false, .. });
        self.files.iter().filter(|(_, file)| unsearched(file)).map(|(id, _)| id).collect()
    }

    /// Looks for copies of lost files next to their last location, regardless of the patterns.
    pub(super) fn search_the_lost(&mut self, now: Instant) {
        for id in self.lost_and_not_searched() {
            let Some(file) = self.files.get(id) else { continue };
            let (place, inode) = (file.place.clone(), file.inode());
            // A directory that cannot be listed may be readable later.
            let Ok(neighbours) = self.neighbours(&place) else { continue };
            if let Some(Stage::Lost { searched, .. }) =
                self.files.get_mut(id).map(|file| &mut file.stage)
            {
                // The copy of a file that was truncated just now may not have its final name yet.
                *searched = inode != (0, 0);
            }
            for (path, stat) in neighbours {
                let followed = self.files.at_inode((stat.device, stat.inode)).is_some();
                if !followed
                    && self.may_be_copy_of(id, &path)
                    && self.try_to_bind(id, &path, &stat, now)
                {
                    break;
                }
            }
        }
    }

    fn try_to_bind(&mut self, id: FileId, path: &Path, stat: &FileStat, now: Instant) -> bool {
        let opened = self.open_at(path);
        opened.is_ok_and(|opened| self.bind(id, path, &opened, stat, now).unwrap_or(false))
    }

    /// Returns true if the name suits the file or a copy of it, judged by the file's current or
    /// original name.
    fn may_be_copy_of(&self, id: FileId, path: &Path) -> bool {
        let names = self.files.get(id).map(|file| [&*file.place, &*file.position.path]);
        let mut names = names.into_iter().flatten().filter_map(name_of);
        name_of(path).is_some_and(|name| {
            names.any(|original| original == name || may_be_copy(original, name))
        })
    }
}

/// Returns the end of the file; if that is inside a line, the source skips the rest of that line.
fn position_at_end(file: &dyn DiskFile, position: Position) -> io::Result<Position> {
    let mut position = position_at(file, file.stat()?.len, position)?;
    let last = position.offset.checked_sub(1).map(|at| file.read(at, 1)).transpose()?;
    position.skipping = last.is_some_and(|last| last != b"\n");
    Ok(position)
}

/// Returns the position at this offset, with the hashes of the bytes before it. The file must be at
/// least that long.
pub(super) fn position_at(
    file: &dyn DiskFile,
    offset: u64,
    position: Position,
) -> io::Result<Position> {
    let tail_at = offset.saturating_sub(TAIL_BYTES as u64);
    let tail = file.read(tail_at, (offset - tail_at) as usize)?;
    let head_bytes = HEAD_BYTES.min(usize::try_from(offset).unwrap_or(HEAD_BYTES));
    let head = Fingerprint::new(&file.read(0, head_bytes)?);
    let offset = tail_at + tail.len() as u64;
    Ok(Position { offset, head, tail: Fingerprint::new(&tail), ..position })
}
