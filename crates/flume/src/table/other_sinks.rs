//! Sinks without a counterpart, and their replacements.

use super::{Becomes, Key, Row, ignored};

const ANY: &[&[Key]] = &[&[ignored("*", "", "the sink is not there")]];

const fn sink(name: &'static str, classes: &'static [&'static str], becomes: Becomes) -> Row {
    Row { role: "sink", name, classes, becomes, differs: "", keys: ANY }
}

pub(super) const ROWS: &[Row] = &[
    sink(
        "hive",
        &["org.apache.flume.sink.hive.HiveSink"],
        Becomes::Later(
            "there is no writer of ORC transactions; write with `hdfs`, whose table `hive` names \
             the metastore, into a new external table",
        ),
    ),
    sink(
        "morphline_solr",
        &["org.apache.flume.sink.solr.morphline.MorphlineSolrSink"],
        Becomes::Later(
            "there is no such translation; write a `solr` sink, with `collection` and `solrUrl` of \
             the SOLR_LOCATOR, and the commands of the morphline as interceptors",
        ),
    ),
    sink(
        "elasticsearch",
        &["org.apache.flume.sink.elasticsearch.ElasticSearchSink"],
        Becomes::Later(
            "Flume 1.11 has none either; write an `elasticsearch` sink, with port 9200 \
                        in the place of 9300",
        ),
    ),
    sink(
        "kite",
        &["org.apache.flume.sink.kite.DatasetSink"],
        Becomes::Never("Flume 1.11 has none either; write Avro files with `hdfs`"),
    ),
    sink(
        "kudu",
        &["org.apache.kudu.flume.sink.KuduSink"],
        Becomes::Later("there is no `kudu` sink; let a Flume agent behind an `avro` sink keep it"),
    ),
    sink(
        "irc",
        &["org.apache.flume.sink.irc.IRCSink"],
        Becomes::Never("messages are sent to people by a webhook: use `http`"),
    ),
];
