//! Publishing: committed files get their final names. Anyone may do it, any number of times.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use pipeline::mutant;
use storage::{FileSystem, FsError};
use tokio::time::sleep;

use super::error::LedgerError;
use super::store::{Ledger, PATIENCE, PAUSE};

/// Files of one commit that are published at the same time.
const PUBLISHED_AT_ONCE: usize = 32;

impl Ledger {
    /// Publishes every committed file that this process knows of.
    pub(super) async fn publish_all(&mut self) -> Result<(), LedgerError> {
        // First, so that whatever is visible is named by a memory, should the ledger be lost.
        self.remember().await;
        let all = if mutant!("one_file_published") { 1 } else { usize::MAX };
        let publishing: Vec<_> = (self.known.unpublished.iter().take(all))
            .map(|file| {
                let from = self.dataset.staged(&file.temp);
                publish(self.fs.clone(), from, self.dataset.published(&file.target))
            })
            .collect();
        let mut publishing = stream::iter(publishing).buffer_unordered(PUBLISHED_AT_ONCE);
        while publishing.try_next().await?.is_some() {}
        self.known.unpublished.clear();
        Ok(())
    }
}

/// Renames one committed file to its final name. Others may do the same at the same time, and any
/// number of times: what lies where decides, not what a rename answered.
async fn publish(fs: Arc<dyn FileSystem>, from: String, to: String) -> Result<(), LedgerError> {
    for attempt in 0.. {
        let Err(error) = fs.rename(&from, &to).await else { return Ok(()) };
        // In this order: whoever moves the file between the two looks moves it to `to`.
        let staged = exists(&*fs, &from).await?;
        let published = exists(&*fs, &to).await?;
        match (staged, published) {
            (false, true) => return Ok(()),
            (false, false) => return Err(LedgerError::Vanished { path: to }),
            (true, true) => return Err(LedgerError::Occupied { path: to, staged: from }),
            (true, false) if attempt == PATIENCE => return Err(error.into()),
            (true, false) if error.is_not_found() => fs.mkdirs(storage::split(&to).0).await?,
            (true, false) => sleep(PAUSE * 2_u32.pow(attempt)).await,
        }
    }
    unreachable!("the last attempt returns")
}

async fn exists(fs: &dyn FileSystem, path: &str) -> Result<bool, LedgerError> {
    match fs.stat(path).await {
        Ok(_) => Ok(true),
        Err(FsError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
