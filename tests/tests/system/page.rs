//! Goal: in a real browser, the live page shows problems and their reasons, asks for the token if
//! one is set, and shows data from clients and disks as text, whatever it contains.
//!
//! Method: headless Chromium, driven by WebDriver, visits real agents: a healthy edge and its
//! collector, the edge while the collector is down, an agent whose directory and events are full of
//! markup, and one with TLS and a token. A part is stopped and started by keyboard only; requests
//! that another site could send change nothing.
//!
//! Lane: connector
//! Needs: chromium chromedriver openssl
//! Weight: 0
//! Limit: 10m
//! Paths: crates/admin crates/agent crates/control

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use aqueduct_tests::agent::{Agent, program};
use aqueduct_tests::process::Process;
use aqueduct_tests::{http, wait};

mod browser;
mod operate;

use browser::Browser;

const LIMIT: Duration = Duration::from_secs(60);

/// A healthy flow.
const FLOW: &str = r#"
[sources.in]
type = "sequence"
rate = 50
channels = ["main"]
[channels.main]
type = "memory"
capacity = "16MiB"
[sinks.out]
type = "discard"
channel = "main"
"#;

const TOKEN: &str = "a-token-of-this-test-0123456789";

/// Would run if any text became markup.
const MARKUP: &str = "\"><img src=x onerror=window.hacked=1><script>window.hacked=1</script>";

/// Sends this body to an `http` source, which accepts it.
fn post(to: SocketAddr, body: &str) {
    let answer = answer(to, body);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Returns the response of an `http` source to this body.
fn answer(to: SocketAddr, body: &str) -> String {
    wait::until("an answer of the source", LIMIT, || {
        let mut stream = TcpStream::connect(to).ok()?;
        let length = body.len();
        let head =
            format!("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}");
        write!(stream, "{head}\r\n\r\n{body}").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    })
}

/// Starts an edge with an `http` source that sends to a collector.
fn edge_and_collector(dir: &Path) -> (Agent, Agent, SocketAddr) {
    let (listen, web) = (http::free_address(), http::free_address());
    let shown = dir.display();
    let edge = format!(
        r#"
[agent]
name = "edge-1"
data_dir = "{shown}/edge"
[sources.web]
type = "http"
listen = "{web}"
decoder = "lines"
channels = ["main"]
[channels.main]
type = "durable"
capacity = "64MiB"
[sinks.next]
type = "grpc"
address = "{listen}"
channel = "main"
"#
    );
    let collector = format!(
        r#"
[agent]
name = "collector-1"
data_dir = "{shown}/collector"
[sources.edges]
type = "grpc"
listen = "{listen}"
channels = ["main"]
[channels.main]
type = "durable"
capacity = "64MiB"
[sinks.files]
type = "file_roll"
directory = "{shown}/files"
encoder = "text"
channel = "main"
"#
    );
    (
        Agent::configured("aqueduct-edge", dir, "edge", &edge),
        Agent::configured("aqueduct-edge", dir, "collector", &collector),
        web,
    )
}

#[test]
#[ignore = "needs the programs and Chromium: tests/run"]
fn page_shows_that_all_is_well_or_the_findings() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let (mut edge, mut collector, web) = edge_and_collector(dir);
    collector.start();
    edge.start();
    let browser = Browser::start(dir);
    post(web, "one\ntwo\nthree\n");

    browser.open(&format!("http://{}/", collector.admin()));
    browser.wait_for("word", &["All is well"]);
    browser.wait_for("graph", &["1 sender", "edges", "main", "files"]);
    browser.wait_for("sources", &["edges", "3 events", "127.0.0.1:"]);

    browser.open(&format!("http://{}/", edge.admin()));
    browser.wait_for("word", &["All is well"]);
    browser.wait_for("sources", &["web", "running", "3 events"]);
    browser.wait_for("sinks", &["next", "grpc", "3 events", "ms / "]);
    browser.wait_for("sum", &["3 accepted = 3 delivered", "it adds up"]);
    browser.wait_for("config-state", &["same", "The file is the same"]);
    let edges = browser.value("document.querySelectorAll('#graph path.edge').length");
    assert_eq!(edges, 2, "from the source to the channel, and on to the sink");
    browser.keep("page-healthy.png");
    let phone = "document.documentElement.scrollWidth <= document.documentElement.clientWidth";
    assert_eq!(browser.value(phone), true, "tables scroll within themselves");

    // The collector is down: events wait, and the page reports it, and later the recovery.
    collector.kill();
    post(web, "four\nfive\n");
    browser.wait_for("word", &["Something is wrong: sink next fails: no connection to"]);
    browser.wait_for("troubles", &["sink next fails", "next try in"]);
    browser.wait_for("channels", &["main", "2 events"]);
    assert_eq!(browser.value("document.querySelectorAll('#graph .box.bad').length"), 1);
    browser.keep("page-wrong.png");
    let file = dir.join("edge.toml");
    let changed = fs::read_to_string(&file).expect("the test's own file").replace("64MiB", "65MiB");
    fs::write(&file, changed).expect("the test's own file");
    browser.click("config-load");
    browser.wait_for("config-state", &["differs", "channels.main"]);
    collector.start();
    browser.wait_for("sum", &["5 accepted = 5 delivered", "it adds up"]);
    browser.wait_for("bulletin", &["sink next", "no connection to"]);
    browser.wait_for("word", &["All is well"]);

    // Without a response, the page shows the age of its data, and keeps the findings.
    collector.kill();
    post(web, "six\n");
    browser.wait_for("troubles", &["sink next fails", "run book"]);
    edge.kill();
    browser.wait_for("word", &["The agent does not answer"]);
    browser.wait_for("stale", &["The data below is", "s old"]);
    browser.wait_for("troubles", &["sink next fails"]);
    let filter = "getComputedStyle(document.getElementById('live')).filter";
    assert_eq!(browser.value(filter), "grayscale(1)");
    browser.assert_no_markup();
    drop(browser);
}

/// Returns an agent whose directory, events and tenants are odd.
fn odd_agent(dir: &Path, (web, noisy): (SocketAddr, SocketAddr)) -> String {
    let shown = dir.display();
    format!(
        r#"
[agent]
data_dir = "{shown}/data"
[sources.spool]
type = "spool_dir"
directory = '/nowhere/{MARKUP}'
decoder = "lines"
channels = ["main"]
[sources.web]
type = "http"
listen = "{web}"
decoder = "json"
channels = ["main"]
[[sources.web.interceptors]]
type = "parse"
format = "json"
on_failure = "dead_letters"
[sources.noisy]
type = "http"
listen = "{noisy}"
decoder = "lines"
tenants = {{ events_per_second = 1, connections_max = 7 }}
channels = ["main"]
[channels.main]
type = "memory"
capacity = "16MiB"
[sinks.out]
type = "discard"
channel = "main"
"#
    )
}

#[test]
#[ignore = "needs the programs and Chromium: tests/run"]
fn foreign_data_is_shown_as_text() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let (web, noisy) = (http::free_address(), http::free_address());
    let text = odd_agent(dir, (web, noisy));
    let mut agent = Agent::configured("aqueduct-edge", dir, "odd", &text);
    agent.start();
    let long = "x".repeat(1 << 20);
    let events = serde_json::json!([
        { "headers": { MARKUP: MARKUP, "long": long, "rtl": "\u{202e}txt.exe" }, "body": MARKUP },
        { "headers": {}, "body": format!("\u{202e}<svg onload=window.hacked=1>{long}") },
        { "headers": {}, "body": "a\u{0}b" },
    ]);
    post(web, &events.to_string());

    let browser = Browser::start(dir);
    browser.open(&format!("http://{}/", agent.admin()));
    browser.wait_for("word", &["Something is wrong: source spool fails", MARKUP]);
    browser.wait_for("bulletin", &["source spool", MARKUP]);
    browser.wait_for("letters-count", &["3 events"]);
    // One tenant exceeds a thousand seconds of its rate; the page names it.
    post(noisy, &"noise\n".repeat(1_000));
    let refused = answer(noisy, "noise\n");
    assert!(refused.starts_with("HTTP/1.1 429") && refused.contains("retry-after:"), "{refused}");
    let limits = ["127.0.0.1", "noisy", "of 1.0\u{a0}events/s", " of 7", "1 by rate, since"];
    browser.wait_for("sources", &limits);
    browser.click("letters-load");
    browser.wait_for("letters", &[MARKUP, "\\u202etxt.exe", "<svg onload=window.hacked=1>"]);
    browser.wait_for("letters", &["hexadecimal", "610062", "1.0\u{a0}MiB, text, cut"]);
    // Shows passing events; a condition excludes the last one.
    let choose = "(() => { const it = document.getElementById('tap-place'); \
                  it.value = 'source=web'; return it.value })()";
    assert_eq!(browser.value(choose), "source=web");
    browser.write("tap-pattern", "<|x{9}");
    browser.click("tap-begin");
    browser.wait_for("tap-state", &["0 passed"]);
    post(web, &events.to_string());
    browser.wait_for("tap-state", &["3 passed, 2 match, 2 shown"]);
    browser.wait_for("tap", &[MARKUP, "\\u202etxt.exe", "<svg onload=window.hacked=1>"]);
    browser.click("tap-end");
    browser.assert_no_markup();
    let shown = browser.value("document.documentElement.outerHTML.length");
    assert!(shown.as_u64().is_some_and(|bytes| bytes < 200_000), "{shown} bytes are shown");
    // The policy also blocks a script that a tricked page might add.
    let injected = "(() => { const it = document.createElement('script'); \
                    it.textContent = 'window.hacked = 1'; document.body.append(it); it.remove(); \
                    return window.hacked ?? 0 })()";
    assert_eq!(browser.value(injected), 0, "the policy lets inline scripts run");
    drop(browser);
    agent.stop(Duration::from_secs(25));
}

#[test]
#[ignore = "needs the programs, openssl and Chromium: tests/run"]
fn behind_tls_and_a_token_the_page_asks_for_it_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "90", "-subj", "/CN=t"])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(dir)
        .output();
    assert!(made.expect("openssl runs").status.success());
    fs::write(dir.join("token"), format!("{TOKEN}\n")).expect("the test's own folder");
    let (admin, shown) = (http::free_address(), dir.display());
    let text = format!(
        r#"
[agent]
name = "closed-1"
data_dir = "{shown}/data"
admin = "{admin}"
admin_token = "${{file:{shown}/token}}"
admin_tls = {{ certificate = "{shown}/cert.pem", key = "{shown}/key.pem" }}
{FLOW}"#
    );
    let file = dir.join("closed.toml");
    fs::write(&file, text).expect("the test's own folder");
    let mut command = program("aqueduct-edge");
    command.arg("--config").arg(&file);
    let process = Process::start("aqueduct-edge", command, &dir.join("closed.out"));
    let status = |more: &[&str]| {
        let mut command = program("aqueduct");
        command.args(["status", &format!("https://{admin}")]).args(more).current_dir(dir);
        command.output().expect("the program starts")
    };
    let access = ["--ca", "cert.pem", "--token-file", "token"];
    let answer = wait::until("the agent to answer", LIMIT, || {
        Some(status(&access)).filter(|answer| answer.status.success())
    });
    assert!(String::from_utf8_lossy(&answer.stdout).contains("closed-1"), "{answer:?}");
    let refused = status(&access[..2]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && said.contains("--token-file"), "{said}");
    operate::stop_needs_the_token(dir, admin);

    let browser = Browser::start(dir);
    browser.open(&format!("https://{admin}/"));
    browser.wait_for("word", &["The agent requires its token"]);
    let shown = browser.value("document.getElementById('live').checkVisibility()");
    assert_eq!(shown, false, "nothing is shown without it");
    browser.write("token", "a wrong one\u{e007}");
    browser.wait_for("access-problem", &["not the token of this agent"]);
    browser.write("token", &format!("{TOKEN}\u{e007}"));
    browser.wait_for("word", &["All is well"]);
    browser.wait_for("sources", &["in", "sequence", "running"]);
    let config = browser.value("document.getElementById('config').textContent");
    let config = config.as_str().unwrap_or_default();
    assert!(config.contains("admin_token") && !config.contains(TOKEN), "{config}");
    // The token is kept as long as the window, and only there.
    browser.open(&format!("https://{admin}/"));
    browser.wait_for("word", &["All is well"]);
    assert_eq!(browser.value("document.cookie + localStorage.length"), "0");
    assert!(!process.output().contains(TOKEN), "the token is in the log");
    drop(browser);
    process.stop(Duration::from_secs(25));
}
