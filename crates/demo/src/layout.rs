//! Where the collectors of the demo store lines, and how readers find them.

use std::error::Error;
use std::path::{Path, PathBuf};

use pipeline::Env;
use pipeline::settings::Settings;

use crate::DemoError;
use crate::input;
use crate::reconcile::Lines;
use crate::store::Visible;

/// Where the collectors of the demo store lines, and how readers find them. `root` is the folder of
/// the demo.
pub trait Layout {
    /// Describes the work of the collectors, for the introduction.
    fn summary(&self) -> &'static str;

    /// The directory of the stored files.
    fn files(&self, root: &Path) -> PathBuf;

    /// The directories below it, as the sink `hdfs` names them.
    fn folders(&self) -> &'static str;

    /// Further settings of the sink `hdfs`.
    fn settings(&self, root: &Path) -> Vec<(&'static str, Settings)>;

    /// Returns how many lines readers see, if that may be fewer than the stored files have.
    ///
    /// # Errors
    /// The store cannot be read.
    fn visible_lines(&self, env: &Env, root: &Path) -> Result<Option<u64>, DemoError>;

    /// Calls `each` with every line that readers see; `false` to read the files as text instead.
    ///
    /// # Errors
    /// The store cannot be read.
    fn read(&self, env: &Env, root: &Path, each: &mut dyn FnMut(&[u8])) -> Result<bool, DemoError>;

    /// Returns commands for the stored lines, for the end of the demo.
    fn hint(&self, root: &Path) -> String;
}

/// Files of lines.
pub(crate) struct TextFiles;

impl Layout for TextFiles {
    fn summary(&self) -> &'static str {
        "store them in files"
    }

    fn files(&self, root: &Path) -> PathBuf {
        root.join("store")
    }

    fn folders(&self) -> &'static str {
        "%Y-%m-%d"
    }

    fn settings(&self, _root: &Path) -> Vec<(&'static str, Settings)> {
        Vec::new()
    }

    fn visible_lines(&self, _env: &Env, _root: &Path) -> Result<Option<u64>, DemoError> {
        Ok(None)
    }

    fn read(
        &self,
        _env: &Env,
        _root: &Path,
        _each: &mut dyn FnMut(&[u8]),
    ) -> Result<bool, DemoError> {
        Ok(false)
    }

    fn hint(&self, _root: &Path) -> String {
        String::new()
    }
}

/// Returns the lines that readers see.
pub(crate) fn stored(
    layout: &dyn Layout,
    env: &Env,
    root: &Path,
    visible: &Visible,
) -> Result<Lines, DemoError> {
    let mut stored = Lines::default();
    if !layout.read(env, root, &mut |line| stored.line(line))? {
        for (path, bytes) in &visible.files {
            input::read(env, path, 0..*bytes, |piece| stored.take(piece))?;
            stored.end_file();
        }
    }
    Ok(stored)
}

impl DemoError {
    /// Creates an error of a [`Layout`].
    pub fn unreadable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unreadable(source.into())
    }
}
