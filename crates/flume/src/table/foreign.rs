//! Components that are not part of Flume, and their replacements.

/// Words in the names of classes, in lower case, with the component that replaces the class. The
/// first match counts.
const REPLACEMENTS: &[(&str, &[(&str, &str)])] = &[
    (
        "source",
        &[
            ("kafka", "kafka"),
            ("rabbit", "rabbitmq"),
            ("amqp", "amqp"),
            ("mqtt", "mqtt"),
            ("nats", "nats"),
            ("sql", "sql"),
            ("jdbc", "sql"),
            ("oracle", "sql"),
            ("http", "http"),
            ("rest", "http"),
            ("syslog", "syslog"),
            ("tail", "tail_dir"),
            ("spool", "spool_dir"),
            ("file", "tail_dir"),
            ("hdfs", "hdfs"),
        ],
    ),
    (
        "sink",
        &[
            ("elastic", "elasticsearch"),
            ("opensearch", "elasticsearch"),
            ("solr", "solr"),
            ("kafka", "kafka"),
            ("rabbit", "rabbitmq"),
            ("amqp", "amqp"),
            ("mqtt", "mqtt"),
            ("nats", "nats"),
            ("hbase", "hbase"),
            ("sql", "sql"),
            ("jdbc", "sql"),
            ("oracle", "sql"),
            ("http", "http"),
            ("hdfs", "hdfs"),
            ("file", "file_roll"),
        ],
    ),
    (
        "interceptor",
        &[
            ("static", "static"),
            ("json", "parse"),
            ("pars", "parse"),
            ("etl", "parse"),
            ("split", "parse"),
            ("time", "event_time"),
            ("date", "event_time"),
            ("filter", "regex_filter"),
            ("mask", "mask"),
            ("host", "host"),
        ],
    ),
];

/// Returns the message for a component that Flume does not have; `None` for a misspelled alias.
pub(super) fn replacement(role: &str, kind: &str) -> Option<String> {
    let class = kind.trim_end_matches("$Builder");
    let name = class.rsplit(['.', '$']).next().unwrap_or(class).to_lowercase();
    if kind.eq_ignore_ascii_case("MULTI_STATIC") {
        return Some(
            "`MULTI_STATIC` is not part of Flume 1.11; write one `static` interceptor with \
             `key` and `value` for each header"
                .to_owned(),
        );
    }
    if !kind.contains('.') {
        return None;
    }
    let of_role = REPLACEMENTS.iter().find(|(of, _)| *of == role).map_or(&[][..], |(_, all)| *all);
    let found = of_role.iter().find(|(word, _)| name.contains(word)).map(|(_, ours)| *ours);
    let what = format!("`{kind}` is a Java class that is not part of Flume 1.11");
    let run = match matches!(role, "source" | "interceptor" | "selector" | "sink" | "encoder") {
        true => "set --classpath to its jars and Flume's to run it, or ",
        false => "",
    };
    Some(match found {
        Some(ours) => format!("{what}; {run}configure the {role} `{ours}` of Aqueduct instead"),
        None => format!("{what}; {run}choose a component that replaces it"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_others_name_their_replacement() {
        for (role, class, ours) in [
            ("source", "org.keedio.flume.source.SQLSource", "`sql`"),
            ("source", "org.apache.flume.source.rabbitmq.RabbitMQSource", "`rabbitmq`"),
            ("sink", "com.thilinamb.flume.sink.KafkaSink", "`kafka`"),
            ("sink", "com.frontier45.flume.sink.elasticsearch2.ElasticSearchSink", "`elasti"),
            ("sink", "com.example.MysqlSink", "`sql`"),
            ("interceptor", "com.atguigu.flume.interceptor.ETLInterceptor$Builder", "`parse`"),
            ("interceptor", "com.example.JsonInterceptor$Builder", "`parse`"),
            ("interceptor", "MULTI_STATIC", "`static`"),
            ("sink", "com.example.MySink", "choose a component"),
        ] {
            let problem = replacement(role, class).unwrap();
            assert!(problem.contains(ours), "{class}: {problem}");
        }
        assert_eq!(replacement("sink", "hdsf"), None);
    }
}
