//! `search_replace`: replaces every match of a pattern in event bodies.
//!
//! The pattern works on bytes: a body need not be UTF-8. In the replacement, `$1` and `${name}`
//! refer to groups, and `$$` is a dollar. In a configuration file, write `$${name}` for `${name}`.
//! A body without a match is not copied.

use std::borrow::Cow;

use metrics::{Counter, MetricSpec};
use pipeline::{BuildContext, BuildError, Component, Events, Interceptor, Rejects};
use regex::bytes::Regex;
use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of the `search_replace` interceptor.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Pattern to replace, anywhere in the body.
    search: String,
    /// Replacement; `$1` is the first group, `$${name}` a named group. Default: empty, so that
    /// matches are deleted.
    #[serde(default)]
    replace: Option<String>,
}

impl Component for Config {
    const KIND: &'static str = "search_replace";
    const METRICS: &'static [MetricSpec] =
        &[MetricSpec::counter("changed_events", "Events with a replacement in their body.")];
    type Role = dyn Interceptor;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Interceptor>, BuildError> {
        let search = super::pattern("search", &self.search)?;
        let replace = self.replace.unwrap_or_default();
        if let Some(group) = missing_group(&search, &replace) {
            let problem = format!("`search` has no group `{group}`; write `$$` for a dollar sign");
            return Err(BuildError::invalid("replace", problem));
        }
        let changed = cx.scope::<Self>().counter("changed_events")?;
        Ok(Box::new(SearchReplace { search, replace: replace.into_bytes(), changed }))
    }
}

/// Returns a group in the replacement that the pattern lacks. The library would replace it by
/// nothing, and `$1x` means the group `1x`.
fn missing_group(search: &Regex, replace: &str) -> Option<String> {
    let mut rest = replace;
    while let Some((_, behind)) = rest.split_once('$') {
        if let Some(behind) = behind.strip_prefix('$') {
            rest = behind;
            continue;
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let name = match behind.strip_prefix('{') {
            Some(braced) => braced.split_once('}').map_or("", |(name, _)| name),
            None => &behind[..behind.find(|c| !is_name(c)).unwrap_or(behind.len())],
        };
        let known = match name.parse::<usize>() {
            Ok(number) => number < search.captures_len(),
            Err(_) => search.capture_names().flatten().any(|known| known == name),
        };
        // A dollar without a name is literal.
        if !name.is_empty() && !known {
            return Some(name.to_owned());
        }
        rest = behind;
    }
    None
}

struct SearchReplace {
    search: Regex,
    replace: Vec<u8>,
    changed: Counter,
}

impl Interceptor for SearchReplace {
    fn intercept(&self, events: &mut Events, _rejects: &mut Rejects) {
        let mut changed = 0;
        events.map_bodies(|event| {
            let body = self.search.replace_all(event.body(), &*self.replace);
            changed += u64::from(matches!(body, Cow::Owned(_)));
            body
        });
        self.changed.inc_by(changed);
    }

    /// It writes no header.
    fn routing_effect(&self, _header: Option<&str>) -> Option<String> {
        None
    }

    fn body_effect(&self) -> Option<String> {
        let replace = String::from_utf8_lossy(&self.replace);
        Some(format!("bodies with {replace:?} for {:?}", self.search.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use pipeline::Batch;
    use pipeline::testkit::build;
    use serde_json::{Value, json};

    use super::*;

    fn rewriter(settings: &Value) -> Result<Box<dyn Interceptor>, pipeline::SettingsError> {
        let cx = BuildContext::alone("rewrite", std::path::Path::new("unused"), env::real());
        build::<Config>(settings, &cx)
    }

    fn rewritten(settings: &Value, body: &[u8]) -> Vec<u8> {
        let mut batch = Batch::of([body]);
        rewriter(settings).unwrap().intercept(&mut batch, &mut Rejects::default());
        batch.iter().next().unwrap().body().to_vec()
    }

    #[test]
    fn every_match_is_replaced_with_groups_filled_in() {
        for (search, replace, body, expected) in [
            ("\\d+", "#", "a1b22", "a#b#"),
            ("(\\w+)@(\\w+)", "${2} at $1", "me@home you@work", "home at me work at you"),
            ("(?P<user>\\w+):\\w+", "${user}:***", "root:secret", "root:***"),
            ("x", "$$1", "axb", "a$1b"),
            ("^\\s+", "", "  lead", "lead"),
            ("nothing", "there", "as it was", "as it was"),
        ] {
            let settings = json!({ "search": search, "replace": replace });
            let read = rewritten(&settings, body.as_bytes());
            assert_eq!(String::from_utf8(read).unwrap(), expected, "{search} -> {replace}");
        }
        assert_eq!(rewritten(&json!({ "search": "b" }), b"\xffb\xfe"), b"\xff\xfe");
    }

    #[test]
    fn events_that_are_changed_are_counted_by_component() {
        let cx = BuildContext::alone("in-1", std::path::Path::new("unused"), env::real());
        let rewriter = build::<Config>(&json!({ "search": "a" }), &cx).unwrap();
        rewriter.intercept(&mut Batch::of(["aaa", "b", "ab"]), &mut Rejects::default());
        let line = "aqueduct_search_replace_changed_events_total{component=\"in-1\"} 2\n";
        assert!(cx.metrics.text().contains(line), "{}", cx.metrics.text());
    }

    #[test]
    fn a_group_that_the_pattern_lacks_is_refused() {
        for replace in ["$2", "$1x", "${name}"] {
            let error = rewriter(&json!({ "search": "(a)", "replace": replace })).err().unwrap();
            assert_eq!(error.path, "replace", "{error}");
        }
        for replace in ["$1", "${1}x", "$$2", "100 $", "$ 5"] {
            assert!(rewriter(&json!({ "search": "(a)", "replace": replace })).is_ok(), "{replace}");
        }
    }
}
