//! Conditions on events in settings: the body or a header has a value, matches a pattern, is a
//! number in a range, or exists; or an expression in a language of the catalogue is true. Pure.
//!
//! `filter`, `route`, `sample` and `mask` share them. Each condition is evaluated once per batch,
//! for the events that are still candidates. A plain condition takes time linear in the text and no
//! memory, so no configuration can stall an agent; an expression language has its own bound.

use pipeline::{BuildContext, BuildError, Choice, Events};
use regex::bytes::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One condition.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Condition {
    /// Header to test. Default: the body.
    #[serde(default)]
    header: Option<String>,
    /// List that must contain the value. Default: any value.
    #[serde(default)]
    one_of: Option<Vec<String>>,
    /// Pattern that must match anywhere in the value.
    #[serde(default)]
    matches: Option<String>,
    /// Lower limit: the value is a number that is greater than or equal to it.
    #[serde(default)]
    at_least: Option<f64>,
    /// Upper limit: the value is a number that is less than it.
    #[serde(default)]
    below: Option<f64>,
    /// Whether the condition is inverted.
    #[serde(default)]
    not: bool,
    /// Language of an expression, such as `cel`, instead of all settings above.
    #[serde(default, rename = "type")]
    kind: Option<String>,
    /// Expression in the language of `type`.
    #[serde(default)]
    expression: Option<String>,
    /// Result for an event for which the expression cannot be evaluated.
    #[serde(default)]
    holds_on_error: Option<bool>,
}

/// A compiled condition.
pub(super) enum Compiled {
    Plain(Plain),
    Language(Box<dyn pipeline::Condition>),
}

/// Condition on the value of a header, or on the body.
pub(super) struct Plain {
    header: Option<String>,
    one_of: Option<Vec<String>>,
    matches: Option<Regex>,
    at_least: Option<f64>,
    below: Option<f64>,
    not: bool,
}

impl Condition {
    /// Compiles the condition; `setting` is its path in the settings.
    fn compile(&self, setting: &str, cx: &BuildContext) -> Result<Compiled, BuildError> {
        let at = |name: &str| format!("{setting}.{name}");
        if let Some(kind) = &self.kind {
            return self.in_language(kind, setting, cx);
        }
        if self.expression.is_some() || self.holds_on_error.is_some() {
            let problem = "must have a `type`, the language of `expression`; write type = \"cel\"";
            return Err(BuildError::invalid(setting, problem));
        }
        if let Some(header) = &self.header {
            super::check_name(&at("header"), header)?;
        } else if self.one_of.is_none() && self.matches.is_none() && !self.is_number() {
            let problem = "must have `header`, or a test of the body such as `matches`";
            return Err(BuildError::invalid(setting, problem));
        }
        let matches = self.matches.as_deref().map(|text| super::pattern(&at("matches"), text));
        Ok(Compiled::Plain(Plain {
            header: self.header.clone(),
            one_of: self.one_of.clone(),
            matches: matches.transpose()?,
            at_least: self.at_least,
            below: self.below,
            not: self.not,
        }))
    }

    fn in_language(
        &self,
        kind: &str,
        setting: &str,
        cx: &BuildContext,
    ) -> Result<Compiled, BuildError> {
        let is_plain = self.header.is_some()
            || self.one_of.is_some()
            || self.matches.is_some()
            || self.is_number()
            || self.not;
        if is_plain {
            let problem = "cannot combine `type` with `header`, `one_of`, `matches`, `at_least`, \
                           `below` or `not`: test them in the expression, or in a separate \
                           condition";
            return Err(BuildError::invalid(setting, problem));
        }
        let mut settings = serde_json::Map::new();
        if let Some(expression) = &self.expression {
            settings.insert("expression".to_owned(), expression.as_str().into());
        }
        if let Some(holds) = self.holds_on_error {
            settings.insert("holds_on_error".to_owned(), holds.into());
        }
        let choice = Choice::<dyn pipeline::Condition>::with(kind.to_owned(), settings);
        choice.build(setting, cx).map(Compiled::Language)
    }

    fn is_number(&self) -> bool {
        self.at_least.is_some() || self.below.is_some()
    }
}

/// Compiles a list of conditions; `setting` is its path in the settings.
pub(super) fn compile(
    setting: &str,
    all: &[Condition],
    cx: &BuildContext,
) -> Result<Vec<Compiled>, BuildError> {
    let compiled =
        |(at, condition): (usize, &Condition)| condition.compile(&format!("{setting}.{at}"), cx);
    all.iter().enumerate().map(compiled).collect()
}

impl Compiled {
    /// Clears the flag of each event that does not meet the condition.
    pub(super) fn narrow(&self, events: &Events, wanted: &mut [bool]) {
        match self {
            Self::Plain(plain) => {
                let looked_at = super::looked_at(events, plain.header.as_deref());
                for ((_, text), wanted) in looked_at.zip(wanted) {
                    *wanted = *wanted && plain.holds(text);
                }
            }
            Self::Language(condition) => condition.narrow(events, wanted),
        }
    }
}

impl Plain {
    /// Returns true if the value meets the condition. A missing header meets none.
    fn holds(&self, text: Option<&[u8]>) -> bool {
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

/// Clears the flag of each event that does not meet all conditions; an empty list clears none.
pub(super) fn narrow(conditions: &[Compiled], events: &Events, wanted: &mut [bool]) {
    conditions.iter().for_each(|condition| condition.narrow(events, wanted));
}

#[cfg(test)]
mod tests {
    use pipeline::{Batch, Existing};
    use serde_json::{Value, json};

    use super::*;

    use super::super::testing::cx;

    fn condition(settings: &Value, cx: &BuildContext) -> Result<Compiled, BuildError> {
        let condition: Condition = serde_json::from_value(settings.clone()).unwrap();
        condition.compile("when.0", cx)
    }

    /// Returns the rejected setting and the reason.
    fn refused(settings: &Value, cx: &BuildContext) -> (String, String) {
        let error = condition(settings, cx).err().unwrap_or_else(|| panic!("{settings} is taken"));
        (error.setting, error.problem)
    }

    #[test]
    fn a_condition_looks_at_the_body_or_a_header() {
        let mut batch = Batch::of(["an ERROR"]);
        batch.set_header("app", "shop", Existing::Keep);
        batch.set_header("status", "502", Existing::Keep);
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
            let mut wanted = [true];
            condition(&settings, &cx()).unwrap().narrow(&batch, &mut wanted);
            assert_eq!(wanted, [holds], "{settings}");
        }
    }

    #[test]
    fn a_condition_that_says_nothing_is_refused() {
        for (settings, place) in [
            (json!({}), "when.0"),
            (json!({ "header": "" }), "when.0.header"),
            (json!({ "matches": "(" }), "when.0.matches"),
            (json!({ "expression": "true" }), "when.0"),
            (json!({ "matches": "a", "holds_on_error": true }), "when.0"),
        ] {
            assert_eq!(refused(&settings, &cx()).0, place, "{settings}");
        }
    }

    #[test]
    fn an_event_that_is_not_in_question_stays_so() {
        let batch = Batch::of(["a", "b", "a"]);
        let mut wanted = [false, true, true];
        condition(&json!({ "matches": "a" }), &cx()).unwrap().narrow(&batch, &mut wanted);
        assert_eq!(wanted, [false, false, true]);
    }

    #[test]
    fn a_language_of_another_program_is_named_with_that_program() {
        let edge = crate::alone("test", std::path::Path::new("unused"), env::real());
        let cel = json!({ "type": "cel", "expression": "true" });
        let (place, problem) = refused(&cel, &edge);
        assert_eq!(place, "when.0");
        let expected = "this program does not include the condition `cel`; \
                        use aqueduct-collector or aqueduct with the feature `expr`";
        assert_eq!(problem, expected);
        for both in [json!({ "not": true }), json!({ "header": "a" }), json!({ "below": 1 })] {
            let mut settings = cel.clone();
            settings.as_object_mut().unwrap().extend(both.as_object().unwrap().clone());
            assert!(refused(&settings, &edge).1.contains("test them in the expression"));
        }
    }
}
