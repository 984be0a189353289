//! `process`: selects the channels of events in a plug-in.
//!
//! A batch waits for its answer, as in an interceptor. A failure fails the whole batch before any
//! channel gets it, and its source retries.
//!
//! A source that resumes by position passes events again into the channels that lack them. A choice
//! that differs then loses or repeats events, so a selector with an effect is rejected there.

use std::collections::BTreeMap;

use async_trait::async_trait;
use pipeline::{
    BuildContext, BuildError, ChannelSelector, Component, Events, RemoteSelector, SelectorError,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::answers;
use crate::config::Shared;
use crate::error::Fault;
use crate::events::{Messages, messages};
use crate::plugin::Plugin;
use crate::running::Role;
use crate::v1::Batch;
use crate::v1::from_agent::Message;

/// Settings of the `process` selector.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(rename = "..")]
    #[schemars(flatten)]
    shared: Shared,
    /// Whether the plug-in may have another choice for the same event, because it depends on time,
    /// chance or another system. Allowed only in sources that never resend events.
    #[serde(default)]
    effect: bool,
    /// Channels of the source, required ones first. Set by the agent.
    channels: Vec<String>,
}

impl Component for Config {
    const KIND: &'static str = "process";
    const EXAMPLE: &str = r#"command = ["true"]"#;
    type Role = dyn ChannelSelector;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn ChannelSelector>, BuildError> {
        let mut options = self.shared.options(Role::Selector, cx)?;
        options.may_have_effect = self.effect;
        options.channels = self.channels;
        Ok(Box::new(Process { plugin: Plugin::new(options) }))
    }
}

struct Process {
    plugin: Plugin,
}

impl ChannelSelector for Process {
    fn select(&self, _events: &Events) -> Vec<Option<Events>> {
        unreachable!("it is remote")
    }

    fn remote(&self) -> Option<&dyn RemoteSelector> {
        Some(self)
    }

    fn routing_header(&self) -> Option<&str> {
        None
    }

    fn reads_bodies(&self) -> bool {
        true
    }

    fn routing_rule(&self, channels: &[Vec<String>]) -> String {
        format!("by plug-in {} into {channels:?}", self.plugin.options().described)
    }
}

#[async_trait]
impl RemoteSelector for Process {
    async fn select(&self, events: &Events) -> Result<Vec<Option<Events>>, SelectorError> {
        let options = self.plugin.options();
        let Messages { fit, too_large } = messages(events, options.frame_max, |_| true);
        if !too_large.is_empty() {
            return Err(Box::new(self.plugin.error(Fault::TooLarge(options.frame_max))));
        }
        let channels = options.channels.len();
        let mut chosen = BTreeMap::new();
        for batch in fit {
            let indices = answers::indices(&batch);
            let request = |number| Message::Batch(Batch { number, ..batch });
            let wanted = (indices.len(), channels);
            let check = |answer, number| answers::choices(answer, number, wanted);
            let choices = self.plugin.call(request, check).await?;
            chosen.extend(indices.into_iter().map(|index| index as usize).zip(choices));
        }
        let part = |channel: usize| {
            let mut part = events.clone();
            part.retain(|event| chosen.get(&event.index()).is_some_and(|it| it[channel]));
            (!part.is_empty()).then_some(part)
        };
        Ok((0..channels).map(part).collect())
    }

    fn has_effect(&self) -> bool {
        self.plugin.options().may_have_effect
    }
}
