//! What a program asks of files before they are read.

use bytes::Bytes;
use pipeline::{BuildContext, SourceError};
use storage::{FileSystem, FsError};

use super::config::Config;
use super::{Reading, blocked, failed, unlisted};
use crate::hdfs::store;

/// Bytes of the first file that are looked at: those of a SequenceFile name its classes.
const HEAD_BYTES: usize = 1024;

/// Files that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// How many there are.
    pub files: usize,
    /// How the first one that is not empty begins.
    pub head: Bytes,
    /// They lie in a directory that a sink `hdfs` writes below.
    pub is_ours: bool,
}

/// Looks at the files that the settings name.
///
/// # Errors
/// They are not there, or the store failed.
pub async fn look(config: Config, cx: &BuildContext) -> Result<Look, SourceError> {
    let options = config.options(cx).map_err(|error| blocked(error.to_string()))?;
    let fs = store::open(&options.url, &options.access, &cx.env).map_err(failed)?;
    let paths = options.pattern.list(&*fs).await.map_err(unlisted)?;
    let mut head = Bytes::new();
    for path in &paths {
        if fs.stat(path).await.map_err(failed)?.len > 0 {
            head = fs.read_part(path, 0, HEAD_BYTES).await.map_err(failed)?;
            break;
        }
    }
    let root = options.pattern.root();
    // A file has nothing below it.
    let directory = match root.rsplit_once('/').filter(|_| paths == [root]) {
        Some((directory, _)) => directory,
        None => root,
    };
    let is_ours = is_dataset(&*fs, directory).await.map_err(failed)?;
    Ok(Look { files: paths.len(), head, is_ours })
}

/// Begins to read the first file that is not empty, so that what is wrong with its form is known
/// before an agent waits for it to become another one.
///
/// # Errors
/// The files are not there or are of another form, or the store failed.
pub async fn begin(config: Config, cx: &BuildContext) -> Result<(), SourceError> {
    let options = config.options(cx).map_err(|error| blocked(error.to_string()))?;
    let fs = store::open(&options.url, &options.access, &cx.env).map_err(failed)?;
    for path in options.pattern.list(&*fs).await.map_err(unlisted)? {
        let len = fs.stat(&path).await.map_err(failed)?.len;
        if len > 0 {
            let begun = Reading::begin(options, fs, (&path, len), 0, &cx.env).await;
            return begun.map(drop).map_err(|error| blocked(format!("{path}: {error}")));
        }
    }
    Ok(())
}

/// Whether a directory is one that a sink `hdfs` writes below, or lies in one.
async fn is_dataset(fs: &dyn FileSystem, root: &str) -> Result<bool, FsError> {
    let mut directory = root.trim_end_matches('/');
    loop {
        match fs.stat(&format!("{directory}/_aqueduct")).await {
            Ok(_) => return Ok(true),
            Err(error) if error.is_not_found() => {}
            Err(error) if directory == root => return Err(error),
            // What lies above may be closed.
            Err(_) => return Ok(false),
        }
        let Some((above, _)) = directory.rsplit_once('/') else { return Ok(false) };
        directory = above;
    }
}
