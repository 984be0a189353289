//! `static`: adds fixed headers to each event, such as the data centre or the application.

use std::collections::BTreeMap;

use pipeline::{BuildContext, BuildError, Component, Events, Existing, Interceptor, Rejects};
use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of the `static` interceptor: one `key` with its `value`, a table of `headers`, or both.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Names and values of the headers.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Name of the header, if there is only one.
    #[serde(default)]
    key: Option<String>,
    /// Value of the header.
    #[serde(default)]
    value: Option<String>,
    /// Whether an event keeps an existing header.
    #[serde(default = "pipeline::units::yes")]
    preserve_existing: bool,
}

impl Component for Config {
    const KIND: &'static str = "static";
    type Role = dyn Interceptor;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Interceptor>, BuildError> {
        let mut headers = self.headers;
        match (self.key, self.value) {
            (Some(key), Some(value)) => {
                if headers.insert(key.clone(), value).is_some() {
                    let problem = format!("`{key}` is also in `headers`: remove one of the two");
                    return Err(BuildError::invalid("key", problem));
                }
            }
            (Some(_), None) => {
                return Err(BuildError::invalid(
                    "key",
                    "has an effect only with `value`; set `value`, or remove this",
                ));
            }
            (None, Some(_)) => {
                return Err(BuildError::invalid(
                    "value",
                    "has an effect only with `key`; set `key`, or remove this",
                ));
            }
            (None, None) => {}
        }
        if headers.is_empty() {
            let problem = "must name at least one header; write for example headers = { site = \
                           \"fra\" }";
            return Err(BuildError::invalid("headers", problem));
        }
        for name in headers.keys() {
            super::check_name("headers", name)?;
        }
        Ok(Box::new(Static { headers, existing: super::existing(self.preserve_existing) }))
    }
}

struct Static {
    headers: BTreeMap<String, String>,
    existing: Existing,
}

impl Interceptor for Static {
    fn intercept(&self, events: &mut Events, _rejects: &mut Rejects) {
        for (name, value) in &self.headers {
            events.set_header(name, value, self.existing);
        }
    }

    fn routing_effect(&self, header: Option<&str>) -> Option<String> {
        let value = self.headers.get(header?)?;
        Some(super::writes(value, self.existing))
    }
}

#[cfg(test)]
mod tests {
    use pipeline::Batch;
    use pipeline::testkit::build;
    use serde_json::{Value, json};

    use super::*;

    fn built(settings: &Value) -> Result<Box<dyn Interceptor>, pipeline::SettingsError> {
        let cx = BuildContext::alone("static", std::path::Path::new("unused"), env::real());
        build::<Config>(settings, &cx)
    }

    #[test]
    fn events_get_each_header_and_keep_their_own_unless_told_otherwise() {
        for (preserve, expected) in [(true, "own"), (false, "fra")] {
            let settings = json!({
                "headers": { "site": "fra" }, "key": "app", "value": "shop",
                "preserve_existing": preserve,
            });
            let mut batch = Batch::of(["a"]);
            batch.set_header("site", "own", Existing::Replace);
            built(&settings).unwrap().intercept(&mut batch, &mut Rejects::default());
            assert_eq!(batch.shared_header("site"), Some(expected));
            assert_eq!(batch.shared_header("app"), Some("shop"));
        }
    }

    #[test]
    fn half_a_header_is_refused_by_name() {
        for (settings, path) in [
            (json!({}), "headers"),
            (json!({ "key": "a" }), "key"),
            (json!({ "value": "a" }), "value"),
            (json!({ "headers": { "": "x" } }), "headers"),
            (json!({ "headers": { "a": "x" }, "key": "a", "value": "y" }), "key"),
        ] {
            assert_eq!(built(&settings).err().unwrap().path, path, "{settings}");
        }
    }
}
