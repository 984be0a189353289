//! Pages of hostile agents, of many agents, and of agents with a history.

use super::*;
use crate::agents::Report;
use crate::history::Sample;
use crate::topology::{Destination, Receiver};
use crate::{Fleet, Revision, Saved};

struct Nowhere;

impl crate::Save for Nowhere {
    fn save(&mut self, _: &Saved) -> std::io::Result<()> {
        Ok(())
    }
}

fn whole(fleet: &FleetView, searched: &str) -> String {
    html((fleet, &Topology::default()), searched, &Tracks::default())
}

#[test]
fn texts_of_agents_are_no_markup() {
    let none = Revision::default;
    let mut fleet = Fleet::new(Saved::default(), none(), none(), BTreeMap::new());
    let markup = "<script>alert('1')</script>\"&";
    let report = Report {
        uid: "00".into(),
        name: markup.into(),
        version: markup.into(),
        verdict: markup.into(),
        labels: [(markup.into(), markup.into())].into(),
        in_force: Some(markup.into()),
        failure: Some(crate::Failure { hash: "1".into(), error: markup.into() }),
        destinations: vec![Destination {
            sink: markup.into(),
            kind: markup.into(),
            address: markup.into(),
            ..Destination::default()
        }],
        ..Report::default()
    };
    fleet.report(1_000, report, &mut Nowhere).unwrap();
    let page = whole(&FleetView::new(&fleet, 2_000), "");
    assert!(page.contains("1 agents") && page.contains("&lt;script&gt;"), "{page}");
    assert!(!page.contains("<script") && !page.contains("'1'"), "{page}");
    let view = FleetView::new(&fleet, 2_000);
    let topology = Topology::new(fleet.agents(), 2_000);
    let page = agent_html((&view.agents[0], &topology), &Tracks::default());
    assert!(page.matches("&lt;script&gt;").count() >= 6, "{page}");
    assert!(!page.contains("<script") && !page.contains("'1'"), "{page}");
}

#[test]
fn a_search_selects_agents_and_problems_come_first() {
    let none = Revision::default;
    let mut fleet = Fleet::new(Saved::default(), none(), none(), BTreeMap::new());
    for number in 0..2 * ROWS_MAX {
        let level = if number == 700 { Level::Bad } else { Level::Good };
        let (uid, name) = (format!("{number:032x}"), format!("edge-{number:04}"));
        let labels = [("site".into(), format!("s{}", number % 2))].into();
        let report = Report { uid, name, labels, level, poll_ms: 30_000, ..Report::default() };
        fleet.report(1_000, report, &mut Nowhere).unwrap();
    }
    let view = FleetView::new(&fleet, 2_000);
    let page = whole(&view, "");
    assert!(page.contains("1000 found; the first 500 are shown"), "{page}");
    assert_eq!(page.matches("<tr class").count(), ROWS_MAX);
    assert!(page.find("edge-0700").unwrap() < page.find("edge-0000").unwrap());
    assert!(!page.contains("edge-0999"));
    let page = whole(&view, &search("x=1&q=Edge-09%39"));
    assert_eq!(page.matches("<tr class").count(), 10, "edge-0990 to edge-0999");
    assert_eq!(whole(&view, &search("q=site%3Ds1")).matches("<tr class").count(), ROWS_MAX);
    let hostile = whole(&view, &search("q=%22%3E%3Cscript%3E"));
    assert!(hostile.contains("0 found") && !hostile.contains("<script"), "{hostile}");
}

#[test]
fn agents_and_the_fleet_have_charts_of_their_history() {
    let none = Revision::default;
    let mut fleet = Fleet::new(Saved::default(), none(), none(), BTreeMap::new());
    let mut tracks = Tracks { step: 1_000, ..Tracks::default() };
    for (uid, accepted) in [("", 300.0), ("0a", 100.0), ("0b", 200.0)] {
        let (accepted, oldest_seconds) = (Some(accepted), (uid == "0b").then_some(90));
        let sample = Sample { accepted, oldest_seconds, ..Sample::default() };
        tracks.by_uid.insert(uid.to_owned(), vec![(999, sample), (1_000, sample)]);
        if !uid.is_empty() {
            let counts = Some(crate::Counts::default());
            let (uid, name) = (uid.to_owned(), uid.to_owned());
            let report = Report { uid, name, counts, ..Report::default() };
            fleet.report(1_000, report, &mut Nowhere).unwrap();
        }
    }
    let view = FleetView::new(&fleet, 2_000);
    let none = Topology::default();
    let page = html((&view, &none), "", &tracks);
    assert!(page.contains("accepted: 300 at 11:20, at most 300 at"), "{page}");
    assert_eq!(page.matches("<svg class=\"small\"").count(), 2, "{page}");
    assert!(page.contains("<a href=\"/agent?agent=0b\">0b</a>"), "{page}");
    assert!(page.contains("in 24 hours: 200 at"), "{page}");
    let page = agent_html((&view.agents[1], &none), &tracks);
    assert!(page.contains("accepted: 200 at") && page.contains("oldest: 90 s at"), "{page}");
    assert!(page.contains("href=\"/history?agent=0b\""), "{page}");
    assert!(!agent_html((&view.agents[0], &none), &tracks).contains("oldest: "));
    // Its ids are unique, so that labels are those of their pictures.
    let ids: Vec<&str> =
        page.split(" id=\"").skip(1).filter_map(|it| it.split('"').next()).collect();
    let unique: std::collections::BTreeSet<&&str> = ids.iter().collect();
    assert_eq!(ids.len(), unique.len(), "{ids:?}");
    tracks.problem = Some("cannot use <history.db>".into());
    assert!(html((&view, &none), "", &tracks).contains("cannot use &lt;history.db&gt;"));
}

#[test]
fn each_collector_is_shown_with_its_senders_and_stores() {
    let none = Revision::default;
    let mut fleet = Fleet::new(Saved::default(), none(), none(), BTreeMap::new());
    let counts = Some(crate::Counts::default());
    for number in 0..60 {
        let name = format!("edge-{number:02}");
        let destination = Destination {
            sink: "collector".into(),
            kind: "grpc".into(),
            address: "c:4141".into(),
            incarnation: 7,
            delivered: 0,
        };
        let (uid, destinations) = (name.clone(), vec![destination]);
        let report = Report { uid, name, counts, destinations, ..Report::default() };
        fleet.report(1_000, report, &mut Nowhere).unwrap();
    }
    let store = Destination {
        sink: "store".into(),
        kind: "hdfs".into(),
        address: "hdfs://nn/logs".into(),
        ..Destination::default()
    };
    let receiver = Receiver { source: "edges".into(), incarnation: 7, senders: 61 };
    let report = Report {
        uid: "c".into(),
        name: "collector-1".into(),
        counts,
        destinations: vec![store],
        receivers: vec![receiver],
        ..Report::default()
    };
    fleet.report(1_000, report, &mut Nowhere).unwrap();
    let (view, topology) = (FleetView::new(&fleet, 2_000), Topology::new(fleet.agents(), 2_000));
    let page = html((&view, &topology), "", &Tracks::default());
    let link = "<a href=\"/agent?agent=c\">collector-1</a>";
    let hub = format!("<li>{link}: no rate yet from 60 agents, 61 connected; sends to");
    assert!(page.contains(&hub), "{page}");
    assert!(page.contains("<li>hdfs hdfs://nn/logs: no rate yet from 1 agents<details>"), "{page}");
    assert_eq!(page.matches(", sink collector</li>").count(), 50, "{page}");
    assert!(page.contains("<li>and 10 more</li>"), "{page}");
    // From an edge to its collector, and back.
    let agent = |name: &str| view.agents.iter().find(|it| it.name == name).unwrap();
    let edge = agent_html((agent("edge-59"), &topology), &Tracks::default());
    let sends = format!("<h2>Sends to</h2>\n<ul><li>{link}: no rate yet, sink collector</li>");
    assert!(edge.contains(&sends) && !edge.contains("Receives from"), "{edge}");
    let collector = agent_html((agent("collector-1"), &topology), &Tracks::default());
    assert!(collector.contains("<h2>Receives from</h2>"), "{collector}");
    assert!(collector.contains("<a href=\"/agent?agent=edge-00\">edge-00</a>"), "{collector}");
}
