//! Options that are configured elsewhere, or are not needed.

use super::Answer::{self, Carried, Differs, Ignored, Refused};
use super::{Group, flag, value};
use crate::notes::Outcome;

const TYPES_GIVEN: &str = "the database sets the types; cast in --query";
const HIVE_FILES: &str = "it applies only to --hive-import";
const NO_HCATALOG: &str =
    "to register a Hive table, add `hive` to the sink of `aqueduct convert sqoop`";
const NO_HBASE: &str = "import does not write to HBase; use an agent with the `hbase` sink";
const NO_ACCUMULO: &str = "Accumulo is not supported";
const JOBS_ONLY: &str = "only for `aqueduct sqoop job`";
const NO_MERGE: &str = "files are not merged: let queries select the latest row of each key";
const NO_CODE: &str = "Aqueduct generates no code";

pub(super) const TYPES: Group = Group {
    heading: "Types",
    rows: &[
        value(
            "map-column-java",
            Refused(
                "the database sets the types; cast in --query. In an `export` of Sqoop's \
                 SequenceFiles: `columns` of the decoder, the types of all fields of the class",
            ),
        ),
        value("map-column-hive", Refused(TYPES_GIVEN)),
    ],
};

pub(super) const HIVE: Group = Group {
    heading: "Hive",
    rows: &[
        flag(
            "hive-import",
            Differs(
                "creates an external table over the directory unless it exists; the files are \
                 Parquet and stay in the directory. The metastore is `hive.metastore.uris` of \
                 hive-site.xml or of -D",
            ),
        ),
        value("hive-home", Ignored("Hive's programs are not used")),
        value("hive-table", Carried("the table, or `database.table`; the default is --table")),
        value("hive-database", Carried("the database of the table")),
        flag(
            "hive-overwrite",
            Refused(
                "files are never overwritten: import into a new directory and point the table to \
                 it",
            ),
        ),
        flag(
            "create-hive-table",
            Differs("the table is always created; one with another directory is an error"),
        ),
        flag(
            "hive-drop-import-delims",
            Ignored("values keep all characters and are quoted, as in RFC 4180"),
        ),
        value(
            "hive-delims-replacement",
            Refused(
                "values keep all characters and are quoted; use --as-parquetfile for readers that \
                 split at delimiters",
            ),
        ),
        value(
            "hive-partition-key",
            Carried("the partition column; its directory `name=value` is added to the path"),
        ),
        value("hive-partition-value", Carried("the value of the partition column")),
        value("external-table-dir", Refused("use --target-dir: the table is external")),
        value("hs2-url", Ignored(HIVE_FILES)),
        value("hs2-user", Ignored(HIVE_FILES)),
        value(
            "hs2-password",
            Refused(
                "every user of the host can see a password on the command line; HiveServer2 is not \
                 used, so remove the option",
            ),
        ),
        value("hs2-keytab", Ignored(HIVE_FILES)),
    ],
};

pub(super) const HCATALOG: Group = Group {
    heading: "HCatalog",
    rows: &[
        value("hcatalog-table", Refused(NO_HCATALOG)),
        value("hcatalog-database", Refused(NO_HCATALOG)),
        value("hcatalog-partition-keys", Refused(NO_HCATALOG)),
        value("hcatalog-partition-values", Refused(NO_HCATALOG)),
        value("hcatalog-storage-stanza", Refused(NO_HCATALOG)),
        value("hcatalog-home", Ignored("HCatalog's programs are not used")),
        flag("create-hcatalog-table", Refused(NO_HCATALOG)),
        flag("drop-and-create-hcatalog-table", Refused(NO_HCATALOG)),
        flag("hcatalog-external-table", Refused(NO_HCATALOG)),
    ],
};

pub(super) const HBASE: Group = Group {
    heading: "HBase",
    rows: &[
        value("hbase-table", Refused(NO_HBASE)),
        value("column-family", Refused(NO_HBASE)),
        value("hbase-row-key", Refused(NO_HBASE)),
        flag("hbase-create-table", Refused(NO_HBASE)),
        flag("hbase-bulkload", Refused(NO_HBASE)),
        value("hbase-null-incremental-mode", Refused(NO_HBASE)),
    ],
};

pub(super) const ACCUMULO: Group = Group {
    heading: "Accumulo",
    rows: &[
        value("accumulo-table", Refused(NO_ACCUMULO)),
        value("accumulo-column-family", Refused(NO_ACCUMULO)),
        value("accumulo-row-key", Refused(NO_ACCUMULO)),
        value("accumulo-visibility", Refused(NO_ACCUMULO)),
        flag("accumulo-create-table", Refused(NO_ACCUMULO)),
        value("accumulo-batch-size", Refused(NO_ACCUMULO)),
        value("accumulo-max-latency", Refused(NO_ACCUMULO)),
        value("accumulo-zookeepers", Refused(NO_ACCUMULO)),
        value("accumulo-instance", Refused(NO_ACCUMULO)),
        value("accumulo-user", Refused(NO_ACCUMULO)),
        value("accumulo-password", Refused(NO_ACCUMULO)),
    ],
};

/// An option that `export` supports.
const fn does(text: &'static str) -> Answer {
    Answer::Export(None, text)
}

pub(super) const EXPORT: Group = Group {
    heading: "Export",
    rows: &[
        value(
            "export-dir",
            does(
                "`url` of the source `hdfs`: a directory with its subdirectories, a file, or a \
                 pattern with `*` and `?`",
            ),
        ),
        value("update-key", does("`key` of the sink, with `mode = \"update\"`")),
        value(
            "update-mode",
            does("`allowinsert`: `mode = \"upsert\"`; `updateonly`: `mode = \"update\"`"),
        ),
        value(
            "staging-table",
            does(
                "`table` of the sink; when it has all rows, one transaction moves them into \
                 --table. It must have the same columns and be empty at the first call",
            ),
        ),
        flag("clear-staging-table", does("empties the staging table at the first call")),
        value(
            "call",
            does(
                "`mode = \"call\"` of the sink: a procedure of PostgreSQL, MySQL or MariaDB, or a \
                 function of PostgreSQL, with parameters named like the columns",
            ),
        ),
        flag(
            "batch",
            Answer::Export(
                Some(Outcome::Ignored),
                "the rows of a batch are always one transaction",
            ),
        ),
        value(
            "input-fields-terminated-by",
            does(
                "`delimiter` of the decoder: one ASCII character; the default is \
                 --fields-terminated-by",
            ),
        ),
        value(
            "input-lines-terminated-by",
            does("`line_end` of the decoder; the default is --lines-terminated-by"),
        ),
        value(
            "input-enclosed-by",
            Answer::Export(
                Some(Outcome::Differs),
                "`quote` of the decoder; values without quotes are also accepted",
            ),
        ),
        value(
            "input-optionally-enclosed-by",
            does(
                "`quote` of the decoder; the default is `\"` for a directory of `aqueduct import`, \
                 otherwise --optionally-enclosed-by",
            ),
        ),
        value("input-escaped-by", does("`escape` of the decoder; the default is --escaped-by")),
        value(
            "input-null-string",
            does("`null` of the decoder: the text for NULL, by default the word `null`"),
        ),
        value(
            "input-null-non-string",
            does(
                "`null_non_text` of the decoder: the text for NULL in columns of other types than \
                 text, by default the word `null`",
            ),
        ),
    ],
};

pub(super) const VALIDATION: Group = Group {
    heading: "Validation",
    rows: &[
        flag(
            "validate",
            Carried("compares the number of rows in the table with the ledger of the store"),
        ),
        value("validator", Ignored("only rows are counted")),
        value("validation-threshold", Refused("the counts must be equal; remove the option")),
        value(
            "validation-failurehandler",
            Ignored("a difference ends the import with exit code 1"),
        ),
    ],
};

pub(super) const JOBS: Group = Group {
    heading: "Saved jobs and merge",
    rows: &[
        value("create", Refused(JOBS_ONLY)),
        value("delete", Refused(JOBS_ONLY)),
        value("exec", Refused(JOBS_ONLY)),
        flag("list", Refused(JOBS_ONLY)),
        value("show", Refused(JOBS_ONLY)),
        value("meta-connect", Refused(JOBS_ONLY)),
        value("meta-username", Refused(JOBS_ONLY)),
        value("meta-password", Refused(JOBS_ONLY)),
        value("new-data", Refused(NO_MERGE)),
        value("onto", Refused(NO_MERGE)),
    ],
};

pub(super) const CODE: Group = Group {
    heading: "Code",
    rows: &[
        value("outdir", Ignored(NO_CODE)),
        value("bindir", Ignored(NO_CODE)),
        value("package-name", Ignored(NO_CODE)),
        value("class-name", Ignored(NO_CODE)),
        value("jar-file", Ignored(NO_CODE)),
        flag("delete-compile-dir", Ignored(NO_CODE)),
    ],
};

pub(super) const DATABASES: Group = Group {
    heading: "After `--`, for one kind of database",
    rows: &[
        value("schema", Carried("becomes a prefix of the table name")),
        flag(
            "identity-insert",
            Answer::Export(Some(Outcome::Refused), "not supported for SQL Server"),
        ),
        value("table-hints", Refused("not supported for SQL Server")),
        flag("resilient", Ignored("lost connections are always restored")),
        value("boolean-true-string", Refused("the text is `true`; cast in --query")),
        value("boolean-false-string", Refused("the text is `false`; cast in --query")),
    ],
};

pub(super) const HADOOP: Group = Group {
    heading: "Hadoop's options, before the others",
    rows: &[
        value("D", Carried("`fs.defaultFS` becomes --default-fs; other properties are ignored")),
        value("fs", Carried("as --default-fs")),
        value("conf", Ignored("`HADOOP_CONF_DIR` names the configuration of Hadoop")),
        value("jt", Ignored("Aqueduct does not use MapReduce")),
        value("files", Ignored("Aqueduct does not use MapReduce")),
        value("libjars", Ignored("Aqueduct needs no JDBC driver")),
        value("archives", Ignored("Aqueduct does not use MapReduce")),
    ],
};
