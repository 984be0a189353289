//! Keeps the positions of the sources in a file.

use std::path::PathBuf;
use std::sync::{Arc, Weak};

use pipeline::ChannelError;
use tokio::sync::Notify;
use tracing::warn;

use super::{Core, POSITIONS_DELAY};
use crate::memory::positions_file;

impl Core {
    pub(super) fn path(&self) -> PathBuf {
        self.directory.join(positions_file::NAME)
    }

    /// Writes the positions if they have changed.
    pub(super) async fn save(&self) -> Result<(), ChannelError> {
        let _turn = self.saving.lock().await;
        let positions = {
            let mut state = self.state();
            if !std::mem::take(&mut state.unsaved) {
                return Ok(());
            }
            state.committed.all()
        };
        let (disk, path) = (self.env.disk.clone(), self.path());
        let written = self.env.offload(move || positions_file::write(&*disk, &path, &positions));
        written.await.map_err(|error| {
            self.state().unsaved = true;
            self.disk_error(error)
        })
    }
}

/// Writes positions now and then; ends with the channel.
pub(super) async fn keep_positions(core: Weak<Core>, dirty: Arc<Notify>) {
    loop {
        dirty.notified().await;
        tokio::time::sleep(POSITIONS_DELAY).await;
        let Some(core) = core.upgrade() else { return };
        if let Err(error) = core.save().await {
            warn!(channel = %core.name, %error,
                "cannot save the positions of the sources; retrying; after a crash before that, \
                 sources read some events again; check the disk");
            core.dirty.notify_one();
        }
    }
}
