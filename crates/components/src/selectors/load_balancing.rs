//! `load_balancing`: spreads events evenly over the source's required channels: each event by a
//! hash, or each batch in turn or at random.
//!
//! The hash depends only on the body, or on a header's value: not on the batch, and not on the
//! content of the channels. After a crash the same events are resent in other batches, and one
//! channel may have them already while another one lacks them, so the choice must not depend on the
//! position of an event (ADR 33). Turns and random choices are only for sources that do not resend
//! (ADR 40). Optional channels get every event.

use pipeline::{
    BuildContext, BuildError, ChannelSelector, Component, EventRef, Events, RequiredChannels,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::free::{OneOf, Order};

/// Settings of the `load_balancing` selector.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Selection of a channel: by a hash of each event, which gives the same result for a resent
    /// event; or, for sources that never resend, in turns or at random for each batch.
    #[serde(default)]
    policy: Policy,
    /// Header whose value is hashed, so that events with the same value stay together. Default,
    /// also for events without the header: the body. Only for `hash`.
    header: Option<String>,
    /// Seed of the hash. Agents in sequence need different seeds, collectors of one group the same
    /// seed. Only for `hash`.
    #[serde(default)]
    seed: u64,
    /// Channels of the source, required ones first. Set by the agent.
    channels: Vec<String>,
}

/// How a channel is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Policy {
    /// By a hash of each event.
    #[default]
    Hash,
    /// The next channel for each batch; channels with room first.
    RoundRobin,
    /// A random channel for each batch; channels with room first.
    Random,
}

impl Component for Config {
    const KIND: &'static str = "load_balancing";
    type Role = dyn ChannelSelector;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn ChannelSelector>, BuildError> {
        if self.header.as_deref() == Some("") {
            return Err(BuildError::invalid(
                "header",
                "must not be empty: set the name of a header",
            ));
        }
        let (header, seed, channels) = (self.header, self.seed, self.channels.len());
        let order = match self.policy {
            Policy::Hash => None,
            Policy::RoundRobin => Some(Order::round_robin(&*cx.env.entropy)),
            Policy::Random => Some(Order::Random(cx.env.entropy.clone())),
        };
        if let Some(order) = order {
            const HASH_ALONE: &str = "has an effect only with `policy = \"hash\"`; set it, or \
                                      remove this";
            let set = [("header", header.is_some()), ("seed", seed != 0)];
            if let Some((setting, _)) = set.iter().find(|(_, is_set)| *is_set) {
                return Err(BuildError::invalid(*setting, HASH_ALONE));
            }
            let said = ("policy", "set `policy = \"hash\"`");
            return Ok(Box::new(OneOf::new(order, channels, said, cx)));
        }
        let required = cx.get::<RequiredChannels>().among(channels);
        Ok(Box::new(LoadBalancing { header, seed, required, optional: channels - required }))
    }
}

struct LoadBalancing {
    header: Option<String>,
    seed: u64,
    required: usize,
    optional: usize,
}

impl LoadBalancing {
    /// Returns the channel for these bytes. It must never change: batches that were sent before an
    /// update are resent after it.
    fn channel(&self, bytes: &[u8]) -> usize {
        let hash = u128::from(xxh3_64_with_seed(bytes, self.seed));
        // Each channel gets an equal share of all hashes.
        ((hash * self.required as u128) >> 64) as usize
    }

    fn channel_of(&self, event: EventRef<'_>) -> usize {
        let value = self.header.as_deref().and_then(|header| event.header(header));
        self.channel(value.map_or(event.body(), str::as_bytes))
    }

    /// Returns the part of each required channel.
    fn spread(&self, events: &Events) -> Vec<Option<Events>> {
        let mut parts = vec![None; self.required];
        let shared = self.header.as_deref().and_then(|header| events.shared_header(header));
        let first = match (shared, events.iter().next()) {
            (_, None) => return parts,
            // All events share the header value: decide once for the batch.
            (Some(value), _) => self.channel(value.as_bytes()),
            (None, Some(_)) => {
                let part_of: Vec<usize> = events.iter().map(|it| self.channel_of(it)).collect();
                if part_of.iter().any(|part| *part != part_of[0]) {
                    let found = events.split(&part_of).into_iter();
                    let found = found.map(|part| (!part.is_empty()).then_some(part));
                    parts.iter_mut().zip(found).for_each(|(part, found)| *part = found);
                    return parts;
                }
                part_of[0]
            }
        };
        parts[first] = Some(events.clone());
        parts
    }
}

impl ChannelSelector for LoadBalancing {
    fn select(&self, events: &Events) -> Vec<Option<Events>> {
        let mut parts = self.spread(events);
        parts.extend(vec![Some(events.clone()); self.optional]);
        parts
    }

    fn routing_header(&self) -> Option<&str> {
        self.header.as_deref()
    }

    fn reads_bodies(&self) -> bool {
        true
    }

    fn routing_rule(&self, channels: &[Vec<String>]) -> String {
        let places = channels.iter().take(self.required);
        let places: Vec<String> =
            places.map(|datasets| super::behind(std::iter::once(datasets))).collect();
        let by = self.header.as_ref().map_or("body".to_owned(), |header| format!("{header:?}"));
        format!("spread by {by} with seed {} over: {}", self.seed, places.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pipeline::testkit::build;
    use pipeline::{Batch, BatchBuilder, Existing, Extensions};
    use serde_json::{Value, json};

    use super::*;

    fn built(settings: &Value, required: usize) -> Box<dyn ChannelSelector> {
        let mut cx = BuildContext::alone("selector", std::path::Path::new("unused"), env::real());
        cx.extensions = Extensions::default().with(RequiredChannels(Some(required)));
        build::<Config>(settings, &cx).unwrap()
    }

    fn numbers(range: std::ops::Range<u32>) -> Batch {
        Batch::of(range.map(|number| format!("line {number}")))
    }

    /// Returns the channel of each body.
    fn placed(selector: &dyn ChannelSelector, events: &Events) -> BTreeMap<Vec<u8>, usize> {
        let parts = selector.select(events);
        let bodies = |(channel, part): (usize, &Option<Events>)| {
            let bodies = part.iter().flat_map(Events::iter).map(|event| event.body().to_vec());
            bodies.map(|body| (body, channel)).collect::<Vec<_>>()
        };
        parts.iter().enumerate().flat_map(bodies).collect()
    }

    #[test]
    fn every_event_goes_to_one_channel_and_each_channel_gets_its_share() {
        let selector = built(&json!({ "channels": ["a", "b", "c"] }), 3);
        let parts = selector.select(&numbers(0..3_000));
        let shares: Vec<usize> = parts.iter().flatten().map(Events::len).collect();
        assert_eq!((shares.len(), shares.iter().sum::<usize>()), (3, 3_000));
        assert!(shares.iter().all(|share| (900..1_100).contains(share)), "{shares:?}");
    }

    #[test]
    fn an_event_goes_to_the_same_channel_in_whatever_batch_it_comes() {
        let selector = built(&json!({ "channels": ["a", "b", "c"] }), 3);
        let whole = placed(&*selector, &numbers(0..1_000));
        for size in [1, 7, 64, 999] {
            for start in (0..1_000).step_by(size) {
                let part = placed(&*selector, &numbers(start..(start + size as u32).min(1_000)));
                assert!(part.iter().all(|(body, channel)| whole[body] == *channel), "{size}");
            }
        }
    }

    #[test]
    fn the_choice_of_every_version_is_that_of_the_first() {
        let selector = built(&json!({ "channels": ["a", "b", "c"] }), 3);
        let channels: Vec<usize> = placed(&*selector, &numbers(0..10)).into_values().collect();
        assert_eq!(channels, [0, 0, 1, 2, 0, 2, 2, 1, 0, 2]);
    }

    #[test]
    fn events_of_one_value_stay_together_and_a_shared_value_costs_no_copy() {
        let selector = built(&json!({ "channels": ["a", "b"], "header": "user" }), 2);
        let mut builder = BatchBuilder::default();
        for number in 0..100 {
            let user = format!("u{}", number % 10);
            builder.push(format!("{user} {number}").as_bytes(), &[("user", &user)]);
        }
        let mut channels: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        for (body, channel) in placed(&*selector, &builder.finish()) {
            assert_eq!(*channels.entry(body[..2].to_vec()).or_insert(channel), channel);
        }
        let used = channels.values().filter(|channel| **channel == 0).count();
        assert!((1..10).contains(&used), "{channels:?}");
        let mut batch = numbers(0..5);
        batch.set_header("user", "u1", Existing::Keep);
        let parts: Vec<Events> = selector.select(&batch).into_iter().flatten().collect();
        assert_eq!(parts.len(), 1);
        let start = |events: &Events| events.lines().map(|lines| lines.as_ptr());
        assert_eq!(start(&parts[0]), start(&batch.events));
    }

    #[test]
    fn another_seed_spreads_what_one_channel_got() {
        let one = built(&json!({ "channels": ["a", "b"] }), 2);
        let first = one.select(&numbers(0..1_000)).swap_remove(0).unwrap();
        let same = one.select(&first);
        assert_eq!((same[0].as_ref().map(Events::len), &same[1]), (Some(first.len()), &None));
        let other = built(&json!({ "channels": ["a", "b"], "seed": 1 }), 2).select(&first);
        assert!(other.iter().flatten().all(|part| part.len() > first.len() / 3));
    }

    #[test]
    fn optional_channels_get_every_event() {
        let selector = built(&json!({ "channels": ["a", "b", "look"] }), 2);
        let batch = numbers(0..100);
        let parts = selector.select(&batch);
        assert_eq!(parts[2], Some(batch.events));
        assert_eq!(parts[..2].iter().flatten().map(Events::len).sum::<usize>(), 100);
    }

    #[test]
    fn a_free_policy_chooses_for_the_batch_and_takes_no_setting_of_the_hash() {
        for policy in ["round_robin", "random"] {
            let selector = built(&json!({ "channels": ["a", "b"], "policy": policy }), 2);
            assert_eq!(selector.free_choice().map(|choice| choice.setting()), Some("policy"));
            for (setting, value) in [("header", json!("user")), ("seed", json!(1))] {
                let settings = json!({ "channels": ["a"], "policy": policy, setting: value });
                let cx = BuildContext::alone("s", std::path::Path::new("unused"), env::real());
                let error = build::<Config>(&settings, &cx).err().unwrap();
                assert_eq!(error.path, setting);
                assert!(error.problem.contains("hash"), "{}", error.problem);
            }
        }
        assert!(built(&json!({ "channels": ["a"], "policy": "hash" }), 1).free_choice().is_none());
    }

    #[test]
    fn the_order_of_the_channels_is_a_part_of_the_rule() {
        let settings = json!({ "channels": ["a", "b"], "seed": 7 });
        let rule = |channels: [&str; 2]| {
            let channels = channels.map(|name| vec![name.to_owned()]);
            built(&settings, 2).routing_rule(&channels)
        };
        assert_eq!(rule(["x", "y"]), "spread by body with seed 7 over: x, y");
        assert_ne!(rule(["x", "y"]), rule(["y", "x"]));
    }
}
