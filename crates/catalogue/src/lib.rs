//! The catalogue of the full programs: every crate of components, each behind a feature.

use pipeline::{Catalogue, Elsewhere, Group};

include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// Every component that this build has.
pub const FULL: Catalogue = Catalogue { groups: GROUPS, elsewhere: ELSEWHERE };

const GROUPS: &[&Group] = &[
    &components::GROUP,
    &components_files::GROUP,
    &components_grpc::GROUP,
    #[cfg(feature = "amqp")]
    &components_amqp::GROUP,
    #[cfg(feature = "expr")]
    &components_expr::GROUP,
    #[cfg(feature = "hbase")]
    &components_hbase::GROUP,
    #[cfg(feature = "hdfs")]
    &components_hdfs::GROUP,
    #[cfg(feature = "http_stream")]
    &components_http_stream::GROUP,
    #[cfg(feature = "kafka")]
    &components_kafka::GROUP,
    #[cfg(feature = "mqtt")]
    &components_mqtt::GROUP,
    #[cfg(feature = "nats")]
    &components_nats::GROUP,
    #[cfg(feature = "otlp")]
    &components_otlp::GROUP,
    #[cfg(feature = "parquet")]
    &components_parquet::GROUP,
    #[cfg(feature = "rabbitmq")]
    &components_rabbitmq::GROUP,
    #[cfg(feature = "search")]
    &components_search::GROUP,
    #[cfg(feature = "shippers")]
    &components_shippers::GROUP,
    #[cfg(feature = "sql")]
    &components_sql::GROUP,
];

/// What was left out of this build.
const ELSEWHERE: &[Elsewhere] = &[
    #[cfg(not(feature = "amqp"))]
    Elsewhere { role: "source", kind: "amqp", programs: "a program built with the feature `amqp`" },
    #[cfg(not(feature = "amqp"))]
    Elsewhere { role: "sink", kind: "amqp", programs: "a program built with the feature `amqp`" },
    #[cfg(not(feature = "expr"))]
    Elsewhere {
        role: "condition",
        kind: "cel",
        programs: "a program built with the feature `expr`",
    },
    #[cfg(not(feature = "hbase"))]
    Elsewhere { role: "sink", kind: "hbase", programs: "a program built with the feature `hbase`" },
    #[cfg(not(feature = "hdfs"))]
    Elsewhere { role: "source", kind: "hdfs", programs: "a program built with the feature `hdfs`" },
    #[cfg(not(feature = "hdfs"))]
    Elsewhere {
        role: "decoder",
        kind: "avro_rows",
        programs: "a program built with the feature `hdfs`",
    },
    #[cfg(not(feature = "hdfs"))]
    Elsewhere {
        role: "decoder",
        kind: "delimited",
        programs: "a program built with the feature `hdfs`",
    },
    #[cfg(not(feature = "hdfs"))]
    Elsewhere {
        role: "decoder",
        kind: "sequence_file",
        programs: "a program built with the feature `hdfs`",
    },
    #[cfg(not(feature = "hdfs"))]
    Elsewhere { role: "sink", kind: "hdfs", programs: "a program built with the feature `hdfs`" },
    #[cfg(not(feature = "http_stream"))]
    Elsewhere {
        role: "source",
        kind: "http_poll",
        programs: "a program built with the feature `http_stream`",
    },
    #[cfg(not(feature = "http_stream"))]
    Elsewhere {
        role: "source",
        kind: "http_stream",
        programs: "a program built with the feature `http_stream`",
    },
    #[cfg(not(feature = "shippers"))]
    Elsewhere {
        role: "source",
        kind: "fluent_forward",
        programs: "a program built with the feature `shippers`",
    },
    #[cfg(not(feature = "shippers"))]
    Elsewhere {
        role: "source",
        kind: "lumberjack",
        programs: "a program built with the feature `shippers`",
    },
    #[cfg(not(feature = "kafka"))]
    Elsewhere {
        role: "source",
        kind: "kafka",
        programs: "a program built with the feature `kafka`",
    },
    #[cfg(not(feature = "kafka"))]
    Elsewhere { role: "sink", kind: "kafka", programs: "a program built with the feature `kafka`" },
    #[cfg(not(feature = "mqtt"))]
    Elsewhere { role: "source", kind: "mqtt", programs: "a program built with the feature `mqtt`" },
    #[cfg(not(feature = "mqtt"))]
    Elsewhere { role: "sink", kind: "mqtt", programs: "a program built with the feature `mqtt`" },
    #[cfg(not(feature = "nats"))]
    Elsewhere { role: "source", kind: "nats", programs: "a program built with the feature `nats`" },
    #[cfg(not(feature = "nats"))]
    Elsewhere { role: "sink", kind: "nats", programs: "a program built with the feature `nats`" },
    #[cfg(not(feature = "otlp"))]
    Elsewhere { role: "source", kind: "otlp", programs: "a program built with the feature `otlp`" },
    #[cfg(not(feature = "otlp"))]
    Elsewhere { role: "sink", kind: "otlp", programs: "a program built with the feature `otlp`" },
    #[cfg(not(feature = "parquet"))]
    Elsewhere {
        role: "decoder",
        kind: "parquet_rows",
        programs: "a program built with the feature `parquet`",
    },
    #[cfg(not(feature = "parquet"))]
    Elsewhere {
        role: "encoder",
        kind: "parquet",
        programs: "a program built with the feature `parquet`",
    },
    #[cfg(not(feature = "rabbitmq"))]
    Elsewhere {
        role: "source",
        kind: "rabbitmq",
        programs: "a program built with the feature `rabbitmq`",
    },
    #[cfg(not(feature = "rabbitmq"))]
    Elsewhere {
        role: "sink",
        kind: "rabbitmq",
        programs: "a program built with the feature `rabbitmq`",
    },
    #[cfg(not(feature = "search"))]
    Elsewhere {
        role: "sink",
        kind: "elasticsearch",
        programs: "a program built with the feature `search`",
    },
    #[cfg(not(feature = "search"))]
    Elsewhere { role: "sink", kind: "solr", programs: "a program built with the feature `search`" },
    #[cfg(not(feature = "sql"))]
    Elsewhere { role: "source", kind: "sql", programs: "a program built with the feature `sql`" },
    #[cfg(not(feature = "sql"))]
    Elsewhere {
        role: "source",
        kind: "sql_changes",
        programs: "a program built with the feature `sql`",
    },
    #[cfg(not(feature = "sql"))]
    Elsewhere { role: "sink", kind: "sql", programs: "a program built with the feature `sql`" },
];

/// The reference page of a component, as `docs/components` has it; `None` where there is no page.
pub fn page(role: &str, kind: &str) -> Option<&'static str> {
    PAGES.iter().find(|page| page.0 == role && page.1 == kind).map(|page| page.2)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[cfg(not(feature = "hdfs"))]
    use pipeline::Sink;

    use super::*;

    type Kinds = BTreeSet<(&'static str, &'static str)>;

    fn kinds(catalogue: Catalogue) -> Kinds {
        let mut kinds = Kinds::new();
        for listed in catalogue.all() {
            let (role, kind) = (listed.role, listed.kind);
            assert!(kinds.insert((role, kind)), "{role} `{kind}` is there twice");
        }
        kinds
    }

    #[cfg(not(feature = "hdfs"))]
    #[test]
    fn a_kind_that_was_left_out_is_named_with_its_feature() {
        let error = FULL.find::<dyn Sink>("hdfs").err().unwrap();
        let expected =
            "the sink `hdfs` is not in this program; use a program built with the feature `hdfs`";
        assert_eq!(error, expected);
    }

    /// So that an edge can say where a kind is that it has not.
    #[cfg(all(
        feature = "amqp",
        feature = "expr",
        feature = "hbase",
        feature = "hdfs",
        feature = "http_stream",
        feature = "kafka",
        feature = "mqtt",
        feature = "nats",
        feature = "otlp",
        feature = "parquet",
        feature = "rabbitmq",
        feature = "search",
        feature = "shippers",
        feature = "sql"
    ))]
    #[test]
    fn an_edge_names_each_kind_that_only_full_programs_have() {
        let full = kinds(FULL);
        let here = kinds(components::EDGE);
        let named: Kinds =
            components::ELSEWHERE.iter().map(|other| (other.role, other.kind)).collect();
        assert_eq!(full.difference(&here).copied().collect::<Kinds>(), named);
    }
}
