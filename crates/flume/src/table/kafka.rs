//! Kafka's source and sink.

use super::{As, Becomes, Key, Row, by, decision, ignored, same, set};

const BROKERS: Key = by("kafka.bootstrap.servers", "*", "`brokers`");
const HEADERS: Key = by("header.*", "", "`headers`");
const ZOOKEEPER: &str = "ZooKeeper is not asked: name the brokers in `kafka.bootstrap.servers`";
const BATCH: &str = "a batch is handed on as it came";
const TEXT_AND_BYTES: &str = "keys are text and bodies are bytes, as in Flume";

pub(super) const ROWS: &[Row] = &[
    Row {
        role: "source",
        name: "kafka",
        classes: &["org.apache.flume.source.kafka.KafkaSource"],
        becomes: Becomes::Kind("kafka"),
        differs: "it goes on at the offsets of the group, and from then on at the positions in its \
                  channels; of transactions only what is committed is read",
        keys: &[&[
            BROKERS,
            by("kafka.topics", "", "`topics`"),
            by("kafka.topics.regex", "", "`topics`, as a pattern: extended POSIX, not Java's"),
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
            decision("zookeeperConnect", "", ZOOKEEPER),
            by("kafka.consumer.auto.offset.reset", "latest", "`start`"),
            same("kafka.consumer.group.instance.id", "", "instance", As::Text),
            ignored("kafka.consumer.key.deserializer", "", TEXT_AND_BYTES),
            ignored("kafka.consumer.value.deserializer", "", TEXT_AND_BYTES),
            ignored("kafka.consumer.enable.auto.commit", "false", "offsets follow the channels"),
            ignored("kafka.consumer.max.poll.records", "500", "`batch_events` is the limit"),
            by("kafka.consumer.*", "", "`properties`, where the client has the same property"),
        ]],
    },
    Row {
        role: "sink",
        name: "kafka",
        classes: &["org.apache.flume.sink.kafka.KafkaSink"],
        becomes: Becomes::Kind("kafka"),
        differs: "a message counts when all replicas in sync have it (`acks=all`), and is in the \
                  topic once after a broken connection",
        keys: &[&[
            BROKERS,
            by("brokerList", "", "`brokers`, without `kafka.bootstrap.servers`"),
            by("kafka.topic", "default-flume-topic", "`topic`; without `%{…}`"),
            by("topic", "", "`topic`, without `kafka.topic`"),
            by("allowTopicOverride", "true", "`topic_header`; `false`: none"),
            by("topicHeader", "topic", "`topic_header`"),
            ignored("flumeBatchSize", "100", BATCH),
            ignored("batchSize", "100", BATCH),
            same("useFlumeEventFormat", "false", "write_as_flume_event", As::Flag),
            same("defaultPartitionId", "", "partition", As::Count),
            same("partitionIdHeader", "", "partition_header", As::Text),
            same("timestampHeader", "", "timestamp_header", As::Text),
            HEADERS,
            ignored("requiredAcks", "1", "all replicas in sync acknowledge"),
            ignored("kafka.producer.acks", "1", "all replicas in sync acknowledge"),
            ignored("kafka.producer.enable.idempotence", "", "it is always on"),
            ignored("kafka.producer.batch.size", "16384", "a request has up to 1 MB"),
            ignored("kafka.producer.retries", "", "`timeout` is the limit"),
            ignored("kafka.producer.key.serializer", "", TEXT_AND_BYTES),
            ignored("kafka.producer.value.serializer", "", TEXT_AND_BYTES),
            by(
                "kafka.producer.transactional.id",
                "",
                "`exactly_once`; ids are made of the names of sinks and the origins of batches",
            ),
            same("kafka.producer.compression.type", "none", "compression", As::OneOf(COMPRESSION)),
            same("kafka.producer.linger.ms", "", "linger", As::Millis),
            same("kafka.producer.delivery.timeout.ms", "120000", "timeout", As::Millis),
            same("kafka.producer.max.request.size", "", "message_bytes_max", As::Bytes),
            by("kafka.producer.*", "", "`properties`, where the client has the same property"),
        ]],
    },
];

const COMPRESSION: &[(&str, &str)] =
    &[("none", "none"), ("gzip", "gzip"), ("snappy", "snappy"), ("lz4", "lz4"), ("zstd", "zstd")];
