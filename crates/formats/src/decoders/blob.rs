//! `blob`: the whole message is one event, unchanged.

use pipeline::{
    BatchBuilder, BuildContext, BuildError, Component, Decoder, MalformedMessage, Message,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of the `blob` decoder: none.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {}

impl Component for Config {
    const KIND: &'static str = "blob";
    type Role = dyn Decoder;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Decoder>, BuildError> {
        Ok(Box::new(Blob))
    }
}

struct Blob;

impl Decoder for Blob {
    fn decode(
        &self,
        message: &Message<'_>,
        events: &mut BatchBuilder,
    ) -> Result<(), MalformedMessage> {
        events.push(message.bytes, message.headers);
        Ok(())
    }

    fn is_text(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testkit::{decoded, message};

    #[test]
    fn a_message_is_one_event_whatever_it_holds() {
        for bytes in [&b""[..], b"\n\xff\n", b"{}"] {
            let batch = decoded(&json!("blob"), &message(bytes)).unwrap();
            assert_eq!(batch.iter().map(|event| event.body()).collect::<Vec<_>>(), [bytes]);
        }
    }
}
