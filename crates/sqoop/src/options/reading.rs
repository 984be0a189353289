//! Options for reading a table, and for the destination.

use super::Answer::{Carried, Differs, Export, Ignored, Refused};
use super::{Group, flag, short, value};

pub(super) const OURS: Group = Group {
    heading: "Only in Aqueduct",
    rows: &[
        value("data-dir", Carried("directory of channel and position, one for each import")),
        value("default-fs", Carried("prefix of paths without a scheme: `hdfs://namenode:8020`")),
        value("key", Carried("`key`: columns that identify a row; the default is the primary key")),
        flag(
            "dry-run",
            Carried(
                "prints plan and configuration; asks the database for keys and columns, and reads \
                 no row",
            ),
        ),
        flag(
            "checksum",
            Carried("reads table and files again after the import, and compares every value"),
        ),
        value(
            "input-format",
            Export(
                None,
                "format of the files: `text`, `avro`, `parquet` or `sequence`; by default detected \
                 from the first file",
            ),
        ),
        value(
            "input-zone",
            Export(
                None,
                "`zone`: time zone of the JVM that wrote Sqoop's SequenceFiles, such as \
                 `Europe/Berlin`, for columns with times without a zone; the default is UTC",
            ),
        ),
    ],
};

pub(super) const CONNECT: Group = Group {
    heading: "Connection",
    rows: &[
        value(
            "connect",
            Carried("`database.url`: PostgreSQL, MySQL, MariaDB or SQLite; others by `odbc:`"),
        ),
        value("username", Carried("`database.user`")),
        value(
            "password-file",
            Carried(
                "`database.password = \"${file:…}\"`: a local file; a final line end is ignored",
            ),
        ),
        value(
            "password",
            Differs(
                "every user of the host can see a password on the command line: use \
                 --password-file or `SQOOP_PASSWORD`; configurations refer to this variable",
            ),
        ),
        short(
            "P",
            flag("password-prompt", Carried("read from the terminal, or a line of standard input")),
        ),
        value(
            "password-alias",
            Refused(
                "Hadoop's credential stores are not supported; write the password to a file that \
                 only its owner can read, and pass --password-file",
            ),
        ),
        value(
            "connection-param-file",
            Refused("JDBC parameters are not supported; for TLS, use `?ssl=true` in the URL"),
        ),
        value("connection-manager", Ignored("the URL selects the client")),
        value("driver", Ignored("the URL selects the client")),
        value("metadata-transaction-isolation-level", Ignored("the import reads a snapshot")),
        flag("relaxed-isolation", Ignored("the import reads a snapshot, without uncommitted rows")),
        flag("skip-dist-cache", Ignored("Aqueduct does not use MapReduce")),
        flag("throw-on-error", Ignored("errors end the import with exit code 1")),
        value("oracle-escaping-disabled", Ignored("Oracle's ODBC driver quotes names")),
        value("escape-mapping-column-names", Ignored("names stay unchanged")),
        value("temporary-rootdir", Ignored("files are staged below `_aqueduct` in the target")),
        flag("verbose", Ignored("use `RUST_LOG=debug`")),
        value("hadoop-mapred-home", Ignored("Aqueduct does not use MapReduce")),
        value("hadoop-home", Ignored("`HADOOP_CONF_DIR` names the configuration of Hadoop")),
        value("mapreduce-job-name", Ignored("Aqueduct does not use MapReduce")),
        value("options-file", Carried("its lines replace the option")),
        flag("help", Carried("prints the help of the command")),
    ],
};

pub(super) const WHAT: Group = Group {
    heading: "Input",
    rows: &[
        value("table", Carried("`table`")),
        value("columns", Carried("`columns`")),
        value("where", Carried("`where`")),
        short("e", value("query", Carried("`query`; `$CONDITIONS` is optional"))),
        value(
            "boundary-query",
            Differs(
                "ranges have a number of rows, so no boundaries are read. It does not limit the \
                 rows; put its condition into --where",
            ),
        ),
        value(
            "split-by",
            Differs(
                "`split_by`: ranges of rows in its order, not of values; rows with NULL are also \
                 read",
            ),
        ),
        value("split-limit", Ignored("every range has `fetch_size` rows")),
        short("m", value("num-mappers", Carried("`splits`: parallel connections, at most 64"))),
        flag("autoreset-to-one-mapper", Ignored("one connection also needs a key")),
        value(
            "fetch-size",
            Differs("`fetch_size`: rows of a page and of a range; the default is 10000"),
        ),
        value("inline-lob-limit", Ignored("large values stay in their row")),
        flag(
            "direct",
            Ignored("rows are read over the protocol of the database, without mysqldump or psql"),
        ),
        value("direct-split-size", Ignored("`roll` of the sink limits files")),
        value(
            "exclude-tables",
            Refused("only for `import-all-tables`, which leaves these tables out"),
        ),
    ],
};

pub(super) const WHERE: Group = Group {
    heading: "Output",
    rows: &[
        value("target-dir", Carried("`url` of the sink")),
        value("warehouse-dir", Carried("`url` of the sink, followed by the table name")),
        flag(
            "append",
            Carried(
                "adds files to the directory; without it, the directory must be empty at the first \
                 call",
            ),
        ),
        flag(
            "delete-target-dir",
            Differs("deletes nothing: the directory must be empty or belong to this import"),
        ),
        flag("as-textfile", Carried("CSV lines, encoder `text`; the default")),
        flag(
            "as-sequencefile",
            Differs(
                "encoder `sequence_file` with CSV lines as `Text`, readable without a generated \
                 class",
            ),
        ),
        flag(
            "as-parquetfile",
            Differs(
                "encoder `parquet` with the types of the columns, including decimals and dates",
            ),
        ),
        flag(
            "as-avrodatafile",
            Differs(
                "encoder `avro_schema` with the types of the columns; decimals, dates and times \
                 are logical types",
            ),
        ),
        flag(
            "as-binaryfile",
            Refused(
                "a file of raw values cannot be read back; use --as-parquetfile or --as-textfile",
            ),
        ),
        value("parquet-configurator-implementation", Ignored("Aqueduct has one Parquet writer")),
        short(
            "z",
            flag(
                "compress",
                Carried("`codec`: --compression-codec, by default gzip, or snappy for Parquet"),
            ),
        ),
        value(
            "compression-codec",
            Carried("`codec`: gzip, deflate, bzip2, snappy, lz4, zstd, or Hadoop's class"),
        ),
    ],
};

pub(super) const TEXT: Group = Group {
    heading: "Text format",
    rows: &[
        value(
            "fields-terminated-by",
            Carried("`delimiter`: one ASCII character; the default is `,`"),
        ),
        value("lines-terminated-by", Differs("a line ends with a line feed; others are rejected")),
        value("enclosed-by", Differs("only `\"`: values are quoted if necessary, as in RFC 4180")),
        value("optionally-enclosed-by", Carried("only `\"`, the default")),
        value(
            "escaped-by",
            Refused(
                "values are quoted as in RFC 4180, not escaped: read them with OpenCSVSerde, or \
                 use --as-parquetfile",
            ),
        ),
        flag(
            "mysql-delimiters",
            Refused(
                "values are quoted as in RFC 4180, not escaped: remove the option, or use \
                 --as-parquetfile",
            ),
        ),
        value(
            "null-string",
            Carried("`null`, for all columns; the default is --null-non-string, or `null`"),
        ),
        value("null-non-string", Carried("`null`, for all columns; must equal --null-string")),
    ],
};

pub(super) const INCREMENTAL: Group = Group {
    heading: "Incremental",
    rows: &[
        value(
            "incremental",
            Carried(
                "`mode`: `append`, or `modified` for `lastmodified`; the data directory stores the \
                 position",
            ),
        ),
        value("check-column", Carried("`check_column`")),
        value(
            "last-value",
            Differs(
                "a condition of the first call; later calls continue after the last stored row",
            ),
        ),
        value(
            "merge-key",
            Differs(
                "`key`; rows are not merged: each change is a row, and readers use the latest row \
                 of a key",
            ),
        ),
    ],
};
