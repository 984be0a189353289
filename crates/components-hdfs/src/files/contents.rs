//! Reads events of files without an agent, for comparisons.

use std::sync::Arc;

use pipeline::{BuildContext, Env, Events, FileError, PieceLimits, SourceError};
use storage::{FileSystem, FsError};
use thiserror::Error;

use super::config::{Config, Options};
use super::content::of_store;
use super::{BATCH_EVENTS, Reading, blocked, failed};
use crate::hdfs::store;

/// Why a file could not be read to its end.
#[derive(Debug, Error)]
pub enum Unread {
    /// The store failed.
    #[error("cannot read {path}")]
    Store {
        /// The file.
        path: String,
        /// The error of the store.
        #[source]
        source: FsError,
    },
    /// The content is damaged.
    #[error("cannot read {path}: {problem}")]
    Damaged {
        /// The file.
        path: String,
        /// The damage.
        problem: String,
    },
}

/// Files of one store with one format.
pub struct Contents {
    options: Arc<Options>,
    fs: Arc<dyn FileSystem>,
    env: Env,
}

impl Contents {
    /// Opens the files with the settings of a source. Of its `url`, only the store is used.
    ///
    /// # Errors
    /// The settings are wrong, or the store is unknown.
    pub fn open(config: Config, cx: &BuildContext) -> Result<Self, SourceError> {
        let options = config.options(cx).map_err(|error| blocked(error.to_string()))?;
        let fs = store::open(&options.url, &options.access, &cx.env).map_err(failed)?;
        Ok(Self { options, fs, env: cx.env.clone() })
    }

    /// Passes the events of a file to `take`, piece by piece.
    ///
    /// # Errors
    /// The file cannot be read to its end.
    pub async fn read(&self, path: &str, mut take: impl FnMut(&Events)) -> Result<(), Unread> {
        let store = |source| Unread::Store { path: path.to_owned(), source };
        let unread = |error: FileError| {
            let problem = match error {
                FileError::Malformed(error) => error.to_string(),
                FileError::Unreadable(error) => match of_store(error) {
                    Ok(source) => return store(source),
                    Err(error) => error.to_string(),
                },
            };
            Unread::Damaged { path: path.to_owned(), problem }
        };
        let len = self.fs.stat(path).await.map_err(store)?.len;
        let (options, fs) = (self.options.clone(), self.fs.clone());
        let reading = Reading::begin(options, fs, (path, len), 0, &self.env).await;
        let mut reading = reading.map_err(unread)?;
        let limits = PieceLimits { bytes: self.options.batch_bytes, events: BATCH_EVENTS };
        loop {
            let work = move || {
                let read = reading.next(limits);
                (reading, read)
            };
            let (behind, read) = self.env.offload(work).await;
            reading = behind;
            let (batch, is_more) = read.map_err(unread)?;
            take(&batch);
            if !is_more {
                return Ok(());
            }
        }
    }
}
