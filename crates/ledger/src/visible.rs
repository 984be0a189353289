//! Reads the ledger index from the names of visible files.

use storage::{FileSystem, FsError, Listed};

use super::audit::index_of;
use super::dataset::{BOOKS, Dataset};
use super::error::LedgerError;

/// Directories that are looked into for published files before a ledger is begun.
const LOOKED_INTO_MAX: usize = 256;
/// The same before one with entries is taken on: the last by name, which days are in the order of.
const LOOKED_INTO_LAST: usize = 32;

/// A visible file that an entry has published, and the index of that entry.
pub(super) struct Published {
    pub(super) path: String,
    pub(super) index: u64,
}

/// Returns the file below the prefix with the highest index, or the first one found with `enough`
/// or more. Visits directories in descending order of their names; with a limit of directories,
/// skips other datasets below the prefix.
async fn published(
    fs: &dyn FileSystem,
    dataset: &Dataset,
    directories_max: Option<usize>,
    enough: u64,
) -> Result<Option<Published>, LedgerError> {
    let (mut open, mut last) = (vec![dataset.prefix().to_owned()], None::<Published>);
    for _ in 0..directories_max.unwrap_or(usize::MAX) {
        let Some(directory) = open.pop() else { break };
        let names = match fs.list(if directory.is_empty() { "/" } else { &directory }).await {
            Ok(names) => names,
            Err(FsError::NotFound { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        let has_books = names.iter().any(|listed| listed.directory && listed.name == BOOKS);
        if has_books && directory != dataset.prefix() && directories_max.is_some() {
            continue;
        }
        for Listed { name, directory: is_directory } in names {
            let path = format!("{directory}/{name}");
            if is_directory && !name.starts_with(['_', '.']) {
                open.push(path);
            } else if !is_directory && let Some(index) = index_of(&name, dataset.sink()) {
                if last.as_ref().is_none_or(|last| index > last.index) {
                    last = Some(Published { path, index });
                }
                if index >= enough {
                    return Ok(last);
                }
            }
        }
    }
    Ok(last)
}

/// The visible file with the highest index in its name.
pub(super) async fn last_published(
    fs: &dyn FileSystem,
    dataset: &Dataset,
) -> Result<Option<Published>, LedgerError> {
    published(fs, dataset, None, u64::MAX).await
}

/// A visible file that entry `next` or a later one has published, which is not in the ledger then,
/// as far as a bounded look shows it.
pub(super) async fn published_behind(
    fs: &dyn FileSystem,
    dataset: &Dataset,
    next: u64,
) -> Result<Option<Published>, LedgerError> {
    let directories_max = if next == 0 { LOOKED_INTO_MAX } else { LOOKED_INTO_LAST };
    let found = published(fs, dataset, Some(directories_max), next).await?;
    Ok(found.filter(|file| file.index >= next))
}
