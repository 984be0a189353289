//! Imports the positions of a Flume agent, so that each file continues at Flume's byte.
//!
//! Flume's `taildir` source keeps a JSON array of inode, offset and path. This source reads it only
//! at the first start: while some channel knows no position of the source. It then stores Flume's
//! positions in that channel, in one batch and before anything else. So no kill leaves a channel
//! that knows some files and not others. From then on the channels store the positions.
//!
//! | the file with the inode of an entry | what happens |
//! |---|---|
//! | is at the path of the entry | it continues at Flume's byte, even in the middle of a line |
//! | is elsewhere, under a name that rotation creates, with a line end before that byte | it was renamed, and continues there too |
//! | has fewer bytes | it was truncated: it is read from its beginning, as by Flume |
//! | does not exist | reported: bytes that Flume had not read are lost |
//!
//! Entries with a path that no pattern names belong to another source. If a name in Flume's file is
//! another file now, that file was created after Flume's last survey: it is read from its
//! beginning, whatever `start_at` says.

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
use super::flume_positions::{FlumePositions, is_of_name};
use super::glob::Found;
use super::identity::{Fingerprint, PATH_BYTES_MAX, Position, new_key};
use super::names::shown;
use super::notes::Notes;
use super::reported::Why;
use super::tailer::Tailer;

/// Maximum size of a position file: some hundred thousand entries.
const BYTES_MAX: u64 = 64 << 20;

impl FlumePositions {
    /// Reads Flume's positions from the file at `path`, if some channel knows nothing of the
    /// source.
    ///
    /// # Errors
    /// See [`FlumePositions::read`].
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

    /// Reads Flume's file. If it does not exist, logs that and returns no positions: the agent may
    /// be new.
    ///
    /// # Errors
    /// Fails if the file is unreadable or not written by Flume. The source then reads nothing: it
    /// would repeat everything.
    pub(super) fn read(source: &str, disk: &dyn Disk, path: &Path) -> Result<Self, SourceError> {
        let refused = |what: &str, error: Option<Box<dyn std::error::Error + Send + Sync>>| {
            let message = format!(
                "`flume_positions`: {} {what}; fix it, or remove the setting to read all files \
                 again",
                shown(path)
            );
            SourceError { class: ErrorClass::Blocked, message, source: error }
        };
        let unread = |error: io::Error| refused("cannot be read", Some(error.into()));
        let path_of_file = resolved(disk, path);
        let Some(file) = small_file::find(disk, &path_of_file).map_err(unread)? else {
            tracing::warn!(source, file = %shown(path),
                "the file of `flume_positions` does not exist, so files are read according to \
                 `start_at`; if Flume has read some of them, stop the agent and correct the path");
            return Ok(Self::default());
        };
        let len = file.stat().map_err(unread)?.len;
        if len > BYTES_MAX {
            return Err(refused(&format!("has {len} bytes, but the limit is {BYTES_MAX}"), None));
        }
        let bytes = file.read(0, len as usize).map_err(unread)?;
        if bytes.is_empty() {
            let what = "is empty, because Flume was killed while it wrote the file";
            return Err(refused(what, None));
        }
        let entries = serde_json::from_slice::<Vec<FlumePosition>>(&bytes);
        entries
            .map(Self)
            .map_err(|error| refused("is not a Flume position file", Some(error.into())))
    }
}

/// Result of an entry.
enum Fate {
    /// The file continues at Flume's byte.
    GoesOn(FileId),
    /// The file is shorter than Flume's offset.
    Cut,
    /// No file matches.
    Missing,
}

impl Tailer {
    /// Before the first survey: decides from the channels' positions how to use Flume's.
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

    /// Follows the files that Flume read, each from Flume's byte on. Runs in the first survey,
    /// before any other file is followed.
    pub(super) fn resume_from_flume(&mut self, found: &Found, now: Instant, notes: &mut Notes) {
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
                        "file is shorter than Flume's position: it was truncated, and is read from \
                         the start; no action needed");
                    self.count_anomaly("truncated", 1);
                }
                Ok(Fate::Missing) => missing.push(&entry.file),
                Err(error) => {
                    tracing::warn!(source = %self.source, file = %shown(&entry.file), %error,
                        "cannot read file; when it becomes readable, it is read without Flume's \
                         position, so events that Flume has read may be stored twice; check its \
                         permissions");
                    self.count_anomaly("unreadable", 1);
                }
            }
        }
        if let Some(first) = missing.first() {
            tracing::warn!(source = %self.source, files = missing.len(), first = %shown(first),
                "files that Flume read no longer exist: the parts that Flume had not read are \
                 lost, and new files with these names are read from the start");
            self.count_anomaly("vanished_unread", missing.len() as u64);
        }
        tracing::info!(source = %self.source, files = going_on, entries = own.len(),
            "files continue from Flume's position");
    }

    /// Follows the file of an entry, if it exists.
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
            // Under another name it is another file that reused the inode.
            return Ok(if is_renamed { Fate::Missing } else { Fate::Cut });
        }
        // An unreadable file is known by its inode alone, and retried.
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

    /// Finds the file of an entry.
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

    /// Stores Flume's positions in the channels `lacking`, which know nothing of the source
    /// although others do: the agent was killed between the two writes.
    pub(super) fn note_for_lacking(&mut self, notes: &mut Notes) {
        let lacking = std::mem::take(&mut self.lacking);
        let Some(first) = lacking.first() else { return };
        for (id, file) in self.files.iter_mut() {
            let offset = file.marks.get(*first).map_or(file.position.offset, |mark| mark.offset);
            if offset > 0 {
                let (tail, skipping) = (Fingerprint::default(), false);
                let position = Position { offset, skipping, tail, ..file.position.clone() };
                notes.add_at(&self.source, id, file, &position);
            }
        }
        notes.only_for(lacking);
    }
}
