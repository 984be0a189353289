//! `dedupe`: drops an event that equals an earlier one in its batch.
//!
//! It examines each batch alone and keeps no state: a resent batch has the same result. Repetitions
//! because of a resend are handled by batch identities instead.

use foldhash::{HashSet, HashSetExt};
use metrics::{Counter, MetricSpec};
use pipeline::{BuildContext, BuildError, Component, Events, Interceptor, Rejects};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

/// Settings of the `dedupe` interceptor.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Header that identifies an event, such as an id. Default: the body. An event without the
    /// header is kept.
    #[serde(default)]
    by: Option<String>,
    /// Events that an event is compared with.
    #[serde(default)]
    among: Among,
}

/// Which events are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Among {
    /// All events of the batch.
    #[default]
    Batch,
    /// The previous event: consecutive equal events become one.
    Neighbours,
}

impl Component for Config {
    const KIND: &'static str = "dedupe";
    const METRICS: &'static [MetricSpec] =
        &[MetricSpec::counter("dropped_events", "Events that were equal to an earlier one.")];
    type Role = dyn Interceptor;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Interceptor>, BuildError> {
        if let Some(by) = &self.by {
            super::check_name("by", by)?;
        }
        let dropped = cx.scope::<Self>().counter("dropped_events")?;
        Ok(Box::new(Dedupe { config: self, dropped }))
    }
}

struct Dedupe {
    config: Config,
    dropped: Counter,
}

impl Interceptor for Dedupe {
    fn intercept(&self, batch: &mut Events, _rejects: &mut Rejects) {
        let before = batch.len();
        let mut seen = HashSet::with_capacity(before);
        batch.retain(|event| {
            let key = match &self.config.by {
                Some(name) => event.header(name).map(str::as_bytes),
                None => Some(event.body()),
            };
            if self.config.among == Among::Neighbours {
                let hash = key.map(xxh3_128);
                let is_known = hash.is_some_and(|hash| seen.contains(&hash));
                seen.clear();
                seen.extend(hash);
                return !is_known;
            }
            key.is_none_or(|key| seen.insert(xxh3_128(key)))
        });
        self.dropped.inc_by((before - batch.len()) as u64);
    }

    fn routing_effect(&self, _header: Option<&str>) -> Option<String> {
        Some(format!("without repeats as {:?}", self.config))
    }
}

#[cfg(test)]
mod tests {
    use pipeline::Batch;
    use serde_json::json;

    use super::super::testing::{bodies, refused, through};
    use super::*;

    #[test]
    fn repeats_go_and_the_first_stays() {
        for (settings, expected) in
            [(json!({}), "a b c"), (json!({ "among": "neighbours" }), "a b a c")]
        {
            let batch = Batch::of(["a", "a", "b", "a", "a", "c", "c"]);
            assert_eq!(bodies(&through::<Config>(&settings, batch)).join(" "), expected);
        }
    }

    #[test]
    fn events_are_compared_by_a_header_and_kept_without_it() {
        for among in ["batch", "neighbours"] {
            let mut batch = Batch::of(["a", "b", "c", "d", "e"]);
            let ids = [Some("1"), Some("1"), None, None, Some("2")];
            batch.set_column("id", ids.into_iter());
            let batch = through::<Config>(&json!({ "by": "id", "among": among }), batch);
            assert_eq!(bodies(&batch).join(" "), "a c d e", "{among}");
        }
        assert_eq!(refused::<Config>(&json!({ "by": "" })), "by");
    }
}
