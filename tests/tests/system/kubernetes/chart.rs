//! The Helm chart, rendered by Helm itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use aqueduct_tests::agent::wait_until_delivered;
use aqueduct_tests::http;
use aqueduct_tests::process::Process;
use aqueduct_tests::python;
use aqueduct_tests::site::read_below;
use aqueduct_tests::wait;

use super::kubelet::{Container, Runtime};
use super::{PATIENCE, agents_with, built, deploy, run, validate};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Runs Helm on the chart, with these arguments before its path. Returns its standard output;
/// standard error lists the links in the chart.
fn helm(arguments: &[&str], settings: &[&str]) -> String {
    let mut command = Command::new(tool("helm"));
    command.args(arguments).arg(here("deploy/helm/aqueduct"));
    command.args(settings.iter().flat_map(|it| ["--set", it]));
    let done = command.output().expect("helm is installed");
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("YAML is UTF-8")
}

/// Returns the path of a pinned tool. Its first installation prints progress to standard error.
fn tool(name: &str) -> String {
    let done = Command::new(here("deploy/tools/get")).arg(name).output().expect("a script of ours");
    assert!(done.status.success(), "{name}: {}", String::from_utf8_lossy(&done.stderr));
    let printed = String::from_utf8(done.stdout).expect("a path of ours");
    printed.lines().last().expect("a path").to_owned()
}

fn rendered(settings: &[&str]) -> String {
    let arguments = ["template", "aqueduct", "--namespace=aqueduct", "--kube-version=1.34"];
    helm(&arguments, settings)
}

/// Runs `chart.py`, whose YAML parser comes with the validator.
fn chart(arguments: &[&str]) -> String {
    let requirements = fs::read_to_string(deploy().join("requirements.txt"));
    let programs = python::environment("kubernetes", &requirements.expect("a file of ours"));
    let script = here("tests/tests/system/kubernetes/chart.py");
    run(Command::new(programs.join("python3")).arg(script).args(arguments))
}

const LABELS: [&str; 3] = [
    "edge.podLabels.enabled=true",
    "edge.podLabels.image=registry.example/kubectl:1.34",
    "edge.podLabels.headers.team=example.com/team",
];

#[test]
#[ignore = "needs kubectl, Python and Helm: tests/run"]
fn chart_has_the_resources_of_the_kustomize_base() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (base, plain) = (folder.path().join("base.yaml"), folder.path().join("plain.yaml"));
    fs::write(&base, built()).expect("the test's own folder");
    fs::write(&plain, rendered(&[])).expect("the test's own folder");
    chart(&["same", &base.display().to_string(), &plain.display().to_string()]);

    helm(&["lint", "--strict"], &[]);
    validate(&rendered(&LABELS), folder.path());
    let issuer = ["tls.mode=certManager", "tls.issuer.name=aqueduct-ca"];
    let managed = rendered(&issuer);
    // There are no schemas for the resources of cert-manager.
    let (known, certificate): (Vec<&str>, Vec<&str>) =
        managed.split("\n---\n").partition(|it| !it.contains("cert-manager.io/v1"));
    assert!(certificate.iter().any(|it| it.contains("\nkind: Certificate\n")), "{managed}");
    assert!(managed.contains("driver: csi.cert-manager.io"), "{managed}");
    validate(&known.join("\n---\n"), folder.path());
}

#[test]
#[ignore = "needs the programs, kubectl, Python and Helm: tests/run"]
fn labels_of_pods_become_headers() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let manifests = dir.join("labels.yaml");
    fs::write(&manifests, rendered(&LABELS)).expect("the test's own folder");
    let manifests = manifests.display().to_string();
    let edge = chart(&["data", &manifests, "ConfigMap", "edge", "edge.toml"]);
    let once = chart(&["data", &manifests, "DaemonSet", "edge", "first-labels"]);
    let again = chart(&["data", &manifests, "DaemonSet", "edge", "labels"]);

    // Runs the containers' own scripts and kubectl, with an API server of two pods, one of them
    // without labels.
    let pods = dir.join("pods.json");
    let list = |team: &str| {
        format!(
            r#"{{"kind":"PodList","apiVersion":"v1","items":[
            {{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"a","uid":"7a-1","labels":
            {{"app.kubernetes.io/name":"web","example.com/team":"{team}"}}}}}},
            {{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"b","uid":"7a-2"}}}}]}}"#
        )
    };
    fs::write(&pods, list("shop")).expect("the test's own folder");
    let api = http::free_address();
    let mut server = Command::new("python3");
    server.arg(here("tests/tests/system/kubernetes/api.py")).arg(api.port().to_string()).arg(&pods);
    let _server = Process::start("api.py", server, &dir.join("api.log"));
    wait::until("the API server", PATIENCE, || http::get(api, "/api"));
    let config = format!(
        "{{apiVersion: v1, kind: Config, current-context: c, contexts: [{{name: c, context: \
         {{cluster: c}}}}], clusters: [{{name: c, cluster: {{server: 'http://{api}'}}}}]}}"
    );
    fs::write(dir.join("kubeconfig"), config).expect("the test's own folder");
    fs::create_dir(dir.join("labels")).expect("the test's own folder");
    let shell = |script: &str| {
        let script = script.replace("/labels/", &format!("{}/labels/", dir.display()));
        let mut shell = Command::new("sh");
        shell.args(["-uc", &script.replace("sleep 10", "sleep 1")]);
        shell.env("NODE_NAME", "node-1").env("KUBECONFIG", dir.join("kubeconfig"));
        shell
    };
    run(&mut shell(&once));
    let table = || fs::read_to_string(dir.join("labels/pods.csv")).expect("the script wrote it");
    assert_eq!(table(), "pod_uid,app,team\n7a-1,web,shop\n7a-2,,\n");
    let _labels = Process::start("labels", shell(&again), &dir.join("labels.log"));

    let edge = edge.replace("/labels/", &format!("{}/labels/", dir.display()));
    let mut agents = agents_with(dir, &edge);
    let mut web = Container::new(dir, Runtime::Containerd, ["shop", "web-0", "7a-1"], "nginx");
    web.write("stdout", "first");
    agents.iter_mut().for_each(aqueduct_tests::agent::Agent::start);
    wait_until_delivered(&agents[0], PATIENCE);
    // The ledger next to the files is not text.
    let stored = || String::from_utf8_lossy(&read_below(&dir.join("store"))).into_owned();
    wait::until("the first line", PATIENCE, || {
        let stored = stored();
        let line = stored.lines().find(|it| it.contains("first"))?;
        assert!(line.contains(r#""app":"web""#) && line.contains(r#""team":"shop""#), "{line}");
        Some(())
    });

    // A label changes while all of them run.
    fs::write(&pods, list("ops")).expect("the test's own folder");
    let mut number = 0;
    wait::until("the new label", PATIENCE, || {
        number += 1;
        web.write("stdout", &format!("later {number}"));
        stored().contains(r#""team":"ops""#).then_some(())
    });
    agents.iter_mut().for_each(|agent| agent.stop(PATIENCE));
}
