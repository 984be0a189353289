//! The contents of visible files, read byte by byte.

use std::collections::BTreeMap;
use std::sync::Arc;

use memchr::memchr_iter;
use storage::{FileSystem, FsError, Listed};

use super::super::dataset::Dataset;
use super::super::entry::StagedFile;
use super::super::error::LedgerError;
use super::super::view::Totals;
use super::Audit;

/// The result of reading every visible file of a dataset.
#[derive(Debug, Default)]
pub struct Contents {
    /// Files, bytes and lines that were read. A line is one event, unless its body contains line
    /// ends.
    pub read: Totals,
    /// Files of the newest generation whose content differs from what was written.
    pub damaged: Vec<String>,
    /// Files of the newest generation with fewer lines than they have events.
    pub short: Vec<String>,
    /// Totals of older generations, whose files the ledger no longer names.
    pub older: Totals,
    /// Totals read from the files of older generations.
    pub older_read: Totals,
    /// True if the events in some of these files cannot be counted by lines.
    pub older_uncounted: bool,
    /// Files of any generation that were merged into another one: this many of the older ones may
    /// be missing under their own names.
    pub merged_files: u64,
}

impl Contents {
    /// Returns `true` if every file exists with the content that was written.
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty() && self.short.is_empty() && self.is_whole()
    }

    /// Returns `true` if all files of older generations exist.
    pub fn is_whole(&self) -> bool {
        let Self { older, older_read, older_uncounted, merged_files, .. } = self;
        let least = older.files.saturating_sub(*merged_files);
        (least..=older.files).contains(&older_read.files)
            && older_read.bytes == older.bytes
            && (*older_uncounted || older_read.events >= older.events)
    }
}

impl Audit {
    /// Reads every visible file of the sink `sink` and compares it with the ledger: by checksum for
    /// files of the newest generation, by sums for all older ones.
    ///
    /// # Errors
    /// The store failed.
    pub async fn examine(
        &self,
        fs: Arc<dyn FileSystem>,
        dataset: &Dataset,
        sink: &str,
    ) -> Result<Contents, LedgerError> {
        let named: BTreeMap<String, _> =
            self.files.iter().map(|(file, _)| (dataset.published(&file.target), file)).collect();
        let newest = Totals::from_staged(
            &self.files.iter().map(|(file, _)| file.clone()).collect::<Vec<_>>(),
        );
        let (older, merged_files) = (self.view.totals() - newest, self.view.merged_files());
        let mut contents = Contents { older, merged_files, ..Contents::default() };
        let parts = self.holders.parts(self.files.iter().map(|(file, _)| file));
        let below = format!("{}/", dataset.prefix());
        let mut files = VisibleFiles::new(fs.clone(), dataset, sink);
        while let Some(VisibleFile { path, index }) = files.next().await? {
            let entry = named.get(&path);
            if index >= self.view.next() || (entry.is_none() && index >= self.view.first()) {
                // It was added after the ledger was read, or is not in this ledger.
                continue;
            }
            let bytes = match fs.read(&path).await {
                Ok(bytes) => bytes,
                // It was merged or deleted since it was listed.
                Err(FsError::NotFound { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            let is_lines = is_lines(&path);
            let target = path.strip_prefix(&below).unwrap_or_default();
            if let Some(merge) = self.holders.whole(target, bytes.len() as u64) {
                contents.add_merged(path, &bytes, (merge.crc, &parts[merge.copy.as_str()]));
                continue;
            }
            // For other formats, use the number in the ledger, if the ledger names the file.
            let lines = match entry {
                Some(file) if !is_lines => file.events,
                _ => memchr_iter(b'\n', &bytes).count() as u64,
            };
            let one = Totals { files: 1, bytes: bytes.len() as u64, events: lines };
            contents.read = contents.read + one;
            match entry {
                Some(file) if crc32c::crc32c(&bytes) != file.crc => contents.damaged.push(path),
                Some(file) if lines < file.events => contents.short.push(path),
                Some(_) => {}
                None => {
                    contents.older_uncounted |= !is_lines;
                    contents.older_read = contents.older_read + one;
                }
            }
        }
        Ok(contents)
    }
}

impl Audit {
    /// The paths of all files of the sink `sink` that readers see and this ledger knows.
    ///
    /// # Errors
    /// The store failed.
    pub async fn visible(
        &self,
        fs: Arc<dyn FileSystem>,
        dataset: &Dataset,
        sink: &str,
    ) -> Result<Vec<String>, LedgerError> {
        let mut files = VisibleFiles::new(fs, dataset, sink);
        let mut paths = Vec::new();
        while let Some(VisibleFile { path, index }) = files.next().await? {
            if index < self.view.next() {
                paths.push(path);
            }
        }
        Ok(paths)
    }
}

impl Contents {
    /// Counts a merged file; `parts` are those that the newest generation names.
    fn add_merged(&mut self, path: String, bytes: &[u8], (crc, parts): (u32, &[&StagedFile])) {
        let is_lines = is_lines(&path);
        let named = parts.iter().fold(Totals::default(), |sum, file| {
            sum + Totals { files: 1, bytes: file.len, events: file.events }
        });
        let lines = memchr_iter(b'\n', bytes).count() as u64;
        let events = if is_lines { lines } else { named.events };
        let len = bytes.len() as u64;
        self.read = self.read + Totals { files: 1, bytes: len, events };
        let older = len.saturating_sub(named.bytes);
        if older > 0 {
            self.older_uncounted |= !is_lines;
            let events = events.saturating_sub(named.events);
            self.older_read = self.older_read + Totals { files: 1, bytes: older, events };
        }
        if crc32c::crc32c(bytes) != crc {
            self.damaged.push(path);
        } else if is_lines && lines < named.events {
            self.short.push(path);
        }
    }
}

/// A file that readers see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisibleFile {
    /// Its path in the store.
    pub path: String,
    /// The index of the entry that published it.
    pub index: u64,
}

/// The files of one sink that readers see, directory by directory.
pub struct VisibleFiles {
    fs: Arc<dyn FileSystem>,
    sink: String,
    directories: Vec<String>,
    files: Vec<VisibleFile>,
}

impl VisibleFiles {
    /// Lists the files of `sink` in `dataset`.
    pub fn new(fs: Arc<dyn FileSystem>, dataset: &Dataset, sink: &str) -> Self {
        let directories = vec![dataset.prefix().to_owned()];
        Self { fs, sink: sink.to_owned(), directories, files: Vec::new() }
    }

    /// Returns the next file; `None` after the last one.
    ///
    /// # Errors
    /// The store failed.
    pub async fn next(&mut self) -> Result<Option<VisibleFile>, LedgerError> {
        loop {
            if let Some(file) = self.files.pop() {
                return Ok(Some(file));
            }
            let Some(directory) = self.directories.pop() else { return Ok(None) };
            for Listed { name, directory: is_directory } in self.fs.list(&directory).await? {
                let path = format!("{}/{name}", directory.trim_end_matches('/'));
                if is_directory {
                    // Readers of Hadoop pass over these too; `_overflow` is ours.
                    if !name.starts_with(['_', '.']) || name == "_overflow" || name == "_" {
                        self.directories.push(path);
                    }
                } else if let Some(index) = index_of(&name, &self.sink) {
                    self.files.push(VisibleFile { path, index });
                }
            }
            self.files.reverse();
        }
    }
}

/// Returns `true` if each event is a line of a file with this name.
pub fn is_lines(name: &str) -> bool {
    [".log", ".json"].iter().any(|extension| name.ends_with(extension))
}

/// The index of the entry that published a file, which is called
/// `<host>-<sink>-<index>-<n>.<extension>`.
pub(crate) fn index_of(name: &str, sink: &str) -> Option<u64> {
    place_of(name, sink).map(|(index, _)| index)
}

/// Returns also the number of the file within its entry.
pub(crate) fn place_of(name: &str, sink: &str) -> Option<(u64, u64)> {
    let mut parts = name.rsplitn(3, '-');
    let (number, index, stem) = (parts.next()?, parts.next()?, parts.next()?);
    let (number, _extension) = number.split_once('.')?;
    let ours = stem.strip_suffix(sink)?.ends_with('-');
    Some((index.parse().ok().filter(|_| ours)?, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_files_of_the_sink_are_its_own() {
        assert_eq!(index_of("web-1-store-12-0.log", "store"), Some(12));
        assert_eq!(index_of("web-1-my-store-12-0.json.gz", "my-store"), Some(12));
        for foreign in ["web-1-store-12.log", "notes.txt", "web-1-other-12-0.log", "store-12-0.log"]
        {
            assert_eq!(index_of(foreign, "store"), None, "{foreign}");
        }
    }
}
