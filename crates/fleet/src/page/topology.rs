//! The topology as lists: each collector and each store with its senders. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::{chart, escaped};
use crate::gate::Level;
use crate::topology::{Edge, Node, NodeKind, Topology};

/// Maximum number of collectors and of stores, and of the connections of each.
const GROUPS_MAX: usize = 100;
const CONNECTIONS_MAX: usize = 50;

/// Connections by their ends.
pub(super) struct Connections<'a> {
    nodes: BTreeMap<&'a str, &'a Node>,
    into: BTreeMap<&'a str, Vec<&'a Edge>>,
    out_of: BTreeMap<&'a str, Vec<&'a Edge>>,
}

impl<'a> Connections<'a> {
    pub(super) fn new(topology: &'a Topology) -> Self {
        let (mut into, mut out_of) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
        for edge in &topology.edges {
            into.entry(edge.to.as_str()).or_default().push(edge);
            out_of.entry(edge.from.as_str()).or_default().push(edge);
        }
        Self { nodes: topology.nodes.iter().map(|it| (it.id.as_str(), it)).collect(), into, out_of }
    }

    fn incoming(&self, id: &str) -> &[&'a Edge] {
        self.into.get(id).map_or(&[], |it| it)
    }

    fn outgoing(&self, id: &str) -> &[&'a Edge] {
        self.out_of.get(id).map_or(&[], |it| it)
    }

    /// The name of a node, with a link if it is an agent of the fleet, and its state.
    fn named(&self, id: &str) -> String {
        let Some(node) = self.nodes.get(id) else { return escaped(id) };
        let name = escaped(&node.name);
        let state = match (node.silent, node.level) {
            (true, _) => " (does not report)",
            (false, Some(Level::Bad)) => " (error)",
            (false, Some(Level::Warn)) => " (warning)",
            _ => "",
        };
        match node.kind {
            NodeKind::Agent => {
                format!("<a href=\"/agent?agent={}\">{name}</a>{state}", escaped(id))
            }
            NodeKind::Address => format!("{name} (not in this fleet)"),
            NodeKind::Store => name,
        }
    }

    /// A list of connections, at most [`CONNECTIONS_MAX`] of them.
    fn list(&self, out: &mut String, edges: &[&Edge], end: fn(&Edge) -> &str) {
        out.push_str("<ul>");
        for edge in edges.iter().take(CONNECTIONS_MAX) {
            let _infallible = write!(
                out,
                "<li>{}: {}, sink {}</li>",
                self.named(end(edge)),
                rate(edge.events_per_second),
                escaped(&edge.sink)
            );
        }
        if edges.len() > CONNECTIONS_MAX {
            let _infallible = write!(out, "<li>and {} more</li>", edges.len() - CONNECTIONS_MAX);
        }
        out.push_str("</ul>");
    }

    /// A collector or a store with its senders.
    fn group(&self, out: &mut String, node: &Node) {
        let edges = self.incoming(&node.id);
        let senders = edges.iter().map(|it| &*it.from).collect::<BTreeSet<&str>>().len();
        let known: Vec<f32> = edges.iter().filter_map(|it| it.events_per_second).collect();
        let sum = (!known.is_empty()).then(|| known.iter().sum());
        let _infallible =
            write!(out, "<li>{}: {} from {senders} agents", self.named(&node.id), rate(sum));
        if let Some(connected) = node.connected {
            let _infallible = write!(out, ", {connected} connected");
        }
        let onward = self.outgoing(&node.id);
        if !onward.is_empty() {
            out.push_str("; sends to");
            self.list(out, onward, |it| &it.to);
        }
        if !edges.is_empty() {
            out.push_str("<details><summary>Senders</summary>");
            self.list(out, edges, |it| &it.from);
            out.push_str("</details>");
        }
        out.push_str("</li>\n");
    }
}

fn rate(events: Option<f32>) -> String {
    events.map_or("no rate yet".to_owned(), |it| format!("{} events/s", chart::events(it)))
}

/// The collectors and stores of the fleet.
pub(super) fn overview(out: &mut String, topology: &Topology) {
    let connections = Connections::new(topology);
    out.push_str("<h2>Topology</h2>\n");
    if topology.edges.is_empty() {
        out.push_str("<p>No agent reports its sinks.</p>\n");
        return;
    }
    let is_hub = |it: &Node| it.connected.is_some() || !connections.incoming(&it.id).is_empty();
    for (title, is_store) in [("Collectors", false), ("Stores", true)] {
        let nodes = topology.nodes.iter();
        let nodes = nodes.filter(|it| (it.kind == NodeKind::Store) == is_store && is_hub(it));
        let mut nodes: Vec<&Node> = nodes.collect();
        if nodes.is_empty() {
            continue;
        }
        nodes.sort_by_key(|it| (&it.name, &it.id));
        let _infallible = writeln!(out, "<h3>{title}</h3>\n<ul>");
        nodes.iter().take(GROUPS_MAX).for_each(|node| connections.group(out, node));
        if nodes.len() > GROUPS_MAX {
            let _infallible = writeln!(out, "<li>and {} more</li>", nodes.len() - GROUPS_MAX);
        }
        out.push_str("</ul>\n");
    }
    out.push_str("<p><a href=\"/topology\">The same as JSON</a></p>\n");
}

/// The connections of one agent.
pub(super) fn of_agent(out: &mut String, topology: &Topology, uid: &str) {
    let connections = Connections::new(topology);
    type End = fn(&Edge) -> &str;
    let lists: [(&str, &[&Edge], End); 2] = [
        ("Sends to", connections.outgoing(uid), |it| &it.to),
        ("Receives from", connections.incoming(uid), |it| &it.from),
    ];
    for (title, edges, end) in lists {
        if !edges.is_empty() {
            let _infallible = writeln!(out, "<h2>{title}</h2>");
            connections.list(out, edges, end);
        }
    }
}
