//! Renamed agents, shared addresses, unknown agents, cycles, restarts and hostile reports.

use super::*;
use crate::{Counts, Fleet, Report, Revision, Saved};

struct Nowhere;

impl crate::Save for Nowhere {
    fn save(&mut self, _: &Saved) -> std::io::Result<()> {
        Ok(())
    }
}

const SECOND: u64 = 1_000;

/// A fleet, whose agents report when a test calls for it.
struct Site(Fleet);

impl Site {
    fn new() -> Self {
        let none = Revision::default;
        Self(Fleet::new(Saved::default(), none(), none(), BTreeMap::new()))
    }

    /// Reports these sinks, and sources with these incarnations.
    fn report(
        &mut self,
        (uid, name): (&str, &str),
        at_ms: u64,
        (destinations, incarnations): (&[Destination], &[u64]),
    ) {
        let receivers = incarnations.iter().map(|it| Receiver {
            source: "edges".into(),
            incarnation: *it,
            senders: 3,
        });
        let report = Report {
            uid: uid.to_owned(),
            name: name.to_owned(),
            counts: Some(Counts::default()),
            poll_ms: 30_000,
            destinations: destinations.to_vec(),
            receivers: receivers.collect(),
            ..Report::default()
        };
        self.0.report(at_ms, report, &mut Nowhere).unwrap();
    }

    fn topology(&self, now_ms: u64) -> Topology {
        Topology::new(self.0.agents(), now_ms)
    }

    /// The ways as `from -> to: rate`, with the names of the nodes.
    fn ways(&self, now_ms: u64) -> Vec<String> {
        let topology = self.topology(now_ms);
        let name = |id: &str| {
            let node = topology.nodes.iter().find(|it| it.id == id).expect("every way has nodes");
            node.name.clone()
        };
        let ways = topology.edges.iter().map(|it| {
            let rate = it.events_per_second.map_or("-".to_owned(), |it| it.to_string());
            format!("{} -> {}: {rate}", name(&it.from), name(&it.to))
        });
        ways.collect()
    }
}

fn grpc(address: &str, incarnation: u64, delivered: u64) -> Destination {
    let (sink, kind) = ("collector".into(), "grpc".into());
    Destination { sink, kind, address: address.into(), incarnation, delivered }
}

fn hdfs(address: &str, delivered: u64) -> Destination {
    let (sink, kind) = ("store".into(), "hdfs".into());
    Destination { sink, kind, address: address.into(), incarnation: 0, delivered }
}

#[test]
fn edges_lead_to_collectors_and_stores_with_rates() {
    let mut site = Site::new();
    for report in 0..5 {
        let at = report * 30 * SECOND;
        site.report(("e", "edge"), at, (&[grpc("vip:4141", 7, 600 * report)], &[]));
        site.report(("c", "collector"), at, (&[hdfs("hdfs://nn/logs", 300 * report)], &[7]));
    }
    let expected = ["collector -> hdfs hdfs://nn/logs: 10", "edge -> collector: 20"];
    assert_eq!(site.ways(121 * SECOND), expected);
    let nodes = site.topology(121 * SECOND).nodes;
    assert_eq!(nodes.iter().map(|it| it.connected).collect::<Vec<_>>(), [Some(3), None, None]);
    // Names are only labels.
    site.report(("c", "renamed"), 150 * SECOND, (&[hdfs("hdfs://nn/logs", 1_500)], &[7]));
    assert_eq!(site.ways(151 * SECOND)[1], "edge -> renamed: 20");
    // A silent agent has a way, and no rate.
    site.report(("c", "collector"), 900 * SECOND, (&[hdfs("hdfs://nn/logs", 9_000)], &[7]));
    assert_eq!(site.ways(901 * SECOND)[1], "edge -> collector: -");
}

#[test]
fn agents_behind_one_address_are_told_apart() {
    let mut site = Site::new();
    // Two collectors behind a load balancer, two edges behind an address translation.
    for (uid, incarnation) in [("e1", 7), ("e2", 8)] {
        site.report((uid, uid), 0, (&[grpc("balancer:4141", incarnation, 0)], &[]));
    }
    site.report(("c1", "c1"), 0, (&[], &[7]));
    site.report(("c2", "c2"), 0, (&[], &[8]));
    assert_eq!(site.ways(0), ["e1 -> c1: -", "e2 -> c2: -"]);
    // Edges of the same name, and a collector with two sources.
    let mut site = Site::new();
    site.report(("e1", "web"), 0, (&[grpc("c:1", 7, 0)], &[]));
    site.report(("e2", "web"), 0, (&[grpc("c:2", 8, 0)], &[]));
    site.report(("c", "c"), 0, (&[], &[7, 8]));
    assert_eq!(site.ways(0), ["web -> c: -", "web -> c: -"]);
    assert_eq!(site.topology(0).nodes.len(), 3);
}

#[test]
fn unknown_agents_are_addresses() {
    let mut site = Site::new();
    for uid in ["e1", "e2"] {
        site.report((uid, uid), 0, (&[grpc("other-site:4141", 9, 0)], &[]));
    }
    site.report(("e3", "e3"), 0, (&[grpc("127.0.0.1:4141", 0, 0)], &[]));
    site.report(("e4", "e4"), 0, (&[grpc("127.0.0.1:4141", 0, 0)], &[]));
    let ways = site.ways(0);
    assert_eq!(&ways[..2], ["e1 -> other-site:4141: -", "e2 -> other-site:4141: -"]);
    assert_eq!(&ways[2..], ["e3 -> 127.0.0.1:4141 on e3: -", "e4 -> 127.0.0.1:4141 on e4: -"]);
    let unknown = site.topology(0).nodes;
    let unknown: Vec<&Node> = unknown.iter().filter(|it| it.kind == NodeKind::Address).collect();
    assert_eq!(unknown.len(), 3, "one for both edges, and one on each of the other hosts");
    // Directories are on their hosts, too; sinks without a place share a node.
    let mut site = Site::new();
    for uid in ["e1", "e2"] {
        let files = Destination { kind: "file_roll".into(), ..hdfs("/var/spool", 0) };
        let void = Destination { sink: "void".into(), kind: "discard".into(), ..hdfs("", 0) };
        site.report((uid, uid), 0, (&[files, void], &[]));
    }
    let stores = site.topology(0).nodes.into_iter().filter(|it| it.kind == NodeKind::Store);
    let names: Vec<String> = stores.map(|it| it.name).collect();
    assert_eq!(names, ["discard", "file_roll /var/spool on e1", "file_roll /var/spool on e2"]);
}

#[test]
fn cycles_and_agents_that_send_to_themselves_have_ways() {
    let mut site = Site::new();
    site.report(("a", "a"), 0, (&[grpc("b:1", 2, 0)], &[1]));
    site.report(("b", "b"), 0, (&[grpc("a:1", 1, 0)], &[2]));
    site.report(("c", "c"), 0, (&[grpc("c:1", 3, 0)], &[3]));
    assert_eq!(site.ways(0), ["a -> b: -", "b -> a: -", "c -> c: -"]);
}

#[test]
fn restarts_and_other_addresses_begin_a_new_rate() {
    let mut site = Site::new();
    let mut at = 0;
    let mut edge = |site: &mut Site, destination: Destination| {
        at += 60 * SECOND;
        site.report(("e", "e"), at, (&[destination], &[]));
        site.ways(at)[0].clone()
    };
    site.report(("c", "c"), 0, (&[], &[7]));
    assert_eq!(edge(&mut site, grpc("c:1", 7, 6_000)), "e -> c: -");
    assert_eq!(edge(&mut site, grpc("c:1", 7, 12_000)), "e -> c: 100");
    // The edge has restarted and has not reached the collector yet.
    assert_eq!(edge(&mut site, grpc("c:1", 0, 0)), "e -> c:1: -");
    assert_eq!(edge(&mut site, grpc("c:1", 7, 600)), "e -> c: 10");
    // The connection is lost: the edge remembers, and so does the server.
    assert_eq!(edge(&mut site, grpc("c:1", 0, 600)), "e -> c: 0");
    assert_eq!(edge(&mut site, grpc("d:1", 0, 600)), "e -> d:1: -");
}

#[test]
fn hostile_reports_do_not_capture_the_ways_of_others() {
    let mut site = Site::new();
    site.report(("e", "e"), 0, (&[grpc("c:1", 7, 0)], &[]));
    site.report(("c", "c"), 0, (&[], &[7]));
    assert_eq!(site.ways(0), ["e -> c: -"]);
    // The incarnation of another agent, and no incarnation.
    site.report(("x", "x"), 0, (&[grpc("c:1", 0, 0)], &[7, 0]));
    assert_eq!(site.ways(0), ["e -> c:1: -", "x -> c:1: -"]);
}
