//! The sinks of HBase: one of ours for the three of Flume, which differ in their clients.

use super::{As, Becomes, Key, Row, by, decision, ignored, same, set};

const DIFFERS: &str = "the sink does not use HBase's Java client; random or time-based row keys \
                       become keys derived from the batch, so that a resent batch writes the same \
                       rows";

const NO_KERBEROS: &str =
    "the sink has no Kerberos: keep a Flume agent downstream of an `avro` sink";

const CLIENT: &str = "these are properties of the Java client: see the sink's settings";

const COMMON: &[Key] = &[
    set("table", "*", "table", As::Text),
    by("columnFamily", "*", "the families of `columns` and `counters`"),
    by(
        "zookeeperQuorum",
        "",
        "`zookeeper.quorum`; without it the value in `hbase-site.xml` applies",
    ),
    same("znodeParent", "/hbase", "zookeeper.znode", As::Text),
    ignored("batchSize", "100", "a batch is sent as it arrived"),
    ignored(
        "coalesceIncrements",
        "false",
        "a counter is incremented once for all events of a batch",
    ),
    same("enableWal", "true", "durability", As::OneOf(WAL)),
    decision("kerberosPrincipal", "", NO_KERBEROS),
    decision("kerberosKeytab", "", NO_KERBEROS),
    by("serializer", "", "`row_key`, `columns`, `counters`, `pattern`, by its kind"),
    by("serializer.payloadColumn", "pCol", "simple: a column of `columns`, the body"),
    by("serializer.rowPrefix", "default", "simple: the prefix of `row_key`"),
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
    by("serializer.charset", "UTF-8", "regex: bodies keep their bytes"),
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
                ignored("maxConsecutiveFails", "10", "failed operations are retried with back-off"),
                decision("async.*", "", CLIENT),
            ],
        ],
    ),
];
