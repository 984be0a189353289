//! Goal: a fleet server rolls a good configuration out to all agents, stops a bad one in the first
//! wave and takes it back, and a killed server repeats no wave; agents work without it.
//!
//! Method: a server and six agents whose own files have only `[agent]`. Lines are written to their
//! logs all the time. Two revisions are rolled out; during the second one the server is killed (-9)
//! while a wave is observed, and restarted, and a pinned agent is left out until it is unpinned.
//! Then bad revisions: a missing path, a filter that drops every line, a sink that cannot deliver,
//! a wrong setting, and one that removes a channel with events. The audit logs of the agents show
//! how often each has applied a text. The directory of the server is a git repository, which fails
//! once. Finally the server stays dead, and an agent restarts with its last configuration.
//! Another fleet has an edge, a collector and an edge of another site: the topology shows their
//! ways with rates, and the history of the server survives a kill (-9) and a damaged file.
//!
//! Lane: core
//! Weight: 1
//! Limit: 10m
//! Paths: @core crates/fleet

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use aqueduct_tests::agent::{Agent, program};
use aqueduct_tests::fleet::{Fleet, LIMIT};
use aqueduct_tests::{http, wait};
use serde_json::Value;

const AGENTS: usize = 6;

/// Seconds that each agent is observed.
const SOAK: &str = "5";

/// Writes the fragment, with a change.
fn write(site: &Fleet, change: impl Fn(String) -> String) {
    let text = format!(
        "[sources.logs]\ntype = \"tail_dir\"\npaths = [\"{}/*.log\"]\n\
         channels = [\"main\"]\n\
         [channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.store]\ntype = \"discard\"\nchannel = \"main\"\n",
        site.path("${AGENT}").display()
    );
    site.write_fragment(&change(text));
}

/// Rolls out a bad revision, which must not leave the first wave. Returns the reason.
fn refuse(site: &Fleet, change: impl Fn(String) -> String) -> String {
    let (before, accepted) = (site.applied(), site.seen());
    write(site, change);
    site.roll_out().expect("it starts");
    let ended = site.ended();
    assert_eq!(ended["phase"], "rolled_back", "{ended}");
    assert_eq!(ended["wave"], 1, "{ended}");
    let changes: Vec<usize> =
        site.applied().iter().zip(&before).map(|(now, before)| now - before).collect();
    // At most one agent had it, and has the old one back.
    let sum: usize = changes.iter().sum();
    assert!(changes.iter().all(|it| [0, 2].contains(it)) && sum <= 2, "{changes:?}");
    let view = site.seen();
    assert_eq!(view["accepted_revision"], accepted["accepted_revision"]);
    let agents = view["agents"].as_array().expect("a list");
    for agent in agents {
        assert_eq!(agent["in_force"], accepted["agents"][0]["in_force"], "{agent}");
    }
    let reason = ended["reason"].as_str().expect("a reason").to_owned();
    eprintln!("rolled back: {reason}");
    reason
}

/// Runs git in the directory of the server.
fn git(site: &Fleet, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.arg("-C").arg(site.path("fleet")).args(arguments);
    let output = git.output().expect("git starts");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// Stops or starts the group of every agent.
fn groups(site: &Fleet, action: &str) {
    for agent in &site.agents {
        let mut command = program("aqueduct");
        command.args([action, &agent.admin().to_string(), "--group", "store"]);
        let output = command.output().expect("the program starts");
        assert!(output.status.success(), "{output:?}");
    }
}

/// The accepted events of an agent.
fn accepted(agent: &Agent) -> u64 {
    wait::until("a status", LIMIT, || {
        let status: Value = serde_json::from_str(&http::get(agent.admin(), "/status")?.1).ok()?;
        status["conservation"]["accepted_events"].as_u64()
    })
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn good_revisions_reach_all_agents_and_bad_ones_stop_in_the_first_wave() {
    let mut site = Fleet::start(AGENTS, SOAK);
    git(&site, &["init", "--quiet"]);
    write(&site, |text| text);
    site.roll_out().expect("it starts");
    let ended = site.ended();
    assert_eq!((&ended["phase"], &ended["passed"]), (&"completed".into(), &AGENTS.into()));
    assert_eq!(ended["waves"], 3, "{ended}");
    assert_eq!(site.applied(), [1; AGENTS]);

    // The server is killed while the second wave is observed. One agent is pinned.
    let pinned = site.run("pin", &["--agent", "edge-5"]);
    assert!(pinned.status.success(), "{pinned:?}");
    let again = site.run("pin", &["--agent", "edge-6"]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    write(&site, |text| text.replace("64MiB", "65MiB"));
    site.roll_out().expect("it starts");
    wait::until("the second wave", LIMIT, || {
        let rollout = site.view()?["rollout"].take();
        (rollout["wave"] == 2 && rollout["soaking"].as_u64()? > 0).then_some(())
    });
    site.server.take().expect("it runs").kill();
    let before = accepted(&site.agents[0]);
    thread::sleep(Duration::from_secs(3));
    assert!(accepted(&site.agents[0]) > before, "the agent stopped without the server");
    site.start_server();
    let ended = site.ended();
    assert_eq!((&ended["phase"], &ended["passed"]), (&"completed".into(), &(AGENTS - 1).into()));
    assert_eq!(site.applied(), [2, 2, 2, 2, 2, 1], "a wave was applied twice, or not at all");
    let view = site.seen();
    assert_eq!(
        (&view["agents"][5]["pinned_revision"], &view["pins"][0]["revision"]),
        (&1.into(), &1.into())
    );

    // The unpinned agent is the only one that the next roll-out changes.
    let unpinned = site.run("unpin", &["--agent", "edge-5"]);
    assert!(unpinned.status.success(), "{unpinned:?}");
    site.roll_out().expect("it starts");
    let ended = site.ended();
    assert_eq!((&ended["phase"], &ended["members"]), (&"completed".into(), &1.into()), "{ended}");
    assert_eq!(site.applied(), [2; AGENTS]);
    assert_eq!(site.seen()["pins"], serde_json::json!([]));

    // A failure of git stops nothing, and is shown.
    let lock = site.path("fleet/.git/index.lock");
    fs::write(&lock, "").expect("the test's own folder");
    let changed = |text: &str| text.replace("64MiB", "66MiB");
    let drops = "channels = [\"main\"]\n[[sources.logs.interceptors]]\ntype = \"filter\"\n\
                 keep = [{ matches = \"never\" }]\n";
    let reason = refuse(&site, |text| changed(&text).replacen("channels = [\"main\"]\n", drops, 1));
    assert!(reason.contains("it drops events"), "{reason}");
    wait::until("the failure of git", LIMIT, || {
        site.seen()["git_problem"].as_str()?.contains("index.lock").then_some(())
    });
    fs::remove_file(&lock).expect("the test's own folder");
    let reason = refuse(&site, |text| changed(&text).replace("/*.log", "/*.lgo"));
    assert!(reason.contains("it accepts no events"), "{reason}");
    let nowhere = http::free_address();
    let grpc = format!("type = \"grpc\"\naddress = \"{nowhere}\"\n");
    let reason = refuse(&site, |text| changed(&text).replace("type = \"discard\"\n", &grpc));
    assert!(reason.contains("backlog grows") || reason.contains("health"), "{reason}");
    let reason = refuse(&site, |text| text.replace("\"discard\"", "\"discart\""));
    assert!(reason.contains("refused the configuration"), "{reason}");
    groups(&site, "stop");
    thread::sleep(Duration::from_secs(3));
    let reason = refuse(&site, |text| text.replace("main", "other"));
    assert!(reason.contains("removes channel `main`"), "{reason}");
    groups(&site, "start");

    // Without the server an agent starts with its last configuration.
    site.server.take().expect("it runs").kill();
    site.agents[0].kill();
    site.agents[0].start();
    let before = accepted(&site.agents[0]);
    wait::until("events without the server", LIMIT, || {
        (accepted(&site.agents[0]) > before).then_some(())
    });
    let page = fs::read_to_string(site.path("fleet/audit.log")).expect("the audit log");
    assert_eq!(page.matches("\"action\":\"roll-out\"").count(), 8, "{page}");
    assert_eq!(page.matches("\"action\":\"rolled back\"").count(), 5, "{page}");
    // The last line is committed in the background.
    let commits = wait::until("the commits", LIMIT, || {
        let text = git(&site, &["log", "--reverse", "--format=%an: %s"]);
        (text.matches("rolled back: revision").count() >= 4).then_some(text)
    });
    assert!(
        commits.starts_with("loopback: roll-out: revision 1: 6 agents in 3 waves"),
        "{commits}"
    );
    for line in
        ["fleet: completed: revision 2", "loopback: pin: agent edge-5 (", "loopback: unpin:"]
    {
        assert!(commits.contains(line), "{line}: {commits}");
    }
    let files = git(&site, &["ls-files"]);
    assert!(files.contains("assign.toml") && files.contains("revisions/3/fragments/edge.toml"));
    assert!(!files.contains("agents.json"), "{files}");
}

/// The nodes and ways of the topology, with the names of the nodes, when this way has a rate.
fn ways(site: &Fleet, expected: &str) -> Vec<String> {
    wait::until(expected, LIMIT, || {
        let topology: Value = serde_json::from_str(&site.page("/topology")).ok()?;
        let (nodes, edges) = (topology["nodes"].as_array()?, topology["edges"].as_array()?);
        let name = |id: &Value| {
            let node = nodes.iter().find(|it| it["id"] == *id).expect("every way has nodes");
            format!("{} {}", node["kind"], node["name"]).replace('"', "")
        };
        let ways = edges.iter().map(|it| {
            let moves = it["events_per_second"].as_f64().is_some_and(|rate| rate > 0.0);
            format!("{} -> {}{}", name(&it["from"]), name(&it["to"]), if moves { " +" } else { "" })
        });
        let ways: Vec<String> = ways.collect();
        ways.iter().any(|it| it == expected).then_some(ways)
    })
}

/// The points of a history, when it has some.
fn history(site: &Fleet, query: &str) -> Vec<Value> {
    wait::until("a history", LIMIT, || {
        let history: Value = serde_json::from_str(&site.page(&format!("/history{query}"))).ok()?;
        let points = history["points"].as_array()?.clone();
        (!points.is_empty()).then_some(points)
    })
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn shows_ways_between_agents_and_keeps_its_history_after_kills() {
    let mut site = Fleet::start(0, SOAK);
    let (listen, nowhere) = (http::free_address(), http::free_address());
    let collector = format!(
        "[sources.edges]\ntype = \"grpc\"\nlisten = \"{listen}\"\nchannels = [\"main\"]\n\
         [channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.store]\ntype = \"file_roll\"\nchannel = \"main\"\ndirectory = \"{}\"\n",
        site.path("stored").display()
    );
    fs::create_dir(site.path("stored")).expect("the test's own folder");
    let edge = |address: &str| {
        format!(
            "[sources.in]\ntype = \"sequence\"\nrate = 50\nchannels = [\"main\"]\n\
             [channels.main]\ntype = \"memory\"\ncapacity = \"16MiB\"\n\
             [sinks.collector]\ntype = \"grpc\"\nchannel = \"main\"\naddress = \"{address}\"\n"
        )
    };
    site.add("aqueduct-collector", "collector-1", &collector);
    site.add("aqueduct-edge", "edge-1", &edge(&listen.to_string()));
    site.add("aqueduct-edge", "edge-2", &edge(&nowhere.to_string()));
    let seen = ways(&site, "agent edge-1 -> agent collector-1 +");
    let stored = format!(
        "agent collector-1 -> store file_roll {} on collector-1",
        site.path("stored").display()
    );
    assert!(seen.iter().any(|it| it.starts_with(&stored)), "{stored}: {seen:?}");
    let unknown = format!("agent edge-2 -> address {nowhere} on edge-2");
    assert!(seen.contains(&unknown), "{unknown}: {seen:?}");
    // The collector reports its senders in turns of its own.
    wait::until("the sender on the page", LIMIT, || {
        let page = site.page("/");
        (page.contains(">collector-1</a>") && page.contains("1 connected")).then_some(())
    });
    let page = site.page("/agent?agent=edge-1");
    assert!(page.contains("<h2>Sends to</h2>") && page.contains(">collector-1</a>"), "{page}");
    let page = site.page("/agent?agent=collector-1");
    assert!(page.contains("<h2>Receives from</h2>") && page.contains(">edge-1</a>"), "{page}");

    // The first samples are stored after a minute.
    let (fleet, own) = (history(&site, ""), history(&site, "?agent=edge-1"));
    site.server.take().expect("it runs").kill();
    site.start_server();
    for (before, after) in [(&fleet, history(&site, "")), (&own, history(&site, "?agent=edge-1"))] {
        assert_eq!(before[0]["at_unix_seconds"], after[0]["at_unix_seconds"]);
        let rate = after[0]["accepted_per_second"].as_f64();
        assert!(rate.is_some_and(|it| it > 0.0), "{after:?}");
    }
    assert!(site.page("/").contains("<title id=\"rates-title\">Events per second"));
    ways(&site, "agent edge-1 -> agent collector-1 +");

    // A damaged file stops nothing: it is set aside, and a new history begins.
    site.server.take().expect("it runs").kill();
    let file = site.path("fleet/history.db");
    fs::write(&file, "not a history").expect("the test's own folder");
    site.start_server();
    history(&site, "");
    let aside = fs::read(site.path("fleet/history.db.damaged")).expect("the damaged file");
    assert_eq!(aside, b"not a history");
    let output = fs::read_to_string(site.path("server.out")).expect("the log of the server");
    assert!(output.contains("is damaged or not a history"), "{output}");
}
