//! The topics of a channel: checks and creates them, and deletes records.

use std::sync::Arc;
use std::thread::park_timeout;
use std::time::Duration;

use ::channel::remote::LogError;
use futures_executor::block_on;
use rdkafka::admin::{ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::Instant;

use super::admin::{Admin, options};
use super::config::Target;
use super::consumer::{ANSWER_WITHIN, Reader, failed};
use super::rights::{Right, is_denied};
use crate::client;

/// Pause before a request is repeated.
pub(super) const PAUSE: Duration = Duration::from_millis(200);

/// How long other brokers may not know a new topic.
const KNOWN_WITHIN: Duration = Duration::from_secs(3);

/// A required topic setting, and why.
struct Wanted<'a> {
    setting: &'a str,
    value: &'a str,
    why: &'a str,
}

const LOG: [Wanted<'static>; 3] = [
    Wanted { setting: "cleanup.policy", value: "delete", why: "compaction would delete events" },
    Wanted {
        setting: "retention.ms",
        value: "-1",
        why: "the brokers must not delete undelivered events",
    },
    Wanted {
        setting: "retention.bytes",
        value: "-1",
        why: "the brokers must not delete undelivered events",
    },
];

const STATE: [Wanted<'static>; 1] = [Wanted {
    setting: "cleanup.policy",
    value: "compact",
    why: "the brokers must keep only the newest state",
}];

/// A topic of the channel, and the setting that names it.
#[derive(Clone, Copy)]
struct Topic<'a> {
    setting: &'static str,
    name: &'a str,
    wanted: &'a [Wanted<'a>],
}

/// Returns both topics of a channel.
fn both(target: &Target) -> [Topic<'_>; 2] {
    let log = Topic { setting: "topic", name: &target.topic, wanted: &LOG };
    let kept = Topic { setting: "state_topic", name: &target.state_topic, wanted: &STATE };
    [log, kept]
}

fn is_one(Topic { setting, name, .. }: Topic<'_>, partitions: usize) -> Result<(), LogError> {
    if partitions == 1 {
        return Ok(());
    }
    Err(LogError::Unusable(format!(
        "topic `{name}` (`{setting}`) has {partitions} partitions, but the channel needs 1: \
         create another topic with 1 partition, or set a new name and `create_with_replicas` so \
         that the channel creates it"
    )))
}

fn missing(Topic { setting, name, wanted }: Topic<'_>) -> LogError {
    let settings = wanted.iter().map(|it| format!("--config {}={}", it.setting, it.value));
    let settings: Vec<_> = settings.collect();
    LogError::Unusable(format!(
        "topic `{name}` (`{setting}`) does not exist: create it with `kafka-topics.sh \
         --bootstrap-server HOST:PORT --create --topic {name} --partitions 1 --replication-factor \
         3 {}`, or set `create_with_replicas` so that the channel creates it",
        settings.join(" ")
    ))
}

/// Checks both topics, and creates missing ones if the settings allow it.
///
/// # Errors
/// A topic is missing or misconfigured, a permission is missing, or no broker answers.
pub(super) fn prepare(
    admin: &Admin,
    (frames, state): (&mut Reader, &mut Reader),
    target: &Target,
) -> Result<(), LogError> {
    for (topic, reader) in both(target).into_iter().zip([&*frames, &*state]) {
        let partitions = match partitions(reader, topic.name)? {
            Some(partitions) => partitions,
            None => make(admin, reader, topic, target.replicas)?,
        };
        is_one(topic, partitions)?;
        check(admin, topic)?;
    }
    // Delete records that are already deleted: test the permission before the topic is full.
    let (low, _) = frames.bounds()?;
    delete_below(admin, &target.topic, low)
}

/// Checks both topics as far as possible without ownership: creates and reads nothing, and keeps
/// another owner.
///
/// # Errors
/// Same as [`prepare`].
pub(super) fn inspect(target: &Arc<Target>) -> Result<String, LogError> {
    let admin = Admin::new(target.clone());
    let mut found = Vec::new();
    for topic in both(target) {
        let mut reader = Reader::new(target, topic.name)?;
        let name = topic.name;
        match (partitions(&reader, name)?, target.replicas) {
            (Some(partitions), _) => {
                is_one(topic, partitions)?;
                check(&admin, topic)?;
                reader.bounds()?;
                found.push(format!("topic `{name}` has the required settings"));
            }
            (None, Some(_)) => found
                .push(format!("topic `{name}` does not exist; the channel creates it at start")),
            (None, None) => return Err(missing(topic)),
        }
    }
    let brokers = target.consumer.get("bootstrap.servers").unwrap_or_default();
    Ok(format!("{} at {brokers}", found.join(", ")))
}

/// Returns the number of partitions; `None` if the topic does not exist.
fn partitions(reader: &Reader, topic: &str) -> Result<Option<usize>, LogError> {
    let (asked, right) = ("cannot get the metadata of a topic", Right::on_topic("Read", topic));
    let metadata = reader.consumer.fetch_metadata(Some(topic), ANSWER_WITHIN);
    let metadata = metadata.map_err(|error| unanswered(reader, &error))?;
    let Some(found) = metadata.topics().first() else { return Ok(None) };
    match found.error().map(Code::from) {
        None => Ok(Some(found.partitions().len())),
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => Ok(None),
        Some(code) => Err(right.failed(asked, &KafkaError::MetadataFetch(code))),
    }
}

/// Returns the error if the brokers do not answer the first request.
fn unanswered(reader: &Reader, error: &KafkaError) -> LogError {
    client::poll_events(&reader.consumer);
    let said = reader.consumer.context().broker_failure.last();
    let text = format!("no broker answers: check `brokers` and the network: {error}{said}");
    LogError::Failed(std::io::Error::other(text))
}

fn make(
    admin: &Admin,
    reader: &Reader,
    topic: Topic<'_>,
    replicas: Option<i32>,
) -> Result<usize, LogError> {
    let Topic { setting, name, wanted } = topic;
    let replicas = replicas.ok_or_else(|| missing(topic))?;
    let mut new = NewTopic::new(name, 1, TopicReplication::Fixed(replicas));
    for Wanted { setting, value, .. } in wanted {
        new = new.set(setting, value);
    }
    if replicas > 1 {
        // Acknowledged records are on two brokers, and one broker may be down.
        new = new.set("min.insync.replicas", "2");
    }
    let (asked, right) = ("cannot create a topic", Right::on_topic("Create", name));
    let made = block_on(admin.client()?.create_topics([&new], &options()));
    match made.map_err(|error| failed(asked, &error))?.pop() {
        None | Some(Ok(_) | Err((_, Code::TopicAlreadyExists))) => {}
        Some(Err((_, code))) if is_denied(code) => {
            return Err(right.failed(asked, &KafkaError::AdminOp(code)));
        }
        Some(Err((_, code))) => {
            return Err(LogError::Unusable(format!(
                "cannot create topic `{name}` (`{setting}`) with {replicas} replicas \
                 (`create_with_replicas`): {code}; lower `create_with_replicas` to the number of \
                 brokers, or create the topic yourself"
            )));
        }
    }
    let until = Instant::now() + ANSWER_WITHIN;
    loop {
        if let Some(partitions) = partitions(reader, name)?.filter(|partitions| *partitions > 0) {
            return Ok(partitions);
        }
        if Instant::now() >= until {
            return Err(failed(asked, &KafkaError::MetadataFetch(Code::UnknownTopicOrPartition)));
        }
        park_timeout(PAUSE);
    }
}

fn check(admin: &Admin, Topic { setting, name, wanted }: Topic<'_>) -> Result<(), LogError> {
    let found = settings_of(admin, name)?;
    for Wanted { setting: property, value, why } in wanted {
        let set = found.get(property).and_then(|entry| entry.value.as_deref()).unwrap_or_default();
        if set != *value {
            return Err(LogError::Unusable(format!(
                "topic `{name}` (`{setting}`) has `{property}={set}`, but the channel needs \
                 `{value}`: {why}; set it with `kafka-configs.sh --bootstrap-server HOST:PORT \
                 --alter --topic {name} --add-config {property}={value}`"
            )));
        }
    }
    Ok(())
}

/// Returns the settings of a topic. If a broker rejects the request, the client returns an empty
/// result: the broker does not know the topic yet, or a permission is missing.
fn settings_of(admin: &Admin, topic: &str) -> Result<ConfigResource, LogError> {
    let (what, right) = ("cannot get the settings of a topic", "DescribeConfigs");
    let right = Right::on_topic(right, topic);
    let until = Instant::now() + KNOWN_WITHIN;
    loop {
        let asked = [ResourceSpecifier::Topic(topic)];
        let described = block_on(admin.client()?.describe_configs(&asked, &options()));
        match described.map_err(|error| right.failed(what, &error))?.pop() {
            Some(Ok(found)) if !found.entries.is_empty() => return Ok(found),
            Some(Err(code)) => return Err(right.failed(what, &KafkaError::AdminOp(code))),
            _ if Instant::now() >= until => return Err(right.lacks(what)),
            _ => park_timeout(PAUSE),
        }
    }
}

/// Deletes the records below an offset.
///
/// # Errors
/// They may still exist.
pub(super) fn delete_below(admin: &Admin, topic: &str, below: i64) -> Result<(), LogError> {
    let (asked, right) = ("cannot delete delivered records", Right::on_topic("Delete", topic));
    let failed = |error: &KafkaError| right.failed(asked, error);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(below)).map_err(|error| failed(&error))?;
    let deleted = block_on(admin.client()?.delete_records(&list, &options()));
    let deleted = deleted.map_err(|error| failed(&error))?;
    for element in deleted.elements() {
        element.error().map_err(|error| failed(&error))?;
    }
    Ok(())
}
