//! `process`: changes, drops, adds or rejects events in a plug-in.
//!
//! A batch waits for its answer: the trait of interceptors is synchronous, so this one implements
//! [`RemoteInterceptor`], which the intake awaits. A failure fails the whole batch before any
//! channel gets it, and its source retries.

use std::collections::BTreeMap;

use async_trait::async_trait;
use kit::plug_in::{Awaited, reason};
use pipeline::{
    BuildContext, BuildError, Component, Events, Interceptor, Rejects, RemoteInterceptor,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::answers;
use crate::config::Shared;
use crate::error::{Fault, PluginError};
use crate::events::{Builder, Messages, messages};
use crate::plugin::Plugin;
use crate::running::Role;
use crate::v1::from_agent::Message;
use crate::v1::{Batch, Result as EventResult};

/// Settings of the `process` interceptor.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(rename = "..")]
    #[schemars(flatten)]
    shared: Shared,
    /// Whether the plug-in may have another result for the same event, because it depends on time,
    /// chance or another system. Allowed only on the first agent of a path, in a source with one
    /// channel.
    #[serde(default)]
    effect: bool,
}

impl Component for Config {
    const KIND: &'static str = "process";
    const LETTERS: &[&str] = &["refused", "too_large"];
    const EXAMPLE: &str = r#"command = ["true"]"#;
    type Role = dyn Interceptor;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Interceptor>, BuildError> {
        let mut options = self.shared.options(Role::Interceptor, cx)?;
        options.may_have_effect = self.effect;
        let described = options.described.clone();
        Ok(Box::new(Awaited::new(Process { plugin: Plugin::new(options) }, described)))
    }
}

struct Process {
    plugin: Plugin,
}

impl Process {
    async fn ask(&self, batch: Batch) -> Result<Vec<EventResult>, PluginError> {
        let indices = answers::indices(&batch);
        self.plugin
            .call(
                |number| Message::Batch(Batch { number, ..batch }),
                |answer, number| answers::results(answer, number, &indices),
            )
            .await
    }
}

#[async_trait]
impl RemoteInterceptor for Process {
    async fn intercept(
        &self,
        events: Events,
        rejects: &mut Rejects,
    ) -> Result<Events, Box<dyn std::error::Error + Send + Sync>> {
        let frame_max = self.plugin.options().frame_max;
        let Messages { fit, too_large } = messages(&events, frame_max, |_| true);
        let frames = fit.len();
        let mut results = BTreeMap::new();
        for batch in fit {
            let answer = self.ask(batch).await?;
            results.extend(answer.into_iter().map(|result| (result.index as usize, result)));
        }
        let is_unchanged = |result: &EventResult| result.unchanged;
        if too_large.is_empty() && results.values().all(is_unchanged) {
            return Ok(events);
        }
        let mut builder = Builder::new(frame_max.saturating_mul(frames.max(1)));
        for event in events.iter() {
            let Some(result) = results.get(&event.index()) else { continue };
            if result.unchanged {
                builder.push_unchanged(event);
            }
            result.events.iter().for_each(|event| builder.push(event));
        }
        let unusable = |fault: Fault| Box::new(self.plugin.error(fault));
        let kept = builder.finish().map_err(unusable)?;
        let (mut rest, mut left) = (events.clone(), events);
        let refused = results.values().find_map(|result| result.refused.as_deref());
        let detail = reason(refused.unwrap_or_default());
        rejects.take(&mut rest, "refused", &detail, |event| {
            results.get(&event.index()).is_some_and(|result| result.refused.is_some())
        });
        let detail =
            format!("the event does not fit into a frame of {frame_max} bytes; raise `frame_max`");
        rejects.take(&mut left, "too_large", &detail, |event| {
            too_large.binary_search(&event.index()).is_ok()
        });
        Ok(kept)
    }

    fn has_effect(&self) -> bool {
        self.plugin.options().may_have_effect
    }
}
