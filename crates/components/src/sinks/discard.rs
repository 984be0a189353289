//! `discard`: everything is delivered to nowhere. For measuring what comes before it.

use async_trait::async_trait;
use pipeline::sink::Immediate;
use pipeline::{
    BuildContext, BuildError, Component, Guarantee, Settlement, Sink, SinkError, Taken,
};
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
        Ok(Box::new(Discard::default()))
    }
}

#[derive(Default)]
struct Discard {
    done: Immediate,
}

#[async_trait]
impl Sink for Discard {
    async fn write(&mut self, taken: Taken) -> Result<(), SinkError> {
        self.done.delivered(taken.ticket);
        Ok(())
    }

    async fn settled(&mut self) -> Settlement {
        self.done.settled().await
    }

    fn flush(&mut self) {}

    async fn close(&mut self) {
        self.done = Immediate::default();
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::BestEffort
    }
}

#[cfg(test)]
mod tests {
    use pipeline::testkit::{build, context};
    use pipeline::{Batch, IntervalSet, Outcome};
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn every_batch_is_delivered_at_once() {
        let cx = context("null", std::path::Path::new("unused"), env::real());
        let mut sink = build::<Config>(&json!({}), &cx).unwrap();
        for ticket in 4..7 {
            sink.write(Taken { ticket, batch: Batch::of(["x"]) }).await.unwrap();
        }
        let settlement = sink.settled().await;
        assert_eq!(settlement.tickets, IntervalSet::from(4..7));
        assert!(matches!(settlement.outcome, Outcome::Delivered));
    }
}
