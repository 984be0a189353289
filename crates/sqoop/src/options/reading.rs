//! Options for reading a table, and for the destination.

use super::Answer::{Carried, Differs, Export, Ignored, Refused};
use super::{Group, flag, short, value};

pub(super) const OURS: Group = Group {
    heading: "Not of Sqoop",
    rows: &[
        value("data-dir", Carried("the directory of channel and position: one for each import")),
        value(
            "default-fs",
            Carried("what a path without a scheme begins with: `hdfs://namenode:8020`"),
        ),
        value("key", Carried("`key`: columns that name a row; the primary key unless given")),
        flag("dry-run", Carried("plan and configuration are printed, and nothing is read")),
        flag(
            "checksum",
            Carried(
                "table and files are read again when all rows are stored, and every value is \
                 compared",
            ),
        ),
        value(
            "input-format",
            Export(
                None,
                "what the files hold: `text`, `avro`, `parquet` or `sequence`; as the first of \
                 them begins unless given",
            ),
        ),
        value(
            "input-zone",
            Export(
                None,
                "`zone`: time zone of the JVM in which Sqoop wrote SequenceFiles, such as \
                 `Europe/Berlin`, where the columns have times without a zone; UTC unless given",
            ),
        ),
    ],
};

pub(super) const CONNECT: Group = Group {
    heading: "Connection",
    rows: &[
        value("connect", Carried("`database.url`; PostgreSQL, MySQL, MariaDB and SQLite")),
        value("username", Carried("`database.user`")),
        value(
            "password-file",
            Carried(
                "`database.password = \"${file:…}\"`: a local file; its last line \
                 end does not count",
            ),
        ),
        value(
            "password",
            Refused(
                "a password in a command line is seen by every user of the host; \
                 write it into a file that only its owner may read, and give \
                 --password-file",
            ),
        ),
        short(
            "P",
            flag(
                "password-prompt",
                Refused(
                    "nothing is asked for at a terminal; write the password into a file \
                 that only its owner may read, and give --password-file",
                ),
            ),
        ),
        value(
            "password-alias",
            Refused(
                "a store of Hadoop's credentials is not read; write the password \
                 into a file that only its owner may read, and give --password-file",
            ),
        ),
        value(
            "connection-param-file",
            Refused(
                "parameters of a JDBC driver are not read; TLS is `?ssl=true` in \
                 the URL",
            ),
        ),
        value("connection-manager", Ignored("the URL names the client")),
        value("driver", Ignored("the URL names the client")),
        value("metadata-transaction-isolation-level", Ignored("a snapshot is read")),
        flag("relaxed-isolation", Ignored("a snapshot is read; uncommitted rows are never seen")),
        flag("skip-dist-cache", Ignored("there is no job of MapReduce")),
        flag("throw-on-error", Ignored("errors end the import with exit code 1")),
        value(
            "oracle-escaping-disabled",
            Ignored("there is no client of Oracle but its driver of ODBC, which quotes names"),
        ),
        value("escape-mapping-column-names", Ignored("names stay as the database has them")),
        value("temporary-rootdir", Ignored("files are staged below `_aqueduct` in the target")),
        flag("verbose", Ignored("`RUST_LOG=debug` writes more lines")),
        value("hadoop-mapred-home", Ignored("there is no job of MapReduce")),
        value("hadoop-home", Ignored("`HADOOP_CONF_DIR` names the configuration of Hadoop")),
        value("mapreduce-job-name", Ignored("there is no job of MapReduce")),
        value("options-file", Carried("its lines, in its place")),
        flag("help", Carried("the help of the command")),
    ],
};

pub(super) const WHAT: Group = Group {
    heading: "What is read",
    rows: &[
        value("table", Carried("`table`")),
        value("columns", Carried("`columns`")),
        value("where", Carried("`where`")),
        short("e", value("query", Carried("`query`; `$CONDITIONS` may stay or go"))),
        value(
            "boundary-query",
            Differs(
                "no boundaries are asked for: ranges are of rows. It does not limit \
                 the rows; put its condition into --where",
            ),
        ),
        value(
            "split-by",
            Differs(
                "`split_by`: ranges of rows in its order, not of values; rows with \
                 NULL in it are read too",
            ),
        ),
        value("split-limit", Ignored("a range has `fetch_size` rows, whatever the values")),
        short(
            "m",
            value(
                "num-mappers",
                Carried("`splits`: connections that read side by side, at most 64"),
            ),
        ),
        flag("autoreset-to-one-mapper", Ignored("a key is wanted with one connection too")),
        value(
            "fetch-size",
            Differs("`fetch_size`: rows of a page and of a range, 10000 unless given"),
        ),
        value("inline-lob-limit", Ignored("a large value is part of its row: no file of its own")),
        flag(
            "direct",
            Ignored(
                "rows are read by the protocol of the database: no mysqldump, no \
                 psql",
            ),
        ),
        value("direct-split-size", Ignored("files end by `roll` of the sink")),
        value(
            "exclude-tables",
            Refused("it is one of import-all-tables; call import for each table"),
        ),
    ],
};

pub(super) const WHERE: Group = Group {
    heading: "Where it goes",
    rows: &[
        value("target-dir", Carried("`url` of the sink")),
        value("warehouse-dir", Carried("`url` of the sink, with the name of the table behind it")),
        flag(
            "append",
            Carried(
                "files are added to what is in the directory; without it that has \
                 to be empty at the first call",
            ),
        ),
        flag(
            "delete-target-dir",
            Differs(
                "nothing is deleted: the directory has to be empty, or this \
                 import's own",
            ),
        ),
        flag("as-textfile", Carried("lines of CSV, encoder `text`; the default")),
        flag(
            "as-sequencefile",
            Differs(
                "encoder `sequence_file` with lines of CSV as `Text`: no generated \
                 class is needed to read them",
            ),
        ),
        flag(
            "as-parquetfile",
            Differs(
                "encoder `parquet` with types of the columns: decimals and dates \
                 are such",
            ),
        ),
        flag(
            "as-avrodatafile",
            Differs(
                "encoder `avro_schema` with types of the columns: decimals, dates and times are \
                 logical types",
            ),
        ),
        flag(
            "as-binaryfile",
            Refused(
                "a file of bare values cannot be read back; take --as-parquetfile \
                 or --as-textfile",
            ),
        ),
        value("parquet-configurator-implementation", Ignored("there is one writer of Parquet")),
        short(
            "z",
            flag(
                "compress",
                Carried(
                    "`codec`: gzip unless --compression-codec names one; Parquet: \
                 snappy",
                ),
            ),
        ),
        value(
            "compression-codec",
            Carried(
                "`codec`: gzip, deflate, bzip2, snappy, lz4 or zstd, or Hadoop's \
                 class",
            ),
        ),
    ],
};

pub(super) const TEXT: Group = Group {
    heading: "Form of the text",
    rows: &[
        value(
            "fields-terminated-by",
            Carried("`delimiter`: one character of ASCII, `,` unless given"),
        ),
        value("lines-terminated-by", Differs("a line ends with a line feed; others are refused")),
        value(
            "enclosed-by",
            Differs(
                "`\"` alone: a value is quoted only where it has to be, as RFC 4180 \
                 has it",
            ),
        ),
        value("optionally-enclosed-by", Carried("`\"` alone: it is the default")),
        value(
            "escaped-by",
            Refused(
                "values are quoted as RFC 4180 has it, not escaped: read them with \
                 OpenCSVSerde, or take --as-parquetfile",
            ),
        ),
        flag(
            "mysql-delimiters",
            Refused(
                "values are quoted as RFC 4180 has it, not escaped: leave it out, \
                 or take --as-parquetfile",
            ),
        ),
        value(
            "null-string",
            Carried("`null`; `null` unless given, and the same as --null-non-string"),
        ),
        value(
            "null-non-string",
            Carried("`null`; `null` unless given, and the same as --null-string"),
        ),
    ],
};

pub(super) const INCREMENTAL: Group = Group {
    heading: "Incremental",
    rows: &[
        value(
            "incremental",
            Carried(
                "`mode`: `append` as it is, `lastmodified` as `modified`; the \
                 position is kept in the data directory",
            ),
        ),
        value("check-column", Carried("`check_column`")),
        value(
            "last-value",
            Differs(
                "a condition of the first call; later ones go on behind the last \
                 row that is stored",
            ),
        ),
        value(
            "merge-key",
            Differs(
                "`key`; rows are not merged: each change is a row, and readers take \
                 the latest of a key",
            ),
        ),
    ],
};
