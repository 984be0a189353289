//! Sinks without a counterpart, and their replacements.

use super::{Becomes, Key, Row, ignored};

const ANY: &[&[Key]] = &[&[ignored("*", "", "the sink does not exist")]];

const fn sink(name: &'static str, classes: &'static [&'static str], becomes: Becomes) -> Row {
    Row { role: "sink", name, classes, becomes, differs: "", keys: ANY }
}

pub(super) const ROWS: &[Row] = &[
    sink(
        "hive",
        &["org.apache.flume.sink.hive.HiveSink"],
        Becomes::Later(
            "ORC transactions are not supported; write to a new external table with `hdfs` and its \
             table `hive`",
        ),
    ),
    sink(
        "morphline_solr",
        &[
            "org.apache.flume.sink.solr.morphline.MorphlineSolrSink",
            "org.apache.flume.sink.solr.morphline.MorphlineSink",
        ],
        Becomes::Later(
            "write a `solr` sink with `collection` and `solrUrl` of the SOLR_LOCATOR, and \
             interceptors for the commands of the morphline",
        ),
    ),
    sink(
        "elasticsearch",
        &["org.apache.flume.sink.elasticsearch.ElasticSearchSink"],
        Becomes::Later(
            "use an `elasticsearch` sink with port 9200 instead of 9300; Flume 1.11 does not have \
             this sink",
        ),
    ),
    sink(
        "kite",
        &["org.apache.flume.sink.kite.DatasetSink"],
        Becomes::Never("write Avro files with `hdfs`; Flume 1.11 does not have this sink"),
    ),
    sink(
        "kudu",
        &["org.apache.kudu.flume.sink.KuduSink"],
        Becomes::Later("keep a Flume agent downstream of an `avro` sink"),
    ),
    sink(
        "irc",
        &["org.apache.flume.sink.irc.IRCSink"],
        Becomes::Never("use a webhook with the `http` sink"),
    ),
];
