//! The channel selector: decides which events go to which of a source's channels.

use crate::batch::Events;

/// Decides which channels get which events.
pub trait ChannelSelector: Send + Sync {
    /// What each of the source's channels gets, by index; `None` or no events = none of
    /// them. Must be a function of the events: a batch that is sent again has to be split the same.
    fn select(&self, events: &Events) -> Vec<Option<Events>>;

    /// The header that it looks at, if any.
    fn routing_header(&self) -> Option<&str>;

    /// The same function of the events has the same text; `channels` names the datasets behind each
    /// channel, in any order.
    fn routing_rule(&self, channels: &[Vec<String>]) -> String;
}
