//! Sources.

use super::keys::{BATCH_100, BIND, KERBEROS, POLLED, SERVER_TLS, TLS_SPOKEN};
use super::{As, Becomes, Key, Row, by, decision, ignored, same, set, source};

const THREADS: &str = "connections need no threads";
const SOCKETS: &str = "buffers grow with the input";

pub(super) const ROWS: &[Row] = &[
    source(
        "avro",
        &["org.apache.flume.source.AvroSource"],
        Becomes::Kind("avro"),
        &[
            BIND,
            &[
                set("compression-type", "none", "compression", As::OneOf(COMPRESSION)),
                ignored("threads", "", THREADS),
                by("ipFilter", "false", "`true` sets `ip_filter`"),
                by("ipFilterRules", "", "`ip_filter`, if `ipFilter` is true"),
            ],
            SERVER_TLS,
            TLS_SPOKEN,
        ],
    ),
    source(
        "thrift",
        &["org.apache.flume.source.ThriftSource"],
        Becomes::Kind("thrift"),
        &[
            BIND,
            &[
                same("protocol", "compact", "protocol", As::OneOf(PROTOCOL)),
                ignored("threads", "0", THREADS),
            ],
            SERVER_TLS,
            TLS_SPOKEN,
            KERBEROS,
        ],
    ),
    source(
        "exec",
        &["org.apache.flume.source.ExecSource"],
        Becomes::Kind("exec"),
        &[&[
            set("command", "*", "command", As::Text),
            same("shell", "", "shell", As::Text),
            same("restart", "false", "restart", As::Flag),
            same("restartThrottle", "10000", "restart_throttle", As::Millis),
            same("logStdErr", "false", "log_stderr", As::Flag),
            set("batchSize", "20", "batch_events", As::Count),
            set("batchTimeout", "3000", "batch_timeout", As::Millis),
            by("charset", "UTF-8", "bodies keep their bytes, as in Flume; UTF-16 needs a decision"),
        ]],
    ),
    source(
        "spooldir",
        &["org.apache.flume.source.SpoolDirectorySource"],
        Becomes::Kind("spool_dir"),
        &[SPOOLDIR, BATCH_100],
    )
    .differs(
        "files that Flume completed keep their suffix and are skipped; a file that Flume read in \
         part is read from its beginning",
    ),
    source(
        "taildir",
        &["org.apache.flume.source.taildir.TaildirSource"],
        Becomes::Kind("tail_dir"),
        &[TAILDIR, POLLED],
    ),
    source(
        "netcat",
        &["org.apache.flume.source.NetcatSource"],
        Becomes::Kind("netcat"),
        &[
            BIND,
            &[
                by("max-line-length", "512", "`framing.chars_max`: characters, with the line end"),
                same("ack-every-event", "true", "ack_every_event", As::Flag),
                by("encoding", "UTF-8", "`charset`; without it bodies keep their bytes"),
            ],
        ],
    ),
    source(
        "netcatudp",
        &["org.apache.flume.source.NetcatUdpSource"],
        Becomes::Kind("netcat_udp"),
        &[
            BIND,
            &[
                same("remoteAddress", "", "client_header", As::Text),
                same("remoteAddressHeader", "", "client_header", As::Text),
            ],
        ],
    ),
    source(
        "seq",
        &["org.apache.flume.source.SequenceGeneratorSource"],
        Becomes::Kind("sequence"),
        &[
            &[
                same("totalEvents", "9223372036854775807", "count", As::Count),
                set("batchSize", "1", "batch_events", As::Count),
            ],
            POLLED,
        ],
    ),
    source(
        "syslogtcp",
        &["org.apache.flume.source.SyslogTcpSource"],
        Becomes::Kind("syslog"),
        &[SYSLOG_ADDRESS, SYSLOG_SIZE, SYSLOG, SERVER_TLS, TLS_SPOKEN],
    ),
    source(
        "multiport_syslogtcp",
        &["org.apache.flume.source.MultiportSyslogTCPSource"],
        Becomes::Kind("syslog"),
        &[
            &[
                by("host", "0.0.0.0", "`listen`, with each port"),
                by("bind", "", BIND_FOR_HOST),
                by("ports", "*", "`listen`, one address for each port"),
                same("portHeader", "", "port_header", As::Text),
                by("charset.*", "UTF-8", "bodies keep their bytes, as in Flume"),
                ignored("readBufferBytes", "1024", SOCKETS),
                ignored("readBufferSize", "1024", SOCKETS),
                ignored("numProcessors", "", THREADS),
            ],
            BATCH_100,
            SYSLOG_SIZE,
            SYSLOG,
            SERVER_TLS,
            TLS_SPOKEN,
        ],
    ),
    source(
        "syslogudp",
        &["org.apache.flume.source.SyslogUDPSource"],
        Becomes::Kind("syslog"),
        &[
            SYSLOG_ADDRESS,
            &[ignored("eventSize", "2500", "a datagram is stored whole; Flume reads 2,048 bytes")],
            SYSLOG,
        ],
    ),
    source(
        "http",
        &["org.apache.flume.source.http.HTTPSource"],
        Becomes::Kind("http"),
        &[
            &[
                by("bind", "0.0.0.0", "`listen`, with the port"),
                by("port", "*", "`listen`, with `bind`"),
                by("handler", "org.apache.flume.source.http.JSONHandler", "`decoder`"),
                by("handler.*", "", "settings of `decoder`, if it has them"),
                by("enableSSL", "false", "`tls`, as `ssl`"),
                ignored("QueuedThreadPool.*", "", THREADS),
                ignored("HttpConfiguration.*", "", "limits are settings of the `http` source"),
                decision("SslContextFactory.*", "", "Jetty is not used; see the table `tls`"),
                ignored("ServerConnector.*", "", "limits are settings of the `http` source"),
            ],
            SERVER_TLS,
            TLS_SPOKEN,
        ],
    ),
    source(
        "stress",
        &["org.apache.flume.source.StressSource"],
        Becomes::Kind("stress"),
        &[&[
            set("size", "500", "size", As::Bytes),
            by("maxTotalEvents", "-1", "`max_total_events`"),
            by("maxSuccessfulEvents", "-1", "`max_successful_events`"),
            set("batchSize", "1", "batch_events", As::Count),
            by("maxEventsPerSecond", "0", "`rate`"),
        ]],
    ),
    source(
        "legacy_avro",
        &["org.apache.flume.source.avroLegacy.AvroLegacySource"],
        Becomes::Never("put a Flume 1 agent between agents of Flume 0.9 and Aqueduct"),
        &[&[ignored("*", "", "the source does not exist")]],
    ),
    source(
        "legacy_thrift",
        &["org.apache.flume.source.thriftLegacy.ThriftLegacySource"],
        Becomes::Never("put a Flume 1 agent between agents of Flume 0.9 and Aqueduct"),
        &[&[ignored("*", "", "the source does not exist")]],
    ),
    source(
        "scribe",
        &["org.apache.flume.source.scribe.ScribeSource"],
        Becomes::Never(
            "Scribe is discontinued; use the `http` source, or a Flume agent in between",
        ),
        &[&[ignored("*", "", "the source does not exist")]],
    ),
    source(
        "twitter",
        &["org.apache.flume.source.twitter.TwitterSource"],
        Becomes::Kind("http_stream"),
        &[&[
            decision("consumerKey", "*", X_TOKEN),
            decision("consumerSecret", "*", X_TOKEN),
            decision("accessToken", "*", X_TOKEN),
            decision("accessTokenSecret", "*", X_TOKEN),
            set("maxBatchSize", "1000", "batch_events", As::Count),
            set("maxBatchDurationMillis", "1000", "batch_wait", As::Millis),
        ]],
    )
    .differs(
        "it reads the sample stream of X's API version 2, with events in JSON, not Avro; the API \
         that Flume reads was shut down",
    ),
];

const X_TOKEN: &str =
    "version 2 needs an application token and no keys of OAuth 1.0a: set `access.bearer`";

const COMPRESSION: &[(&str, &str)] = &[("none", "none"), ("deflate", "deflate")];
const PROTOCOL: &[(&str, &str)] = &[("compact", "compact"), ("binary", "binary")];

const TAILDIR: &[Key] = &[
    by("filegroups", "*", "`paths`"),
    by("filegroups.*", "*", "`paths`: the regular expression of the name becomes a pattern"),
    by("headers.*", "", "an interceptor `static`; each file group with headers is a source"),
    by(
        "positionFile",
        "~/.flume/taildir_position.json",
        "`flume_positions`: read at the first start; then the channels store the positions",
    ),
    set("batchSize", "100", "batch_events", As::Count),
    by("skipToEnd", "false", "`start_at`"),
    set("fileHeader", "false", "file_header", As::Flag),
    same("fileHeaderKey", "file", "file_header_key", As::Text),
    by("byteOffsetHeader", "false", "`offset_header`, with `offset_header_key = \"byteoffset\"`"),
    ignored("idleTimeout", "120000", "`open_max` closes files"),
    ignored("writePosInterval", "3000", "the position is stored with each batch"),
    ignored("cachePatternMatching", "true", "the operating system reports changes"),
    ignored("maxBatchCount", "9223372036854775807", "files are read in turn, one batch each"),
];

const SPOOLDIR: &[Key] = &[
    set("spoolDir", "*", "directory", As::Text),
    same("fileSuffix", ".COMPLETED", "completed_suffix", As::Text),
    same("deletePolicy", "never", "delete_policy", As::OneOf(DELETE)),
    by("fileHeader", "false", "`true` sets `file_header`"),
    by("fileHeaderKey", "file", "`file_header`, if `fileHeader` is true"),
    by("basenameHeader", "false", "`true` sets `basename_header`"),
    by("basenameHeaderKey", "basename", "`basename_header`, if `basenameHeader` is true"),
    same("includePattern", "^.*$", "include_pattern", As::Text),
    same("ignorePattern", "^$", "ignore_pattern", As::Text),
    by("trackingPolicy", "rename", "`tracking_policy`, if files are not deleted"),
    ignored("trackerDir", ".flumespool", "the position is stored with each batch"),
    same("consumeOrder", "oldest", "consume_order", As::OneOf(ORDER)),
    same("pollDelay", "500", "poll_delay", As::Millis),
    same("recursiveDirectorySearch", "false", "recursive", As::Flag),
    ignored("maxBackoff", "4000", "the source waits until the channel has free capacity"),
    by("inputCharset", "UTF-8", "`charset`; ignored if the deserializer reads bytes"),
    set("decodeErrorPolicy", "FAIL", "decode_error_policy", As::OneOf(DECODE)),
    by("deserializer", "LINE", "`decoder`"),
    by("deserializer.*", "", "`split_chars`, `file_max`, and settings of the decoder"),
    ignored("bufferMaxLines", "100", "it has no effect in Flume either"),
    ignored("bufferMaxLineLength", "5000", "it has no effect in Flume either"),
];

const DELETE: &[(&str, &str)] = &[("never", "never"), ("immediate", "immediate")];
const ORDER: &[(&str, &str)] =
    &[("oldest", "oldest"), ("youngest", "youngest"), ("random", "random")];
const DECODE: &[(&str, &str)] = &[("fail", "fail"), ("replace", "replace"), ("ignore", "ignore")];

const BIND_FOR_HOST: &str = "`listen`, without `host`; Flume ignores it";

const SYSLOG_ADDRESS: &[Key] = &[
    by("host", "0.0.0.0", "`listen`, with the port"),
    by("bind", "", BIND_FOR_HOST),
    by("port", "*", "`listen`, with `host`"),
];

const SYSLOG_SIZE: &[Key] =
    &[by("eventSize", "2500", "`message_max`; the rest of a longer message is further events")];

const SYSLOG: &[Key] = &[
    by("keepFields", "none", "`keep_fields`"),
    same("clientIPHeader", "", "client_header", As::Text),
    by("clientHostnameHeader", "", "`client_header`, with the address: names are not looked up"),
    decision("format.*", "", "use an interceptor such as `search_replace`"),
];
