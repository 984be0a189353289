//! A file with secrets, named by a setting. No error contains its contents.

use std::path::{Path, PathBuf};

use pipeline::env::{Disk, OpenMode};
use thiserror::Error;
use zeroize::Zeroizing;

/// Why a file with secrets cannot be used.
#[derive(Debug, Error)]
pub enum SecretFileError {
    /// The file cannot be read.
    #[error(
        "cannot read {} (`{setting}`); the user of this process must be able to read it",
        path.display()
    )]
    File {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: std::io::Error,
    },
    /// The contents are invalid.
    #[error("{} (`{setting}`){} {problem}", path.display(), place(*line))]
    Content {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// The line, from 1 on; 0 for the whole file.
        line: usize,
        /// The problem and the remedy.
        problem: String,
    },
}

fn place(line: usize) -> String {
    if line == 0 { String::new() } else { format!(", line {line}:") }
}

/// A file with secrets that a setting names.
#[derive(Debug, Clone)]
pub struct SecretFile {
    setting: &'static str,
    path: PathBuf,
}

impl SecretFile {
    /// The file at `path`, which `setting` names.
    pub fn new(setting: &'static str, path: &Path) -> Self {
        Self { setting, path: path.to_owned() }
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the error of a line, from 1 on; 0 is the whole file.
    pub fn wrong(&self, line: usize, problem: impl Into<String>) -> SecretFileError {
        let (setting, path) = (self.setting, self.path.clone());
        SecretFileError::Content { setting, path, line, problem: problem.into() }
    }

    /// Returns its current text, and whether every user of the host can read it; blocks.
    ///
    /// # Errors
    /// It cannot be read, is longer than `bytes_max`, or is not text.
    pub fn read(
        &self,
        disk: &dyn Disk,
        bytes_max: u64,
    ) -> Result<(Zeroizing<String>, bool), SecretFileError> {
        let Self { setting, path } = self;
        let failed = |source| SecretFileError::File { setting, path: path.clone(), source };
        let file = disk.open(path, OpenMode::default()).map_err(failed)?;
        let stat = file.stat().map_err(failed)?;
        if stat.len > bytes_max {
            return Err(self.wrong(
                0,
                format!(
                    "has {} bytes, over the limit of {bytes_max}; name the file with the secret \
                     only",
                    stat.len
                ),
            ));
        }
        let bytes = file.read(0, stat.len as usize).map_err(failed)?;
        let text = String::from_utf8(bytes).map_err(|error| {
            drop(Zeroizing::new(error.into_bytes()));
            self.wrong(0, "is not UTF-8 text; name the file with the secret as text")
        })?;
        Ok((Zeroizing::new(text), stat.mode & 0o004 != 0))
    }
}
