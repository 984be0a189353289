//! The files that are followed: which they are, where they lie, and how far they are behind.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use metrics::{FileLabel, Gauge, Metrics, SourceLabel, Text};

use super::file::{File, FileId};
use super::names::shown;
use super::tailer::Part;

/// Device and inode.
pub(super) type Inode = (u64, u64);

/// All files, by number, inode and place.
pub(super) struct Followed {
    files: BTreeMap<FileId, File>,
    /// Files that are here or away.
    by_inode: HashMap<Inode, FileId>,
    next_id: FileId,
    /// Where they lie, for changes that are notified: as the last survey left them.
    by_place: HashMap<PathBuf, FileId>,
    /// Whether some file has come, gone or moved since.
    places_changed: bool,
    lags: Lags,
}

/// How far the files are behind, as metrics show it.
struct Lags {
    source: Arc<str>,
    metrics: Metrics,
    /// Of all files.
    sum: Gauge,
    /// How many files there are.
    count: Gauge,
    /// Whether each file is shown by itself too.
    each: bool,
    /// Whether some file is not shown any more since all were shown: another file that lies at the
    /// same place may have been shown there as well.
    removed: bool,
}

impl Followed {
    /// These files, which an earlier run read.
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

    /// The file of this number.
    pub(super) fn get(&self, id: FileId) -> Option<&File> {
        self.files.get(&id)
    }

    /// The file of this number.
    pub(super) fn get_mut(&mut self, id: FileId) -> Option<&mut File> {
        self.files.get_mut(&id)
    }

    /// All files, by rising number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (FileId, &File)> {
        self.files.iter().map(|(id, file)| (*id, file))
    }

    /// All files, by rising number.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (FileId, &mut File)> {
        self.files.iter_mut().map(|(id, file)| (*id, file))
    }

    /// The file that is followed in this inode.
    pub(super) fn at_inode(&self, inode: Inode) -> Option<FileId> {
        self.by_inode.get(&inode).copied()
    }

    /// A file is followed in this inode from now on.
    pub(super) fn enter_inode(&mut self, inode: Inode, id: FileId) {
        self.by_inode.insert(inode, id);
    }

    /// No file is followed in this inode any more.
    pub(super) fn leave_inode(&mut self, inode: Inode) {
        self.by_inode.remove(&inode);
    }

    /// The file that lay there at the last survey.
    pub(super) fn at_place(&self, path: &Path) -> Option<FileId> {
        self.by_place.get(path).copied()
    }

    /// Takes note of where all files lie now.
    pub(super) fn note_places(&mut self) {
        if std::mem::take(&mut self.places_changed) {
            self.by_place = self.files.iter().map(|(id, file)| (file.place.clone(), *id)).collect();
        }
    }

    /// Starts following a file, in an inode that is not followed.
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

    /// Takes note of the name that the file has now.
    pub(super) fn moved(&mut self, id: FileId, to: PathBuf) {
        let Some(file) = self.files.get_mut(&id) else { return };
        if file.place == to {
            return;
        }
        tracing::debug!(source = %self.lags.source, from = %shown(&file.place), to = %shown(&to),
            "file has another name");
        self.lags.hide(file);
        file.place = to;
        self.places_changed = true;
    }

    /// Lets the file go.
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

    /// Takes note of what is in every channel that it was for.
    pub(super) fn settle(&mut self, settled: Part) {
        let Some(file) = self.files.get_mut(&settled.file) else { return };
        file.outstanding -= usize::from(settled.ends_read);
        let Some(end) = settled.end else { return self.remove(settled.file) };
        file.accepted = file.accepted.max(end);
        self.lags.show(file, self.lags.removed);
    }

    /// Bytes in the files that are not in every channel yet.
    pub(super) fn unread_bytes(&self) -> u64 {
        u64::try_from(self.lags.sum.get()).unwrap_or(0)
    }

    /// Shows how far each file is behind.
    pub(super) fn show_lags(&mut self) {
        let anew = std::mem::take(&mut self.lags.removed);
        self.files.values_mut().for_each(|file| self.lags.show(file, anew));
    }
}

impl Lags {
    /// Shows how far the file is behind. `anew` = where that was shown may be gone.
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

    /// Shows it no more.
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
