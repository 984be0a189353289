//! The interceptor: looks at events between source and channel, changes, drops or rejects them.

use async_trait::async_trait;

use crate::batch::{EventRef, Events};

/// Changes, drops or rejects events on their way in.
///
/// ```
/// # use aqueduct_pipeline as pipeline;
/// use std::borrow::Cow;
///
/// use pipeline::{Batch, Events, Interceptor, Rejects};
///
/// /// Makes bodies upper case; what is not text goes to the dead letters.
/// struct Upper;
///
/// impl Interceptor for Upper {
///     fn intercept(&self, events: &mut Events, rejects: &mut Rejects) {
///         let is_text = |body: &[u8]| std::str::from_utf8(body).is_ok();
///         rejects.take(events, "not_text", "body is not UTF-8", |event| !is_text(event.body()));
///         events.map_bodies(|event| Cow::Owned(event.body().to_ascii_uppercase()));
///     }
///
///     fn routing_effect(&self, _header: Option<&str>) -> Option<String> {
///         None
///     }
/// }
///
/// let mut batch = Batch::of([&b"ok"[..], b"\xff"]);
/// let mut rejects = Rejects::default();
/// Upper.intercept(&mut batch, &mut rejects);
/// assert_eq!(batch.iter().map(|event| event.body().to_vec()).collect::<Vec<_>>(), [b"OK"]);
/// assert_eq!(rejects.into_iter().map(|reject| reject.events.len()).sum::<usize>(), 1);
/// ```
pub trait Interceptor: Send + Sync {
    /// Changes `events` in place. Cannot fail as a whole. Dropped events are dropped intentionally
    /// and count as delivered; events that cannot be handled are moved into `rejects`. The result
    /// must depend only on the events and the settings, so that a resent batch is the same on any
    /// collector. The exception is an interceptor that records the time (a timestamp), which a
    /// batch keeps once it has it.
    fn intercept(&self, events: &mut Events, rejects: &mut Rejects);

    /// Describes the effect that a selector which reads `header` can see: the value that it writes
    /// there, or the events that it drops. It is part of the agent's [`Routing`](crate::Routing),
    /// so equal effects must have equal texts. `None`: no such effect.
    fn routing_effect(&self, header: Option<&str>) -> Option<String>;

    /// Describes the effect on bodies: equal effects must have equal texts. It is part of the
    /// routing if the selector [reads bodies](crate::ChannelSelector::reads_bodies). `None`:
    /// bodies stay unchanged.
    fn body_effect(&self) -> Option<String> {
        None
    }

    /// Returns the interceptor as one that works outside this process. If it does, it is used
    /// instead of [`Interceptor::intercept`].
    fn remote(&self) -> Option<&dyn RemoteInterceptor> {
        None
    }
}

/// An interceptor that works outside this process. It can be unreachable, and then the whole batch
/// fails.
#[async_trait]
pub trait RemoteInterceptor: Send + Sync {
    /// As [`Interceptor::intercept`]; returns the resulting events.
    ///
    /// # Errors
    /// There is no result for the whole batch. No channel gets any of it, and its source retries.
    async fn intercept(
        &self,
        events: Events,
        rejects: &mut Rejects,
    ) -> Result<Events, Box<dyn std::error::Error + Send + Sync>>;

    /// Returns `true` if the same events may have another result at the next attempt. Such an
    /// interceptor is allowed only before events are stored for the first time.
    fn has_effect(&self) -> bool;
}

/// Events that an interceptor cannot handle. They are stored among the dead letters, with their
/// reason, before the rest of their batch is stored in the channels.
#[derive(Debug, Default)]
pub struct Rejects(Vec<Reject>);

/// Rejected events with one reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Reject {
    /// The events, as they were before the interceptor.
    pub events: Events,
    /// The reason, in snake case: letters are counted and listed by it.
    pub reason: &'static str,
    /// The same for people.
    pub detail: String,
}

impl Rejects {
    /// Moves the events out of `events` for which `is_wanted` returns `true`.
    pub fn take(
        &mut self,
        events: &mut Events,
        reason: &'static str,
        detail: &str,
        is_wanted: impl FnMut(EventRef<'_>) -> bool,
    ) {
        self.push(events.extract(is_wanted), reason, detail);
    }

    /// Adds events that were taken out already; none are no reject.
    pub fn push(&mut self, events: Events, reason: &'static str, detail: &str) {
        if !events.is_empty() {
            self.0.push(Reject { events, reason, detail: detail.to_owned() });
        }
    }

    /// Returns `true` if no event is rejected.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl IntoIterator for Rejects {
    type Item = Reject;
    type IntoIter = std::vec::IntoIter<Reject>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
