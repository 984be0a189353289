//! The channel selector: decides which events go to which of a source's channels.

use crate::batch::Batch;

/// Decides which channels get which events.
pub trait ChannelSelector: Send + Sync {
    /// What each of the source's channels gets, by index; `None` or an empty batch = no event of
    /// it. Must be a function of the events: a batch that is sent again has to be split the same.
    fn select(&self, batch: &Batch) -> Vec<Option<Batch>>;

    /// The header that it looks at, if any.
    fn routing_header(&self) -> Option<&str>;

    /// The same function of the events has the same text; `channels` names the datasets behind each
    /// channel, in any order.
    fn routing_rule(&self, channels: &[Vec<String>]) -> String;
}
