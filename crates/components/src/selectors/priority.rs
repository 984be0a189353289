//! `priority`: each batch goes to the first of the source's required channels that can take it.
//!
//! The order of the source's `channels` is the order of preference. The choice depends on the
//! channels' fill level, so this selector is only for sources that do not resend (ADR 40). Optional
//! channels get every event.

use pipeline::{BuildContext, BuildError, ChannelSelector, Component};
use schemars::JsonSchema;
use serde::Deserialize;

use super::free::{OneOf, Order};

/// Settings of the `priority` selector: none of its own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels of the source, required ones first. Set by the agent.
    channels: Vec<String>,
}

impl Component for Config {
    const KIND: &'static str = "priority";
    type Role = dyn ChannelSelector;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn ChannelSelector>, BuildError> {
        const INSTEAD: &str = "use one channel with more `capacity` or of type `spill`, and for \
                               several sinks the processor `failover`";
        Ok(Box::new(OneOf::new(Order::AsNamed, self.channels.len(), ("type", INSTEAD), cx)))
    }
}

#[cfg(test)]
mod tests {
    use pipeline::testkit::build;
    use pipeline::{Batch, Events, Extensions, RequiredChannels};
    use serde_json::json;

    use super::*;

    #[test]
    fn tries_required_channels_in_order_and_sends_all_to_optional_ones() {
        let mut cx = BuildContext::alone("selector", std::path::Path::new("unused"), env::real());
        cx.extensions = Extensions::default().with(RequiredChannels(Some(2)));
        let selector = build::<Config>(&json!({ "channels": ["b", "a", "look"] }), &cx).unwrap();
        let choice = selector.free_choice().unwrap();
        assert_eq!((choice.order(), choice.order()), (vec![0, 1], vec![0, 1]));
        let batch = Batch::of(["one", "two"]);
        let parts = selector.select(&batch.events);
        assert_eq!(parts.iter().flatten().map(Events::len).collect::<Vec<_>>(), [2, 2, 2]);
        assert!(!selector.splits());
        let rule = selector.routing_rule(&["x", "y", "z"].map(|name| vec![name.to_owned()]));
        assert_eq!(rule, "each batch by priority into one of: x, y");
    }
}
