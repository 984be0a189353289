//! The `hdfs` sink.

use super::{Becomes, Key, Row, by, decision, ignored};

const NAMES: &str = "files are staged below `_aqueduct` and become visible under their final names";
const THREADS: &str = "files are written in parallel without extra threads";
const LEDGER: &str = "the commit ledger completes open files, also after a restart";

pub(super) const ROWS: &[Row] = &[Row {
    role: "sink",
    name: "hdfs",
    classes: &["org.apache.flume.sink.hdfs.HDFSEventSink"],
    becomes: Becomes::Kind("hdfs"),
    differs: "",
    keys: &[KEYS],
}];

const KEYS: &[Key] = &[
    by(
        "hdfs.path",
        "*",
        "`url`; without a name node below `--default-fs` or `fs.defaultFS` of core-site.xml; a \
         relative path below `/user/NAME`; `s3a://` becomes `s3://`",
    ),
    by(
        "hdfs.filePrefix",
        "FlumeData",
        "`file_prefix`, without escapes; its directories belong to `url`",
    ),
    by("hdfs.fileSuffix", "", "`file_suffix` for plain text; otherwise set by the format"),
    ignored("hdfs.inUsePrefix", "", NAMES),
    ignored("hdfs.inUseSuffix", ".tmp", NAMES),
    ignored("hdfs.emptyInUseSuffix", "false", NAMES),
    by("hdfs.rollInterval", "30", "`roll.age_max`; 0 is 6 h"),
    by("hdfs.rollSize", "1024", "`roll.size_max`; 0 is the size of a block"),
    by("hdfs.rollCount", "10", "`roll.count_max`; 0 means unlimited"),
    by("hdfs.idleTimeout", "0", "`roll.idle_max`; 0 is `roll.age_max`"),
    ignored("hdfs.batchSize", "100", "a batch is written as it arrived"),
    by(
        "hdfs.codeC",
        "",
        "`codec`, of the encoder in a sequence file; `lzo`, `lzop` need a decision",
    ),
    by(
        "hdfs.fileType",
        "SequenceFile",
        "`encoder` and `codec`; `SequenceFile` is the encoder `sequence_file`",
    ),
    by("hdfs.writeFormat", "Writable", "`encoder.write_format`"),
    by("hdfs.maxOpenFiles", "5000", "`buckets_max`"),
    ignored("hdfs.minBlockReplicas", "", "missing replicas do not roll a file"),
    ignored("hdfs.threadsPoolSize", "10", THREADS),
    ignored("hdfs.rollTimerPoolSize", "1", THREADS),
    by("hdfs.kerberosPrincipal", "", "`kerberos.principal`"),
    by("hdfs.kerberosKeytab", "", "`kerberos.keytab`"),
    by("hdfs.proxyUser", "", "`proxy_user`"),
    by("hdfs.round", "false", "`round`"),
    by("hdfs.roundValue", "1", "`round`"),
    by("hdfs.roundUnit", "second", "`round`"),
    by("hdfs.timeZone", "Local Time", "`zone`; the default is UTC"),
    by("hdfs.useLocalTimeStamp", "false", "`time_from`"),
    ignored("hdfs.closeTries", "0", LEDGER),
    ignored("hdfs.retryInterval", "180", LEDGER),
    ignored("hdfs.callTimeout", "30000", "the client retries a call that hangs"),
    ignored("hdfs.txnEventMax", "100", "a batch is written as it arrived"),
    decision("hdfs.useRawLocalFileSystem", "false", "write `file:///…` as the path"),
    by("serializer", "TEXT", "`encoder`"),
    by("serializer.*", "", "settings of `encoder`"),
];
