//! Calls whose request or response is lost with their connection.

use std::time::Duration;

use aqueduct_tests::{is_long, wait};

use super::relay::{Lost, Relay};
use super::site::{Differences, PATIENCE, Site, hdfs};

/// The calls of every roll.
const CALLS: [&str; 6] = ["create", "addBlock", "fsync", "complete", "getFileInfo", "rename2"];

#[test]
#[ignore = "needs the programs and HDFS: tests/run"]
fn a_rename_without_an_answer_is_found_out_and_done_once() {
    let relay = Relay::to(hdfs().address());
    let url = Some(format!("hdfs://{}", relay.address));
    let site = Site::begin("rename", Differences { url, ..Differences::default() });
    let rounds = if is_long() { 100 } else { 8 };
    let longest = (0..rounds).map(|round| {
        let lost = if round % 4 == 3 { Lost::Request } else { Lost::Answer };
        cut(&site, &relay, "rename2", lost)
    });
    let longest = longest.max().unwrap_or_default().as_secs_f64();
    site.figure(format!("{rounds} renames cut: a file visible after {longest:.1} s at most"));
    site.end();
}

#[test]
#[ignore = "needs the programs and HDFS: tests/run"]
fn a_call_of_a_roll_without_an_answer_costs_at_most_the_roll() {
    if !is_long() {
        return;
    }
    let relay = Relay::to(hdfs().address());
    let url = Some(format!("hdfs://{}", relay.address));
    let site = Site::begin("calls", Differences { url, ..Differences::default() });
    for call in CALLS {
        let both = [Lost::Answer, Lost::Request].into_iter().cycle().take(10);
        let longest = both.map(|lost| cut(&site, &relay, call, lost)).max().unwrap_or_default();
        let longest = longest.as_secs_f64();
        site.figure(format!("10 times `{call}` cut: a file visible after {longest:.1} s at most"));
    }
    site.end();
}

/// Cuts one call, and waits for new visible files. Returns how long that took.
fn cut(site: &Site, relay: &Relay, method: &'static str, lost: Lost) -> Duration {
    let before = relay.cuts();
    relay.cut(method, lost);
    wait::until(&format!("a call of {method}"), PATIENCE, || (relay.cuts() > before).then_some(()));
    site.shows_one_more()
}
