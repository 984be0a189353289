//! `logger`: writes each event to the agent's own log. Use it to look at incoming events.
//!
//! Headers and the beginning of the body are on one line; bytes other than printable ASCII are
//! escaped, so that an event can neither split a log line nor send control codes to a terminal.

use std::sync::Arc;

use pipeline::sink::{Observer, ObserverSink};
use pipeline::units::ByteSize;
use pipeline::{Batch, BuildContext, BuildError, Component, EventRef, Sink};
use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of the `logger` sink.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Number of bytes of a body that are logged.
    #[serde(default = "pipeline::units::bytes::<256>")]
    body_max: ByteSize,
}

impl Component for Config {
    const KIND: &'static str = "logger";
    type Role = dyn Sink;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Sink>, BuildError> {
        let body_max = usize::try_from(self.body_max.0).unwrap_or(usize::MAX);
        Ok(Box::new(ObserverSink::new(Logger { name: cx.name.clone(), body_max })))
    }
}

struct Logger {
    name: Arc<str>,
    body_max: usize,
}

/// Returns `{file=/a.log host=web-1} GET / HTTP/1.1\r`, cut after `body_max` bytes of the body.
fn shown(event: EventRef<'_>, body_max: usize) -> String {
    let mut text = String::from("{");
    for (name, value) in event.headers() {
        let separator = if text.len() > 1 { " " } else { "" };
        text.push_str(separator);
        text.extend(name.escape_debug());
        text.push('=');
        text.extend(value.escape_debug());
    }
    text.push_str("} ");
    let body = event.body();
    let shown = &body[..body.len().min(body_max)];
    text.extend(shown.escape_ascii().map(char::from));
    if shown.len() < body.len() {
        text.push_str(&format!("… ({} bytes)", body.len()));
    }
    text
}

impl Observer for Logger {
    fn observe(&mut self, batch: &Batch) {
        for event in batch.iter() {
            tracing::info!(sink = %self.name, "{}", shown(event, self.body_max));
        }
    }
}

#[cfg(test)]
mod tests {
    use pipeline::testkit::build;
    use pipeline::{Existing, IntervalSet, Taken};
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_one_line_without_control_codes_and_no_longer_than_allowed() {
        let mut batch = Batch::of([b"caf\xc3\xa9\x1b[31m\n\0".as_slice(), b"0123456789abc"]);
        batch.set_header("file", "/var\n", Existing::Keep);
        let lines: Vec<String> = batch.iter().map(|event| shown(event, 11)).collect();
        assert_eq!(lines[0], r"{file=/var\n} caf\xc3\xa9\x1b[31m\n… (12 bytes)");
        assert_eq!(lines[1], r"{file=/var\n} 0123456789a… (13 bytes)");
    }

    #[tokio::test]
    async fn every_batch_is_delivered_at_once() {
        let cx = BuildContext::alone("log", std::path::Path::new("unused"), env::real());
        let mut sink = build::<Config>(&json!({}), &cx).unwrap();
        sink.write(Taken { ticket: 9, batch: Batch::of(["x"]) }).await.unwrap();
        assert_eq!(sink.settled().await.tickets, IntervalSet::from(9..10));
    }
}
