//! Goal: agents that others have written appear in the fleet, read-only, and get no configuration.
//!
//! Method: opamp-go's own client (`opamp/main.go`), which the supervisor of OpenTelemetry is made
//! of, over HTTP and over a WebSocket. It accepts configurations and claims the labels of an
//! assignment. A revision is rolled out in between; heartbeats without content keep the agents
//! from being silent, also after a restart of the server.
//!
//! Lane: core
//! Weight: 1
//! Limit: 5m
//! Paths: @core crates/fleet deploy/go

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use aqueduct_tests::agent::program;
use aqueduct_tests::process::Process;
use aqueduct_tests::{go, http, wait};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(60);

fn server(dir: &Path, listen: &str) -> Process {
    let mut command = program("aqueduct");
    command.arg("fleet").arg("serve").arg(dir.join("fleet")).args(["--listen", listen]);
    let server = Process::start("fleet", command, &dir.join("server.out"));
    wait::until("the fleet server", LIMIT, || agents(listen));
    server
}

fn agents(listen: &str) -> Option<Vec<Value>> {
    let mut command = program("aqueduct");
    let output = command.args(["fleet", "agents", listen, "--json"]).output().ok()?;
    let mut view: Value = serde_json::from_slice(&output.stdout).ok()?;
    serde_json::from_value(view["agents"].take()).ok()
}

/// Waits until both agents have reported within the last seconds.
fn both_report(listen: &str) -> Vec<Value> {
    wait::until("both agents", LIMIT, || {
        let agents = agents(listen)?;
        let fresh = |it: &Value| it["last_seen_seconds_ago"].as_f64().is_some_and(|it| it < 3.0);
        (agents.len() == 2 && agents.iter().all(fresh)).then_some(agents)
    })
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn foreign_agents_are_shown_and_get_no_configuration() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/system/opamp");
    let client = go::compiled("opamp", &folder);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let listen = http::free_address().to_string();
    let running = server(dir.path(), &listen);
    let fragments = dir.path().join("fleet/fragments");
    fs::write(fragments.join("edge.toml"), "[sinks.edge]\ntype = \"discard\"\n").expect("its own");
    let assign = "[[assign]]\nlabels = { role = \"edge\" }\nfragments = [\"edge\"]\n";
    fs::write(fragments.with_file_name("assign.toml"), assign).expect("its own");
    let started: Vec<(Process, _)> = ["http", "ws"]
        .into_iter()
        .map(|scheme| {
            let mut command = Command::new(&client);
            command.args([&format!("{scheme}://{listen}/v1/opamp"), &format!("otel-{scheme}")]);
            let log = dir.path().join(format!("{scheme}.out"));
            (Process::start(scheme, command, &log), log)
        })
        .collect();
    let seen = both_report(&listen);
    for (agent, name) in seen.iter().zip(["otel-http", "otel-ws"]) {
        assert_eq!(agent["name"], name);
        assert_eq!((&agent["version"], &agent["managed"]), (&"1.2.3".into(), &false.into()));
        assert_eq!((&agent["verdict"], &agent["level"]), (&"well".into(), &"good".into()));
        assert_eq!((&agent["wanted"], &agent["labels"]["role"]), (&Value::Null, &"edge".into()));
    }
    let mut command = program("aqueduct");
    command.args(["fleet", "roll-out", &listen, "--soak", "1", "--json"]);
    let rolled = command.output().expect("the program starts");
    assert!(rolled.status.success(), "{rolled:?}");
    let rolled: Value = serde_json::from_slice(&rolled.stdout).expect("JSON");
    assert_eq!(rolled["rollout"]["members"], 0, "{rolled}");
    assert_eq!(rolled["accepted_revision"], 1, "{rolled}");

    // Longer than some heartbeats; then a server that does not know the last ones.
    thread::sleep(Duration::from_secs(4));
    running.kill();
    let _running = server(dir.path(), &listen);
    let agents = both_report(&listen);
    assert!(agents.iter().all(|it| it["verdict"] == "well"), "{agents:?}");
    for (_, log) in &started {
        let text = fs::read_to_string(log).expect("its own log");
        assert!(text.contains("connected") && !text.contains("config"), "{text}");
    }
}
