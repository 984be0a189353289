//! The path of a batch before its channels: interceptors, selector, rejects.

use std::sync::Arc;

use pipeline::{
    Batch, ChannelSelector, Envelope, FreeChoice, IntakeError, Interceptor, Reject, Rejects,
};

use crate::dead_letters::DeadLetters;

/// An interceptor, and its name in the configuration.
pub(crate) struct BuiltInterceptor {
    /// Its type.
    pub(crate) kind: Arc<str>,
    /// The interceptor.
    pub(crate) interceptor: Box<dyn Interceptor>,
}

/// The interceptors and the selector of a source.
pub(super) struct Route {
    interceptors: Vec<BuiltInterceptor>,
    selector: Box<dyn ChannelSelector>,
    channels: usize,
}

/// A batch after the interceptors and the selector. Rejected events are stored.
pub(super) struct Parts {
    /// Events that the interceptors left.
    pub(super) kept: u64,
    /// Events that they rejected.
    pub(super) rejected: u64,
    /// The part of each required channel.
    pub(super) required: Vec<Batch>,
    /// The part of each optional channel.
    pub(super) optional: Vec<Batch>,
}

/// A batch before its rejected events are stored.
pub(super) struct Routed {
    kept: u64,
    /// Required ones first.
    parts: Vec<Batch>,
    /// Of the batch.
    envelope: Envelope,
    /// With the type of the interceptor.
    rejected: Vec<(Arc<str>, Reject)>,
}

impl Route {
    /// Creates a route into this many channels.
    pub(super) fn new(
        interceptors: Vec<BuiltInterceptor>,
        selector: Box<dyn ChannelSelector>,
        channels: usize,
    ) -> Self {
        Self { interceptors, selector, channels }
    }

    /// Returns `true` if the choice of the channels is free.
    pub(super) fn is_free(&self) -> bool {
        self.selector.free_choice().is_some()
    }

    /// Returns the required channels in the order of attempts for the next batch, if the choice is
    /// free.
    pub(super) fn order(&self) -> Option<Vec<usize>> {
        self.selector.free_choice().map(FreeChoice::order)
    }

    /// Runs interceptors and selector.
    ///
    /// # Errors
    /// An interceptor or the selector is outside this process and has no result.
    pub(super) async fn route(&self, batch: Batch) -> Result<Routed, IntakeError> {
        let Batch { envelope, mut events } = batch;
        let mut rejected = Vec::new();
        for BuiltInterceptor { kind, interceptor } in &self.interceptors {
            let mut rejects = Rejects::default();
            match interceptor.remote() {
                None => interceptor.intercept(&mut events, &mut rejects),
                Some(remote) => {
                    let result = remote.intercept(events, &mut rejects).await;
                    let failed = |source| IntakeError::Interceptor { kind: kind.clone(), source };
                    events = result.map_err(failed)?;
                }
            }
            rejected.extend(rejects.into_iter().map(|reject| (kind.clone(), reject)));
        }
        let mut parts = match self.selector.remote() {
            None => self.selector.select(&events),
            Some(remote) => remote.select(&events).await.map_err(IntakeError::Selector)?,
        };
        parts.resize(self.channels, None);
        let part = |events: Option<_>| Batch {
            envelope: envelope.clone(),
            events: events.unwrap_or_default(),
        };
        let parts = parts.into_iter().map(part).collect();
        Ok(Routed { kept: events.len() as u64, parts, envelope, rejected })
    }
}

impl Routed {
    /// Stores the events that the interceptors rejected. `Ok` = they are on disk.
    ///
    /// # Errors
    /// Not all of them are, and the batch must be resent: letters of a batch with an identity or
    /// with positions are recognised then.
    pub(super) async fn settle(
        self,
        source: &str,
        letters: &DeadLetters,
        required: usize,
    ) -> Result<Parts, IntakeError> {
        let Self { kept, parts: mut all, envelope, rejected: rejects } = self;
        let mut rejected = 0;
        for (interceptor, reject) in rejects {
            rejected += reject.events.len() as u64;
            let stored = letters.store_rejected((source, &interceptor), &envelope, reject);
            stored.await.map_err(IntakeError::DeadLetters)?;
        }
        let optional = all.split_off(required);
        Ok(Parts { kept, rejected, required: all, optional })
    }
}
