//! The interceptor: looks at events between source and channel, changes or drops them.

use crate::batch::Events;

/// Changes or drops events on their way in.
pub trait Interceptor: Send + Sync {
    /// Changes `events` in place. Cannot fail; an event that it drops is dropped on purpose and
    /// counts as delivered. Must be a function of the events and the settings, so that a batch that
    /// is sent again comes out the same on any collector, except where its purpose is the moment
    /// (a timestamp), which a batch keeps once it has it.
    fn intercept(&self, events: &mut Events);

    /// What it does that a selector which looks at `header` can see: the value that it writes
    /// there, or what it drops. Part of the agent's [`Routing`](crate::Routing), so the same text
    /// for the same effect. `None`: nothing of the kind.
    fn routing_effect(&self, header: Option<&str>) -> Option<String>;
}
