//! `level`: reads the level of a log line, such as `ERROR`, into a header.
//!
//! The level is the first word of the body that is one. Work is done for a batch: one column of
//! values is written, and no event is copied.

use metrics::{Counter, MetricSpec};
use pipeline::{BuildContext, BuildError, Component, EventRef, Events, Interceptor, Rejects};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The levels that are looked for, each as it is written in a line.
const LEVELS: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];

/// Settings of the `level` interceptor.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Header that gets the level.
    #[serde(default = "default_header")]
    header: String,
    /// What becomes of an event without a level: `keep` it without the header, or send it to the
    /// `dead_letters`.
    #[serde(default)]
    unknown: Unknown,
}

/// What becomes of an event without a level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Unknown {
    /// It stays, without the header.
    #[default]
    Keep,
    /// It is rejected.
    DeadLetters,
}

fn default_header() -> String {
    "level".to_owned()
}

impl Component for Config {
    const KIND: &'static str = "level";
    const METRICS: &'static [MetricSpec] =
        &[MetricSpec::counter("unknown_events", "Events without a level.")];
    type Role = dyn Interceptor;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Interceptor>, BuildError> {
        if self.header.is_empty() {
            return Err(BuildError::invalid("header", "a header has a name"));
        }
        let without = cx.scope::<Self>().counter("unknown_events")?;
        Ok(Box::new(Level { header: self.header, unknown: self.unknown, without }))
    }
}

struct Level {
    header: String,
    unknown: Unknown,
    without: Counter,
}

/// The level of an event, if its body names one.
fn level(event: EventRef<'_>) -> Option<&'static str> {
    let mut words = event.body().split(|byte| !byte.is_ascii_alphabetic());
    words.find_map(|word| LEVELS.into_iter().find(|level| level.as_bytes() == word))
}

impl Interceptor for Level {
    fn intercept(&self, events: &mut Events, rejects: &mut Rejects) {
        let mut levels: Vec<_> = events.iter().map(level).collect();
        let without = levels.iter().filter(|level| level.is_none()).count();
        self.without.inc_by(without as u64);
        if self.unknown == Unknown::DeadLetters && without > 0 {
            rejects.take(events, "no_level", "the line names no level", |event| {
                level(event).is_none()
            });
            levels.retain(Option::is_some);
        }
        events.set_column(&self.header, levels.into_iter());
    }

    /// What it writes depends on the line, and it does so in the same way on every agent.
    fn routing_effect(&self, header: Option<&str>) -> Option<String> {
        (header? == self.header).then(|| "the level of the line".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use pipeline::testkit::build;
    use pipeline::{Batch, SettingsError};
    use serde_json::{Value, json};

    use super::*;

    const LINES: [&str; 3] = ["12:00 ERROR disk", "no level here", "[INFO] up"];

    fn built(settings: &Value) -> Result<Box<dyn Interceptor>, SettingsError> {
        build::<Config>(settings, &BuildContext::alone("app-0", Path::new("unused"), env::real()))
    }

    #[test]
    fn the_first_word_that_is_a_level_becomes_the_header() {
        let (mut batch, mut rejects) = (Batch::of(LINES), Rejects::default());
        built(&json!({})).unwrap().intercept(&mut batch, &mut rejects);
        assert!(rejects.is_empty());
        let levels: Vec<_> = batch.iter().map(|event| event.header("level")).collect();
        assert_eq!(levels, [Some("ERROR"), None, Some("INFO")]);
    }

    #[test]
    fn a_line_without_a_level_is_rejected_if_that_is_asked_for() {
        let settings = json!({ "header": "severity", "unknown": "dead_letters" });
        let (mut batch, mut rejects) = (Batch::of(LINES), Rejects::default());
        built(&settings).unwrap().intercept(&mut batch, &mut rejects);
        let left: Vec<_> = batch.iter().map(|event| event.header("severity")).collect();
        assert_eq!(left, [Some("ERROR"), Some("INFO")]);
        let rejected: Vec<_> = rejects.into_iter().map(|reject| reject.reason).collect();
        assert_eq!(rejected, ["no_level"]);
    }

    #[test]
    fn an_empty_header_is_refused_with_its_place() {
        assert_eq!(built(&json!({ "header": "" })).err().unwrap().path, "header");
    }
}
