//! Goal: TLS works with common tools: openssl, curl, keystores from Java's keytool, and Flume 1.11
//! in both directions. Clients that fail, stall or use plain text block nothing.
//!
//! Method: keytool and openssl create the certificates, once. An agent stores in files what its
//! sources receive: `netcat` with a JKS, `http` with PKCS#12, `syslog` that requires client
//! certificates. A second one and a Flume agent send each other what Flume counts, over Avro, over
//! deflated Avro (with zlib around TLS, like Flume), and over Thrift.
//!
//! Lane: flume
//! Needs: java keytool mvn openssl curl
//! Weight: 1
//! Limit: 10m
//! Paths: crates/tls crates/crypto crates/web

mod origins;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aqueduct_tests::agent::Agent;
use aqueduct_tests::flume::Flume;
use aqueduct_tests::reconcile::whole_lines;
use aqueduct_tests::{http, wait};

const LIMIT: Duration = Duration::from_secs(60);

/// Connection limit of the attacked source.
const CONNECTIONS: usize = 8;

/// The password of every keystore.
const PASSWORD: &str = "changeit";

/// Runs a shell command in `dir`, which must succeed.
fn shell(dir: &Path, script: &str) {
    let output = Command::new("bash").args(["-euc", script]).current_dir(dir).output();
    let output = output.expect("bash runs");
    assert!(output.status.success(), "{script}: {output:?}");
}

/// Creates an authority, its certificates in all formats, and one of another authority.
fn certificates(dir: &Path) {
    shell(
        dir,
        r#"
        authority() {
          openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$1" \
            -keyout $1.key -out $1.pem
        }
        signed() {
          openssl req -newkey rsa:2048 -nodes -subj "/CN=$2" -keyout $2.key -out $2.csr
          openssl x509 -req -in $2.csr -CA $1.pem -CAkey $1.key -days "$3" -out $2.pem \
            -extfile <(echo subjectAltName=DNS:localhost,IP:127.0.0.1
              echo basicConstraints=CA:FALSE)
        }
        authority ca; authority other
        signed ca server 2; signed ca client 2; signed other stranger 2
        openssl pkcs12 -export -in server.pem -inkey server.key -name server \
          -passout pass:changeit -out in.p12
        for type in JKS PKCS12; do
          keytool -importkeystore -noprompt -srckeystore in.p12 -srcstorepass changeit \
            -srcstoretype PKCS12 -destkeystore keys.$type -deststorepass changeit \
            -destkeypass changeit -deststoretype $type
        done
        keytool -importcert -noprompt -alias ca -file ca.pem -keystore trust.JKS -storetype JKS \
          -storepass changeit
        echo -n changeit > password
        "#,
    );
}

fn agent(dir: &Path, name: &str, text: &str) -> Agent {
    let mut agent = Agent::configured("aqueduct-edge", dir, name, text);
    agent.start();
    agent
}

/// Starts `openssl s_client`, which verifies the server with `ca.pem`. It exits at the end of its
/// input.
fn s_client(dir: &Path, to: SocketAddr, arguments: &[&str]) -> Child {
    let mut client = Command::new("timeout");
    client.args(["10", "openssl", "s_client", "-quiet", "-no_ign_eof", "-verify_return_error"]);
    client.args(["-CAfile", "ca.pem", "-verify_hostname", "localhost"]);
    client.args(["-connect", &to.to_string()]).args(arguments).current_dir(dir);
    client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    client.spawn().expect("openssl runs")
}

/// Sends a line to the `netcat` source; returns whether it was acknowledged.
fn is_stored(dir: &Path, to: SocketAddr, arguments: &[&str], line: &str) -> bool {
    let mut client = s_client(dir, to, arguments);
    let mut stdin = client.stdin.take().expect("it is piped");
    // A rejected client may be disconnected.
    let _ = writeln!(stdin, "{line}");
    let mut answer = String::new();
    let stdout = client.stdout.take().expect("it is piped");
    let _ = BufReader::new(stdout).read_line(&mut answer);
    drop(stdin);
    client.wait().expect("openssl ends");
    answer == "OK\n"
}

/// Sends a message to the `syslog` source, which never responds.
fn send(dir: &Path, to: SocketAddr, arguments: &[&str], message: &str) {
    let mut client = s_client(dir, to, arguments);
    let mut stdin = client.stdin.take().expect("it is piped");
    let _ = writeln!(stdin, "<13>{message}");
    drop(stdin);
    client.wait().expect("openssl ends");
}

fn sources(dir: &Path, [netcat, http, syslog]: [SocketAddr; 3]) -> String {
    let dir = dir.display();
    format!(
        r#"
[agent]
data_dir = "{dir}/sources"
[sources.netcat]
type = "netcat"
listen = "{netcat}"
connections_max = {CONNECTIONS}
channels = ["main"]
[sources.netcat.tls]
keystore = "{dir}/keys.JKS"
keystore_password = "${{file:{dir}/password}}"
handshake_timeout = "2s"
[sources.http]
type = "http"
listen = "{http}"
decoder = "lines"
channels = ["main"]
tls = {{ keystore = "{dir}/keys.PKCS12", keystore_password = "{PASSWORD}" }}
[sources.syslog]
type = "syslog"
listen = ["tcp://{syslog}"]
channels = ["main"]
[sources.syslog.tls]
certificate = "{dir}/server.pem"
key = "{dir}/server.key"
client_ca = "{dir}/ca.pem"
min_version = "1.3"
[channels.main]
type = "durable"
capacity = "64MiB"
[sinks.files]
type = "file_roll"
directory = "{dir}/files"
encoder = "text"
channel = "main"
"#
    )
}

#[test]
#[ignore = "needs the programs, openssl and keytool: tests/run"]
fn clients_in_use_are_served_and_hostile_ones_hold_nothing_up() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let dir = dir.path();
    certificates(dir);
    let addresses = [(); 3].map(|()| http::free_address());
    let [netcat, posts, syslog] = addresses;
    let mut agent = agent(dir, "sources", &sources(dir, addresses));
    wait::until("the ports to be open", LIMIT, || {
        addresses.iter().all(|address| TcpStream::connect(address).is_ok()).then_some(())
    });

    // Both versions, and a client that trusts another authority.
    assert!(is_stored(dir, netcat, &["-tls1_2"], "by 1.2"));
    assert!(is_stored(dir, netcat, &["-tls1_3"], "by 1.3"));
    assert!(!is_stored(dir, netcat, &["-CAfile", "other.pem"], "not trusted"));
    assert!(!is_stored(dir, netcat, &["-tls1_1"], "too old"));
    let port = posts.port();
    shell(dir, &format!("curl -sS --fail --cacert ca.pem -d by-curl https://127.0.0.1:{port}/"));

    // Client certificates: from the authority, none, and from another one.
    let own = ["-cert", "client.pem", "-key", "client.key"];
    send(dir, syslog, &own, "with a certificate");
    send(dir, syslog, &[], "without one");
    send(dir, syslog, &["-cert", "stranger.pem", "-key", "stranger.key"], "with a strange one");

    hostile(dir, netcat, &mut agent);

    let expected: BTreeSet<String> =
        ["by 1.2", "by 1.3", "by-curl", "with a certificate", "after them", "renewed"]
            .map(str::to_owned)
            .into();
    // A new certificate is used without a restart.
    fs::copy(dir.join("keys.PKCS12"), dir.join("new")).expect("the test's own folder");
    fs::rename(dir.join("new"), dir.join("keys.JKS")).expect("the test's own folder");
    std::thread::sleep(Duration::from_millis(1_100));
    assert!(is_stored(dir, netcat, &[], "renewed"));
    wait::until("all lines", LIMIT, || (whole_lines(&dir.join("files")) == expected).then_some(()));
    agent.until_logged("certificates were reloaded", LIMIT);
    let failed = agent.metrics().and_then(|it| it.sum("aqueduct_source_anomalies_total"));
    assert!(failed.is_some_and(|failed| failed >= 10.0), "{failed:?} failures are counted");
    assert!(!agent.output().contains(PASSWORD), "no secret is logged");
    agent.stop(Duration::from_secs(25));
}

/// Plain text, and more stalled handshakes than allowed connections.
fn hostile(dir: &Path, netcat: SocketAddr, agent: &mut Agent) {
    let mut plain = TcpStream::connect(netcat).expect("the source listens");
    plain.set_read_timeout(Some(LIMIT)).expect("a limit");
    plain.write_all(b"plain text\n").expect("it is sent");
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.windows(2).any(|it| it == b"OK"), "an alert at most: {answer:?}");

    let stalled: Vec<TcpStream> = (0..3 * CONNECTIONS)
        .map(|at| {
            let mut stream = TcpStream::connect(netcat).expect("the source listens");
            if at % 2 == 0 {
                stream.write_all(&[0x16, 3, 1, 2, 0, 1]).expect("it is sent");
            }
            stream
        })
        .collect();
    let start = Instant::now();
    // Three rounds of connections are released, 2 s each.
    let served = wait::until("a client behind those that stall", LIMIT, || {
        is_stored(dir, netcat, &[], "after them").then(|| start.elapsed())
    });
    assert!(served > Duration::from_secs(2), "the places were taken: {served:?}");
    drop(stalled);
    let status =
        fs::read_to_string(format!("/proc/{}/status", agent.process().pid())).expect("it runs");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = resident
        .and_then(|it| it.trim().trim_end_matches(" kB").parse().ok())
        .expect("Linux counts it");
    assert!(kib < 200 << 10, "{kib} KiB");
}

/// Events of each Flume lane, and of a call.
const EVENTS: usize = 2_000;
const BATCH: usize = 100;

/// Protocol and compression of each lane.
const LANES: [(&str, &str); 3] = [("avro", "none"), ("avro", "deflate"), ("thrift", "none")];

type Addresses = [SocketAddr; 3];

fn ours(dir: &Path, listen: Addresses, back: Addresses) -> String {
    let dir = dir.display();
    let mut text = format!("[agent]\ndata_dir = \"{dir}/ours\"\n");
    for (at, (protocol, compression)) in LANES.iter().enumerate() {
        let (listen, back) = (listen[at], back[at]);
        let coding = match *compression {
            "none" => "",
            _ => "compression = \"deflate\"\ncompression_layer = \"outside\"\n",
        };
        text += &format!(
            r#"
[sources.l{at}]
type = "{protocol}"
listen = "{listen}"
channels = ["kept{at}", "back{at}"]
tls = {{ keystore = "{dir}/keys.JKS", keystore_password = "{PASSWORD}" }}
[channels.kept{at}]
type = "durable"
capacity = "64MiB"
[channels.back{at}]
type = "durable"
capacity = "64MiB"
[sinks.kept{at}]
type = "file_roll"
directory = "{dir}/kept{at}"
encoder = "text"
channel = "kept{at}"
[sinks.back{at}]
type = "{protocol}"
address = "{back}"
events_max = {BATCH}
channel = "back{at}"
{coding}tls = {{ ca = "{dir}/ca.pem" }}
"#
        );
    }
    text
}

fn flumes(dir: &Path, to: Addresses, listen: Addresses) -> String {
    let dir = dir.display();
    let mut text = format!(
        r"
f.sources = seq in0 in1 in2
f.channels = out0 out1 out2 back0 back1 back2
f.sinks = out0 out1 out2 files0 files1 files2
f.sources.seq.type = seq
f.sources.seq.totalEvents = {EVENTS}
f.sources.seq.batchSize = {BATCH}
f.sources.seq.channels = out0 out1 out2
"
    );
    for (at, (protocol, compression)) in LANES.iter().enumerate() {
        text += &format!(
            r"
f.channels.out{at}.type = memory
f.channels.out{at}.capacity = {EVENTS}
f.channels.out{at}.transactionCapacity = {BATCH}
f.sinks.out{at}.type = {protocol}
f.sinks.out{at}.hostname = 127.0.0.1
f.sinks.out{at}.port = {to}
f.sinks.out{at}.batch-size = {BATCH}
f.sinks.out{at}.channel = out{at}
f.sinks.out{at}.ssl = true
f.sinks.out{at}.truststore = {dir}/trust.JKS
f.sinks.out{at}.truststore-password = {PASSWORD}
f.sinks.out{at}.compression-type = {compression}
f.sources.in{at}.type = {protocol}
f.sources.in{at}.bind = 127.0.0.1
f.sources.in{at}.port = {from}
f.sources.in{at}.channels = back{at}
f.sources.in{at}.ssl = true
f.sources.in{at}.keystore = {dir}/keys.JKS
f.sources.in{at}.keystore-password = {PASSWORD}
f.sources.in{at}.compression-type = {compression}
f.channels.back{at}.type = memory
f.channels.back{at}.capacity = {EVENTS}
f.channels.back{at}.transactionCapacity = {BATCH}
f.sinks.files{at}.type = file_roll
f.sinks.files{at}.sink.directory = {dir}/back{at}
f.sinks.files{at}.sink.rollInterval = 0
f.sinks.files{at}.sink.batchSize = {BATCH}
f.sinks.files{at}.channel = back{at}
",
            to = to[at].port(),
            from = listen[at].port(),
        );
    }
    text
}

#[test]
#[ignore = "needs the programs, Java and Maven: tests/run"]
fn flume_and_an_agent_exchange_events_by_tls_in_both_directions() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let dir = dir.path();
    certificates(dir);
    let (here, there) = (LANES.map(|_| http::free_address()), LANES.map(|_| http::free_address()));
    for at in 0..LANES.len() {
        fs::create_dir(dir.join(format!("back{at}"))).expect("the test's own folder");
    }
    let flume = Flume::start("f", &flumes(dir, here, there), dir);
    let mut agent = agent(dir, "ours", &ours(dir, here, there));
    let expected: BTreeSet<String> = (0..EVENTS).map(|n| n.to_string()).collect();
    for (at, lane) in LANES.iter().enumerate() {
        for place in ["kept", "back"] {
            let files = dir.join(format!("{place}{at}"));
            wait::until(&format!("every event in {place}{at}"), LIMIT, || {
                (whole_lines(&files).len() >= expected.len()).then_some(())
            });
            assert!(whole_lines(&files) == expected, "{place} {lane:?}");
        }
    }
    agent.stop(Duration::from_secs(25));
    drop(flume);
}
