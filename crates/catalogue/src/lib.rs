//! The catalogue of the full programs: every crate of components, each behind a feature.

use pipeline::{Catalogue, Elsewhere, Group};

/// Every component that this build has.
pub const FULL: Catalogue = Catalogue { groups: GROUPS, elsewhere: ELSEWHERE };

const GROUPS: &[&Group] = &[
    &components::GROUP,
    #[cfg(feature = "hdfs")]
    &components_hdfs::GROUP,
];

/// What was left out of this build.
const ELSEWHERE: &[Elsewhere] = &[
    #[cfg(not(feature = "hdfs"))]
    Elsewhere { role: "sink", kind: "hdfs", programs: "a program built with the feature `hdfs`" },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use pipeline::{
        Channel, ChannelSelector, Codec, Decoder, Encoder, Interceptor, Role, Sink, SinkProcessor,
        Source,
    };

    use super::*;

    type Kinds = BTreeSet<(&'static str, &'static str)>;

    fn add<R: Role + ?Sized>(catalogue: Catalogue, kinds: &mut Kinds) {
        for entry in catalogue.entries::<R>() {
            assert!(
                kinds.insert((R::NAME, entry.kind)),
                "{} `{}` is there twice",
                R::NAME,
                entry.kind
            );
        }
    }

    fn kinds(catalogue: Catalogue) -> Kinds {
        let mut kinds = Kinds::new();
        add::<dyn Source>(catalogue, &mut kinds);
        add::<dyn Interceptor>(catalogue, &mut kinds);
        add::<dyn ChannelSelector>(catalogue, &mut kinds);
        add::<dyn Channel>(catalogue, &mut kinds);
        add::<dyn SinkProcessor>(catalogue, &mut kinds);
        add::<dyn Sink>(catalogue, &mut kinds);
        add::<dyn Encoder>(catalogue, &mut kinds);
        add::<dyn Codec>(catalogue, &mut kinds);
        add::<dyn Decoder>(catalogue, &mut kinds);
        kinds
    }

    /// So that an edge can say where a kind is that it has not.
    #[test]
    fn an_edge_names_each_kind_that_only_full_programs_have() {
        let full = kinds(FULL);
        let here = kinds(components::EDGE);
        let named: Kinds =
            components::ELSEWHERE.iter().map(|other| (other.role, other.kind)).collect();
        assert_eq!(full.difference(&here).copied().collect::<Kinds>(), named);
    }
}
