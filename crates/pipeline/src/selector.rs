//! The channel selector: decides which events go to which of a source's channels.

use async_trait::async_trait;

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
    /// Returns the events for each of the source's channels, by index; `None` or no events = none.
    ///
    /// The decision for each event must depend only on that event: not on its batch, other batches,
    /// the time or the contents of the channels. A resent batch has to be split in the same way.
    /// After a crash a source passes the same events in other batches into the channels that lack
    /// them.
    ///
    /// With a [free choice](Self::free_choice) it returns the events that each channel would get.
    fn select(&self, events: &Events) -> Vec<Option<Events>>;

    /// Returns the selector outside this process that decides instead of [`select`](Self::select).
    fn remote(&self) -> Option<&dyn RemoteSelector> {
        None
    }

    /// Returns the function that chooses one of the required channels for a whole batch,
    /// independently of its events. The other required channels get no part of it; optional ones
    /// get their part. Only sources that never resend support it:
    /// [`ResendMode`](crate::ResendMode).
    fn free_choice(&self) -> Option<&dyn FreeChoice> {
        None
    }

    /// Returns `true` if channels may get different events of one batch. Then a relay forwards
    /// different parts through its channels, and each has another name.
    fn splits(&self) -> bool {
        true
    }

    /// The header that it looks at, if any.
    fn routing_header(&self) -> Option<&str>;

    /// Returns `true` if it looks at bodies: then the effects of interceptors on bodies are part of
    /// the routing.
    fn reads_bodies(&self) -> bool {
        false
    }

    /// Describes the rule: equal functions of the events must have equal texts. `channels` names
    /// the datasets downstream of each channel, in any order.
    fn routing_rule(&self, channels: &[Vec<String>]) -> String;
}

/// Why a selector outside this process has no result.
pub type SelectorError = Box<dyn std::error::Error + Send + Sync>;

/// A selector outside this process. It can be unreachable, and then the whole batch fails.
#[async_trait]
pub trait RemoteSelector: Send + Sync {
    /// As [`ChannelSelector::select`].
    ///
    /// # Errors
    /// There is no result for the whole batch. No channel gets any of it, and its source retries.
    async fn select(&self, events: &Events) -> Result<Vec<Option<Events>>, SelectorError>;

    /// As [`RemoteInterceptor::has_effect`](crate::RemoteInterceptor::has_effect).
    fn has_effect(&self) -> bool;
}

/// Chooses one of the required channels for each batch, independently of its events.
///
/// A batch is in the channel into which it was put and in no other one, completely or not at all:
/// the put is the record of the choice.
pub trait FreeChoice: Send + Sync {
    /// Returns the required channels for the next batch, by index: the first one with room gets it.
    /// Contains each of them once, so that a batch waits only when no channel has room.
    fn order(&self) -> Vec<usize>;

    /// Returns the setting of the selector that makes the choice free: `type`, or another one.
    fn setting(&self) -> &'static str;

    /// Returns the alternative for a source that does not support it: the end of a message, such as
    /// ``set `policy = "hash"` ``.
    fn instead(&self) -> &'static str;
}

/// The number of a source's required channels, which come first. A selector that distinguishes them
/// from the optional ones gets it from its context; `None` outside an agent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequiredChannels(pub Option<usize>);

impl RequiredChannels {
    /// Returns the number of required channels among this many; all of them outside an agent.
    pub fn among(self, channels: usize) -> usize {
        self.0.unwrap_or(channels).min(channels)
    }
}
