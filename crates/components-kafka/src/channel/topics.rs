//! The topics of a channel: whether they are as they have to be, making them, deleting records.

use std::thread::park_timeout;
use std::time::Duration;

use ::channel::remote::LogError;
use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::Instant;

use super::config::Target;
use super::consumer::{ANSWER_WITHIN, Context, Reader, failed};

/// Until something is asked for again.
pub(super) const PAUSE: Duration = Duration::from_millis(200);

/// How a topic has to be set, and why.
struct Wanted<'a> {
    setting: &'a str,
    value: &'a str,
    why: &'a str,
}

const LOG: [Wanted<'static>; 3] = [
    Wanted { setting: "cleanup.policy", value: "delete", why: "compaction would take events away" },
    Wanted { setting: "retention.ms", value: "-1", why: "old events may not be delivered yet" },
    Wanted { setting: "retention.bytes", value: "-1", why: "events may not be delivered yet" },
];

const STATE: [Wanted<'static>; 1] = [Wanted {
    setting: "cleanup.policy",
    value: "compact",
    why: "the newest state has to stay, and old ones to go",
}];

fn options() -> AdminOptions {
    let limit = Some(ANSWER_WITHIN);
    AdminOptions::new().request_timeout(limit).operation_timeout(limit)
}

/// Checks both topics; makes what is not there if that is wanted.
///
/// # Errors
/// A topic is not there, or not as it has to be; or no broker answers.
pub(super) fn prepare(
    admin: &AdminClient<Context>,
    (frames, state): (&Reader, &Reader),
    target: &Target,
) -> Result<(), LogError> {
    for (topic, reader, wanted) in
        [(&target.topic, frames, &LOG[..]), (&target.state_topic, state, &STATE[..])]
    {
        let partitions = match partitions(reader, topic)? {
            Some(partitions) => partitions,
            None => make(admin, reader, topic, wanted, target.replicas)?,
        };
        if partitions != 1 {
            return Err(LogError::Unusable(format!(
                "topic `{topic}` has {partitions} partitions, and the channel needs one with one: \
                 make a topic with `--partitions 1`, or let the channel make it \
                 (`create_with_replicas`)"
            )));
        }
        check(admin, topic, wanted)?;
    }
    Ok(())
}

/// How many partitions a topic has; `None` if it is not there.
fn partitions(reader: &Reader, topic: &str) -> Result<Option<usize>, LogError> {
    let asked = "a topic was asked for";
    let metadata = reader.consumer.fetch_metadata(Some(topic), ANSWER_WITHIN);
    let metadata = metadata.map_err(|error| failed(asked, &error))?;
    let Some(found) = metadata.topics().first() else { return Ok(None) };
    match found.error().map(Code::from) {
        None => Ok(Some(found.partitions().len())),
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => Ok(None),
        Some(code) => Err(failed(asked, &KafkaError::MetadataFetch(code))),
    }
}

fn make(
    admin: &AdminClient<Context>,
    reader: &Reader,
    topic: &str,
    wanted: &[Wanted<'_>],
    replicas: Option<i32>,
) -> Result<usize, LogError> {
    let Some(replicas) = replicas else {
        let settings = wanted.iter().map(|it| format!("--config {}={}", it.setting, it.value));
        let settings: Vec<_> = settings.collect();
        return Err(LogError::Unusable(format!(
            "topic `{topic}` is not there: make it with `--partitions 1 {}`, or let the channel \
             make it (`create_with_replicas`)",
            settings.join(" ")
        )));
    };
    let mut new = NewTopic::new(topic, 1, TopicReplication::Fixed(replicas));
    for Wanted { setting, value, .. } in wanted {
        new = new.set(setting, value);
    }
    if replicas > 1 {
        // One may be away, and what is acknowledged is on two.
        new = new.set("min.insync.replicas", "2");
    }
    let asked = "a topic was to be made";
    let made = block_on(admin.create_topics([&new], &options()));
    match made.map_err(|error| failed(asked, &error))?.pop() {
        None | Some(Ok(_) | Err((_, Code::TopicAlreadyExists))) => {}
        Some(Err((_, code))) => {
            return Err(LogError::Unusable(format!(
                "topic `{topic}` cannot be made with {replicas} replicas \
                 (`create_with_replicas`): {code}"
            )));
        }
    }
    let until = Instant::now() + ANSWER_WITHIN;
    loop {
        if let Some(partitions) = partitions(reader, topic)?.filter(|partitions| *partitions > 0) {
            return Ok(partitions);
        }
        if Instant::now() >= until {
            return Err(failed(asked, &KafkaError::MetadataFetch(Code::UnknownTopicOrPartition)));
        }
        park_timeout(PAUSE);
    }
}

fn check(admin: &AdminClient<Context>, topic: &str, wanted: &[Wanted<'_>]) -> Result<(), LogError> {
    let asked = "the settings of a topic were asked for";
    let described =
        block_on(admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options()));
    let found = match described.map_err(|error| failed(asked, &error))?.pop() {
        Some(Ok(found)) => found,
        Some(Err(code)) => return Err(failed(asked, &KafkaError::AdminOp(code))),
        None => return Err(failed(asked, &KafkaError::AdminOp(Code::Fail))),
    };
    for Wanted { setting, value, why } in wanted {
        let set = found.get(setting).and_then(|entry| entry.value.as_deref()).unwrap_or_default();
        if set != *value {
            return Err(LogError::Unusable(format!(
                "topic `{topic}` has `{setting}={set}`, and the channel needs `{value}`: {why}; \
                 set it with `kafka-configs.sh --alter --topic {topic} --add-config \
                 {setting}={value}`"
            )));
        }
    }
    Ok(())
}

/// Deletes the records below an offset.
///
/// # Errors
/// They may be there still.
pub(super) fn delete_below(
    admin: &AdminClient<Context>,
    topic: &str,
    below: i64,
) -> Result<(), LogError> {
    let asked = "records were to be deleted";
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(below))
        .map_err(|error| failed(asked, &error))?;
    let deleted = block_on(admin.delete_records(&list, &options()));
    let deleted = deleted.map_err(|error| failed(asked, &error))?;
    for element in deleted.elements() {
        element.error().map_err(|error| failed(asked, &error))?;
    }
    Ok(())
}
