//! Inspects files before they are read.

use bytes::Bytes;
use ledger::BOOKS;
use pipeline::{BuildContext, SourceError};
use storage::{FileSystem, FsError};

use super::config::Config;
use super::{Reading, blocked, failed, unlisted};
use crate::hdfs::store;

/// Bytes of the first file to read: enough for the class names of a SequenceFile.
const HEAD_BYTES: usize = 1024;

/// Readable files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Number of files.
    pub files: usize,
    /// Start of the first file that is not empty.
    pub head: Bytes,
    /// Whether they are in a directory below which a sink `hdfs` writes.
    pub is_ours: bool,
    /// The columns of their lines, as imports have recorded them: each list once.
    pub columns: Vec<Vec<String>>,
}

/// Name of the file in which an import records its columns, next to its ledger.
pub const COLUMNS: &str = "columns";

/// Inspects the files that the settings name.
///
/// # Errors
/// The files do not exist, or the store failed.
pub async fn inspect(config: Config, cx: &BuildContext) -> Result<Listing, SourceError> {
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
    // A single file contains no others; check its directory.
    let directory = match root.rsplit_once('/').filter(|_| paths == [root]) {
        Some((directory, _)) => directory,
        None => root,
    };
    let books = books(&*fs, directory).await.map_err(failed)?;
    let columns = match &books {
        Some(books) => columns(&*fs, books).await?,
        None => Vec::new(),
    };
    Ok(Listing { files: paths.len(), head, is_ours: books.is_some(), columns })
}

/// Opens the first file that is not empty, to detect a wrong format before an agent starts.
///
/// # Errors
/// The files do not exist or have another format, or the store failed.
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

/// Reads the columns that imports have recorded.
async fn columns(fs: &dyn FileSystem, books: &str) -> Result<Vec<Vec<String>>, SourceError> {
    let mut found = Vec::new();
    for listed in fs.list(books).await.map_err(failed)?.into_iter().filter(|it| it.directory) {
        let path = format!("{books}/{}/{COLUMNS}", listed.name);
        match fs.read(&path).await {
            Ok(bytes) => {
                let columns: Result<Vec<String>, _> = serde_json::from_slice(&bytes);
                let columns = columns.map_err(|error| blocked(format!("{path}: {error}")))?;
                if !found.contains(&columns) {
                    found.push(columns);
                }
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(found)
}

/// Returns the directory of ledgers in a directory at or above this one, if a sink `hdfs` writes
/// there.
async fn books(fs: &dyn FileSystem, root: &str) -> Result<Option<String>, FsError> {
    let mut directory = root.trim_end_matches('/');
    loop {
        let books = format!("{directory}/{BOOKS}");
        match fs.stat(&books).await {
            Ok(_) => return Ok(Some(books)),
            Err(error) if error.is_not_found() => {}
            Err(error) if directory == root => return Err(error),
            // Directories above may be inaccessible.
            Err(_) => return Ok(None),
        }
        let Some((above, _)) = directory.rsplit_once('/') else { return Ok(None) };
        directory = above;
    }
}
