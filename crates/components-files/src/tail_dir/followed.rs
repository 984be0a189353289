//! The followed files: their identity, location and lag.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use metrics::{FileLabel, Gauge, Metrics, SourceLabel, Text};

use super::chunk::Part;
use super::file::{File, FileId};
use super::names::shown;

/// Device and inode.
pub(super) type Inode = (u64, u64);

/// All files by number, inode and location.
pub(super) struct Followed {
    files: BTreeMap<FileId, File>,
    /// Files in the stages `Here` and `Away`.
    by_inode: HashMap<Inode, FileId>,
    next_id: FileId,
    /// Files by location, for change notifications: as of the last survey.
    by_place: HashMap<PathBuf, FileId>,
    /// True if some file was added, removed or moved since.
    places_changed: bool,
    lags: Lags,
}

/// Lag metrics of the files.
struct Lags {
    source: Arc<str>,
    metrics: Metrics,
    /// Total of all files.
    sum: Gauge,
    /// Number of files.
    count: Gauge,
    /// True if each file has a metric too.
    each: bool,
    /// True if a file's metric was removed since the last full update: another file at the same
    /// location may have shared it.
    removed: bool,
}

impl Followed {
    /// Creates the collection with files of an earlier run.
    pub(super) fn new(source: Arc<str>, metrics: Metrics, each: bool, files: Vec<File>) -> Self {
        let label = SourceLabel { source: source.to_string() };
        let sum = metrics.source_lag.get_or_create(&label).clone();
        sum.set(0);
        let count = metrics.source_files.get_or_create(&label).clone();
        count.set(i64::from(u32::try_from(files.len()).unwrap_or(u32::MAX)));
        Self {
            next_id: files.len() as FileId,
            files: (0..).zip(files).collect(),
            by_inode: HashMap::new(),
            by_place: HashMap::new(),
            places_changed: true,
            lags: Lags { source, metrics, sum, count, each, removed: false },
        }
    }

    /// Returns the file of this number.
    pub(super) fn get(&self, id: FileId) -> Option<&File> {
        self.files.get(&id)
    }

    /// Returns the file of this number.
    pub(super) fn get_mut(&mut self, id: FileId) -> Option<&mut File> {
        self.files.get_mut(&id)
    }

    /// Iterates over all files in the order of their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (FileId, &File)> {
        self.files.iter().map(|(id, file)| (*id, file))
    }

    /// Iterates over all files in the order of their numbers.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (FileId, &mut File)> {
        self.files.iter_mut().map(|(id, file)| (*id, file))
    }

    /// Returns the file that owns this inode.
    pub(super) fn at_inode(&self, inode: Inode) -> Option<FileId> {
        self.by_inode.get(&inode).copied()
    }

    /// Makes a file the owner of this inode.
    pub(super) fn enter_inode(&mut self, inode: Inode, id: FileId) {
        self.by_inode.insert(inode, id);
    }

    /// Removes the owner of this inode.
    pub(super) fn leave_inode(&mut self, inode: Inode) {
        self.by_inode.remove(&inode);
    }

    /// Returns the file at this location as of the last survey.
    pub(super) fn at_place(&self, path: &Path) -> Option<FileId> {
        self.by_place.get(path).copied()
    }

    /// Updates the locations of all files.
    pub(super) fn note_places(&mut self) {
        if std::mem::take(&mut self.places_changed) {
            self.by_place = self.files.iter().map(|(id, file)| (file.place.clone(), *id)).collect();
        }
    }

    /// Starts to follow a file; its inode must have no owner.
    pub(super) fn add(&mut self, file: File) -> FileId {
        let id = self.next_id;
        self.next_id += 1;
        let before = self.by_inode.insert(file.inode(), id);
        let before = before.and_then(|before| self.files.get(&before));
        debug_assert!(before.is_none_or(|before| !before.is_followed()), "followed twice");
        self.files.insert(id, file);
        self.lags.count.inc();
        self.places_changed = true;
        id
    }

    /// Sets the current path of a file.
    pub(super) fn moved(&mut self, id: FileId, to: PathBuf) {
        let Some(file) = self.files.get_mut(&id) else { return };
        if file.place == to {
            return;
        }
        tracing::debug!(source = %self.lags.source, from = %shown(&file.place), to = %shown(&to),
            "file was renamed");
        self.lags.hide(file);
        file.place = to;
        self.places_changed = true;
    }

    /// Stops following a file.
    pub(super) fn remove(&mut self, id: FileId) {
        let Some(mut file) = self.files.remove(&id) else { return };
        self.places_changed = true;
        self.lags.sum.dec_by(file.lag_counted);
        self.lags.count.dec();
        if self.by_inode.get(&file.inode()) == Some(&id) {
            self.by_inode.remove(&file.inode());
        }
        self.lags.hide(&mut file);
    }

    /// Records a part that all of its channels have stored.
    pub(super) fn settle(&mut self, settled: Part) {
        let Some(file) = self.files.get_mut(&settled.file) else { return };
        file.outstanding -= usize::from(settled.ends_read);
        let Some(end) = settled.end else { return self.remove(settled.file) };
        file.accepted = file.accepted.max(end);
        self.lags.show(file, self.lags.removed);
    }

    /// Returns the bytes that some channel lacks, of all files.
    pub(super) fn unread_bytes(&self) -> u64 {
        u64::try_from(self.lags.sum.get()).unwrap_or(0)
    }

    /// Updates the lag of each file.
    pub(super) fn show_lags(&mut self) {
        let anew = std::mem::take(&mut self.lags.removed);
        self.files.values_mut().for_each(|file| self.lags.show(file, anew));
    }
}

impl Lags {
    /// Updates the lag of one file. `anew` = the metric may have been removed.
    fn show(&self, file: &mut File, anew: bool) {
        file.count_lag(&self.sum);
        if !self.each {
            return;
        }
        if anew {
            file.lag_shown = None;
        }
        let lag = i64::try_from(file.lag()).unwrap_or(i64::MAX);
        let gauge = match file.lag_shown.take() {
            Some(gauge) => gauge,
            None => self.metrics.tail_lag.get_or_create(&self.label(file)).clone(),
        };
        gauge.set(lag);
        file.lag_shown = Some(gauge);
    }

    /// Removes the metric.
    fn hide(&mut self, file: &mut File) {
        if file.lag_shown.take().is_some() {
            self.metrics.tail_lag.remove(&self.label(file));
            self.removed = true;
        }
    }

    fn label(&self, file: &File) -> FileLabel {
        let file = Text(shown(&file.place).into_owned());
        FileLabel { source: self.source.to_string(), file }
    }
}
