//! `replicating`: every channel of the source gets every event. This is the default.

use pipeline::{BuildContext, BuildError, ChannelSelector, Component, Events};
use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of the `replicating` selector: none of its own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels of the source, required ones first. Set by the agent.
    channels: Vec<String>,
}

impl Component for Config {
    const KIND: &'static str = "replicating";
    type Role = dyn ChannelSelector;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn ChannelSelector>, BuildError> {
        Ok(Box::new(Replicating { channels: self.channels.len() }))
    }
}

struct Replicating {
    channels: usize,
}

impl ChannelSelector for Replicating {
    fn select(&self, events: &Events) -> Vec<Option<Events>> {
        vec![Some(events.clone()); self.channels]
    }

    fn splits(&self) -> bool {
        false
    }

    fn routing_header(&self) -> Option<&str> {
        None
    }

    fn routing_rule(&self, channels: &[Vec<String>]) -> String {
        format!("all into {}", super::behind(channels.iter()))
    }
}

#[cfg(test)]
mod tests {
    use pipeline::Batch;
    use pipeline::testkit::build;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_channel_gets_every_event() {
        let cx = BuildContext::alone("selector", std::path::Path::new("unused"), env::real());
        let selector = build::<Config>(&json!({ "channels": ["a", "b"] }), &cx).unwrap();
        let batch = Batch::of(["x", "y"]);
        assert_eq!(selector.select(&batch), [Some(batch.events.clone()), Some(batch.events)]);
    }
}
