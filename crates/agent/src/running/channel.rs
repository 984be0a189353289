//! The handle of a channel.

use std::sync::Arc;

use pipeline::{Channel, ChannelStatus};
use tokio::time::Instant;

use crate::boards::Boards;

/// A channel. Of one that is not open only its handle can be asked.
#[derive(Clone)]
pub struct ChannelHandle {
    /// Its type.
    pub kind: String,
    /// Of its configuration.
    pub digest: u64,
    /// The channel.
    pub channel: Arc<dyn Channel>,
    /// Values shared along it.
    pub boards: Boards,
    /// Names of the groups that take from it.
    pub consumers: Vec<Arc<str>>,
    /// When it was started.
    pub since: Instant,
}

impl ChannelHandle {
    /// Returns its current contents; empty while it is not open.
    pub fn status(&self) -> ChannelStatus {
        match self.boards.opened.is_open() {
            true => self.channel.status(),
            false => ChannelStatus { intake_stopped: true, ..ChannelStatus::default() },
        }
    }

    /// The channel, once it is open.
    pub fn opened(&self) -> Option<&Arc<dyn Channel>> {
        self.boards.opened.is_open().then_some(&self.channel)
    }
}
