//! `uuid`: adds an id to each event.
//!
//! A random id is drawn once and stored with the event; downstream agents keep it. So use this
//! interceptor in the first agent. An id derived from the event is the same wherever it is
//! computed, and equal events have equal ids.

use std::fmt::Write;
use std::sync::Arc;

use pipeline::env::Entropy;
use pipeline::{
    BuildContext, BuildError, Component, EventRef, Events, Interceptor, Rejects, Values,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128};

/// Maximum length of the prefix in bytes: each event stores it.
const PREFIX_MAX: usize = 64;

/// Settings of the `uuid` interceptor.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Header for the id.
    #[serde(default = "default_header")]
    header: String,
    /// Origin of the id.
    #[serde(default)]
    from: Basis,
    /// Prefix of the id, at most 64 bytes.
    #[serde(default)]
    prefix: String,
    /// Whether an event keeps an existing header, so that it has the same id on all hops.
    #[serde(default = "pipeline::units::yes")]
    preserve_existing: bool,
}

/// What an id is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Basis {
    /// Random bits (version 4): each event has a different id.
    #[default]
    Random,
    /// A hash of the body (version 8): equal bodies have the same id on every agent.
    Body,
}

fn default_header() -> String {
    "id".to_owned()
}

impl Component for Config {
    const KIND: &'static str = "uuid";
    type Role = dyn Interceptor;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Interceptor>, BuildError> {
        super::check_name("header", &self.header)?;
        if self.prefix.len() > PREFIX_MAX {
            let problem =
                format!("has {} bytes, but must have at most {PREFIX_MAX}", self.prefix.len());
            return Err(BuildError::invalid("prefix", problem));
        }
        Ok(Box::new(Uuid { config: self, entropy: cx.env.entropy.clone() }))
    }
}

struct Uuid {
    config: Config,
    entropy: Arc<dyn Entropy>,
}

impl Uuid {
    /// Returns a UUID for one event of a batch with these `seeds`.
    fn id(&self, event: EventRef<'_>, seeds: (u64, u64)) -> u128 {
        let (bits, version) = match self.config.from {
            Basis::Random => {
                let index = (event.index() as u64).to_le_bytes();
                let high = u128::from(xxh3_64_with_seed(&index, seeds.0));
                (high << 64 | u128::from(xxh3_64_with_seed(&index, seeds.1)), 4)
            }
            Basis::Body => (xxh3_128(event.body()), 8),
        };
        let fixed = 0xf << 76 | 0b11 << 62;
        bits & !fixed | version << 76 | 0b10 << 62
    }
}

impl Interceptor for Uuid {
    fn intercept(&self, batch: &mut Events, _rejects: &mut Rejects) {
        let Config { header, prefix, preserve_existing, .. } = &self.config;
        let seeds = (self.entropy.next_u64(), self.entropy.next_u64());
        let (mut ids, mut text) = (Values::default(), String::new());
        for (event, own) in batch.iter().zip(batch.values(header)) {
            if own.is_some() && *preserve_existing {
                ids.push(own);
                continue;
            }
            text.clear();
            text.push_str(prefix);
            let id = self.id(event, seeds);
            let (a, b, c) = (id >> 96, (id >> 80) as u16, (id >> 64) as u16);
            let (d, e) = ((id >> 48) as u16, id & 0xffff_ffff_ffff);
            // Writing to a `String` cannot fail.
            let _ = write!(text, "{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}");
            ids.push(Some(&text));
        }
        batch.set_values(header, ids);
    }

    fn routing_effect(&self, header: Option<&str>) -> Option<String> {
        let Config { header: own, from, prefix, preserve_existing } = &self.config;
        let value = format!("{prefix}, then an id: {from:?}");
        (header == Some(own)).then(|| super::writes(&value, super::existing(*preserve_existing)))
    }
}

#[cfg(test)]
mod tests {
    use pipeline::Batch;
    use std::collections::HashSet;

    use pipeline::testkit::build;
    use regex::Regex;
    use serde_json::{Value, json};

    use super::super::testing::refused;
    use super::*;

    fn ids(settings: &Value, batch: &mut Batch) -> Vec<String> {
        let cx = BuildContext::alone("id", std::path::Path::new("unused"), env::real());
        build::<Config>(settings, &cx).unwrap().intercept(batch, &mut Rejects::default());
        let header = settings["header"].as_str().unwrap_or("id");
        batch.values(header).map(|id| id.unwrap().to_owned()).collect()
    }

    #[test]
    fn each_event_gets_a_random_id_of_its_own() {
        let form = "^n-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$";
        let form = Regex::new(form).unwrap();
        let mut seen = HashSet::new();
        for _ in 0..3 {
            let mut batch = Batch::of(["same"; 1000]);
            for id in ids(&json!({ "header": "key", "prefix": "n-" }), &mut batch) {
                assert!(form.is_match(&id), "{id}");
                assert!(seen.insert(id));
            }
        }
    }

    #[test]
    fn an_event_keeps_its_id_unless_the_setting_says_otherwise() {
        for preserve in [true, false] {
            let mut batch = Batch::of(["a", "b"]);
            batch.set_column("id", [Some("own"), None].into_iter());
            let ids = ids(&json!({ "preserve_existing": preserve }), &mut batch);
            assert_eq!(ids[0] == "own", preserve, "{ids:?}");
            assert_eq!(ids[1].len(), 36, "{ids:?}");
        }
    }

    #[test]
    fn an_id_of_the_body_is_the_same_on_every_agent() {
        let settings = json!({ "from": "body" });
        let first = ids(&settings, &mut Batch::of(["a", "b", "a"]));
        assert_eq!(first, ids(&settings, &mut Batch::of(["a", "b", "a"])));
        assert_eq!(first[0], first[2]);
        assert_ne!(first[0], first[1]);
        assert_eq!(&first[0][14..15], "8", "RFC 9562: a version for hashes of one's own");
    }

    #[test]
    fn a_long_prefix_and_a_header_without_a_name_are_refused() {
        let long = "x".repeat(PREFIX_MAX + 1);
        assert_eq!(refused::<Config>(&json!({ "prefix": long })), "prefix");
        assert_eq!(refused::<Config>(&json!({ "header": "" })), "header");
    }
}
