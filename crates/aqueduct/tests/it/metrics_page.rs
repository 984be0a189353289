//! `docs/metrics.md` names every metric and every `reason` label. Method: compares the page with
//! the registry and the sources. Same for `docs/runbook.md`, and for the alerts and the dashboard
//! in `deploy/prometheus`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use agent::status::Cause;
use metrics::Metrics;
use metrics::start::{FAILURE_CLASSES, SOURCE_ANOMALIES};
use pipeline::{
    Channel, ChannelSelector, Codec, Condition, Decoder, Encoder, Framing, Interceptor, Role, Sink,
    SinkProcessor, Source,
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

#[test]
fn every_metric_is_documented_with_its_type() {
    let page = page();
    let documented = rows(&page).filter(|cells| cells.len() == 3);
    let documented: BTreeSet<(String, String)> =
        documented.map(|cells| (cells[0].clone(), cells[1].clone())).collect();
    let there =
        Metrics::catalogue().into_iter().chain(of_components()).map(|(name, kind)| match kind {
            "counter" => (format!("{name}_total"), kind.to_owned()),
            _ => (name, kind.to_owned()),
        });
    assert_eq!(documented, there.collect());
}

#[test]
fn every_reason_is_documented_and_counted_somewhere() {
    let page = page();
    let documented = rows(&page).filter(|cells| cells.len() == 2).map(|cells| cells[0].clone());
    let mut documented: BTreeSet<String> = documented.collect();
    for class in FAILURE_CLASSES {
        assert!(documented.remove(class), "{class} is not documented");
    }
    let there: BTreeSet<String> = reasons().map(str::to_owned).collect();
    assert_eq!(documented, there);

    let sources = sources();
    for reason in &there {
        assert!(sources.contains(&format!("\"{reason}\"")), "nothing is counted by {reason}");
    }
    for call in ["count_anomaly(\"", ".incident(\"", "service.count(\""] {
        for rest in sources.split(call).skip(1) {
            let reason = rest.split('"').next().unwrap();
            assert!(
                there.contains(reason),
                "{reason} is neither in a component's ANOMALIES nor in docs/metrics.md",
            );
        }
    }
}

/// The address of the documentation site.
const SITE: &str = env!("CARGO_PKG_HOMEPAGE");

/// Method: compares the headings of the page with all findings of the code, in both directions, so
/// that the page describes nothing obsolete.
#[test]
fn the_run_book_has_a_heading_for_all_that_is_reported() {
    let page = doc("docs/runbook.md");
    let headings = page.lines().filter_map(|line| line.strip_prefix("### "));
    let found: BTreeSet<String> = headings.map(str::to_owned).collect();
    let reasons = reasons().chain(FAILURE_CLASSES);
    let mut expected: BTreeSet<String> = reasons.map(|reason| format!("`{reason}`")).collect();
    expected.extend(Cause::all().map(|cause| cause.heading().to_owned()));
    let rules = doc("deploy/prometheus/aqueduct.rules.yml");
    let alerts: Vec<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    for alert in alerts {
        let anchor = format!("{SITE}/runbook.html#{}\n", alert.to_lowercase());
        assert!(rules.contains(&anchor), "{alert} has no `runbook_url` of its own");
        expected.insert(alert.to_owned());
    }
    assert_eq!(found, expected);
    let all: Vec<&str> = Cause::all().map(Cause::heading).collect();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "{all:?}");
}

/// An alert on a nonexistent metric would never fire, and a chart would stay empty.
#[test]
fn alerts_and_dashboard_ask_for_metrics_that_there_are() {
    let known = page();
    for file in ["aqueduct.rules.yml", "dashboard.json"] {
        let text = doc(&format!("deploy/prometheus/{file}"));
        let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
        let names = text.split(|c: char| !is_name(c));
        let names = names.filter(|it| it.starts_with("aqueduct_") || it.starts_with("process_"));
        let names: BTreeSet<&str> = names.map(|it| it.trim_end_matches("_bucket")).collect();
        assert!(names.len() > 5, "{file}: {names:?}");
        for name in names {
            assert!(known.contains(&format!("| `{name}` |")), "{file}: {name}");
        }
    }
}

/// Every `reason` of an anomaly or a dead letter.
fn reasons() -> impl Iterator<Item = &'static str> {
    fn of<R: Role + ?Sized>() -> impl Iterator<Item = &'static [&'static str]> {
        catalogue::FULL.entries::<R>().flat_map(|it| [it.anomalies, it.letters])
    }
    let all = of::<dyn Source>().chain(of::<dyn Interceptor>()).chain(of::<dyn Channel>());
    all.chain(of::<dyn Sink>()).flatten().copied().chain(SOURCE_ANOMALIES)
}

/// The metrics of single components, from each role of the catalogue.
fn of_components() -> Vec<(String, &'static str)> {
    fn of<R: Role + ?Sized>(all: &mut Vec<(String, &'static str)>) {
        for entry in catalogue::FULL.entries::<R>() {
            all.extend(entry.metrics.iter().map(|spec| spec.described(entry.kind)));
        }
    }
    let mut all = Vec::new();
    of::<dyn Source>(&mut all);
    of::<dyn Interceptor>(&mut all);
    of::<dyn ChannelSelector>(&mut all);
    of::<dyn Channel>(&mut all);
    of::<dyn SinkProcessor>(&mut all);
    of::<dyn Sink>(&mut all);
    of::<dyn Encoder>(&mut all);
    of::<dyn Codec>(&mut all);
    of::<dyn Decoder>(&mut all);
    of::<dyn Framing>(&mut all);
    of::<dyn Condition>(&mut all);
    all
}

fn page() -> String {
    doc("docs/metrics.md")
}

fn doc(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap()
}

/// Returns the cells of each table row, without markup and table heads.
fn rows(page: &str) -> impl Iterator<Item = Vec<String>> {
    let rows =
        page.lines().filter(|line| line.starts_with("| `") && !line.starts_with("| `reason`"));
    rows.map(|line| {
        let cells = line.trim_matches(['|', ' ']).split(" | ");
        let cells: Vec<String> = cells.map(|cell| cell.trim_matches('`').to_owned()).collect();
        cells
    })
}

/// Returns the source text of the components, tests included.
fn sources() -> String {
    let mut text = String::new();
    let crates = fs::read_dir(Path::new(ROOT).join("crates")).unwrap();
    let crates = crates.map(|entry| entry.unwrap()).filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name != "metrics" && name != "aqueduct"
    });
    let mut left: Vec<_> = crates.map(|entry| entry.path().join("src")).collect();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|it| it == "rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
    // A list of reasons counts nothing.
    for list in ["const ANOMALIES", "const LETTERS"] {
        let parts = text.split(list).enumerate();
        let rest = |(index, part): (usize, &str)| match part.split_once("];") {
            Some((_, rest)) if index > 0 => rest.to_owned(),
            _ => part.to_owned(),
        };
        text = parts.map(rest).collect();
    }
    text
}
