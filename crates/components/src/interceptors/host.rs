//! `host`: adds the name of the agent's host to each event.

use std::sync::Arc;

use pipeline::{BuildContext, BuildError, Component, Events, Existing, Interceptor, Rejects};
use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of the `host` interceptor.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Header for the host name of the agent.
    #[serde(default = "default_header")]
    header: String,
    /// Whether an event keeps an existing header, so that it names the first host after a second
    /// hop.
    #[serde(default = "pipeline::units::yes")]
    preserve_existing: bool,
}

fn default_header() -> String {
    "host".to_owned()
}

impl Component for Config {
    const KIND: &'static str = "host";
    type Role = dyn Interceptor;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Interceptor>, BuildError> {
        let existing = super::existing(self.preserve_existing);
        super::check_name("header", &self.header)?;
        Ok(Box::new(Host { header: self.header, existing, host: cx.env.host.clone() }))
    }
}

struct Host {
    header: String,
    existing: Existing,
    host: Arc<str>,
}

impl Interceptor for Host {
    fn intercept(&self, events: &mut Events, _rejects: &mut Rejects) {
        events.set_header(&self.header, &self.host, self.existing);
    }

    fn routing_effect(&self, header: Option<&str>) -> Option<String> {
        (header == Some(&*self.header)).then(|| super::writes(&self.host, self.existing))
    }
}

#[cfg(test)]
mod tests {
    use pipeline::Batch;
    use pipeline::testkit::build;
    use serde_json::json;

    use super::*;

    #[test]
    fn events_name_their_first_host_unless_told_otherwise() {
        let mut env = env::real();
        env.host = Arc::from("web-7");
        let cx = BuildContext::alone("host", std::path::Path::new("unused"), env);
        for (preserve, had, expected) in
            [(true, None, "web-7"), (true, Some("web-1"), "web-1"), (false, Some("web-1"), "web-7")]
        {
            let host =
                build::<Config>(&json!({ "header": "from", "preserve_existing": preserve }), &cx);
            let mut batch = Batch::of(["a"]);
            if let Some(had) = had {
                batch.set_header("from", had, Existing::Replace);
            }
            host.unwrap().intercept(&mut batch, &mut Rejects::default());
            assert_eq!(batch.shared_header("from"), Some(expected));
        }
    }
}
