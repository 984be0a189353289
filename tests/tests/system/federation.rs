//! Goal: a sink stores each line once through an HDFS router, and through a viewfs mount table. For
//! a directory on two mounts, the error names the fix.
//!
//! Method: two namespaces behind a router, and a collector that writes into one of them through the
//! router, and into the other one through viewfs. Under load the collector is killed (-9) twice,
//! and the router once. Hadoop's shell finds each line once in both, through the router, and
//! `aqueduct verify` proves the same over both ways.
//!
//! Lane: core
//! Needs: java mvn curl flock
//! Weight: 0
//! Limit: 10m
//! Paths: @core deploy/hadoop

use std::fs;
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::Duration;

use aqueduct_tests::agent::{Agent, ROLL};
use aqueduct_tests::hdfs::Hdfs;
use aqueduct_tests::reconcile::{compare, prove};
use aqueduct_tests::wait;

const LINES: usize = 2_000;

/// Returns a collector that stores the lines of `app.log` at each of these URLs.
fn collector(hdfs: &Hdfs, dir: &Path, name: &str, urls: &[(&str, &str)]) -> Agent {
    let mut text = format!(
        r#"
[agent]
data_dir = "{dir}/{name}"
[sources.log]
type = "tail_dir"
paths = ["{dir}/app.log"]
channels = {channels:?}
interceptors = [{{ type = "static", key = "kind", value = "two" }}]
"#,
        dir = dir.display(),
        channels = urls.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
    );
    for (name, url) in urls {
        text += &format!(
            r#"
[channels.{name}]
type = "durable"
capacity = "64MiB"
[sinks.{name}]
type = "hdfs"
url = "{url}"
channel = "{name}"
{ROLL}
"#
        );
    }
    Agent::configured("aqueduct-collector", dir, name, &text).with_conf_dir(hdfs.conf_dir())
}

/// Returns the number of visible files.
fn files(agent: &Agent, sink: &str) -> Option<f64> {
    agent.metrics()?.value(&format!("aqueduct_sink_visible_files_total{{sink=\"{sink}\"}}"))
}

/// Waits until each sink has more files than before.
fn wait_for_more(agent: &Agent, sinks: &[(&str, f64)]) {
    for (sink, had) in sinks {
        let what = format!("a file of {sink}");
        wait::until(&what, Duration::from_secs(60), || {
            files(agent, sink).filter(|files| files > had)
        });
    }
}

#[test]
#[ignore = "needs the programs, a JDK and Maven: tests/run"]
fn each_line_is_stored_once_by_router_and_viewfs_through_kills() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let mut hdfs = Hdfs::configured_with(&dir.join("hdfs"), &["--federation"]);
    hdfs.start();
    let routed = format!("{}/one/logs/%Y", hdfs.url());
    let mounted = "viewfs://table/two/logs/%Y";
    let mut log = fs::File::create(dir.join("app.log")).expect("the log is made");
    let mut agent =
        collector(&hdfs, dir, "collector", &[("routed", &routed), ("mounted", mounted)]);
    agent.start();
    let mut written = Vec::new();
    for part in 0..5 {
        let text: String = (0..LINES).map(|number| format!("{part} {number}\n")).collect();
        // Before the lines, because files can appear immediately after them.
        let had = ["routed", "mounted"].map(|sink| (sink, files(&agent, sink).unwrap_or_default()));
        log.write_all(text.as_bytes()).expect("the log is written");
        written.extend_from_slice(text.as_bytes());
        match part {
            0 => wait_for_more(&agent, &had),
            1 | 3 => {
                thread::sleep(Duration::from_millis(if part == 1 { 300 } else { 900 }));
                agent.kill();
                agent.start();
            }
            2 => {
                hdfs.kill("router");
                // The other way does not use the router.
                wait_for_more(&agent, &had[1..]);
                hdfs.revive("router");
            }
            _ => {}
        }
    }
    let mut in_a_row = 0;
    wait::until("the lines to be stored", Duration::from_secs(60), || {
        let metrics = agent.metrics()?;
        let unread = metrics.sum("aqueduct_source_lag_bytes")?;
        let is_idle = unread == 0.0 && metrics.sum("aqueduct_channel_events")? == 0.0;
        in_a_row = if is_idle { in_a_row + 1 } else { 0 };
        (in_a_row >= 100).then_some(())
    });
    agent.stop(Duration::from_secs(25));
    for (name, url, pattern) in
        [("routed", &*routed, "/one/logs/20*/*.log"), ("mounted", mounted, "/two/logs/20*/*.log")]
    {
        let channel = dir.join("collector/channels").join(name);
        prove(url, Some(&hdfs.conf_dir()), &[channel]);
        let found = compare(&written, &hdfs.read(pattern));
        assert!(found.is_none(), "{name}: {found}");
    }
    two_mounts_are_answered(&hdfs, dir);
}

/// Files are staged in the directory before the first escape, and cannot be moved into another
/// mount below it.
fn two_mounts_are_answered(hdfs: &Hdfs, dir: &Path) {
    let mut agent = collector(hdfs, dir, "mixed", &[("mixed", "viewfs://table/mixed/%{kind}")]);
    agent.start();
    agent.until_logged("use one sink for each mount", Duration::from_secs(20));
    agent.kill();
}
