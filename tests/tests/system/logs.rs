//! Goal: the log shows an operator that a site works, and with `RUST_LOG=debug` how.
//!
//! Method: a real edge and a real collector move some lines, and their logs are read.
//!
//! Lane: core
//! Weight: 1
//! Limit: 10m
//! Paths: @core

use std::fs;
use std::time::Duration;

use aqueduct_tests::agent::Agent;
use aqueduct_tests::site::Site;
use aqueduct_tests::wait;

/// Prefixes of libraries that log each frame and each connection.
const LIBRARIES: [&str; 5] = [" h2::", " hyper", " tower", " tonic", " mio"];

#[test]
#[ignore = "needs the programs: tests/run"]
fn collector_logs_new_senders_and_visible_files() {
    let site = Site::new();
    let logs = move_lines(&site, site.edge(), site.collector());
    for expected in ["store opened", "sender connected", "file is visible", "sender disconnected"] {
        assert!(logs[1].contains(expected), "`{expected}` is not in:\n{}", logs[1]);
    }
    let day = logs[1].lines().find(|line| line.contains("file is visible")).expect("it is there");
    assert!(day.contains("/store/2") && day.contains("events=1000"), "{day}");
    assert!(logs.iter().all(|log| !log.contains("DEBUG")), "{logs:?}");
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn debug_lines_are_ours_and_tell_the_way_of_each_batch() {
    for filter in ["debug", "info,aqueduct=debug"] {
        let site = Site::new();
        let (edge, collector) = (site.edge(), site.collector());
        let edge = edge.with_log_filter(filter);
        let logs = move_lines(&site, edge, collector.with_log_filter(filter));
        for log in &logs {
            let ours = log.lines().filter(|it| it.contains(" DEBUG ")).count();
            assert!(ours >= 5, "{ours} lines with {filter}:\n{log}");
            for library in LIBRARIES {
                assert!(!log.contains(&format!("DEBUG{library}")), "{library}:\n{log}");
            }
            for step in ["channel opened", "batch accepted", "sent", "committed"] {
                assert!(log.contains(step), "`{step}` is not in:\n{log}");
            }
        }
        for step in ["roll begun", "roll ended", "roll committed", "wrote an entry"] {
            assert!(logs[1].contains(step), "`{step}` is not in:\n{}", logs[1]);
        }
    }
}

/// Moves a thousand lines. Returns the logs of the edge and the collector.
fn move_lines(site: &Site, mut edge: Agent, mut collector: Agent) -> [String; 2] {
    fs::write(site.logs().join("a.log"), "a line\n".repeat(1_000)).expect("a log is written");
    collector.start();
    edge.start();
    site.wait_until_stored(1_000);
    wait::until("the edge to have let go of its lines", Duration::from_secs(60), || {
        let left = edge.metrics()?.sum("aqueduct_sink_committed_events_total")?;
        (left >= 1_000.0).then_some(())
    });
    edge.stop(Duration::from_secs(25));
    collector.stop(Duration::from_secs(25));
    [edge.output(), collector.output()]
}
