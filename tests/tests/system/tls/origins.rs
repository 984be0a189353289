//! An edge can only send for its own origins, whatever data directory it has, and each line of
//! their owner is stored once, through `kill -9` of both ends. A token has the same effect as a
//! certificate.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use aqueduct_tests::agent::{Agent, program};
use aqueduct_tests::{http, wait};

use super::{LIMIT, shell};

fn collector(dir: &Path, listen: SocketAddr) -> String {
    let dir = dir.display();
    format!(
        r#"
[agent]
data_dir = "{dir}/collector"
[sources.edges]
type = "grpc"
listen = "{listen}"
origins = "require"
tokens_file = "{dir}/tokens"
channels = ["main"]
[sources.edges.tls]
certificate = "{dir}/localhost.pem"
key = "{dir}/localhost.key"
client_ca = "{dir}/ca/ca.pem"
client_auth = "optional"
[channels.main]
type = "durable"
capacity = "64MiB"
[sinks.store]
type = "hdfs"
url = "file://{dir}/store"
roll = {{ age_max = "1s" }}
channel = "main"
"#
    )
}

/// Returns the edge in the directory `name`, with the certificate `shown`, if any, and with its
/// token, if it has one.
fn edge(dir: &Path, name: &str, shown: Option<&str>, to: SocketAddr) -> Agent {
    let at = dir.display();
    let shown = shown
        .map(|shown| format!("certificate = \"{at}/{shown}.pem\"\nkey = \"{at}/{shown}.key\"\n"));
    let token = format!("{at}/{name}.token");
    let token = Path::new(&token).exists().then(|| format!("token_file = \"{token}\"\n"));
    let text = format!(
        r#"
[agent]
data_dir = "{at}/{name}.data"
[sources.logs]
type = "tail_dir"
paths = ["{at}/{name}.in/*.log"]
channels = ["main"]
[channels.main]
type = "durable"
capacity = "64MiB"
[sinks.next]
type = "grpc"
address = "localhost:{port}"
channel = "main"
{token}[sinks.next.tls]
ca = "{at}/ca/ca.pem"
{shown}"#,
        port = to.port(),
        token = token.unwrap_or_default(),
        shown = shown.unwrap_or_default(),
    );
    fs::create_dir_all(dir.join(format!("{name}.in"))).expect("the test's own folder");
    Agent::configured("aqueduct-edge", dir, name, &text)
}

fn write(dir: &Path, edge: &str, file: &str, lines: usize) {
    let text: String = (0..lines).map(|n| format!("{edge} {file} {n}\n")).collect();
    fs::write(dir.join(format!("{edge}.in/{file}.log")), text).expect("the test's own folder");
}

/// Returns the lines of the store, sorted, including duplicates.
fn stored(dir: &Path) -> Vec<String> {
    let Ok(files) = fs::read_dir(dir.join("store")) else { return Vec::new() };
    let paths = files.map(|file| file.expect("an entry").path());
    let texts = paths.filter_map(|path| fs::read_to_string(path).ok());
    let mut lines: Vec<String> =
        texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    lines.sort();
    lines
}

fn wait_for(dir: &Path, lines: usize) {
    wait::until(&format!("{lines} lines in the store"), LIMIT, || {
        (stored(dir).len() >= lines).then_some(())
    });
}

/// Returns the output of `aqueduct pki`.
fn pki(dir: &Path, words: &str) -> String {
    let done = program("aqueduct").arg("pki").args(words.split(' ')).current_dir(dir).output();
    let done = done.expect("the program runs");
    assert!(done.status.success(), "{words}: {done:?}");
    String::from_utf8(done.stdout).expect("text")
}

/// A token is accepted when its line is there, without a restart, and after `kill -9` of both ends.
fn by_token(dir: &Path, listen: SocketAddr, collector: &mut Agent) -> Agent {
    let line = pki(dir, "token web-3 --hash");
    let mut edge = edge(dir, "web-3", None, listen);
    write(dir, "web-3", "first", 1_000);
    edge.start();
    wait::until("the token to be refused", LIMIT, || {
        edge.output().contains("the token is not in `tokens_file`").then_some(())
    });
    fs::write(dir.join("tokens.new"), line).expect("the test's own folder");
    fs::rename(dir.join("tokens.new"), dir.join("tokens")).expect("the test's own folder");
    wait_for(dir, 5_001);
    edge.kill();
    collector.kill();
    write(dir, "web-3", "second", 1_000);
    collector.start();
    edge.start();
    wait_for(dir, 7_000);
    edge
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn an_edge_speaks_for_its_own_origins_and_for_no_others() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let dir = dir.path();
    pki(dir, "init ca");
    for words in ["collector localhost", "edge web-1", "edge web-2"] {
        pki(dir, &format!("{words} --ca ca"));
    }
    fs::write(dir.join("tokens"), "# Of edges\n").expect("the test's own folder");
    let listen = http::free_address();
    let mut collector = Agent::configured("aqueduct-collector", dir, "c", &collector(dir, listen));
    collector.start();
    let mut owner = edge(dir, "web-1", Some("web-1"), listen);
    write(dir, "web-1", "first", 2_000);
    owner.start();
    wait_for(dir, 1);
    owner.kill();
    collector.kill();

    // A copy of its directory, with the certificate of another edge and its own lines.
    shell(dir, "cp -r web-1.data thief.data; rm -f thief.data/LOCK");
    let mut thief = edge(dir, "thief", Some("web-2"), listen);
    write(dir, "thief", "forged", 500);
    collector.start();
    thief.start();
    let refused = || {
        let said = "does not belong to the name of its sender (web-2)";
        let count = collector.metrics()?.sum("aqueduct_source_anomalies_total")?;
        (collector.output().contains(said) && count >= 1.0).then_some(())
    };
    wait::until("the copy to be refused", LIMIT, refused);
    write(dir, "web-1", "second", 2_000);
    owner.start();
    wait_for(dir, 4_000);
    wait::until("the remedy in the log of the copy", LIMIT, || {
        thief.output().contains("aqueduct channel renew").then_some(())
    });
    thief.kill();

    // A channel older than its certificate is bound to it, and then accepted.
    let mut old = edge(dir, "web-2", None, listen);
    old.start();
    old.stop(Duration::from_secs(25));
    let renewed = program("aqueduct")
        .args(["channel", "renew", "web-2.data/channels/main", "--name", "web-2"])
        .current_dir(dir)
        .status();
    assert!(renewed.is_ok_and(|it| it.success()));
    let mut renewed = edge(dir, "web-2", Some("web-2"), listen);
    write(dir, "web-2", "own", 1_000);
    renewed.start();
    wait_for(dir, 5_000);

    let mut shows_token = by_token(dir, listen, &mut collector);
    let names = [
        ("web-1", "first", 2_000),
        ("web-1", "second", 2_000),
        ("web-2", "own", 1_000),
        ("web-3", "first", 1_000),
        ("web-3", "second", 1_000),
    ];
    let mut expected: Vec<String> = names
        .iter()
        .flat_map(|(edge, file, lines)| (0..*lines).map(move |n| format!("{edge} {file} {n}")))
        .collect();
    expected.sort();
    assert!(stored(dir) == expected, "each line once, and none of the copy");
    shows_token.stop(Duration::from_secs(25));
    renewed.stop(Duration::from_secs(25));
    owner.stop(Duration::from_secs(25));
    collector.stop(Duration::from_secs(25));
}
