//! Goal: the manifests are valid for Kubernetes, and with their configuration each line of each
//! container is stored once, with its origin.
//!
//! Method: kubectl builds `deploy/kubernetes`, and the result is validated against the schemas of
//! Kubernetes. The commands of its page create certificates and secrets. Edge and collector run
//! with the files of the ConfigMaps, in which only paths and addresses are replaced, and are killed
//! (-9) while logs arrive in the kubelet's layout: of two runtimes, with split lines, rotated, and
//! of restarted containers. A log is renamed when the edge has read it, because a log compressed
//! unread is lost. The Helm chart has the same resources, and pod labels become headers through its
//! second container, which queries a server with two pods. No cluster runs.
//!
//! Lane: container
//! Needs: python3 kubectl gzip openssl
//! Weight: 0
//! Limit: 10m
//! Paths: deploy/kubernetes deploy/helm deploy/tools docs/kubernetes.md
//! Paths: crates/components crates/components-files crates/formats

mod chart;
mod kubelet;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aqueduct_tests::agent::{Agent, program, wait_until_delivered};
use aqueduct_tests::docs::Page;
use aqueduct_tests::reconcile::compare;
use aqueduct_tests::site::read_below;
use aqueduct_tests::{http, python, seed, wait};
use kubelet::{Container, Runtime};
use rand::prelude::*;
use serde_json::Value;

/// Versions of Kubernetes, from the oldest to the newest.
const VERSIONS: [&str; 4] = ["1.27", "1.30", "1.34", "1.37"];

const PATIENCE: Duration = Duration::from_secs(60);

/// Kills of an agent, one after the other.
const KILLS: usize = 8;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes")
}

fn run(command: &mut Command) -> String {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    assert!(done.status.success(), "{command:?}: {said}");
    said
}

/// Validates resources against the schemas of each version.
fn validate(resources: &str, dir: &Path) {
    let requirements = fs::read_to_string(deploy().join("requirements.txt"));
    let programs = python::environment("kubernetes", &requirements.expect("a file of ours"));
    let file = dir.join("resources.yaml");
    fs::write(&file, resources).expect("the test's own folder");
    for version in VERSIONS {
        let mut command = Command::new(programs.join("kubernetes-validate"));
        run(command.args(["--strict", "--quiet", "-k", version]).arg(&file));
    }
}

fn built() -> String {
    run(Command::new("kubectl").arg("kustomize").arg(deploy()))
}

/// Runs the page's commands; returns the secrets that kubectl would create.
fn secrets(dir: &Path) -> String {
    let calls = Page::read("kubernetes.md").example("Set up", "sh", &[]);
    let script = format!(
        "set -eu\n\
         kubectl() {{ command kubectl \"$@\" --dry-run=client --output yaml; echo ---; }}\n\
         {calls}"
    );
    let programs = Path::new(program("aqueduct").get_program()).parent().map(Path::to_owned);
    let path = std::env::var("PATH").expect("there is a PATH");
    let path = format!("{}:{path}", programs.expect("it is in a folder").display());
    let mut shell = Command::new("sh");
    let done = shell.arg("-c").arg(script).current_dir(dir).env("PATH", path).output();
    let done = done.expect("a shell runs");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    let said = String::from_utf8_lossy(&done.stdout);
    // The output of `pki` comes first.
    let from = said.find("apiVersion:").expect("secrets are printed");
    said[from..].to_owned()
}

#[test]
#[ignore = "needs the programs, kubectl and Python: tests/run"]
fn the_manifests_and_the_secrets_of_the_page_are_what_kubernetes_takes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let manifests = built();
    for kind in ["DaemonSet", "StatefulSet", "PodDisruptionBudget", "NetworkPolicy", "Service"] {
        assert!(manifests.contains(&format!("kind: {kind}\n")), "{kind} is missing");
    }
    let secrets = secrets(folder.path());
    for name in ["edge-tls", "collector-tls"] {
        assert!(secrets.contains(&format!("name: {name}\n")), "{secrets}");
        assert!(manifests.contains(&format!("secretName: {name}\n")), "{name} is not used");
    }
    for key in ["ca.pem:", "agent.pem:", "agent.key:", "token:"] {
        assert_eq!(secrets.matches(&format!("  {key}")).count(), 2, "{key} in {secrets}");
    }
    validate(&format!("{manifests}---\n{}", secrets.trim_end_matches("---\n")), folder.path());
}

/// Reads a file of the base.
fn file(name: &str) -> String {
    fs::read_to_string(deploy().join(name)).expect("a file of ours")
}

/// Replaces paths and addresses in a configuration, each of which must occur.
fn configuration(text: &str, places: &[(&str, String)]) -> String {
    let mut text = text.to_owned();
    for (place, other) in places {
        assert!(text.contains(place), "the configuration does not name {place}");
        text = text.replace(place, other);
    }
    // The test reads metrics without a token.
    let lines = text.lines().filter(|line| !line.starts_with("admin"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Creates certificates with the commands of the page, as in the secrets.
fn certificates(dir: &Path) -> [PathBuf; 2] {
    let _secrets = secrets(dir);
    [("edge", "edge.aqueduct"), ("collector", "collectors.aqueduct.svc")].map(|(agent, name)| {
        let tls = dir.join(agent).join("tls");
        fs::create_dir_all(&tls).expect("the test's own folder");
        for (from, to) in [
            ("ca/ca.pem".to_owned(), "ca.pem"),
            (format!("new/{name}.pem"), "agent.pem"),
            (format!("new/{name}.key"), "agent.key"),
        ] {
            fs::copy(dir.join(from), tls.join(to)).expect("the commands of the page made it");
        }
        tls
    })
}

/// Returns the events of the store, as [`Container::shown`].
fn stored(store: &Path) -> Vec<u8> {
    let days = fs::read_dir(store).expect("the store").map(|day| day.expect("an entry").path());
    let seen = days.filter(|day| !day.ends_with("_aqueduct")).flat_map(|day| read_below(&day));
    let seen = String::from_utf8(seen.collect()).expect("JSON is UTF-8");
    let shown = seen.lines().map(|line| {
        let event: Value = serde_json::from_str(line).expect("a line is an event");
        let header = |name: &str| {
            let value = event["headers"][name].as_str();
            value.unwrap_or_else(|| panic!("no {name} in {line}"))
        };
        assert_eq!(header("timestamp"), "1795748400123", "{line}");
        assert_eq!(header("node"), "node-1", "{line}");
        let name = ["namespace", "pod", "pod_uid", "container"].map(header).join("/");
        Container::shown(&name, header("stream"), event["body"].as_str().expect("a text"))
    });
    shown.collect::<String>().into_bytes()
}

/// Returns the agents of the manifests, on this machine.
fn agents(dir: &Path) -> [Agent; 2] {
    agents_with(dir, &file("edge.toml"))
}

/// Same with this configuration of the edge.
fn agents_with(dir: &Path, edge: &str) -> [Agent; 2] {
    let [edge_tls, collector_tls] = certificates(dir);
    let listen = http::free_address();
    let place = |path: &str| dir.join(path).display().to_string();
    let tls = |dir: &Path| format!("\"{}/", dir.display());
    let edge = configuration(
        edge,
        &[
            ("${NODE_NAME}", "node-1".to_owned()),
            ("/var/lib/aqueduct", place("edge/data")),
            ("/var/log/pods", place("pods")),
            ("collectors.aqueduct.svc:4141", format!("localhost:{}", listen.port())),
            ("\"/tls/", tls(&edge_tls)),
        ],
    );
    let collector = configuration(
        &file("collector.toml"),
        &[
            ("/var/lib/aqueduct", place("collector/data")),
            ("0.0.0.0:4141", listen.to_string()),
            ("hdfs://namenode:8020/logs", format!("file://{}", place("store"))),
            ("\"/tls/", tls(&collector_tls)),
        ],
    );
    let collector = format!("{collector}roll = {{ age_max = \"1s\" }}\n");
    [
        Agent::configured("aqueduct-edge", dir, "edge", &edge),
        Agent::configured("aqueduct-collector", dir, "collector", &collector),
    ]
}

#[test]
#[ignore = "needs the programs and kubectl: tests/run"]
fn each_container_line_is_stored_once_with_its_pod_through_kills() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let mut rng = seed::rng("kubernetes");
    let pods = [["shop", "web-0", "7a-1"], ["shop", "web-1", "7a-2"], ["ops", "dns-x7k", "7a-3"]];
    let mut containers = vec![
        Container::new(dir, Runtime::Containerd, pods[0], "nginx"),
        Container::new(dir, Runtime::Containerd, pods[0], "side-car"),
        Container::new(dir, Runtime::Docker, pods[1], "nginx"),
        Container::new(dir, Runtime::Containerd, pods[2], "dns"),
    ];
    // The log of a node's edge itself is not read.
    let mut own =
        Container::new(dir, Runtime::Containerd, ["aqueduct", "edge-4tq", "7a-4"], "edge");
    own.write("stderr", "what the edge says");

    let mut agents = agents(dir);
    agents.iter_mut().for_each(Agent::start);
    let mut number = 0;
    for round in 0..KILLS {
        let steps = rng.random_range(10..30);
        for _ in 0..steps {
            for container in &mut containers {
                for _ in 0..rng.random_range(0..20) {
                    number += 1;
                    let stream = if rng.random_bool(0.3) { "stderr" } else { "stdout" };
                    let long = if rng.random_bool(0.02) { rng.random_range(0..60_000) } else { 0 };
                    container.write(stream, &format!("line {number} {}", "x".repeat(long)));
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let victim = &mut agents[usize::from(rng.random_bool(0.3))];
        victim.kill();
        std::thread::sleep(Duration::from_millis(rng.random_range(0..200)));
        victim.start();
        wait::until("the edge to have read its files", PATIENCE, || {
            (agents[0].metrics()?.sum("aqueduct_source_lag_bytes")? == 0.0).then_some(())
        });
        let container = &mut containers[round % pods.len()];
        if rng.random_bool(0.3) { container.restart() } else { container.rotate() }
    }
    wait_until_delivered(&agents[0], PATIENCE);
    agents.iter_mut().for_each(|agent| agent.stop(PATIENCE));

    let written: String = containers.iter().flat_map(|it| it.written.iter().cloned()).collect();
    let found = compare(written.as_bytes(), &stored(&dir.join("store")));
    assert!(found.is_none(), "{found}");
    eprintln!("{found}; {KILLS} kills");
}
