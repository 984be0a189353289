//! `parse`: extracts fields from a body, into headers or into a new body in JSON.
//!
//! An event is parsed completely or not at all: if parsing fails, it gets no fields. Fields are
//! collected in columns, one per name, so that allocations are per batch, not per event.

mod access;
mod fields;
mod format;
mod grok;
mod json;
mod pairs;

use metrics::{Counter, MetricSpec};
use pipeline::{
    BuildContext, BuildError, Component, Events, Existing, Interceptor, Rejects, Values,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use fields::{Columns, Found};
use format::{Parser, State, Written};

/// Settings of the `parse` interceptor.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Format of the text: its name, or a table with `type` and settings.
    format: Written,
    /// Header to parse instead of the body.
    #[serde(default)]
    header: Option<String>,
    /// Destination of the fields.
    #[serde(default)]
    into: Into,
    /// Prefix of each field name.
    #[serde(default)]
    prefix: String,
    /// Names of the fields to extract. An empty list selects all fields.
    #[serde(default)]
    fields: Vec<String>,
    /// Limit of the different header names in a batch, at most 4,096. Further fields are left out.
    #[serde(default = "pipeline::units::number::<256>")]
    fields_max: usize,
    /// Handling of an event whose text does not have this format.
    #[serde(default)]
    on_failure: OnFailure,
    /// With `on_failure = "header"`: header for the reason.
    #[serde(default = "default_failure_header")]
    failure_header: String,
}

/// Where fields go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Into {
    /// A header for each field.
    #[default]
    Headers,
    /// The body: one JSON object with all fields.
    Body,
}

/// What becomes of an event that cannot be parsed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum OnFailure {
    /// The event is kept unchanged.
    #[default]
    Keep,
    /// The event is dropped and counted.
    Drop,
    /// The event becomes a dead letter.
    DeadLetters,
    /// The event is kept, and a header contains the reason.
    Header,
}

fn default_failure_header() -> String {
    "parse_error".to_owned()
}

/// Reason why a text is not in the format: a few words, the same for all texts.
type Failure = &'static str;

impl Component for Config {
    const KIND: &'static str = "parse";
    const LETTERS: &[&str] = &["not_parsed"];
    const METRICS: &'static [MetricSpec] = &[
        MetricSpec::counter("failed_events", "Events whose text does not have the format."),
        MetricSpec::counter(
            "left_out_fields",
            "Fields above `fields_max`, or with an unusable name.",
        ),
    ];
    type Role = dyn Interceptor;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Interceptor>, BuildError> {
        let parser = Parser::new(&self.format.0)?;
        super::check_name("failure_header", &self.failure_header)?;
        if !(1..=4096).contains(&self.fields_max) {
            return Err(BuildError::invalid("fields_max", "must be from 1 to 4096"));
        }
        let scope = cx.scope::<Self>();
        Ok(Box::new(Parse {
            parser,
            failed: scope.counter("failed_events")?,
            left_out: scope.counter("left_out_fields")?,
            config: self,
        }))
    }
}

struct Parse {
    config: Config,
    parser: Parser,
    failed: Counter,
    left_out: Counter,
}

/// Failed events, with the reasons.
#[derive(Default)]
struct Failures {
    reasons: Values,
    events: Vec<Option<Failure>>,
    count: u64,
}

impl Failures {
    fn push(&mut self, outcome: Result<(), Failure>) {
        self.reasons.push(outcome.err());
        self.events.push(outcome.err());
        self.count += u64::from(outcome.is_err());
    }

    /// Removes failed events from their batch, by reason.
    fn reject(&self, header: Option<&str>, events: &mut Events, rejects: &mut Rejects) {
        let failed = events.extract(|event| self.events[event.index()].is_some());
        let mut reasons: Vec<Failure> = Vec::new();
        let mut number = |reason: Failure| {
            let known = reasons.iter().position(|known| *known == reason);
            known.unwrap_or_else(|| {
                reasons.push(reason);
                reasons.len() - 1
            })
        };
        let part_of: Vec<usize> =
            self.events.iter().flatten().map(|reason| number(*reason)).collect();
        for (part, reason) in failed.split(&part_of).into_iter().zip(reasons) {
            let text = header.map_or("the body".into(), |name| format!("the header `{name}`"));
            let detail = format!(
                "cannot parse {text}: {reason}; correct the program that wrote it, or `format` of \
                 this interceptor"
            );
            rejects.push(part, "not_parsed", &detail);
        }
    }
}

impl Parse {
    fn parse(
        &self,
        text: Option<&[u8]>,
        found: &mut Found,
        state: &mut State,
    ) -> Result<(), Failure> {
        found.clear();
        self.parser.parse(text.ok_or("the header is missing")?, found, state)
    }

    fn headers_of(&self, batch: &mut Events) -> Failures {
        let (mut found, mut state) = (Found::default(), self.parser.state());
        let (mut failures, mut columns) = (Failures::default(), Columns::new(&self.config));
        for (event, text) in super::looked_at(batch, self.config.header.as_deref()) {
            let outcome = self.parse(text, &mut found, &mut state);
            if outcome.is_ok() {
                columns.take(event.index(), &found);
            }
            failures.push(outcome);
        }
        let (columns, left_out) = columns.finish(batch.len());
        for (name, values) in columns {
            batch.merge_values(&name, values, Existing::Replace);
        }
        self.left_out.inc_by(left_out);
        failures
    }

    fn bodies_of(&self, batch: &mut Events) -> Failures {
        let (mut found, mut state) = (Found::default(), self.parser.state());
        let mut failures = Failures::default();
        let Config { header, prefix, fields, .. } = &self.config;
        batch.rewrite_bodies(|event, out| {
            let text = header.as_ref().map(|name| event.header(name).map(str::as_bytes));
            let outcome = self.parse(text.unwrap_or(Some(event.body())), &mut found, &mut state);
            failures.push(outcome);
            if outcome.is_ok() {
                found.write_json(prefix, fields, out);
            }
            outcome.is_ok()
        });
        failures
    }
}

impl Interceptor for Parse {
    fn intercept(&self, batch: &mut Events, rejects: &mut Rejects) {
        let failures = match self.config.into {
            Into::Headers => self.headers_of(batch),
            Into::Body => self.bodies_of(batch),
        };
        if failures.count > 0 {
            self.failed.inc_by(failures.count);
            match self.config.on_failure {
                OnFailure::Keep => {}
                OnFailure::Drop => {
                    batch.retain(|event| failures.events[event.index()].is_none());
                }
                OnFailure::DeadLetters => {
                    failures.reject(self.config.header.as_deref(), batch, rejects);
                }
                OnFailure::Header => {
                    let header = &self.config.failure_header;
                    batch.merge_values(header, failures.reasons, Existing::Replace);
                }
            }
        }
    }

    /// The fields of a text are unknown in advance: any name with the prefix may be one.
    fn routing_effect(&self, header: Option<&str>) -> Option<String> {
        let Config { prefix, fields, into, on_failure, failure_header, .. } = &self.config;
        let is_field = |name: &str| {
            let field = name.strip_prefix(&**prefix);
            field.is_some_and(|field| fields.is_empty() || fields.iter().any(|one| one == field))
        };
        let writes = *into == Into::Headers && header.is_some_and(is_field);
        let marks = *on_failure == OnFailure::Header && header == Some(failure_header);
        let drops = matches!(on_failure, OnFailure::Drop | OnFailure::DeadLetters);
        (writes || marks || drops).then(|| format!("fields of {:?}", self.config))
    }

    fn body_effect(&self) -> Option<String> {
        let writes = self.config.into == Into::Body;
        writes.then(|| format!("bodies of the fields of {:?}", self.config))
    }
}

#[cfg(test)]
mod tests;
