//! Options that are configured elsewhere, or are not needed.

use super::Answer::{self, Ignored, Refused};
use super::{Group, flag, value};
use crate::notes::Outcome;

const TYPES_GIVEN: &str = "types are those of the database; cast in --query";
const NO_HIVE: &str = "the command writes files; add `hive` to the sink of `aqueduct \
                 convert sqoop`";
const HIVE_FILES: &str = "it is of no use without --hive-import";
const NO_HCATALOG: &str = "a table of Hive is `hive` of the sink: see `aqueduct convert sqoop`";
const NO_HBASE: &str = "there is no sink of HBase";
const NO_ACCUMULO: &str = "there is no sink of Accumulo";
const NO_JOBS: &str = "a saved job is a configuration of `aqueduct convert sqoop`, or a \
                 call with its own --data-dir: the position is kept there";
const NO_CODE: &str = "no code is generated";

pub(super) const TYPES: Group = Group {
    heading: "Types",
    rows: &[
        value(
            "map-column-java",
            Refused(
                "types are those of the database; cast in --query. In an `export` of SequenceFiles \
                 that Sqoop wrote: `columns` of the decoder, the types of all fields of the class",
            ),
        ),
        value("map-column-hive", Refused(TYPES_GIVEN)),
    ],
};

pub(super) const HIVE: Group = Group {
    heading: "Hive",
    rows: &[
        flag("hive-import", Refused(NO_HIVE)),
        value("hive-home", Ignored("no program of Hive is called")),
        value("hive-table", Refused(NO_HIVE)),
        value("hive-database", Refused(NO_HIVE)),
        flag(
            "hive-overwrite",
            Refused(
                "nothing is overwritten: import into a new directory, and let the \
                 table name that",
            ),
        ),
        flag("create-hive-table", Refused(NO_HIVE)),
        flag(
            "hive-drop-import-delims",
            Ignored(
                "nothing is dropped from values: they are quoted, as RFC 4180 has \
                 it",
            ),
        ),
        value(
            "hive-delims-replacement",
            Refused(
                "nothing is replaced in values: they are quoted; take \
                 --as-parquetfile for readers that split at delimiters",
            ),
        ),
        value("hive-partition-key", Refused(NO_HIVE)),
        value("hive-partition-value", Refused(NO_HIVE)),
        value("external-table-dir", Refused(NO_HIVE)),
        value("hs2-url", Ignored(HIVE_FILES)),
        value("hs2-user", Ignored(HIVE_FILES)),
        value(
            "hs2-password",
            Refused(
                "a password in a command line is seen by every user of the host; \
                 HiveServer2 is not asked: leave it out",
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
        value("hcatalog-home", Ignored("no program of HCatalog is called")),
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
                "`url` of the source `hdfs`: a directory with all below it, a file, or a pattern \
                 with `*` and `?`",
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
                "`table` of the sink; when all rows are in it, one transaction moves them into \
                 --table. It has the columns of that, and is empty at the first call",
            ),
        ),
        flag(
            "clear-staging-table",
            does("at the first call, what is in the staging table is deleted"),
        ),
        value(
            "call",
            does(
                "`mode = \"call\"` of the sink: a procedure of PostgreSQL, MySQL or MariaDB, or a \
                 function of PostgreSQL, whose parameters have the names of the columns",
            ),
        ),
        flag(
            "batch",
            Answer::Export(Some(Outcome::Ignored), "rows of a batch are one transaction anyway"),
        ),
        value(
            "input-fields-terminated-by",
            does("`delimiter` of the decoder: one character of ASCII; else --fields-terminated-by"),
        ),
        value(
            "input-lines-terminated-by",
            does("`line_end` of the decoder; else --lines-terminated-by"),
        ),
        value(
            "input-enclosed-by",
            Answer::Export(
                Some(Outcome::Differs),
                "`quote` of the decoder; a value without quotes is taken as well",
            ),
        ),
        value(
            "input-optionally-enclosed-by",
            does(
                "`quote` of the decoder; `\"` unless given where the directory was written by \
                 `aqueduct import`; else --optionally-enclosed-by",
            ),
        ),
        value("input-escaped-by", does("`escape` of the decoder; else --escaped-by")),
        value("input-null-string", does("`null` of the decoder; `null` unless given")),
        value(
            "input-null-non-string",
            does(
                "`null_non_text` of the decoder, for columns that are no text; `null` unless given",
            ),
        ),
    ],
};

pub(super) const VALIDATION: Group = Group {
    heading: "Validation",
    rows: &[
        flag(
            "validate",
            Answer::Carried(
                "rows of the table are counted, and held against the ledger of the \
                 store",
            ),
        ),
        value("validator", Ignored("rows are counted")),
        value("validation-threshold", Refused("the counts have to be the same; leave it out")),
        value(
            "validation-failurehandler",
            Ignored("a difference ends the import with exit code 1"),
        ),
    ],
};

pub(super) const JOBS: Group = Group {
    heading: "Saved jobs and merge",
    rows: &[
        value("create", Refused(NO_JOBS)),
        value("delete", Refused(NO_JOBS)),
        value("exec", Refused(NO_JOBS)),
        flag("list", Refused(NO_JOBS)),
        value("show", Refused(NO_JOBS)),
        value("meta-connect", Refused(NO_JOBS)),
        value("meta-username", Refused(NO_JOBS)),
        value("meta-password", Refused(NO_JOBS)),
        value("new-data", Refused("files are not merged: readers take the latest row of a key")),
        value("onto", Refused("files are not merged: readers take the latest row of a key")),
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
    heading: "Behind `--`, for one kind of database",
    rows: &[
        value("schema", Answer::Carried("it stands before the name of the table")),
        flag(
            "identity-insert",
            Answer::Export(Some(Outcome::Refused), "there is no client of SQL Server"),
        ),
        value("table-hints", Refused("there is no client of SQL Server")),
        flag("resilient", Ignored("lost connections are made again")),
        value("boolean-true-string", Refused("`true` is written; cast in --query")),
        value("boolean-false-string", Refused("`false` is written; cast in --query")),
    ],
};

pub(super) const HADOOP: Group = Group {
    heading: "Of Hadoop, in front of the others",
    rows: &[
        value("D", Answer::Carried("`fs.defaultFS` as --default-fs; other properties do nothing")),
        value("fs", Answer::Carried("as --default-fs")),
        value("conf", Ignored("`HADOOP_CONF_DIR` names the configuration of Hadoop")),
        value("jt", Ignored("there is no job of MapReduce")),
        value("files", Ignored("there is no job of MapReduce")),
        value("libjars", Ignored("no driver of JDBC is needed")),
        value("archives", Ignored("there is no job of MapReduce")),
    ],
};
