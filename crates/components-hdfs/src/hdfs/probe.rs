//! Tests whether a store is writable, with a temporary file.

use storage::{CreateOptions, FileSystem, FsError, split};

/// Creates and deletes an empty file in the directory `prefix`, or in its deepest existing parent.
/// Returns that directory. `number` makes the file name unique. Also tests whether the store can
/// concatenate files, if requested.
///
/// # Errors
/// The store is unreachable, rejects the file, or cannot concatenate files.
pub(crate) async fn probe(
    fs: &dyn FileSystem,
    prefix: &str,
    number: u64,
    merges: bool,
) -> Result<String, FsError> {
    let mut directory = prefix;
    // Stores without directories need no parent.
    while fs.is_tree() && directory != "/" {
        match fs.stat(directory).await {
            Ok(_) => break,
            Err(FsError::NotFound { .. }) => directory = split(directory).0,
            Err(error) => return Err(error),
        }
    }
    let below = if directory == "/" { "" } else { directory };
    let path = format!("{below}/_aqueduct-probe-{number:016x}");
    let made = match fs.create(&path, CreateOptions::default()).await {
        Ok(file) => file.close().await,
        Err(error) => Err(error),
    };
    // Also delete the file if its creation is in doubt.
    let deleted = fs.delete(&path).await;
    made?;
    deleted?;
    if merges {
        let tried = fs.can_concat(&path).await;
        fs.delete(&path).await?;
        tried.map_err(named)?;
    }
    Ok(directory.to_owned())
}

/// Adds the setting that requests concatenation to the store's error.
fn named(error: FsError) -> FsError {
    match error {
        FsError::Unfit { call, path, source } => {
            let source = format!("{source}; remove `compact`, or choose another store").into();
            FsError::Unfit { call, path, source }
        }
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use storage::memory::Memory;
    use storage::objects::Objects;

    use super::*;

    #[tokio::test]
    async fn the_deepest_directory_that_is_there_is_tried_and_nothing_stays() {
        let fs = Memory::new();
        assert_eq!(probe(&fs, "/a/b", 7, true).await.unwrap(), "/");
        fs.mkdirs("/a").await.unwrap();
        assert_eq!(probe(&fs, "/a/b", 7, true).await.unwrap(), "/a");
        fs.mkdirs("/a/b").await.unwrap();
        assert_eq!(probe(&fs, "/a/b", 7, true).await.unwrap(), "/a/b");
        assert!(fs.list("/a/b").await.unwrap().is_empty());
        let names = fs.list("/").await.unwrap();
        assert_eq!(names.len(), 1, "{names:?}");
    }

    #[tokio::test]
    async fn a_store_that_cannot_merge_is_refused_with_the_setting_that_asks_for_it() {
        let fs = Objects::over(Arc::new(Memory::new()));
        assert!(probe(&fs, "/a", 7, false).await.is_ok());
        let refused = probe(&fs, "/a", 7, true).await.unwrap_err();
        let FsError::Unfit { source, .. } = refused else { panic!("{refused}") };
        assert!(source.to_string().contains("`compact`"), "{source}");
    }
}
