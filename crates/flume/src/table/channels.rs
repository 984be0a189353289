//! Channels.

use super::{As, Becomes, Key, Row, by, channel, ignored, set};

const NO_CHECKPOINT: &str = "no checkpoint: the agent reads the log when it starts";
const ONE_PUT: &str = "a transaction is one batch of the source";
const WAITS: &str = "a put waits until the channel has free capacity";
const BYTES: &str =
    "`capacity` in bytes, at least 64 MiB; without it, 1 KiB for each event of `capacity`";

pub(super) const ROWS: &[Row] = &[
    channel(
        "memory",
        &["org.apache.flume.channel.MemoryChannel"],
        Becomes::Kind("memory"),
        &[&[
            by("capacity", "100", "`capacity_events`; Flume's default if it is not above 0"),
            by("byteCapacity", "", BYTES),
            ignored("byteCapacityBufferPercentage", "20", "headers count as bytes"),
            ignored("transactionCapacity", "100", ONE_PUT),
            ignored("keep-alive", "3", WAITS),
        ]],
    ),
    channel(
        "file",
        &["org.apache.flume.channel.file.FileChannel"],
        Becomes::Kind("durable"),
        &[FILE],
    )
    .differs(
        "it is in the agent's data directory and starts empty: import Flume's events with \
         `aqueduct channel import-flume`, or let Flume drain its channel first",
    ),
    channel(
        "spillablememory",
        &["org.apache.flume.channel.SpillableMemoryChannel"],
        Becomes::Kind("spill"),
        &[
            &[
                by(
                    "memoryCapacity",
                    "10000",
                    "`memory`: events times `avgEventSize`, at least 64 MiB",
                ),
                by("byteCapacity", "", "`memory`"),
                by("avgEventSize", "500", "bytes for each event in `memory`"),
                by("overflowCapacity", "100000000", "`disk.capacity_events`, `disk.capacity`"),
                ignored("overflowTimeout", "3", "events go to disk when memory is full"),
                ignored(
                    "overflowDeactivationThreshold",
                    "5",
                    "events go to memory when it has free capacity",
                ),
                ignored("byteCapacityBufferPercentage", "20", "headers count as bytes"),
            ],
            FILE_WITHOUT_CAPACITY,
        ],
    )
    .differs("the part on disk starts empty: let Flume drain its channel first"),
    channel(
        "jdbc",
        &["org.apache.flume.channel.jdbc.JdbcChannel"],
        Becomes::Kind("durable"),
        &[&[
            by("maximum.capacity", "0", "`capacity_events`, and 1 KiB of `capacity` for each"),
            ignored("db.type", "DERBY", "the channel uses no database"),
            ignored("driver.*", "", "the channel uses no database"),
            ignored("db.*", "", "the channel uses no database"),
            ignored("connection.properties.file", "", "the channel uses no database"),
            ignored("create.*", "true", "the channel uses no database"),
            ignored("transaction.isolation", "READ_COMMITTED", "the channel uses no database"),
            ignored("maximum.connections", "10", "the channel uses no database"),
            ignored("sysprop.*", "", "the channel uses no database"),
        ]],
    )
    .differs(
        "events are in a log of the agent, not in a database; it starts empty: let Flume drain its \
         channel first",
    ),
    channel(
        "kafka",
        &["org.apache.flume.channel.kafka.KafkaChannel"],
        Becomes::Kind("kafka"),
        &[KAFKA],
    )
    .differs(
        "it has its own topic, named like Flume's with `-aqueduct`, which no other program may \
         read or write; a source `CHANNEL-topic` continues at the offsets of Flume's group and \
         reads Flume's topic; if no sink reads the channel, a sink `CHANNEL-topic` writes to \
         Flume's topic instead",
    ),
    channel(
        "pseudo",
        &["org.apache.flume.channel.PseudoTxnMemoryChannel"],
        Becomes::Kind("memory"),
        &[&[
            by("capacity", "50", "`capacity_events`; Flume's default if it is not above 0"),
            ignored("keep-alive", "3", WAITS),
        ]],
    ),
];

const FILE: &[Key] = &[
    by("capacity", "1000000", "`capacity_events`, and 1 KiB of `capacity` for each"),
    by("checkpointDir", "~/.flume/file-channel/checkpoint", NO_CHECKPOINT),
    by("dataDirs", "~/.flume/file-channel/data", "the agent's data directory"),
    ignored("useDualCheckpoints", "false", NO_CHECKPOINT),
    ignored("backupCheckpointDir", "", NO_CHECKPOINT),
    ignored("compressBackupCheckpoint", "false", NO_CHECKPOINT),
    ignored("checkpointInterval", "30000", NO_CHECKPOINT),
    ignored("checkpointOnClose", "true", NO_CHECKPOINT),
    ignored("checkpoint-timeout", "600", NO_CHECKPOINT),
    ignored("transactionCapacity", "10000", ONE_PUT),
    ignored("maxFileSize", "2146435071", "`segment_bytes` is 32 MiB"),
    ignored("minimumRequiredSpace", "524288000", "sinks drain a full disk"),
    ignored("keep-alive", "3", WAITS),
    ignored("write-timeout", "10", WAITS),
    ignored("fsyncPerTransaction", "true", "each put is synced, together with others"),
    ignored("fsyncInterval", "5", "each put is synced"),
    ignored("use-log-replay-v1", "false", NO_CHECKPOINT),
    ignored("use-fast-replay", "false", NO_CHECKPOINT),
    by("encryption.*", "", "the table `encryption` with a new key file: needs a decision"),
];

const ONE_PARTITION: &str = "the channel has one partition; for a sink `CHANNEL-topic`, the \
                             partition or the header with its number";
const FLUME_EVENTS: &str =
    "`parse_as_flume_event` of the source, `write_as_flume_event` of the sink";
const ALL_ACKNOWLEDGE: &str = "all replicas in sync acknowledge";
const BYTES_AND_TEXT: &str = "keys are text and bodies are bytes, as in Flume";

const KAFKA: &[Key] = &[
    by(
        "kafka.bootstrap.servers",
        "*",
        "`brokers`; `create_with_replicas` is their number, at most 3",
    ),
    by("brokerList", "", "`brokers`, without `kafka.bootstrap.servers`"),
    by(
        "kafka.topic",
        "flume-channel",
        "`topic`, with `-aqueduct`; also the topic of `CHANNEL-topic`",
    ),
    by("topic", "", "the same, without `kafka.topic`"),
    by("kafka.consumer.group.id", "flume", "`group` of the source `CHANNEL-topic`"),
    by("groupId", "", "the same, without `kafka.consumer.group.id`"),
    by("parseAsFlumeEvent", "true", FLUME_EVENTS),
    by("kafka.consumer.auto.offset.reset", "latest", "`start` of the source, else `earliest`"),
    by("readSmallestOffset", "false", "`start` of the source is `earliest`"),
    by("defaultPartitionId", "", ONE_PARTITION),
    by("partitionIdHeader", "", ONE_PARTITION),
    ignored("pollTimeout", "500", "an idle topic costs nothing"),
    ignored("kafka.pollTimeout", "500", "an idle topic costs nothing"),
    ignored("timeout", "100", "an idle topic costs nothing"),
    ignored("capacity", "", "Flume's channel has no capacity: set `capacity`"),
    ignored("transactionCapacity", "", ONE_PUT),
    ignored("keep-alive", "", WAITS),
    ignored("migrateZookeeperOffsets", "true", "offsets are Kafka's own"),
    by("zookeeperConnect", "", "ignored with `kafka.bootstrap.servers`"),
    set("kafka.producer.compression.type", "none", "compression", As::Text),
    ignored("kafka.producer.acks", "all", ALL_ACKNOWLEDGE),
    ignored("kafka.producer.retries", "", "puts are retried until their outcome is known"),
    ignored("kafka.producer.batch.size", "16384", "a group of puts is complete when it is sent"),
    ignored("kafka.producer.linger.ms", "", "a group of puts is complete when it is sent"),
    ignored("kafka.producer.key.serializer", "", BYTES_AND_TEXT),
    ignored("kafka.producer.value.serializer", "", BYTES_AND_TEXT),
    ignored("kafka.consumer.key.deserializer", "", BYTES_AND_TEXT),
    ignored("kafka.consumer.value.deserializer", "", BYTES_AND_TEXT),
    ignored("kafka.consumer.enable.auto.commit", "false", "offsets follow the channel"),
    ignored("kafka.consumer.max.poll.records", "500", "batches have their own limits"),
    by("kafka.producer.*", "", "`properties`, if the client has the same property"),
    by("kafka.consumer.*", "", "`properties` of `CHANNEL-topic`, in the same way"),
];

/// Keys of a file channel that a spillable one also has.
const FILE_WITHOUT_CAPACITY: &[Key] = FILE.split_at(1).1;
