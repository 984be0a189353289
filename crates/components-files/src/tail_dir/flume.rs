//! Where a Flume agent stood in its files, so that each goes on at Flume's byte.
//!
//! Flume's `taildir` source keeps a JSON array of inode, offset and path. It is read at the first
//! start alone: as long as some channel knows no position of the source. What Flume read is then
//! stored in that channel as if it had been read here, in one batch and before anything else: no
//! channel knows of some files and not of others, whenever the agent is killed. From then on the
//! channels say where each file stands.
//!
//! | the inode of an entry | what happens |
//! |---|---|
//! | lies at the path of the entry | the file goes on at Flume's byte, also in the middle of a line |
//! | lies elsewhere, under a name that rotation makes of it, with a line end in front of that byte | so does this one: it was renamed |
//! | is of a file with fewer bytes | Flume's file was cut: it is read from its beginning, as by Flume |
//! | is not there | reported: what Flume had not read of it is not read |
//!
//! Entries whose paths no pattern names are of another source. A name that Flume read, and that is
//! of another file now, is a file that came after the last look of Flume: it is read from its
//! beginning, whatever `start_at` says.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use pipeline::env::{Disk, FileKind, FileStat, resolved, small_file};
use pipeline::file_position::FlumePosition;
use pipeline::{Env, ErrorClass, SourceError};
use tokio::time::Instant;

use super::candidates::position_at;
use super::file::{File, FileId};
use super::glob::Found;
use super::identity::{PATH_BYTES_MAX, Position, Print, new_key};
use super::names::{may_be_renamed, name_of, shown};
use super::notes::Notes;
use super::report::Why;
use super::tailer::Tailer;

/// Largest position file that is read: some hundred thousand entries.
const BYTES_MAX: u64 = 64 << 20;

/// What Flume's file says.
#[derive(Debug, Default)]
pub(super) struct FlumePositions(Vec<FlumePosition>);

impl FlumePositions {
    /// Where Flume stood, by the file at `path`, if some channel knows nothing of the source.
    ///
    /// # Errors
    /// As [`FlumePositions::read`].
    pub(super) async fn find(
        source: &Arc<str>,
        env: &Env,
        path: Option<PathBuf>,
        known: &[Vec<(Bytes, Bytes)>],
    ) -> Result<Option<Self>, SourceError> {
        let is_first = known.iter().any(Vec::is_empty);
        let Some(path) = path.filter(|_| is_first) else { return Ok(None) };
        let (source, disk) = (source.clone(), env.disk.clone());
        env.offload(move || Self::read(&source, &*disk, &path)).await.map(Some)
    }

    /// Reads Flume's file; nothing if there is none, which is said: the agent may be new.
    ///
    /// # Errors
    /// It cannot be read, or is not what Flume writes. Nothing is read then: all of it would be
    /// repeated.
    pub(super) fn read(source: &str, disk: &dyn Disk, path: &Path) -> Result<Self, SourceError> {
        let refused = |what: &str, error: Option<Box<dyn std::error::Error + Send + Sync>>| {
            let message = format!(
                "`flume_positions`: {} {what}; mend it, or take the setting out, and what Flume \
                 has read of the files is read again",
                shown(path)
            );
            SourceError { class: ErrorClass::Blocked, message, source: error }
        };
        let unread = |error: io::Error| refused("cannot be read", Some(error.into()));
        let path_of_file = resolved(disk, path);
        let Some(file) = small_file::find(disk, &path_of_file).map_err(unread)? else {
            tracing::warn!(source, file = %shown(path),
                "the file that `flume_positions` names is not there: files are read as `start_at` \
                 says; stop the agent if Flume has read some of them, and correct the path");
            return Ok(Self::default());
        };
        let len = file.stat().map_err(unread)?.len;
        if len > BYTES_MAX {
            return Err(refused(
                &format!("has {len} bytes, and at most {BYTES_MAX} are read"),
                None,
            ));
        }
        let bytes = file.read(0, len as usize).map_err(unread)?;
        if bytes.is_empty() {
            let what = "is empty, as Flume leaves it when it dies while it writes the file";
            return Err(refused(what, None));
        }
        let entries = serde_json::from_slice::<Vec<FlumePosition>>(&bytes);
        entries
            .map(Self)
            .map_err(|error| refused("is no position file of Flume", Some(error.into())))
    }

    /// Where Flume stood in the file of this position.
    pub(super) fn offset_in(&self, position: &Position) -> Option<u64> {
        let is_this = |entry: &&FlumePosition| {
            entry.inode == position.inode && is_of_name(&entry.file, &position.path)
        };
        let offset = self.0.iter().find(is_this)?.pos;
        (offset <= position.offset).then_some(offset)
    }

    /// The paths that Flume read.
    pub(super) fn paths(&self) -> HashSet<PathBuf> {
        self.0.iter().map(|entry| entry.file.clone()).collect()
    }
}

/// Whether rotation may have given the file the name that `now` has.
fn is_of_name(before: &Path, now: &Path) -> bool {
    let names = name_of(before).zip(name_of(now));
    names.is_some_and(|(before, now)| may_be_renamed(before, now))
}

/// What became of an entry.
enum Fate {
    /// It goes on there.
    GoesOn(FileId),
    /// It has fewer bytes.
    Cut,
    /// No file is it.
    Missing,
}

impl Tailer {
    /// Before the first survey: what is to be done about what Flume stood at, by what the channels
    /// know.
    pub(super) fn begin_where_flume_stood(
        &mut self,
        flume: Option<FlumePositions>,
        known: &[Vec<(Bytes, Bytes)>],
    ) {
        if known.iter().all(Vec::is_empty) {
            self.flume = flume;
        } else if flume.is_some() {
            let lacking = known.iter().enumerate().filter(|(_, positions)| positions.is_empty());
            self.lacking = lacking.map(|(channel, _)| channel).collect();
        }
    }

    /// Follows the files that Flume read, each from Flume's byte on. In the first survey, before
    /// anything else is followed.
    pub(super) fn go_on_from_flume(&mut self, found: &Found, now: Instant, notes: &mut Notes) {
        let Some(FlumePositions(entries)) = self.flume.take() else { return };
        let own = entries.into_iter().filter(|entry| self.is_named(&entry.file));
        let own: Vec<FlumePosition> = own.collect();
        let (mut going_on, mut missing) = (0_u64, Vec::new());
        for entry in &own {
            match self.take_over(entry, found, now) {
                Ok(Fate::GoesOn(id)) => {
                    going_on += 1;
                    self.note(id, false, notes);
                }
                Ok(Fate::Cut) => {
                    tracing::warn!(source = %self.source, file = %shown(&entry.file),
                        offset = entry.pos,
                        "file has fewer bytes than Flume had read: it was cut, and is read from \
                         its beginning");
                    self.count_anomaly("truncated", 1);
                }
                Ok(Fate::Missing) => missing.push(&entry.file),
                Err(error) => {
                    tracing::warn!(source = %self.source, file = %shown(&entry.file), %error,
                        "file cannot be read; its position of Flume is lost when it comes back");
                    self.count_anomaly("unreadable", 1);
                }
            }
        }
        if let Some(first) = missing.first() {
            tracing::warn!(source = %self.source, files = missing.len(), first = %shown(first),
                "files that Flume read are not there: what it had not read of them is not read, \
                 and files that come later by these names are read from their beginning");
            self.count_anomaly("vanished_unread", missing.len() as u64);
        }
        tracing::info!(source = %self.source, files = going_on, entries = own.len(),
            "files go on where Flume stood");
    }

    /// Follows the file of an entry, if it is there.
    fn take_over(
        &mut self,
        entry: &FlumePosition,
        found: &Found,
        now: Instant,
    ) -> io::Result<Fate> {
        if entry.file.as_os_str().len() > PATH_BYTES_MAX {
            return Ok(Fate::Missing);
        }
        let Some((path, stat)) = self.find_of_flume(entry, found) else { return Ok(Fate::Missing) };
        if self.files.at_inode((stat.device, stat.inode)).is_some() {
            return Ok(Fate::Missing);
        }
        let is_renamed = path != entry.file;
        if stat.len < entry.pos {
            // Under another name it is another file, which was given the inode.
            return Ok(if is_renamed { Fate::Missing } else { Fate::Cut });
        }
        // One that cannot be read now is known by its inode alone, and tried again.
        let opened = self.open_at(&path).ok();
        let before = |at: u64| opened.as_ref()?.read(at, 1).ok();
        let is_behind_a_line =
            entry.pos == 0 || before(entry.pos - 1).is_some_and(|byte| byte == b"\n");
        if is_renamed && !is_behind_a_line {
            return Ok(Fate::Missing);
        }
        let key = new_key(stat.device, stat.inode, &*self.env.entropy);
        let mut file = File::new(key, &entry.file, self.real_place(&path)?, &stat, now);
        if is_renamed {
            file.home.clone_from(&entry.file);
        }
        file.position.offset = entry.pos;
        if let Some(opened) = opened {
            file.position = position_at(&*opened, entry.pos, file.position)?;
        }
        file.accepted = file.position.offset;
        let place = file.place.clone();
        let id = self.files.add(file);
        self.say_linked(&path, &place, now);
        self.say_followed(id, Why::ReadByFlume, now);
        Ok(Fate::GoesOn(id))
    }

    /// Where the file of an entry lies.
    fn find_of_flume(
        &mut self,
        entry: &FlumePosition,
        found: &Found,
    ) -> Option<(PathBuf, FileStat)> {
        let is_it = |stat: &FileStat| stat.inode == entry.inode && stat.kind == FileKind::File;
        if let Some(stat) = self.env.disk.stat(&entry.file).ok().filter(is_it) {
            return Some((entry.file.clone(), stat));
        }
        let near = self.neighbours(&entry.file).unwrap_or_default();
        if let Some(renamed) = near.into_iter().find(|(_, stat)| is_it(stat)) {
            return Some(renamed);
        }
        let mut elsewhere = found.files.iter();
        let moved = elsewhere.find(|(path, stat)| is_it(stat) && is_of_name(&entry.file, path));
        moved.map(|(path, stat)| (path.clone(), *stat))
    }

    /// Stores where Flume stood in the channels that know nothing of the source, where others do:
    /// a kill came between them. `lacking` are their numbers.
    pub(super) fn note_for_lacking(&mut self, notes: &mut Notes) {
        let lacking = std::mem::take(&mut self.lacking);
        let Some(first) = lacking.first() else { return };
        for (id, file) in self.files.iter_mut() {
            let offset = file.marks.get(*first).map_or(file.position.offset, |mark| mark.offset);
            if offset > 0 {
                let (tail, skipping) = (Print::default(), false);
                let position = Position { offset, skipping, tail, ..file.position.clone() };
                notes.add_at(&self.source, id, file, &position);
            }
        }
        notes.only_for(lacking);
    }
}
