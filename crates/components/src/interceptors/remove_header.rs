//! `remove_header`: removes headers, by their names or by a pattern for names.
//!
//! A pattern must match the whole name, as in Flume.

use metrics::{Counter, MetricSpec};
use pipeline::{BuildContext, BuildError, Component, Events, Interceptor, Rejects};
use regex::Regex;
use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of the `remove_header` interceptor: `names`, a pattern, or both.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Names of the headers to remove.
    #[serde(default)]
    names: Vec<String>,
    /// Pattern of names to remove; it matches the whole name.
    #[serde(default)]
    matching: Option<String>,
}

impl Component for Config {
    const KIND: &'static str = "remove_header";
    const METRICS: &'static [MetricSpec] =
        &[MetricSpec::counter("changed_batches", "Batches in which a header was removed.")];
    type Role = dyn Interceptor;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Interceptor>, BuildError> {
        if self.names.is_empty() && self.matching.is_none() {
            let problem = "must name at least one header; write for example names = [\"password\"]";
            return Err(BuildError::invalid("names", problem));
        }
        for name in &self.names {
            super::check_name("names", name)?;
        }
        let whole = |pattern: String| Regex::new(&format!("^(?:{pattern})$"));
        let matching = self.matching.map(whole).transpose();
        let matching = matching.map_err(|error| BuildError::invalid("matching", error))?;
        let changed = cx.scope::<Self>().counter("changed_batches")?;
        Ok(Box::new(RemoveHeader { names: self.names, matching, changed }))
    }
}

struct RemoveHeader {
    names: Vec<String>,
    matching: Option<Regex>,
    changed: Counter,
}

impl RemoveHeader {
    fn removes(&self, name: &str) -> bool {
        let matches = |pattern: &Regex| pattern.is_match(name);
        self.names.iter().any(|known| known == name) || self.matching.as_ref().is_some_and(matches)
    }
}

impl Interceptor for RemoveHeader {
    fn intercept(&self, batch: &mut Events, _rejects: &mut Rejects) {
        let removed = batch.header_names().filter(|name| self.removes(name));
        let removed: Vec<String> = removed.map(str::to_owned).collect();
        removed.iter().for_each(|name| batch.remove_header(name));
        self.changed.inc_by(u64::from(!removed.is_empty()));
    }

    fn routing_effect(&self, header: Option<&str>) -> Option<String> {
        self.removes(header?).then(|| "nothing".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use pipeline::Batch;
    use pipeline::Existing;
    use serde_json::json;

    use super::super::testing::{refused, through};
    use super::*;

    #[test]
    fn headers_go_by_name_list_pattern_or_all() {
        for (settings, left) in [
            (json!({ "names": ["a1"] }), "a2 ab b1"),
            (json!({ "names": ["a1", "b1", "none"] }), "a2 ab"),
            (json!({ "matching": "a[0-9]" }), "ab b1"),
            (json!({ "matching": "a" }), "a1 a2 ab b1"),
            (json!({ "matching": "a1|b1" }), "a2 ab"),
            (json!({ "matching": ".*" }), ""),
            (json!({ "names": ["b1"], "matching": "a." }), ""),
        ] {
            let mut batch = Batch::of(["x", "y"]);
            batch.set_column("b1", [Some("own"), None].into_iter());
            for name in ["a1", "a2", "ab"] {
                batch.set_header(name, "shared", Existing::Keep);
            }
            let batch = through::<Config>(&settings, batch);
            let mut names: Vec<&str> = batch.header_names().collect();
            names.sort_unstable();
            assert_eq!(names.join(" "), left, "{settings}");
        }
    }

    #[test]
    fn nothing_to_remove_and_a_wrong_pattern_are_refused() {
        assert_eq!(refused::<Config>(&json!({})), "names");
        assert_eq!(refused::<Config>(&json!({ "names": [""] })), "names");
        assert_eq!(refused::<Config>(&json!({ "matching": "a(" })), "matching");
    }
}
