//! Conditions on an event, as settings write them: its body or a header has a value, matches a
//! pattern, is a number in a range, or is there at all. Pure.
//!
//! They are what `filter`, `route`, `sample` and `mask` share. Each takes time linear in the text
//! and no memory, so that no configuration can stall an agent.

use pipeline::{BuildError, EventRef};
use regex::bytes::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One condition.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Condition {
    /// The header that is looked at. The body unless set.
    #[serde(default)]
    header: Option<String>,
    /// Values of which it has one. Any value, unless set.
    #[serde(default)]
    one_of: Option<Vec<String>>,
    /// Pattern that is found in it.
    #[serde(default)]
    matches: Option<String>,
    /// It is a number, and not below this one.
    #[serde(default)]
    at_least: Option<f64>,
    /// It is a number, and below this one.
    #[serde(default)]
    below: Option<f64>,
    /// Whether the condition holds where it would not, and the other way round.
    #[serde(default)]
    not: bool,
}

/// A condition with its pattern compiled.
pub(super) struct Compiled {
    header: Option<String>,
    one_of: Option<Vec<String>>,
    matches: Option<Regex>,
    at_least: Option<f64>,
    below: Option<f64>,
    not: bool,
}

impl Condition {
    /// Compiles its pattern; `setting` is where it stands.
    pub(super) fn compile(&self, setting: &str) -> Result<Compiled, BuildError> {
        if let Some(header) = &self.header {
            super::check_name(setting, header)?;
        } else if self.one_of.is_none() && self.matches.is_none() && !self.is_number() {
            let problem = "a condition without `header` says what of the body, such as `matches`";
            return Err(BuildError::invalid(setting, problem));
        }
        let matches = self.matches.as_deref().map(|text| super::pattern(setting, text));
        Ok(Compiled {
            header: self.header.clone(),
            one_of: self.one_of.clone(),
            matches: matches.transpose()?,
            at_least: self.at_least,
            below: self.below,
            not: self.not,
        })
    }

    fn is_number(&self) -> bool {
        self.at_least.is_some() || self.below.is_some()
    }
}

/// Compiles conditions.
pub(super) fn compile(setting: &str, all: &[Condition]) -> Result<Vec<Compiled>, BuildError> {
    all.iter().map(|condition| condition.compile(setting)).collect()
}

impl Compiled {
    /// Whether it holds. An event that lacks the header has no value and matches nothing.
    pub(super) fn holds(&self, event: EventRef<'_>) -> bool {
        let text = match &self.header {
            Some(name) => event.header(name).map(str::as_bytes),
            None => Some(event.body()),
        };
        let has_value = |text: &[u8]| {
            let is_one = |values: &Vec<String>| values.iter().any(|one| one.as_bytes() == text);
            self.one_of.as_ref().is_none_or(is_one)
                && self.matches.as_ref().is_none_or(|pattern| pattern.is_match(text))
                && self.is_in_range(text)
        };
        text.is_some_and(has_value) != self.not
    }

    fn is_in_range(&self, text: &[u8]) -> bool {
        if self.at_least.is_none() && self.below.is_none() {
            return true;
        }
        let number =
            std::str::from_utf8(text).ok().and_then(|text| text.trim().parse::<f64>().ok());
        number.is_some_and(|number| {
            self.at_least.is_none_or(|least| number >= least)
                && self.below.is_none_or(|limit| number < limit)
        })
    }
}

/// Whether all of them hold; so they do where there is none.
pub(super) fn all(conditions: &[Compiled], event: EventRef<'_>) -> bool {
    conditions.iter().all(|condition| condition.holds(event))
}

#[cfg(test)]
mod tests {
    use pipeline::{Batch, Existing};
    use serde_json::{Value, json};

    use super::*;

    fn condition(settings: Value) -> Result<Compiled, BuildError> {
        serde_json::from_value::<Condition>(settings).unwrap().compile("when")
    }

    #[test]
    fn a_condition_looks_at_the_body_or_a_header() {
        let mut batch = Batch::of(["an ERROR"]);
        batch.set_header("app", "shop", Existing::Keep);
        batch.set_header("status", "502", Existing::Keep);
        let event = batch.iter().next().unwrap();
        for (settings, holds) in [
            (json!({ "matches": "ERR" }), true),
            (json!({ "matches": "^ERR" }), false),
            (json!({ "matches": "^ERR", "not": true }), true),
            (json!({ "one_of": ["x", "an ERROR"] }), true),
            (json!({ "header": "app" }), true),
            (json!({ "header": "none" }), false),
            (json!({ "header": "none", "not": true }), true),
            (json!({ "header": "app", "one_of": ["cart", "shop"] }), true),
            (json!({ "header": "app", "one_of": ["cart"] }), false),
            (json!({ "header": "app", "one_of": ["shop"], "matches": "^x" }), false),
            (json!({ "header": "none", "matches": "" }), false),
            (json!({ "header": "status", "at_least": 500, "below": 600 }), true),
            (json!({ "header": "status", "at_least": 502.5 }), false),
            (json!({ "header": "status", "below": 502 }), false),
            (json!({ "header": "app", "below": 1e9 }), false),
            (json!({ "at_least": 0, "not": true }), true),
        ] {
            assert_eq!(condition(settings.clone()).unwrap().holds(event), holds, "{settings}");
        }
    }

    #[test]
    fn a_condition_that_says_nothing_is_refused() {
        for settings in [json!({}), json!({ "header": "" }), json!({ "matches": "(" })] {
            assert!(condition(settings.clone()).is_err(), "{settings}");
        }
    }
}
