//! Channels: capacities in events become bytes by a stated rule.

use std::collections::BTreeSet;

use pipeline::Settings;
use pipeline::settings::Value;

use super::{Made, Translator, number, plain, put, value};
use crate::agent::{Agent, Bag, Named};
use crate::report::Outcome;

/// Assumed size of an event if Flume limits only events.
const EVENT_BYTES: u64 = 1 << 10;

/// Minimum capacity of a channel: a batch has to fit, and half of one more.
const CAPACITY_MIN: u64 = 64 << 20;

/// Names of channels that are used.
pub(super) struct Used {
    by_sources: BTreeSet<String>,
    by_sinks: BTreeSet<String>,
}

impl Used {
    pub(super) fn of(agent: &Agent) -> Self {
        let named = |it: &Named| -> Vec<String> {
            let lists = ["channels", "channel"].map(|key| it.bag.value(key, ""));
            lists.iter().flat_map(|it| it.split_whitespace()).map(str::to_owned).collect()
        };
        let all = |of: &[Named]| of.iter().flat_map(named).collect();
        Self { by_sources: all(&agent.sources), by_sinks: all(&agent.sinks) }
    }

    fn has(&self, channel: &str) -> bool {
        self.by_sources.contains(channel) || self.by_sinks.contains(channel)
    }
}

/// Components that connect a channel to Flume's data.
#[derive(Default)]
pub(super) struct Joined {
    pub(super) sources: Vec<Made>,
    pub(super) sinks: Vec<Made>,
}

/// Returns the maximum number of events of a translated channel, if it has such a limit.
pub(super) fn events_max(settings: &Settings) -> Option<i64> {
    match settings.get("capacity_events")?.value {
        Value::Integer(count) => Some(count),
        _ => None,
    }
}

impl Translator<'_> {
    pub(super) fn channels(&mut self, all: Vec<Named>, used: &Used) -> (Vec<Made>, Joined) {
        let (mut made, mut joined) = (Vec::new(), Joined::default());
        for Named { name, mut bag } in all {
            if !used.has(&name) {
                let why = "no source or sink uses this channel; Flume also skips it; remove it";
                self.report.add(Outcome::Ignored, &bag.place, &bag.path, why);
                for prop in &bag.props {
                    self.add(Outcome::Ignored, prop, "the component of this key is not used");
                }
                continue;
            }
            let target = format!("channels.{name}");
            let place = bag.place.clone();
            let (row, mut settings) = self.component("channel", None, &mut bag, &target);
            match row.map(|row| row.name) {
                Some(row @ ("memory" | "pseudo")) => {
                    self.memory(&mut bag, &mut settings, row, &target);
                }
                Some("file") => {
                    self.file(&mut bag, &mut settings, &target, "");
                    self.capacity(&mut bag, &mut settings, ("capacity", "1000000"), &target, "");
                }
                Some("jdbc") => {
                    let key = ("maximum.capacity", "0");
                    self.capacity(&mut bag, &mut settings, key, &target, "");
                }
                Some("spillablememory") => self.spill(&mut bag, &mut settings, &target),
                Some("kafka") if used.by_sinks.contains(&name) => {
                    joined.sources.push(self.read_topic(&name, &mut bag, &mut settings));
                }
                Some("kafka") => {
                    joined.sinks.push(self.write_topic(&name, &mut bag, &mut settings));
                }
                _ => {}
            }
            // Other programs may read the topic of a Kafka channel.
            let is_drained =
                used.by_sinks.contains(&name) || row.is_none_or(|row| row.name == "kafka");
            if !is_drained {
                let what = "no sink reads from this channel, so it fills up and stops its sources: \
                            add a sink";
                self.report.add(Outcome::Decision, &place, &bag.path, what);
            }
            self.rest(&bag);
            made.push(Made { name, place, settings });
        }
        (made, joined)
    }

    fn memory(&mut self, bag: &mut Bag, settings: &mut Settings, row: &str, target: &str) {
        let default = if row == "memory" { "100" } else { "50" };
        let prop = bag.take("capacity");
        let at = prop.as_ref().map_or(&bag.place, |prop| &prop.place).clone();
        let given = value::count(prop.as_ref().map_or(default, |prop| &prop.text.value));
        let events = match (given, &prop) {
            (Ok(events @ 1..), Some(prop)) => {
                self.carried(prop, target, "capacity_events");
                events
            }
            (Ok(_), Some(prop)) => {
                let text =
                    format!("must be greater than 0; using {default} events, the default of Flume");
                self.add(Outcome::Differs, prop, text);
                value::count(default).unwrap_or_default()
            }
            (Err(problem), Some(prop)) if row == "memory" && prop.text.unset.is_none() => {
                let text = format!("{problem}; using {default} events, the default of Flume");
                self.add(Outcome::Differs, prop, text);
                value::count(default).unwrap_or_default()
            }
            (Err(problem), Some(prop)) => return self.add(Outcome::Decision, prop, problem),
            (events, None) => events.unwrap_or_default(),
        };
        settings.set("capacity_events", number(events, &at));
        let bytes = u64::try_from(events).unwrap_or(0).saturating_mul(EVENT_BYTES);
        let mut capacity = bytes.max(CAPACITY_MIN);
        let mut place = bag.place.clone();
        if let Some(prop) = bag.take("byteCapacity") {
            match value::unsigned(&prop.text.value) {
                Ok(bytes) if bytes < CAPACITY_MIN => {
                    let text = format!(
                        "`{target}.capacity` is raised to {}, so that the largest batch of a \
                         source fits",
                        value::bytes(CAPACITY_MIN)
                    );
                    capacity = CAPACITY_MIN;
                    self.add(Outcome::Differs, &prop, text);
                }
                Ok(bytes) => {
                    capacity = bytes;
                    self.carried(&prop, target, "capacity");
                }
                Err(problem) => self.add(Outcome::Decision, &prop, problem),
            }
            place = prop.place;
        }
        settings.set("capacity", plain(&value::bytes(capacity), &place));
    }

    /// A capacity in events as one in events and in bytes; 0 is no limit. `below` is `disk.` for
    /// the disk of a channel.
    fn capacity(
        &mut self,
        bag: &mut Bag,
        settings: &mut Settings,
        (name, default): (&str, &str),
        target: &str,
        below: &str,
    ) {
        let events = value::unsigned(bag.value(name, default));
        let prop = bag.take(name);
        let place = prop.as_ref().map_or(&bag.place, |it| &it.place).clone();
        let events = match (events, &prop) {
            (Ok(events), _) => events,
            (Err(problem), Some(prop)) => return self.add(Outcome::Decision, prop, problem),
            (Err(_), None) => 0,
        };
        if events > 0 {
            let count = i64::try_from(events).unwrap_or(i64::MAX);
            put(settings, &format!("{below}capacity_events"), number(count, &place));
            let bytes = value::bytes(events.saturating_mul(EVENT_BYTES).max(CAPACITY_MIN));
            put(settings, &format!("{below}capacity"), plain(&bytes, &place));
        }
        if let Some(prop) = prop {
            self.carried(&prop, target, &format!("{below}capacity"));
        }
    }

    /// Translates the other keys of a file channel.
    fn file(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str, below: &str) {
        for name in ["checkpointDir", "dataDirs"] {
            if let Some(prop) = bag.take(name) {
                let where_to = format!("{}/channels", self.options.data_dir);
                let why = format!(
                    "the channel stores its files in the data directory of the agent: {where_to}"
                );
                self.add(Outcome::Ignored, &prop, why);
            }
        }
        let sealed = bag.below("encryption.");
        for prop in &sealed.props {
            let what = "the key store of Flume cannot be read: create a key file and set \
                        `encryption.key_file` of the channel";
            self.add(Outcome::Decision, prop, what);
        }
        if let Some(first) = sealed.props.first() {
            let file = "/etc/aqueduct/channel.keys";
            put(settings, &format!("{below}encryption.key_file"), plain(file, &first.place));
            self.carried(first, target, &format!("{below}encryption"));
        }
    }

    /// Without events in memory it is a file channel, without events on disk a memory channel.
    fn spill(&mut self, bag: &mut Bag, settings: &mut Settings, target: &str) {
        let place = bag.place.clone();
        let is_zero = |bag: &Bag, name: &str| bag.value(name, "1") == "0";
        if is_zero(bag, "memoryCapacity") {
            settings.set("type", plain("durable", &place));
            self.drop(
                bag,
                &["memoryCapacity", "byteCapacity", "avgEventSize"],
                "the channel keeps no events in memory",
            );
            self.capacity(bag, settings, ("overflowCapacity", "100000000"), target, "");
            return self.file(bag, settings, target, "");
        }
        let size = self.unsigned(bag, "avgEventSize", 500, target);
        let events = self.unsigned(bag, "memoryCapacity", 10_000, target);
        let memory = events.saturating_mul(size).max(CAPACITY_MIN);
        let memory = self.unsigned(bag, "byteCapacity", memory, target);
        if is_zero(bag, "overflowCapacity") {
            settings.set("type", plain("memory", &place));
            settings.set("capacity", plain(&value::bytes(memory), &place));
            let count = i64::try_from(events).unwrap_or(i64::MAX);
            settings.set("capacity_events", number(count, &place));
            return self.drop(
                bag,
                &["overflowCapacity", "checkpointDir", "dataDirs"],
                "no effect: with `overflowCapacity = 0` the channel keeps no events on disk",
            );
        }
        settings.set("memory", plain(&value::bytes(memory), &place));
        self.capacity(bag, settings, ("overflowCapacity", "100000000"), target, "disk.");
        self.file(bag, settings, target, "disk.");
    }

    /// A number that has its part in `memory`.
    fn unsigned(&mut self, bag: &mut Bag, name: &str, default: u64, target: &str) -> u64 {
        let Some(prop) = bag.take(name) else { return default };
        match value::unsigned(&prop.text.value) {
            Ok(count) => {
                self.carried(&prop, target, "memory");
                count
            }
            Err(problem) => {
                self.add(Outcome::Decision, &prop, problem);
                default
            }
        }
    }

    fn drop(&mut self, bag: &mut Bag, names: &[&str], why: &str) {
        for name in names {
            if let Some(prop) = bag.take(name) {
                self.add(Outcome::Ignored, &prop, why);
            }
        }
    }
}
