//! Flume's Kafka channel: a channel over a separate topic, and its connection to Flume's topic.
//!
//! ```text
//!   sources ─► channel c, topic T-aqueduct ─► sinks       the buffer, as before
//!   T ─► source c-topic ─► channel c                      Flume's remaining events, and
//!                                                         events of other producers
//!   channel c ─► sink c-topic ─► T                        if no sink takes from the channel:
//!                                                         other consumers read the topic
//! ```
//!
//! The source is a member of Flume's group, so it starts at Flume's committed offsets.

use pipeline::Settings;
use pipeline::settings::{Place, Value};

use super::{Made, Translator, flag, list, number, plain, text_of};
use crate::agent::{Bag, Prop};
use crate::report::Outcome;
use crate::table::As;

/// Replicas of the topics, if as many brokers are named.
const REPLICAS: usize = 3;

impl Translator<'_> {
    /// A channel with sinks: events in Flume's topic go into it, too.
    pub(super) fn read_topic(
        &mut self,
        name: &str,
        bag: &mut Bag,
        settings: &mut Settings,
    ) -> Made {
        let mut made = self.joined(name, bag, settings);
        let target = format!("sources.{}", made.name);
        let Made { place, settings: source, .. } = &mut made;
        let topic = self.topic_of(name, bag, settings, &target, "topics");
        source.set("topics", list([&*topic], place));
        let group = self.first(bag, &target, &["kafka.consumer.group.id", "groupId"], "group");
        source.set("group", group.as_ref().map_or_else(|| plain("flume", place), text_of));
        let reset = bag.take("kafka.consumer.auto.offset.reset");
        let smallest = bag.take("readSmallestOffset");
        // Unread events of a group are not delivered: Flume's default would lose them.
        let start = reset.as_ref().map_or_else(|| plain("earliest", place), text_of);
        source.set("start", start);
        for prop in reset.iter().chain(&smallest) {
            self.carried(prop, &target, "start");
        }
        // A channel of Flume returns events unchanged.
        source.set("topic_header", plain("", place));
        self.form(bag, source, &target, "parse_as_flume_event");
        for name in ["defaultPartitionId", "partitionIdHeader"] {
            if let Some(prop) = bag.take(name) {
                self.add(
                    Outcome::Ignored,
                    &prop,
                    "no effect: the channel has one partition; remove the key",
                );
            }
        }
        self.properties(bag, source, &target, "kafka.consumer.");
        source.set("channels", list([name], place));
        self.plain_text(source, place, &bag.path);
        made
    }

    /// A channel without sinks: its events go to Flume's topic, for other consumers.
    pub(super) fn write_topic(
        &mut self,
        name: &str,
        bag: &mut Bag,
        settings: &mut Settings,
    ) -> Made {
        let mut made = self.joined(name, bag, settings);
        let target = format!("sinks.{}", made.name);
        let Made { place, settings: sink, .. } = &mut made;
        let topic = self.topic_of(name, bag, settings, &target, "topic");
        sink.set("topic", plain(&topic, place));
        self.form(bag, sink, &target, "write_as_flume_event");
        sink.set("exactly_once", flag(true, place));
        for (key, how, setting) in [
            ("defaultPartitionId", As::Count, "partition"),
            ("partitionIdHeader", As::Text, "partition_header"),
        ] {
            if let Some(prop) = bag.take(key) {
                self.put(&prop, how, sink, setting, &target);
            }
        }
        let reads = ["kafka.consumer.group.id", "groupId", "readSmallestOffset"];
        let mut reading: Vec<Prop> = reads.iter().filter_map(|key| bag.take(key)).collect();
        reading.extend(bag.below("kafka.consumer.").props);
        for prop in &reading {
            self.add(Outcome::Ignored, prop, "no effect: no source reads the topic of Flume");
        }
        share(settings, sink, "properties");
        share(settings, sink, "secret_properties");
        sink.set("channel", plain(name, place));
        self.plain_text(sink, place, &bag.path);
        made
    }

    /// Translates the channel's brokers and the settings that it shares with the other component.
    fn joined(&mut self, name: &str, bag: &mut Bag, settings: &mut Settings) -> Made {
        let (target, place) = (format!("channels.{name}"), bag.place.clone());
        self.brokers(bag, settings, &target, &["brokerList"]);
        self.properties(bag, settings, &target, "kafka.producer.");
        self.plain_text(settings, &place, &bag.path);
        let mut other = Settings::at(Value::Table(Vec::new()), place.clone());
        other.set("type", plain("kafka", &place));
        share(settings, &mut other, "brokers");
        self.replicas(bag, settings, &place);
        Made { name: format!("{name}-topic"), place, settings: other }
    }

    /// Translates whether the channel creates its topics.
    fn replicas(&mut self, bag: &Bag, settings: &mut Settings, place: &Place) {
        let brokers = match settings.get("brokers").map(|it| &it.value) {
            Some(Value::List(all)) => all.len(),
            _ => return,
        };
        let replicas = brokers.min(REPLICAS);
        settings.set("create_with_replicas", number(replicas as i64, place));
        if replicas < REPLICAS {
            let text = format!(
                "the channel creates topics with {replicas} replicas, because {brokers} brokers \
                 are listed: list three in `kafka.bootstrap.servers`, or create the topics \
                 yourself as in docs/components/channels/kafka.md"
            );
            let key = format!("{}.kafka.topic", bag.path);
            self.report.add(Outcome::Differs, place, &key, text);
        }
    }

    /// Flume's topic; the channel gets one that is named like it.
    fn topic_of(
        &mut self,
        name: &str,
        bag: &mut Bag,
        settings: &mut Settings,
        target: &str,
        setting: &str,
    ) -> String {
        let prop = self.first(bag, target, &["kafka.topic", "topic"], setting);
        let topic = prop.as_ref().map_or("flume-channel", |prop| &prop.text.value).to_owned();
        let place = prop.as_ref().map_or(&bag.place, |prop| &prop.place).clone();
        settings.set("topic", plain(&format!("{topic}-aqueduct"), &place));
        if let Some(prop) = prop {
            self.carried(&prop, &format!("channels.{name}"), "topic");
        }
        topic
    }

    /// Translates whether messages are Flume's events.
    fn form(&mut self, bag: &mut Bag, other: &mut Settings, target: &str, setting: &str) {
        let prop = bag.take("parseAsFlumeEvent");
        let place = prop.as_ref().map_or(&bag.place, |prop| &prop.place).clone();
        other.set(setting, flag(prop.as_ref().is_none_or(is_true), &place));
        if let Some(prop) = prop {
            self.carried(&prop, target, setting);
        }
    }
}

/// Copies a setting to the other component.
fn share(settings: &Settings, other: &mut Settings, setting: &str) {
    if let Some(value) = settings.get(setting) {
        other.set(setting, value.clone());
    }
}

fn is_true(prop: &Prop) -> bool {
    prop.text.value.trim().eq_ignore_ascii_case("true")
}
