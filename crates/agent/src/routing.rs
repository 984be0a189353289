//! Describes the destinations of a source's batches: see [`peers::routing`].
//!
//! ```text
//!   by "kind": "order" into store in hdfs://nn:8020/orders, else into store in hdfs://nn:8020/rest
//!   └────────── the selector ─────────────┘ └ name of the sink, store, prefix ┘
//! ```

use pipeline::{DedupeScope, Routing};

use crate::built::{BuiltGroup, BuiltSource};
use crate::parts::scopes;

/// Returns the routing of `source`, whose channels these groups empty. `None` if some batch is
/// forwarded unsplit to another agent, which compares the routing of its own senders. A part of a
/// batch is named by its channel, so agents of one group must forward the same part by the same
/// channel.
///
/// Only required channels count, because optional ones are not waited for.
pub(crate) fn for_source(source: &BuiltSource, groups: &[BuiltGroup]) -> Option<Routing> {
    let mut channels = Vec::new();
    for channel in &source.required {
        let mut datasets = Vec::new();
        if source.naming.contains(channel) {
            datasets.push(format!("the next agents of channel {channel}"));
        }
        for scope in scopes(channel, groups) {
            match scope {
                DedupeScope::NextAgent if source.naming.contains(channel) => {}
                DedupeScope::NextAgent => return None,
                DedupeScope::Dataset(name) => datasets.push(name),
                DedupeScope::Nothing => {}
            }
        }
        channels.push(datasets);
    }
    channels.resize(source.required.len() + source.optional.len(), Vec::new());
    let header = source.selector.routing_header();
    let bodies = source.selector.reads_bodies();
    let changes = source.interceptors.iter().flat_map(|built| {
        let of_bodies = bodies.then(|| built.interceptor.body_effect()).flatten();
        built.interceptor.routing_effect(header).into_iter().chain(of_bodies)
    });
    let changes: Vec<String> = changes.collect();
    let rule = source.selector.routing_rule(&channels);
    let text = match (&*changes, header) {
        ([], _) => rule,
        (changes, Some(header)) => format!("{rule}; {header:?} is {}", changes.join(", then ")),
        (changes, None) => format!("{rule}; {}", changes.join(", then ")),
    };
    Some(Routing::from_text(&text))
}

#[cfg(test)]
mod tests {
    use catalogue::FULL;
    use config::Plan;
    use metrics::Metrics;
    use pipeline::Env;

    use super::*;
    use crate::topology::Topology;

    fn env() -> Env {
        env::real()
    }

    fn routing(text: &str) -> Option<Routing> {
        let plan: Plan = config::load(std::path::Path::new("c.toml"), text, "host").unwrap();
        let topology = Topology::build(&plan, FULL, &env(), &Metrics::default()).unwrap();
        topology.sources.into_iter().next().unwrap().routing
    }

    const TWO: &str = r#"
[agent]
data_dir = "/d"
[sources.in]
type = "grpc"
listen = "127.0.0.1:0"
channels = ["one", "two"]
interceptors = [{ type = "static", headers = { site = "fra" } }]
selector = { type = "multiplexing", header = "kind", mapping.order = ["one"], default = ["two"] }
[channels.one]
type = "durable"
[channels.two]
type = "durable"
[sinks.orders]
type = "hdfs"
url = "hdfs://nn:8020/orders/%Y"
channel = "one"
[sinks.rest]
type = "hdfs"
url = "hdfs://nn:8020/rest"
channel = "two"
"#;

    #[test]
    fn it_names_what_decides_and_where_to() {
        let text = "by \"kind\": \"order\" into orders in hdfs://nn:8020/orders, \
                    else into rest in hdfs://nn:8020/rest";
        assert_eq!(&*routing(TWO).unwrap().text, text);
    }

    /// Names of channels, their order and settings without effect on the path of an event do not
    /// count.
    #[test]
    fn the_same_function_has_the_same_digest() {
        let same = routing(TWO).unwrap();
        for (from, to) in [
            ("\"one\"", "\"uno\""),
            ("[\"one\", \"two\"]", "[\"two\", \"one\"]"),
            ("site = \"fra\"", "site = \"ams\""),
            ("mapping.order", "mapping.other = [\"two\"], mapping.order"),
            ("orders/%Y", "orders/%Y-%m"),
            ("data_dir = \"/d\"", "data_dir = \"/e\""),
        ] {
            let text = TWO.replace("channels.one", "channels.uno").replace("\"one\"", "\"uno\"");
            let text = if from == "\"one\"" { text } else { TWO.replacen(from, to, 1) };
            assert_eq!(routing(&text), Some(same.clone()), "{from} -> {to}");
        }
    }

    #[test]
    fn each_effect_on_the_route_of_an_event_counts() {
        let before = routing(TWO).unwrap();
        for (from, to) in [
            ("mapping.order", "mapping.orders"),
            ("header = \"kind\"", "header = \"type\""),
            ("default = [\"two\"]", "default = [\"one\", \"two\"]"),
            ("{ site = \"fra\" }", "{ kind = \"order\" }"),
            ("nn:8020/orders", "nn:8020/order"),
            ("hdfs://nn:8020/rest", "hdfs://other:8020/rest"),
            ("[sinks.orders]", "[sinks.order]"),
        ] {
            let text = TWO.replacen(from, to, 1);
            assert_ne!(text, TWO, "{from}");
            assert_ne!(routing(&text).unwrap().digest, before.digest, "{from} -> {to}");
        }
    }

    /// A replacement changes the choice of a selector that looks at bodies, and of no other one.
    #[test]
    fn body_changes_count_if_the_selector_reads_bodies() {
        let replaced = |text: &str| {
            let more = "{ type = \"search_replace\", search = \"a\", replace = \"b\" }";
            text.replace("interceptors = [", &format!("interceptors = [{more}, "))
        };
        assert_eq!(routing(&replaced(TWO)), routing(TWO));
        let by_header = "{ type = \"multiplexing\", header = \"kind\", \
                         mapping.order = [\"one\"], default = [\"two\"] }";
        let spread = TWO.replace(by_header, "{ type = \"load_balancing\" }");
        let text = "spread by body with seed 0 over: orders in hdfs://nn:8020/orders, \
                    rest in hdfs://nn:8020/rest";
        assert_eq!(&*routing(&spread).unwrap().text, text);
        let text = format!("{text}; bodies with \"b\" for \"a\"");
        assert_eq!(&*routing(&replaced(&spread)).unwrap().text, text);
    }

    #[test]
    fn relay_of_whole_batches_defers_and_a_splitter_describes_itself() {
        let relay = TWO.replace(
            "type = \"hdfs\"\nurl = \"hdfs://nn:8020/rest\"",
            "type = \"grpc\"\naddress = \"localhost:4141\"",
        );
        let text = "by \"kind\": \"order\" into orders in hdfs://nn:8020/orders, \
                    else into the next agents of channel two";
        assert_eq!(&*routing(&relay).unwrap().text, text);
        let by_header = "{ type = \"multiplexing\", header = \"kind\", \
                         mapping.order = [\"one\"], default = [\"two\"] }";
        let whole = relay.replace(by_header, "{ type = \"replicating\" }");
        assert_ne!(whole, relay);
        assert_eq!(routing(&whole), None);
        // Destinations of an optional channel are not waited for.
        let optional = relay.replace(
            "channels = [\"one\", \"two\"]",
            "channels = [\"one\"]\noptional_channels = [\"two\"]",
        );
        let text = "by \"kind\": \"order\" into orders in hdfs://nn:8020/orders, else into nothing";
        assert_eq!(&*routing(&optional).unwrap().text, text);
    }
}
