//! The channel selector: decides which events go to which of a source's channels.

use crate::batch::Events;

/// Decides which channels get which events.
///
/// ```
/// # use aqueduct_pipeline as pipeline;
/// use pipeline::{Batch, ChannelSelector, Events};
///
/// /// Short events go to the first channel, long ones to the second.
/// struct BySize;
///
/// impl ChannelSelector for BySize {
///     fn select(&self, events: &Events) -> Vec<Option<Events>> {
///         let mut short = events.clone();
///         let long = short.extract(|event| event.body().len() > 80);
///         vec![Some(short), Some(long)]
///     }
///
///     fn routing_header(&self) -> Option<&str> {
///         None
///     }
///
///     fn routing_rule(&self, channels: &[Vec<String>]) -> String {
///         format!("up to 80 bytes to {:?}, longer ones to {:?}", channels[0], channels[1])
///     }
/// }
///
/// let parts = BySize.select(&Batch::of(["short", &"long ".repeat(20)]));
/// let events: Vec<_> = parts.iter().flatten().map(Events::len).collect();
/// assert_eq!(events, [1, 1]);
/// ```
pub trait ChannelSelector: Send + Sync {
    /// What each of the source's channels gets, by index; `None` or no events = none of them.
    ///
    /// Must decide for each event by that event alone: not by its batch, by other batches, by time
    /// or by what the channels hold. A batch that is sent again has to be split the same, and after
    /// a crash a source hands over the same events in other batches, into the channels that lack
    /// them.
    ///
    /// With a [free choice](Self::free_choice) it is what each channel would get.
    fn select(&self, events: &Events) -> Vec<Option<Events>>;

    /// What chooses one of the required channels for a whole batch, by something else than its
    /// events. The other required channels get nothing of it; optional ones get their part. Only
    /// sources that give nothing again take it: [`GivesAgain`](crate::GivesAgain).
    fn free_choice(&self) -> Option<&dyn FreeChoice> {
        None
    }

    /// Whether channels may get different events of one batch. Then what a relay sends on through
    /// one channel is not what it sends on through another one, and has another name.
    fn splits(&self) -> bool {
        true
    }

    /// The header that it looks at, if any.
    fn routing_header(&self) -> Option<&str>;

    /// Whether it looks at bodies: then what interceptors do to them is a part of the routing.
    fn looks_at_bodies(&self) -> bool {
        false
    }

    /// The same function of the events has the same text; `channels` names the datasets behind each
    /// channel, in any order.
    fn routing_rule(&self, channels: &[Vec<String>]) -> String;
}

/// Chooses one of the required channels for each batch, whatever its events are.
///
/// A batch is in the channel that it was put into and in no other one, whole or not at all: the put
/// is the record of the choice.
pub trait FreeChoice: Send + Sync {
    /// The required channels for the next batch, by index: the first one that can take the batch
    /// gets it. Each of them once, so that a batch waits only when no channel has room.
    fn order(&self) -> Vec<usize>;

    /// The setting of the selector that makes the choice free: `type`, or one of its own.
    fn setting(&self) -> &'static str;

    /// What to do instead, for a source that may not have it: the end of a message, such as ``set
    /// `policy = "hash"` ``.
    fn instead(&self) -> &'static str;
}

/// How many of a source's channels are required: they come first. A selector that tells them from
/// the optional ones gets it from its context; `None` outside an agent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequiredChannels(pub Option<usize>);

impl RequiredChannels {
    /// How many of so many channels are required; all of them outside an agent.
    pub fn among(self, channels: usize) -> usize {
        self.0.unwrap_or(channels).min(channels)
    }
}
