//! `process`: delivers events by a plug-in.
//!
//! ```text
//!   batch ─► messages that fit into a frame ─► plug-in ─► outcome of each event
//!              ▲                                             │ delivered, refused: settled
//!              └── the channel offers the batch again ◄──────┘ retry
//! ```
//!
//! If a plug-in delivers some events of a batch only, the sink remembers them under the identity of
//! the batch. The next attempt sends the others. An agent that was killed has forgotten this, so a
//! plug-in that must not repeat an event recognises it by the identity of the batch and its index.
//!
//! A plug-in may leave events of a request untried. They are sent immediately, and later requests
//! have as many events as the plug-in has settled, so that few are sent in vain.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use pipeline::deliver::{Deliver, Delivered, Options, Requests};
use pipeline::{Batch, BuildContext, BuildError, Component, Guarantee, Identity, Sink};
use schemars::JsonSchema;
use serde::Deserialize;
use support::mutant;

use crate::answers::{self, Fate};
use crate::config::Shared;
use crate::error::{Fault, PluginError};
use crate::events::{Messages, messages};
use crate::plugin::Plugin;
use crate::running::Role;
use crate::v1;
use crate::v1::from_agent::Message;

/// Batches in progress that are remembered: more than a sink has in flight.
const PARTLY_MAX: usize = 64;

/// Settings of the `process` sink.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(rename = "..")]
    #[schemars(flatten)]
    shared: Shared,
}

impl Component for Config {
    const KIND: &'static str = "process";
    const LETTERS: &[&str] = &["refused", "too_large"];
    const EXAMPLE: &str = r#"command = ["true"]"#;
    type Role = dyn Sink;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Sink>, BuildError> {
        let plugin = Plugin::new(self.shared.options(Role::Sink, cx)?);
        // The plug-in limits the time of each request, and gets one at a time.
        let options = Options { in_flight_max: 1, in_order: true, timeout: Duration::MAX };
        Ok(Box::new(Requests::new(Process::new(plugin), options)))
    }
}

struct Process {
    plugin: Plugin,
    /// Batches with settled and unsettled events, the oldest first.
    partly: Mutex<VecDeque<(Identity, Vec<Fate>)>>,
    /// Limit of events in a request: about as many as the plug-in settles in one answer.
    events_max: AtomicUsize,
}

impl Process {
    fn new(plugin: Plugin) -> Self {
        Self { plugin, partly: Mutex::default(), events_max: AtomicUsize::new(usize::MAX) }
    }

    fn partly(&self) -> MutexGuard<'_, VecDeque<(Identity, Vec<Fate>)>> {
        // Each change is complete.
        self.partly.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the known outcome of each event of a batch.
    fn recall(&self, batch: &Batch) -> Vec<Fate> {
        let known = batch.envelope.identity.and_then(|identity| {
            let partly = self.partly();
            let known = partly.iter().find(|(known, _)| *known == identity);
            known.map(|(_, fates)| fates.clone())
        });
        let is_usable = |fates: &Vec<Fate>| {
            fates.len() == batch.len() && !mutant!("plugin_delivered_forgotten")
        };
        let mut fates = known.filter(is_usable).unwrap_or_else(|| vec![Fate::Untried; batch.len()]);
        fates.iter_mut().filter(|fate| is_open(fate)).for_each(|fate| *fate = Fate::Untried);
        fates
    }

    /// Returns the index of the last event of the next request; `None` if all were tried.
    fn last_of_request(&self, fates: &[Fate]) -> Option<usize> {
        let untried = (0..).zip(fates).filter(|(_, fate)| **fate == Fate::Untried);
        untried.take(self.events_max.load(Ordering::Relaxed)).last().map(|(index, _)| index)
    }

    /// Fits the limit of the next requests to an answer.
    fn adapt(&self, answer: &[(usize, Fate)]) {
        let untried = answer.iter().filter(|(_, fate)| *fate == Fate::Untried).count();
        let limit = self.events_max.load(Ordering::Relaxed);
        let next = match untried {
            0 => limit.saturating_mul(2),
            _ => answer.len() - untried,
        };
        self.events_max.store(next, Ordering::Relaxed);
    }

    /// Remembers the outcomes, or forgets them if the batch is settled.
    fn remember(&self, batch: &Batch, fates: &[Fate]) {
        let Some(identity) = batch.envelope.identity else { return };
        let mut partly = self.partly();
        partly.retain(|(known, _)| *known != identity);
        let open = fates.iter().filter(|fate| is_open(fate)).count();
        if open > 0 && open < fates.len() {
            partly.push_back((identity, fates.to_vec()));
            if partly.len() > PARTLY_MAX {
                partly.pop_front();
            }
        }
    }
}

fn is_open(fate: &Fate) -> bool {
    matches!(fate, Fate::Open(..) | Fate::Untried)
}

/// Returns the result of a batch, or the reason of the first event that is open.
fn settle(fates: &[Fate], too_large: &[usize], frame_max: usize) -> Result<Delivered, Fault> {
    let open = fates.iter().find_map(|fate| match fate {
        Fate::Open(reason, after) => Some((reason.clone(), *after)),
        Fate::Untried => Some((String::new(), None)),
        Fate::Delivered | Fate::Refused(_) => None,
    });
    if let Some((reason, after)) = open {
        let events = fates.iter().filter(|fate| is_open(fate)).count();
        return Err(Fault::Retry { events, reason, after });
    }
    let mut refused = (0..).zip(fates).filter_map(|(index, fate)| match fate {
        Fate::Refused(reason) => Some((index, reason)),
        Fate::Open(..) | Fate::Untried | Fate::Delivered => None,
    });
    let Some((first, detail)) = refused.next() else { return Ok(Delivered::All) };
    let mut events = vec![first];
    events.extend(refused.map(|(index, _)| index));
    if events == too_large {
        let detail =
            format!("the event does not fit into a frame of {frame_max} bytes; raise `frame_max`");
        return Ok(Delivered::Except { events, reason: "too_large", detail });
    }
    Ok(Delivered::Except { events, reason: "refused", detail: detail.clone() })
}

#[async_trait]
impl Deliver for Process {
    type Error = PluginError;

    async fn open(&self) -> Result<(), PluginError> {
        self.plugin.open().await
    }

    async fn probe(&self) -> Result<Option<String>, PluginError> {
        self.plugin.open().await?;
        self.plugin.close().await;
        Ok(Some(format!("plug-in `{}` is ready", self.plugin.options().shown)))
    }

    async fn deliver(&self, batch: &Batch) -> Result<Delivered, PluginError> {
        let frame_max = self.plugin.options().frame_max;
        let mut fates = self.recall(batch);
        let mut too_large = Vec::new();
        let identity = batch.envelope.identity.map(|it| it.to_string()).unwrap_or_default();
        'requests: while let Some(last) = self.last_of_request(&fates) {
            let is_wanted = |index: usize| index <= last && fates[index] == Fate::Untried;
            let Messages { fit, too_large: more } = messages(batch, frame_max, is_wanted);
            for index in &more {
                fates[*index] = Fate::Refused(
                    "the event does not fit into a frame; raise `frame_max`".to_owned(),
                );
            }
            too_large.extend(more);
            for message in fit {
                let indices = answers::indices(&message);
                let identity = identity.clone();
                let request = |number| Message::Batch(v1::Batch { number, identity, ..message });
                let check = |answer, number| answers::fates(answer, number, &indices);
                let answer = self.plugin.call(request, check).await?;
                self.adapt(&answer);
                for (index, fate) in answer {
                    fates[index] = fate;
                }
                self.remember(batch, &fates);
                let has = |is_it: fn(&Fate) -> bool| {
                    indices.iter().any(|index| is_it(&fates[*index as usize]))
                };
                if has(|fate| matches!(fate, Fate::Open(..))) {
                    break 'requests;
                }
                if has(|fate| *fate == Fate::Untried) {
                    break;
                }
            }
        }
        settle(&fates, &too_large, frame_max).map_err(|fault| self.plugin.error(fault))
    }

    async fn close(&self) {
        self.plugin.close().await;
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_refused_with_their_reason() {
        let refused = |reason: &str| Fate::Refused(reason.to_owned());
        let fates = [Fate::Delivered, refused("bad"), refused("worse")];
        let (events, detail) = (vec![1, 2], "bad".to_owned());
        let expected = Delivered::Except { events, reason: "refused", detail };
        assert_eq!(settle(&fates, &[], 9).unwrap(), expected);
        let Ok(Delivered::Except { events, reason, .. }) = settle(&fates[..2], &[1], 9) else {
            panic!("an event is too large");
        };
        assert_eq!((events, reason), (vec![1], "too_large"));
        assert_eq!(settle(&fates[..1], &[], 9).unwrap(), Delivered::All);
    }
}
