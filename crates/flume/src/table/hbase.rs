//! The sinks of HBase: one of ours for the three of Flume, which differ in their clients.

use super::{As, Becomes, Key, Row, by, decision, ignored, same, set};

const DIFFERS: &str = "HBase is spoken to without its client in Java; a row whose key Flume makes \
                       by chance or time has one that is made of its batch, so that a batch that \
                       comes again writes the same rows";

const NO_KERBEROS: &str = "the sink has no Kerberos: let a Flume agent behind an `avro` sink keep \
                           it";

const CLIENT: &str = "the properties are those of a client in Java: see the sink's settings";

const COMMON: &[Key] = &[
    set("table", "*", "table", As::Text),
    by("columnFamily", "*", "the families of `columns` and `counters`"),
    by("zookeeperQuorum", "", "`zookeeper.quorum`; Flume reads `hbase-site.xml` without it"),
    same("znodeParent", "/hbase", "zookeeper.znode", As::Text),
    ignored("batchSize", "100", "a batch is handed on as it came"),
    ignored("coalesceIncrements", "false", "a column is raised once for all events of a batch"),
    same("enableWal", "true", "durability", As::OneOf(WAL)),
    decision("kerberosPrincipal", "", NO_KERBEROS),
    decision("kerberosKeytab", "", NO_KERBEROS),
    by("serializer", "", "`row_key`, `columns`, `counters`, `pattern`, by its kind"),
    by("serializer.payloadColumn", "pCol", "simple: a column of `columns`, the body"),
    by("serializer.rowPrefix", "default", "simple: what `row_key` begins with"),
    by(
        "serializer.suffix",
        "uuid",
        "simple: `%id` in `row_key`, also for `timestamp` and `random`",
    ),
    by("serializer.incrementColumn", "iCol", "simple: the column of `counters`"),
    by("serializer.incrementRow", "incRow", "simple: the row of `counters`"),
    by("serializer.regex", "(.*)", "regex: `pattern`"),
    by("serializer.regexIgnoreCase", "false", "regex: `(?i)` in `pattern`"),
    by("serializer.colNames", "payload", "regex: the columns of the groups in `columns`"),
    by("serializer.rowKeyIndex", "-1", "regex: the group of `row_key`; without it `%id`"),
    by("serializer.depositHeaders", "false", "regex: `header_family`"),
    by("serializer.charset", "UTF-8", "regex: bodies keep the bytes that came"),
];

const WAL: &[(&str, &str)] = &[("true", "table"), ("false", "skip_wal")];

const fn sink(
    name: &'static str,
    class: &'static [&'static str],
    keys: &'static [&'static [Key]],
) -> Row {
    let becomes = Becomes::Kind("hbase");
    Row { role: "sink", name, classes: class, becomes, differs: DIFFERS, keys }
}

pub(super) const ROWS: &[Row] = &[
    sink(
        "hbase2",
        &["org.apache.flume.sink.hbase2.HBase2Sink"],
        &[COMMON, &[decision("hbase.*", "", CLIENT)]],
    ),
    sink(
        "hbase",
        &["org.apache.flume.sink.hbase.HBaseSink"],
        &[COMMON, &[decision("hbase.*", "", CLIENT)]],
    ),
    sink(
        "asynchbase",
        &["org.apache.flume.sink.hbase.AsyncHBaseSink"],
        &[
            COMMON,
            &[
                same("timeout", "60000", "timeout", As::Millis),
                ignored("maxConsecutiveFails", "10", "what fails is made again, with back-off"),
                decision("async.*", "", CLIENT),
            ],
        ],
    ),
];
