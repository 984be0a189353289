//! The handle of a channel.

use std::sync::Arc;

use pipeline::{Channel, ChannelStatus};
use tokio::time::Instant;

use crate::boards::Boards;

/// A channel. Of one that is not open only its handle can be asked.
#[derive(Clone)]
pub(crate) struct ChannelHandle {
    /// Its type.
    pub(crate) kind: String,
    /// Of its configuration.
    pub(crate) digest: u64,
    /// The channel.
    pub(crate) channel: Arc<dyn Channel>,
    /// Values shared along it.
    pub(crate) boards: Boards,
    /// Names of the groups that take from it.
    pub(crate) consumers: Vec<Arc<str>>,
    /// When it was started.
    pub(crate) since: Instant,
}

impl ChannelHandle {
    /// Returns its current contents; empty while it is not open.
    pub(crate) fn status(&self) -> ChannelStatus {
        match self.boards.opened.is_open() {
            true => self.channel.status(),
            false => ChannelStatus { intake_stopped: true, ..ChannelStatus::default() },
        }
    }

    /// The channel, once it is open.
    pub(crate) fn opened(&self) -> Option<&Arc<dyn Channel>> {
        self.boards.opened.is_open().then_some(&self.channel)
    }
}
