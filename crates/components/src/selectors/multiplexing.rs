//! `multiplexing`: the value of one header selects the channels of an event.
//!
//! The comparison is exact and case sensitive. An event without the header, with an empty value or
//! with an unmapped value goes to the default channels; without a default it is dropped and counts
//! as delivered, as if a filter had dropped it.
//!
//! If all events of a batch share the header value, the batch is routed without a copy.

use std::collections::BTreeMap;

use pipeline::{BuildContext, BuildError, ChannelSelector, Component, Events};
use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of the `multiplexing` selector.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Header whose value selects the channels.
    #[serde(default = "default_header")]
    header: String,
    /// Channels by value of the header.
    #[serde(default)]
    mapping: BTreeMap<String, Names>,
    /// Channels of events whose value is not mapped.
    #[serde(default)]
    default: Names,
    /// Further channels by value of the header, for mapped and unmapped values.
    #[serde(default)]
    also: BTreeMap<String, Names>,
    /// Channels of the source, required ones first. Set by the agent.
    channels: Vec<String>,
}

/// Names of channels: a list, or text with blanks between.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Names {
    List(Vec<String>),
    Text(String),
}

impl Default for Names {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

fn default_header() -> String {
    "flume.selector.header".to_owned()
}

impl Component for Config {
    const KIND: &'static str = "multiplexing";
    type Role = dyn ChannelSelector;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn ChannelSelector>, BuildError> {
        let channels = &self.channels;
        let default = self.default.among(channels, "default")?;
        let mut routes = BTreeMap::new();
        for (value, names) in &self.mapping {
            let route = names.among(channels, &format!("mapping.{value}"))?;
            routes.insert(value.clone(), route);
        }
        for (value, names) in &self.also {
            let more = names.among(channels, &format!("also.{value}"))?;
            routes.entry(value.clone()).or_insert_with(|| default.clone()).add(&more);
        }
        Ok(Box::new(Multiplexing { header: self.header, routes, default }))
    }
}

impl Names {
    /// Resolves channel names.
    fn among(&self, channels: &[String], setting: &str) -> Result<Route, BuildError> {
        let names: Vec<&str> = match self {
            Self::List(names) => names.iter().map(String::as_str).collect(),
            Self::Text(names) => names.split_whitespace().collect(),
        };
        let mut route = Route(vec![false; channels.len()]);
        for name in names {
            let Some(at) = channels.iter().position(|channel| channel == name) else {
                let known = channels.iter().map(|channel| format!("`{channel}`"));
                let known = known.collect::<Vec<_>>().join(", ");
                let problem = format!("`{name}` is not a channel of this source; it has {known}");
                return Err(BuildError::invalid(setting, problem));
            };
            route.0[at] = true;
        }
        Ok(route)
    }
}

/// Channels that get an event, by index.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Route(Vec<bool>);

impl Route {
    fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine |= theirs;
        }
    }
}

struct Multiplexing {
    header: String,
    routes: BTreeMap<String, Route>,
    default: Route,
}

impl Multiplexing {
    fn route(&self, value: Option<&str>) -> &Route {
        value.and_then(|value| self.routes.get(value)).unwrap_or(&self.default)
    }
}

impl ChannelSelector for Multiplexing {
    fn select(&self, events: &Events) -> Vec<Option<Events>> {
        if !events.has_own(&self.header) {
            let route = self.route(events.shared_header(&self.header));
            return route.0.iter().map(|gets| gets.then(|| events.clone())).collect();
        }
        let routes: Vec<&Route> =
            events.values(&self.header).map(|value| self.route(value)).collect();
        let part = |channel: usize| {
            let mut part = events.clone();
            part.retain(|event| routes[event.index()].0[channel]);
            (!part.is_empty()).then_some(part)
        };
        (0..self.default.0.len()).map(part).collect()
    }

    fn routing_header(&self) -> Option<&str> {
        Some(&self.header)
    }

    fn routing_rule(&self, channels: &[Vec<String>]) -> String {
        let into = |route: &Route| {
            let chosen = channels.iter().zip(&route.0).filter(|(_, gets)| **gets);
            super::behind(chosen.map(|(datasets, _)| datasets))
        };
        let rest = into(&self.default);
        let mut rule = format!("by {:?}: ", self.header);
        for (value, route) in &self.routes {
            let own = into(route);
            // A mapping that equals the default has no effect.
            if own != rest {
                rule.push_str(&format!("{value:?} into {own}, "));
            }
        }
        rule + "else into " + &rest
    }
}

#[cfg(test)]
mod tests {
    //! The cases of Flume's own test of this selector, named by behaviour.

    use pipeline::testkit::build;
    use pipeline::{Batch, BatchBuilder, SettingsError};
    use serde_json::{Value, json};

    use super::*;

    fn built(settings: &Value) -> Result<Box<dyn ChannelSelector>, SettingsError> {
        let cx = BuildContext::alone("selector", std::path::Path::new("unused"), env::real());
        build::<Config>(settings, &cx)
    }

    /// Returns the bodies that each channel gets, for one event with each of `values`.
    fn selected(settings: &Value, values: &[Option<&str>]) -> Vec<Vec<String>> {
        let selector = built(settings).unwrap();
        let mut builder = BatchBuilder::default();
        for value in values {
            let header = value.map(|value| ("state", value));
            builder.push(value.unwrap_or("none").as_bytes(), header.as_slice());
        }
        let text = |body: &[u8]| String::from_utf8(body.to_vec()).unwrap();
        let bodies = |part: Option<Events>| {
            part.iter().flat_map(Events::iter).map(|event| text(event.body())).collect()
        };
        selector.select(&builder.finish()).into_iter().map(bodies).collect()
    }

    fn settings() -> Value {
        json!({
            "channels": ["c1", "c2", "c3"], "header": "state",
            "mapping": { "CA": ["c1"], "AZ": "c2", "NY": ["c1", "c2"] },
            "default": ["c3"],
        })
    }

    #[test]
    fn events_of_one_batch_go_where_their_values_are_mapped_in_order() {
        let all = [Some("CA"), Some("AZ"), Some("NY"), Some("CA")];
        let expected: [&[&str]; 3] = [&["CA", "NY", "CA"], &["AZ", "NY"], &[]];
        assert_eq!(selected(&settings(), &all), expected);
    }

    #[test]
    fn sends_missing_empty_and_unknown_values_to_the_default() {
        let all = [None, Some(""), Some("TX"), Some("ca")];
        let expected: [&[&str]; 3] = [&[], &[], &["none", "", "TX", "ca"]];
        assert_eq!(selected(&settings(), &all), expected);
    }

    #[test]
    fn one_shared_value_decides_for_the_batch_without_a_copy() {
        let selector = built(&settings()).unwrap();
        let mut batch = Batch::of(["x", "y"]);
        batch.set_header("state", "NY", pipeline::Existing::Keep);
        let parts = selector.select(&batch);
        let start = |events: &Events| events.lines().map(|lines| lines.as_ptr());
        assert_eq!(parts[0].as_ref().and_then(start), start(&batch));
        assert_eq!(parts, [Some(batch.events.clone()), Some(batch.events), None]);
    }

    #[test]
    fn without_a_default_what_nobody_maps_goes_nowhere() {
        let mut settings = settings();
        settings["default"] = json!([]);
        let expected: [&[&str]; 3] = [&["CA"], &[], &[]];
        assert_eq!(selected(&settings, &[Some("CA"), Some("TX"), None]), expected);
    }

    #[test]
    fn further_channels_are_added_to_the_mapped_or_the_default_ones_once() {
        let mut settings = settings();
        settings["also"] = json!({ "CA": ["c3", "c1"], "TX": ["c1"] });
        let expected: [&[&str]; 3] = [&["CA", "TX"], &["AZ"], &["CA", "TX"]];
        assert_eq!(selected(&settings, &[Some("CA"), Some("TX"), Some("AZ")]), expected);
        settings["default"] = json!([]);
        let expected: [&[&str]; 3] = [&["TX"], &[], &[]];
        assert_eq!(selected(&settings, &[Some("TX")]), expected);
    }

    #[test]
    fn a_channel_that_the_source_lacks_is_named() {
        let mut settings = settings();
        settings["mapping"]["AZ"] = json!("c9");
        let error = built(&settings).err().unwrap();
        assert_eq!(error.path, "mapping.AZ");
        assert!(error.problem.contains("`c9`") && error.problem.contains("`c3`"), "{error}");
    }
}
