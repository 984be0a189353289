//! The other sinks that have a counterpart.

use super::keys::{CLIENT_TLS, KERBEROS, TLS_SPOKEN};
use super::{As, Becomes, Key, Row, Use, by, decision, ignored, key, same, set, sink};

const BATCH: &str = "a batch is sent as it arrived";

/// Keys of a client of Flume's RPC, by Avro and by Thrift.
const RPC: &[Key] = &[
    by("hostname", "*", "`address`, with the port"),
    by("port", "*", "`address`, with `hostname`"),
    set("batch-size", "100", "events_max", As::Count),
    set("connect-timeout", "20000", "connect_timeout", As::Millis),
    set("request-timeout", "20000", "timeout", As::Millis),
    by("reset-connection-interval", "", "`reconnect_after`; 0 means never"),
];

pub(super) const ROWS: &[Row] = &[
    sink(
        "logger",
        &["org.apache.flume.sink.LoggerSink"],
        Becomes::Kind("logger"),
        &[&[set("maxBytesToLog", "16", "body_max", As::Bytes)]],
    ),
    sink(
        "null",
        &["org.apache.flume.sink.NullSink"],
        Becomes::Kind("discard"),
        &[&[ignored("batchSize", "100", BATCH)]],
    ),
    sink(
        "avro",
        &["org.apache.flume.sink.AvroSink"],
        Becomes::Kind("avro"),
        &[
            RPC,
            &[
                same("compression-type", "none", "compression", As::OneOf(COMPRESSION)),
                same("compression-level", "6", "compression_level", As::Count),
                ignored("maxIoWorkers", "", "connections need no threads"),
            ],
            CLIENT_TLS,
            TLS_SPOKEN,
        ],
    ),
    sink(
        "thrift",
        &["org.apache.flume.sink.ThriftSink"],
        Becomes::Kind("thrift"),
        &[
            RPC,
            &[
                by("connection-reset-interval", "", "`reconnect_after`; 0 means never"),
                ignored("maxConnections", "5", "the client opens connections as needed"),
                same("protocol", "compact", "protocol", As::OneOf(PROTOCOL)),
            ],
            CLIENT_TLS,
            TLS_SPOKEN,
            KERBEROS,
        ],
    ),
    sink(
        "file_roll",
        &["org.apache.flume.sink.RollingFileSink"],
        Becomes::Kind("file_roll"),
        &[&[
            by("sink.directory", "*", "`directory`; relative paths start at the working directory"),
            same("sink.rollInterval", "30", "roll_interval", As::Seconds),
            by(
                "sink.pathManager",
                "DEFAULT",
                "file names contain milliseconds since 1970, as with `DEFAULT`",
            ),
            same("sink.pathManager.prefix", "", "prefix", As::Text),
            same("sink.pathManager.extension", "", "extension", As::Text),
            by("sink.serializer", "TEXT", "`encoder`"),
            by("sink.serializer.*", "", "settings of `encoder`"),
            ignored("sink.batchSize", "100", BATCH),
            ignored("batchSize", "100", BATCH),
        ]],
    ),
    sink(
        "http",
        &["org.apache.flume.sink.http.HttpSink"],
        Becomes::Kind("http"),
        &[&[
            set("endpoint", "*", "url", As::Text),
            ignored("connectTimeout", "5000", "`timeout` includes connecting"),
            set("requestTimeout", "5000", "timeout", As::Millis),
            set("contentTypeHeader", "text/plain", "content_type", As::Text),
            set("acceptHeader", "text/plain", "headers.accept", As::Text),
            key("defaultBackoff", "true", DEFAULT_RULE),
            key("defaultRollback", "true", DEFAULT_RULE),
            ignored("defaultIncrementMetrics", "false", "all delivered events are counted"),
            decision("backoff.*", "", RULES),
            decision("rollback.*", "", RULES),
            ignored("incrementMetrics.*", "", "all delivered events are counted"),
            ignored("batchSize", "1", "each event is one request"),
        ]],
    )
    .differs("the meaning of a response is fixed: see the page of the sink"),
];

const RULES: &str = "the meaning of a response is fixed: 4xx for a bad event goes to the dead \
                     letters, others are retried";
const DEFAULT_RULE: Use = Use::Decision(RULES);
const COMPRESSION: &[(&str, &str)] = &[("none", "none"), ("deflate", "deflate")];
const PROTOCOL: &[(&str, &str)] = &[("compact", "compact"), ("binary", "binary")];
