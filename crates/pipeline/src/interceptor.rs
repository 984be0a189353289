//! The interceptor: looks at events between source and channel, changes, drops or rejects them.

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
    /// Changes `events` in place. Cannot fail as a whole. An event that it drops is dropped on
    /// purpose and counts as delivered; one that it cannot handle it takes out into `rejects`. Must
    /// be a function of the events and the settings, so that a batch that is sent again comes out
    /// the same on any collector, except where its purpose is the moment (a timestamp), which a
    /// batch keeps once it has it.
    fn intercept(&self, events: &mut Events, rejects: &mut Rejects);

    /// What it does that a selector which looks at `header` can see: the value that it writes
    /// there, or what it drops. Part of the agent's [`Routing`](crate::Routing), so the same text
    /// for the same effect. `None`: nothing of the kind.
    fn routing_effect(&self, header: Option<&str>) -> Option<String>;

    /// What it does to bodies: the same text for the same effect. A part of the routing where the
    /// selector [looks at bodies](crate::ChannelSelector::looks_at_bodies). `None`: it leaves them
    /// as they are.
    fn body_effect(&self) -> Option<String> {
        None
    }
}

/// Events that an interceptor cannot handle. They are stored among the dead letters, with their
/// reason, before the rest of their batch is stored in the channels.
#[derive(Debug, Default)]
pub struct Rejects(Vec<Reject>);

/// Some of them, with one reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Reject {
    /// The events, as they were before the interceptor.
    pub events: Events,
    /// Why, in snake case: what letters are counted and listed by.
    pub reason: &'static str,
    /// The same for people.
    pub detail: String,
}

impl Rejects {
    /// Takes the events out of `events` for which `is_wanted` says so.
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

    /// Whether no event is rejected.
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
