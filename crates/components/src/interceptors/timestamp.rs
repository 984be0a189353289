//! `timestamp`: adds the time of reading to each event, for paths such as `%Y-%m-%d`.
//!
//! The clock is read once per batch, so all events share one header value.

use std::sync::Arc;

use pipeline::env::{Clock, unix_millis};
use pipeline::{BuildContext, BuildError, Component, Events, Existing, Interceptor, Rejects};
use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of the `timestamp` interceptor.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Header for the time in milliseconds since 1970, as decimal text.
    #[serde(default = "default_header")]
    header: String,
    /// Whether an event keeps an existing header. Otherwise a resent event gets a new time.
    #[serde(default = "pipeline::units::yes")]
    preserve_existing: bool,
}

fn default_header() -> String {
    "timestamp".to_owned()
}

impl Component for Config {
    const KIND: &'static str = "timestamp";
    type Role = dyn Interceptor;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Interceptor>, BuildError> {
        let existing = super::existing(self.preserve_existing);
        super::check_name("header", &self.header)?;
        Ok(Box::new(Timestamp { header: self.header, existing, clock: cx.env.clock.clone() }))
    }
}

struct Timestamp {
    header: String,
    existing: Existing,
    clock: Arc<dyn Clock>,
}

impl Interceptor for Timestamp {
    fn intercept(&self, events: &mut Events, _rejects: &mut Rejects) {
        let now = unix_millis(self.clock.now()).to_string();
        events.set_header(&self.header, &now, self.existing);
    }

    fn routing_effect(&self, header: Option<&str>) -> Option<String> {
        (header == Some(&*self.header)).then(|| super::writes("the moment", self.existing))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use pipeline::Batch;
    use pipeline::testkit::build;
    use serde_json::json;

    use super::*;

    struct At(u64);

    impl Clock for At {
        fn now(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH + Duration::from_millis(self.0)
        }
    }

    fn stamped(settings: &serde_json::Value, batch: &mut Batch) {
        let mut env = env::real();
        env.clock = Arc::new(At(1_700_000_000_123));
        let cx = BuildContext::alone("stamp", std::path::Path::new("unused"), env);
        build::<Config>(settings, &cx).unwrap().intercept(batch, &mut Rejects::default());
    }

    #[test]
    fn events_get_the_milliseconds_of_the_moment() {
        let mut batch = Batch::of(["a", "b"]);
        stamped(&json!({}), &mut batch);
        assert_eq!(batch.shared_header("timestamp"), Some("1700000000123"));
        assert!(batch.is_uniform());
    }

    #[test]
    fn an_event_keeps_its_moment_unless_told_otherwise() {
        for (preserve, expected) in [(true, "5"), (false, "1700000000123")] {
            let mut batch = Batch::of(["a"]);
            batch.set_header("at", "5", Existing::Replace);
            stamped(&json!({ "header": "at", "preserve_existing": preserve }), &mut batch);
            assert_eq!(batch.shared_header("at"), Some(expected));
        }
    }

    #[test]
    fn a_header_without_a_name_is_refused() {
        let cx = BuildContext::alone("stamp", std::path::Path::new("unused"), env::real());
        let error = build::<Config>(&json!({ "header": "" }), &cx).err().unwrap();
        assert_eq!(error.path, "header");
    }
}
