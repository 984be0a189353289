//! Kafka's source and sink.

use super::{As, Becomes, Key, Row, by, ignored, same, set};

const BROKERS: Key = by("kafka.bootstrap.servers", "*", "`brokers`");
const HEADERS: Key = by("header.*", "", "`headers`");
const BATCH: &str = "a batch is sent as it arrived";
const TEXT_AND_BYTES: &str = "keys are text and bodies are bytes, as in Flume";

pub(super) const ROWS: &[Row] = &[
    Row {
        role: "source",
        name: "kafka",
        classes: &["org.apache.flume.source.kafka.KafkaSource"],
        becomes: Becomes::Kind("kafka"),
        differs: "it starts at the offsets of the group and then continues at the positions in its \
                  channels; it reads only committed transactions",
        keys: &[&[
            BROKERS,
            by("kafka.topics", "", "`topics`"),
            by("kafka.topics.regex", "", "`topics`, as a pattern: POSIX extended, not Java syntax"),
            by("topic", "", "`topics`"),
            by("kafka.consumer.group.id", "flume", "`group`"),
            by("groupId", "", "`group`, without `kafka.consumer.group.id`"),
            set("batchSize", "1000", "batch_events", As::Count),
            set("batchDurationMillis", "1000", "batch_wait", As::Millis),
            ignored("backoffSleepIncrement", "1000", "an idle topic costs nothing"),
            ignored("maxBackoffSleep", "5000", "an idle topic costs nothing"),
            same("useFlumeEventFormat", "false", "parse_as_flume_event", As::Flag),
            by("setTopicHeader", "true", "`topic_header`; `false`: none"),
            by("topicHeader", "topic", "`topic_header`"),
            HEADERS,
            ignored("migrateZookeeperOffsets", "true", "offsets are Kafka's own"),
            by("zookeeperConnect", "", "ignored with `kafka.bootstrap.servers`"),
            by("kafka.consumer.auto.offset.reset", "latest", "`start`"),
            same("kafka.consumer.group.instance.id", "", "instance", As::Text),
            ignored("kafka.consumer.key.deserializer", "", TEXT_AND_BYTES),
            ignored("kafka.consumer.value.deserializer", "", TEXT_AND_BYTES),
            ignored("kafka.consumer.enable.auto.commit", "false", "offsets follow the channels"),
            ignored("kafka.consumer.max.poll.records", "500", "`batch_events` is the limit"),
            by("kafka.consumer.*", "", "`properties`, if the client has the same property"),
        ]],
    },
    Row {
        role: "sink",
        name: "kafka",
        classes: &["org.apache.flume.sink.kafka.KafkaSink"],
        becomes: Becomes::Kind("kafka"),
        differs: "all replicas in sync acknowledge a message (`acks=all`), and a broken connection \
                  does not repeat it",
        keys: &[&[
            BROKERS,
            by("brokerList", "", "`brokers`, without `kafka.bootstrap.servers`"),
            by("kafka.topic", "default-flume-topic", "`topic`; without `%{…}`"),
            by("topic", "", "`topic`, without `kafka.topic`"),
            by("allowTopicOverride", "true", "`topic_header`; `false`: none"),
            by("topicHeader", "topic", "`topic_header`"),
            ignored("flumeBatchSize", "100", BATCH),
            ignored("batchSize", "100", BATCH),
            ignored("serializer.class", "", TEXT_AND_BYTES),
            same("useFlumeEventFormat", "false", "write_as_flume_event", As::Flag),
            same("defaultPartitionId", "", "partition", As::Count),
            same("partitionIdHeader", "", "partition_header", As::Text),
            same("timestampHeader", "", "timestamp_header", As::Text),
            HEADERS,
            ignored("requiredAcks", "1", "all replicas in sync acknowledge"),
            ignored("kafka.producer.acks", "1", "all replicas in sync acknowledge"),
            ignored("kafka.producer.enable.idempotence", "", "always enabled"),
            ignored("kafka.producer.batch.size", "16384", "a request has up to 1 MB"),
            ignored("kafka.producer.retries", "", "`timeout` is the limit"),
            ignored("kafka.producer.key.serializer", "", TEXT_AND_BYTES),
            ignored("kafka.producer.value.serializer", "", TEXT_AND_BYTES),
            by(
                "kafka.producer.transactional.id",
                "",
                "`exactly_once`; ids consist of the sink name and the origin of the batch",
            ),
            same("kafka.producer.compression.type", "none", "compression", As::OneOf(COMPRESSION)),
            same("kafka.producer.linger.ms", "", "linger", As::Millis),
            same("kafka.producer.delivery.timeout.ms", "120000", "timeout", As::Millis),
            same("kafka.producer.max.request.size", "", "message_bytes_max", As::Bytes),
            by("kafka.producer.*", "", "`properties`, if the client has the same property"),
        ]],
    },
];

const COMPRESSION: &[(&str, &str)] =
    &[("none", "none"), ("gzip", "gzip"), ("snappy", "snappy"), ("lz4", "lz4"), ("zstd", "zstd")];
