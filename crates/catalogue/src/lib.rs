//! The catalogue of the full programs: every crate of components, each behind a feature.

use pipeline::{Catalogue, Group};

include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// Every component that this build has.
pub const FULL: Catalogue = Catalogue { groups: GROUPS, unavailable: components::UNAVAILABLE };

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
    #[cfg(feature = "process")]
    &components_process::GROUP,
    #[cfg(feature = "rabbitmq")]
    &components_rabbitmq::GROUP,
    #[cfg(feature = "search")]
    &components_search::GROUP,
    #[cfg(feature = "shippers")]
    &components_shippers::GROUP,
    #[cfg(feature = "sql")]
    &components_sql::GROUP,
    #[cfg(feature = "wasm")]
    &components_wasm::GROUP,
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
        assert!(error.ends_with("with the feature `hdfs`"), "{error}");
    }

    /// So that a program without a feature can name it.
    #[test]
    fn every_component_of_a_feature_is_listed_for_programs_without_it() {
        let all = kinds(FULL);
        assert!(!all.is_empty());
        for group in GROUPS {
            let own = Catalogue { groups: std::slice::from_ref(group), unavailable: &[] };
            let listed =
                components::UNAVAILABLE.iter().find(|it| Some(it.feature) == group.feature);
            let listed = listed.map(|it| it.components.iter().copied().collect::<Kinds>());
            let expected = group.feature.map(|_| kinds(own));
            assert_eq!(listed, expected, "of `{}`", group.package);
        }
    }
}
