//! Goal: a collector whose store fails does not block anything while another one works: the other
//! one stores its events within a stated time, once.
//!
//! If no collector can store, the edge shows the root cause, with the fix and the affected agent;
//! all of it clears after the repair, even without new events.
//!
//! Method: the real programs. Both collectors have the same store, through a link in their own
//! working folders; for the first one, a file replaces that link.
//!
//! Lane: core
//! Weight: 0
//! Limit: 10m
//! Paths: @core

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::{Agent, CollectorConfig, wait_until_delivered};
use aqueduct_tests::http;
use aqueduct_tests::reconcile::{compare, prove};
use aqueduct_tests::store::visible;
use aqueduct_tests::wait;

/// 15 s until it is reported, 5 s until batches are withdrawn, and time to store them.
const LIMIT: Duration = Duration::from_secs(60);

/// The store, as a path in each collector's working folder.
const STORE: &str = "file:///proc/self/cwd/store/%Y-%m-%d";

fn collector(dir: &Path, listen: &str) -> Agent {
    fs::create_dir(dir).expect("a folder of its own");
    symlink("../shared", dir.join("store")).expect("a link to the store");
    let config = CollectorConfig::new(listen, STORE, &dir.join("data"));
    config.agent(dir).with_current_dir(dir)
}

fn edge(dir: &Path, listen: &[String; 2]) -> Agent {
    let at = |name: &str| dir.join(name).display().to_string();
    let [first, second] = listen;
    let text = format!(
        "[agent]\nname = \"e\"\ndata_dir = \"{}\"\n\
         [sources.logs]\ntype = \"tail_dir\"\npaths = [\"{}\"]\nchannels = [\"main\"]\n\
         interceptors = [{{ type = \"timestamp\" }}]\n\
         [channels.main]\ntype = \"durable\"\n\
         [sinks.first]\ntype = \"grpc\"\naddress = \"{first}\"\n\
         [sinks.second]\ntype = \"grpc\"\naddress = \"{second}\"\n\
         [groups.collectors]\ntype = \"failover\"\nchannel = \"main\"\n\
         sinks = [\"first\", \"second\"]\n",
        at("edge"),
        at("*.log"),
    );
    Agent::configured("aqueduct-edge", dir, "edge", &text)
}

fn stored(dir: &Path) -> Vec<u8> {
    visible(&dir.join("shared"))
}

fn wait_until_stored(dir: &Path, lines: usize) {
    wait::until(&format!("{lines} lines in the store"), LIMIT, || {
        let count = stored(dir).iter().filter(|&&byte| byte == b'\n').count();
        (count >= lines).then_some(())
    });
}

/// Waits until each event of this agent is delivered once or counted, however often it was resent.
fn wait_until_accounted(agent: &Agent) {
    wait::until("every event to be accounted for", LIMIT, || {
        let (_, status) = http::get(agent.admin(), "/status")?;
        let is_sound = status.contains("\"difference_events\":0");
        (is_sound && status.contains("\"held_events\":0")).then_some(())
    });
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn batches_of_an_unable_collector_are_stored_once_by_another_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    fs::create_dir(dir.join("shared")).expect("a store");
    let listen = [http::free_address().to_string(), http::free_address().to_string()];
    let mut first = collector(&dir.join("c1"), &listen[0]);
    let mut second = collector(&dir.join("c2"), &listen[1]);
    let mut edge = edge(dir, &listen);
    let mut written = Vec::new();
    let mut log = |name: &str| {
        let text: String = (0..500).map(|number| format!("{name} {number}\n")).collect();
        fs::write(dir.join(format!("{name}.log")), &text).expect("a log is written");
        written.extend_from_slice(text.as_bytes());
    };
    first.start();
    second.start();
    edge.start();
    log("before");
    wait_until_stored(dir, 500);

    let link = dir.join("c1/store");
    fs::remove_file(&link).expect("the link goes");
    fs::write(&link, "in the way").expect("a file takes its place");
    log("meanwhile");
    let began = Instant::now();
    wait_until_stored(dir, 1_000);
    assert!(began.elapsed() > Duration::from_secs(5), "the first collector had it");
    let (status, said) = http::get(first.admin(), "/readyz").expect("the collector answers");
    assert!(status == 200 && said.contains("\ngroup `"), "{status} {said}");
    let (_, said) = http::get(edge.admin(), "/readyz").expect("the edge answers");
    assert_eq!(said, "ready\n", "its events leave it");
    first.until_logged("asking senders to use another collector", LIMIT);
    edge.until_logged("the downstream agent cannot store events", LIMIT);
    log("later");
    wait_until_stored(dir, 1_500);

    fs::remove_file(&link).expect("the file goes");
    symlink("../shared", &link).expect("the link is back");
    wait::until("the first collector to be done", Duration::from_secs(60), || {
        (first.metrics()?.sum("aqueduct_channel_events")? == 0.0).then_some(())
    });
    wait::until("the edge to hear of it", LIMIT, || {
        edge.output().contains("stores events again").then_some(())
    });
    log("after");
    wait_until_stored(dir, 2_000);
    wait_until_delivered(&edge, Duration::from_secs(60));
    [&edge, &first, &second].into_iter().for_each(wait_until_accounted);
    for agent in [&mut edge, &mut first, &mut second] {
        agent.stop(Duration::from_secs(25));
    }
    let found = compare(&written, &stored(dir));
    assert!(found.is_none(), "{found}");
    let store = format!("file://{}/%Y-%m-%d", dir.join("shared").display());
    prove(&store, None, &[dir.join("edge/channels/main")]);
}

fn break_store(dir: &Path) {
    fs::remove_file(dir.join("store")).expect("the link goes");
    fs::write(dir.join("store"), "in the way").expect("a file takes its place");
}

fn mend_store(dir: &Path) {
    fs::remove_file(dir.join("store")).expect("the file goes");
    symlink("../shared", dir.join("store")).expect("the link is back");
}

fn status(agent: &Agent) -> Option<serde_json::Value> {
    let (_, status) = http::get(agent.admin(), "/status")?;
    serde_json::from_str(&status).ok()
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn the_root_cause_is_shown_upstream_and_clears_without_traffic() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    fs::create_dir(dir.join("shared")).expect("a store");
    let listen = [http::free_address().to_string(), http::free_address().to_string()];
    let dirs = [dir.join("c1"), dir.join("c2")];
    let mut first = collector(&dirs[0], &listen[0]);
    let mut second = collector(&dirs[1], &listen[1]);
    let mut edge = edge(dir, &listen);
    first.start();
    second.start();
    edge.start();
    fs::write(dir.join("before.log"), "1\n2\n3\n").expect("a log is written");
    wait_until_delivered(&edge, LIMIT);

    dirs.iter().for_each(|dir| break_store(dir));
    fs::write(dir.join("during.log"), "4\n5\n6\n").expect("a log is written");
    let found = wait::until("both collectors to be shown at the edge", LIMIT * 2, || {
        let status = status(&edge)?;
        let found = status["troubles"].as_array()?.clone();
        let is_shown = |it: &&serde_json::Value| it["cause"] == "downstream";
        (found.iter().filter(is_shown).count() == 2).then_some(status)
    });
    let headline = found["verdict"]["text"].as_str().expect("a verdict");
    assert!(headline.starts_with("Something is wrong: sink "), "{found}");
    assert!(headline.contains("cannot store events: "), "{found}");
    let root = &found["troubles"][0];
    assert!(root["level"] == "bad" && root["cause"] == "downstream", "{found}");
    let address = root["agent"]["address"].as_str().expect("an agent");
    assert!(listen.iter().any(|it| it == address), "{found}");
    for (field, part) in [("remedy", "on that agent"), ("runbook", "#a-downstream-agent-cannot-")] {
        assert!(root[field].as_str().is_some_and(|it| it.contains(part)), "{found}");
    }
    assert!(root["since_seconds_ago"].as_f64().is_some_and(|it| it >= 15.0), "{found}");
    let (_, said) = http::get(edge.admin(), "/readyz").expect("the edge answers");
    assert!(
        said.contains("has delivered nothing from channel")
            && said.contains("cannot store events: "),
        "{said}"
    );
    edge.until_logged("problem found", LIMIT);

    dirs.iter().for_each(|dir| mend_store(dir));
    let agents = [&edge, &first, &second];
    wait::until("every agent to be ready again without traffic", LIMIT, || {
        let pages = agents.map(|agent| http::get(agent.admin(), "/readyz"));
        let all = pages.iter().all(|it| it.as_ref().is_some_and(|(_, said)| said == "ready\n"));
        let since = agents.map(|agent| agent.metrics()?.sum("aqueduct_group_unable_since_seconds"));
        let over = since.iter().all(|it| *it == Some(0.0));
        let well = agents.map(|agent| Some(status(agent)?["verdict"]["text"] == "All is well"));
        (all && over && well.iter().all(|it| *it == Some(true))).then_some(())
    });
    edge.until_logged("problem solved", LIMIT);
    wait_until_delivered(&edge, LIMIT);
    for agent in [&mut edge, &mut first, &mut second] {
        agent.stop(Duration::from_secs(25));
    }
}
