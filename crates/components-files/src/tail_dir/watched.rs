//! Change notifications, and the directories that they cover.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;

use pipeline::env::Watch;

use super::followed::Followed;

/// The notifications, and the directories that they cover.
pub(super) struct Watched {
    /// `None` if the system has no notifications.
    pub(super) watch: Option<Arc<dyn Watch>>,
    /// Directories that the last survey looked into; `true` = for files.
    pub(super) directories: BTreeMap<PathBuf, bool>,
}

impl Watched {
    /// Creates the state before the first survey.
    pub(super) fn new(watch: Option<Arc<dyn Watch>>) -> Self {
        Self { watch, directories: BTreeMap::new() }
    }

    /// Sets the directories that a survey looked into.
    pub(super) fn surveyed(&mut self, directories: BTreeMap<PathBuf, bool>) {
        self.directories = directories;
    }

    /// Adds the directories that contain the files; they differ for links.
    pub(super) fn add_places(&mut self, files: &Followed) {
        let mut seen = OsStr::new("");
        for (_, file) in files.iter() {
            let Some(directory) = file.place.parent() else { continue };
            // Files of one directory mostly follow one another.
            if directory.as_os_str() == seen {
                continue;
            }
            seen = directory.as_os_str();
            if self.directories.get(directory) != Some(&true) {
                self.directories.insert(directory.to_owned(), true);
            }
        }
    }
}
