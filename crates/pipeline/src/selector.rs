//! The channel selector: decides which events go to which of a source's channels.

use crate::batch::Batch;

/// Decides which channels get which events.
pub trait ChannelSelector: Send + Sync {
    /// What each of the source's channels gets, by index; `None` or an empty batch = no event of
    /// it. Must be a function of the events: a batch that is sent again has to be split the same.
    fn select(&self, batch: &Batch) -> Vec<Option<Batch>>;
}
