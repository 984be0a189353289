//! `discard`: accepts and drops all events. Use it to measure the pipeline before it.

use pipeline::sink::{Observer, ObserverSink};
use pipeline::{Batch, BuildContext, BuildError, Component, Sink};
use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of the `discard` sink: none.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {}

impl Component for Config {
    const KIND: &'static str = "discard";
    type Role = dyn Sink;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Sink>, BuildError> {
        Ok(Box::new(ObserverSink::new(Blind)))
    }
}

struct Blind;

impl Observer for Blind {
    fn observe(&mut self, _batch: &Batch) {}
}

#[cfg(test)]
mod tests {
    use pipeline::testkit::build;
    use pipeline::{IntervalSet, Outcome, Taken};
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn every_batch_is_delivered_at_once() {
        let cx = BuildContext::alone("null", std::path::Path::new("unused"), env::real());
        let mut sink = build::<Config>(&json!({}), &cx).unwrap();
        for ticket in 4..7 {
            sink.write(Taken { ticket, batch: Batch::of(["x"]) }).await.unwrap();
        }
        let settlement = sink.settled().await;
        assert_eq!(settlement.tickets, IntervalSet::from(4..7));
        assert!(matches!(settlement.outcome, Outcome::Delivered));
    }
}
