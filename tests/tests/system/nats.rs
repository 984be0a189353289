//! Goal: messages of a NATS stream are stored, and messages of the sink arrive, while agent, server
//! and connection are killed. An exclusive source stores each message once, whatever is killed; one
//! with a shared consumer loses none. The sink's messages are in their stream once, although
//! batches are resent. Events that cannot be messages become dead letters, and errors name the fix.
//! Source and sink log in with passwords, NKeys and credentials files.
//!
//! Method: a real nats-server of Debian with its streams on disk, and a separate client
//! implementation. Kills and cuts happen after a number of events. A wire between agent and server
//! can be cut, and can drop acknowledgements.
//!
//! ```text
//!   client ─► stream ─► wire ─► nats sources, alone and shared ─► durable ─► hdfs sink, `file://`
//!   netcat ─► durable ─► nats sink ─► wire, TLS ─► stream ─► client
//!   stream ─► nats source ─► small channel ─► nats sink ─► stream that does not exist yet
//! ```
//!
//! Lane: connector
//! Needs: nats-server openssl
//! Weight: 0
//! Limit: 10m
//! Paths: crates/components-nats

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::Agent;
use aqueduct_tests::http::free_address;
use aqueduct_tests::letters::letters;
use aqueduct_tests::store::{bodies, counted, events, repeats};
use aqueduct_tests::wait;
use aqueduct_tests::wire::Wire;
use serde_json::json;

mod cuts;
mod full;
mod logins;
mod server;

use server::{PAYLOAD_MAX, Server};

/// Timeout of a step.
const LIMIT: Duration = Duration::from_secs(60);
/// Messages per request of a source.
const PREFETCH: usize = 50;
/// Messages per run of the agent.
const MESSAGES: usize = 1500;

/// Returns a collector with these components, and a data directory of its name.
fn agent(dir: &Path, name: &str, components: &str) -> Agent {
    let text = format!("[agent]\ndata_dir = \"{}/{name}\"\n{components}", dir.display());
    Agent::configured("aqueduct-collector", dir, name, &text)
}

/// The login in the settings.
const USER: &str = "user = \"u\", password = \"p\"";

fn reached(server: SocketAddr) -> String {
    format!("server = {{ urls = [\"nats://{server}\"], {USER}, heartbeat = \"2s\" }}\n")
}

/// Configures a source of a stream, whose events are stored in the folder of its name, one per line
/// with headers.
fn source(dir: &Path, name: &str, server: SocketAddr, settings: &str) -> String {
    let at = dir.join(format!("store-{name}"));
    fs::create_dir_all(&at).expect("the test's own folder");
    format!(
        "[sources.{name}]\ntype = \"nats\"\nchannels = [\"{name}\"]\n{settings}\n{}\
         [channels.{name}]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.{name}]\ntype = \"hdfs\"\nurl = \"file://{}\"\nencoder = \"json\"\n\
         channel = \"{name}\"\nroll = {{ age_max = \"500ms\", idle_max = \"500ms\" }}\n",
        reached(server),
        at.display(),
    )
}

/// Returns the store of a source.
fn store(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("store-{name}"))
}

fn sum(agent: &Agent, metric: &str) -> f64 {
    agent.metrics().and_then(|it| it.sum(metric)).unwrap_or_default()
}

fn wait_until(agent: &Agent, metric: &str, count: usize) {
    wait::until(&format!("{count} of {metric}"), LIMIT, || {
        (sum(agent, metric) >= count as f64).then_some(())
    });
}

/// Waits until the sources have stored this many different bodies, and the channels are empty.
fn settled(dir: &Path, names: &[&str], count: usize, agent: &Agent) {
    wait::until(&format!("{count} messages in each store"), LIMIT, || {
        thread::sleep(Duration::from_millis(100));
        let left = agent.metrics()?.sum("aqueduct_channel_events")?;
        let all = names.iter().all(|name| bodies(&store(dir, name)).len() >= count);
        (all && left == 0.0).then_some(())
    });
}

#[test]
#[ignore = "needs the programs, nats-server and openssl: tests/run"]
fn messages_survive_kills_and_are_stored_once_by_a_single_source() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, began) = (folder.path(), Instant::now());
    let mut server = Server::start(dir);
    messages_of_a_stream_are_stored(dir, &mut server);
    let stored = began.elapsed();
    reports_deleted_and_refused_messages(dir, &server);
    let refused = began.elapsed();
    a_stream_that_is_not_there_holds_the_source_back(dir, &server);
    let held = began.elapsed();
    events_for_a_missing_stream_do_not_stop_others(dir, &server);
    messages_of_the_sink_are_there_once(dir, &mut server);
    eprintln!(
        "the sources after {stored:?}, what is refused after {refused:?}, what is held back after \
         {held:?}, the sink after {:?}",
        began.elapsed()
    );
}

fn messages_of_a_stream_are_stored(dir: &Path, server: &mut Server) {
    let wire = Wire::new(server.address);
    let settings = format!("stream = \"ORDERS\"\nprefetch = {PREFETCH}");
    let alone = source(dir, "alone", wire.address, &settings);
    let shared = format!("{settings}\nconsumer = \"collectors\"\nack_wait = \"2s\"");
    let shared = source(dir, "shared", wire.address, &shared);
    let mut agent = agent(dir, "reader", &[alone, shared].concat());
    server.client().make("ORDERS", "order", &json!({}));
    for life in 0..6 {
        server.client().send("order.new", &format!("a{life}"), MESSAGES);
        agent.start();
        wait_until(&agent, "aqueduct_source_events_total", MESSAGES);
        match life {
            0..4 => agent.kill(),
            4 => {
                wire.cut();
                settled(dir, &["alone", "shared"], 5 * MESSAGES, &agent);
                agent.stop(LIMIT);
            }
            _ => {
                server.kill();
                server.revive();
            }
        }
    }
    settled(dir, &["alone", "shared"], 6 * MESSAGES, &agent);
    agent.stop(LIMIT);
    let (alone, shared) = (bodies(&store(dir, "alone")), bodies(&store(dir, "shared")));
    assert_eq!((alone.len(), shared.len()), (6 * MESSAGES, 6 * MESSAGES), "none of another kind");
    assert_eq!(repeats(&alone), 0, "a source that reads alone stores each message once");
    let event = events(&store(dir, "alone")).swap_remove(0);
    let headers = &event["headers"];
    assert_eq!(headers["site"], "Zürich");
    assert_eq!(headers["nats.subject"], "order.new");
    eprintln!("{} messages; repeats of the shared consumer: {}", alone.len(), repeats(&shared));
}

fn reports_deleted_and_refused_messages(dir: &Path, server: &Server) {
    let mut client = server.client();
    client.make("SHORT", "short", &json!({ "max_msgs": 10 }));
    client.make("QUEUE", "queue", &json!({ "retention": "workqueue" }));
    let settings = "stream = \"SHORT\"\nunusable = \"reject\"\nfilter = []";
    let mut agent = agent(dir, "short", &source(dir, "short", server.address, settings));
    client.send("short.a", "first", 3);
    agent.start();
    settled(dir, &["short"], 3, &agent);
    agent.stop(LIMIT);
    client.send("short.a", "second", 29);
    let many: String = (0..1001).map(|number| format!("a{number}: b\r\n")).collect();
    client.send_one("short.b", &many, "of too many headers");
    client.send("short.a", "third", 1);
    agent.start();
    settled(dir, &["short"], 3 + 9, &agent);
    let said = agent.metrics().expect("its metrics");
    let anomalies = |reason| {
        let labels = format!("{{source=\"short\",reason=\"{reason}\"}}");
        said.value(&format!("aqueduct_source_anomalies_total{labels}"))
    };
    assert_eq!(anomalies("messages_deleted"), Some(21.0));
    assert_eq!(anomalies("message_rejected"), Some(1.0));
    agent.stop(LIMIT);

    let refused = [
        ("gone", "stream = \"GONE\""),
        ("queue", "stream = \"QUEUE\""),
        ("several", "stream = \"SHORT\"\nfilter = [\"short.a\", \"short.b\"]"),
    ];
    let refused = refused.map(|(name, settings)| source(dir, name, server.address, settings));
    let wrong = source(dir, "wrong", server.address, "stream = \"SHORT\"");
    let wrong = wrong.replace("password = \"p\"", "password = \"q\"");
    let unsigned = source(dir, "unsigned", server.address, "stream = \"SHORT\"");
    let unsigned = unsigned.replace(USER, &format!("nkey_seed = \"{}\"", logins::seed()));
    let mut agent = self::agent(dir, "refused", &[refused.concat(), wrong, unsigned].concat());
    agent.start();
    for words in [
        "stream not found (10059); create it at the server",
        "which needs acknowledgements: set `consumer`",
        "several need 2.10",
        "check `server.user`",
        "does not accept NKeys or JWTs (it sent no nonce)",
    ] {
        agent.until_logged(words, LIMIT);
    }
    agent.stop(LIMIT);
}

/// Back pressure: messages without space in the channel stay in their stream.
fn a_stream_that_is_not_there_holds_the_source_back(dir: &Path, server: &Server) {
    const COUNT: usize = 6000;
    let mut client = server.client();
    client.make("FROM", "from", &json!({}));
    for number in 0..COUNT {
        client.send_one("from.a", "", &format!("{number} {}", "x".repeat(2000)));
    }
    let components = format!(
        "[sources.in]\ntype = \"nats\"\nchannels = [\"main\"]\nstream = \"FROM\"\nprefetch = 100\n\
         {0}[channels.main]\ntype = \"durable\"\ncapacity = \"4MiB\"\n\
         [sinks.out]\ntype = \"nats\"\nchannel = \"main\"\nsubject = \"into.a\"\n{0}",
        reached(server.address)
    );
    let mut agent = agent(dir, "held", &components);
    agent.start();
    agent.until_logged("has no stream that accepts a message for `into.a`: create one", LIMIT);
    agent.until_logged("no event is lost; `help` names the remedy channel=main", LIMIT);
    let taken = sum(&agent, "aqueduct_source_events_total") as usize;
    assert!(taken < COUNT, "{taken} of {COUNT} are in a channel of 4 MiB");
    client.make("INTO", "into", &json!({}));
    wait_until(&agent, "aqueduct_sink_committed_events_total", COUNT);
    agent.stop(LIMIT);
    let found = counted(client.all("INTO").into_iter().map(|(_, body)| body));
    assert_eq!((found.len(), repeats(&found)), (COUNT, 0));
}

/// Each line determines its subject. If no stream accepts the subject, the line becomes a dead
/// letter after the wait; if the subject would control the server, immediately.
fn events_for_a_missing_stream_do_not_stop_others(dir: &Path, server: &Server) {
    server.client().make("MORE", "more", &json!({}));
    let listen = free_address();
    let components = format!(
        "[sources.in]\ntype = \"netcat\"\nlisten = \"{listen}\"\nchannels = [\"main\"]\n\
         interceptors = [{{ type = \"regex_extractor\", regex = \"^([^ ]+)\", \
         serializers = [{{ name = \"kind\" }}] }}]\n\
         [channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.out]\ntype = \"nats\"\nchannel = \"main\"\nsubject = \"%{{kind}}.a\"\n\
         destination_wait = \"3s\"\n{}",
        reached(server.address)
    );
    let mut agent = agent(dir, "chosen", &components);
    agent.start();
    let stream = wait::until("the port to be open", LIMIT, || TcpStream::connect(listen).ok());
    let mut stream = stream;
    let lines = "more 1\nwrong 2\nmore 3\n$JS.API.STREAM.PURGE.MORE 4\n";
    stream.write_all(lines.as_bytes()).expect("the agent reads");
    agent.until_logged("has no stream that accepts a message for `wrong.a`: create one", LIMIT);
    wait_until(&agent, "aqueduct_dead_letter_events_total", 2);
    stream.write_all(b"more 5\nwrong 6\nmore 7\n").expect("the agent reads");
    wait_until(&agent, "aqueduct_dead_letter_events_total", 3);
    wait::until("all others to be in the stream", LIMIT, || {
        (server.client().last("MORE") == 4).then_some(())
    });
    agent.stop(LIMIT);
    let mut letters = letters(&dir.join("chosen"), &["invalid_address", "unknown_destination"]);
    letters.sort_unstable();
    assert_eq!(letters, ["$JS.API.STREAM.PURGE.MORE 4", "wrong 2", "wrong 6"]);
}

/// Returns an agent whose lines go to subjects below `out` over TLS.
fn writer(dir: &Path, wire: &Wire, listen: SocketAddr) -> Agent {
    let at = dir.display();
    let components = format!(
        "[sources.in]\ntype = \"netcat\"\nlisten = \"{listen}\"\nchannels = [\"main\"]\n\
         batch_events = 100\n\
         interceptors = [{{ type = \"regex_extractor\", regex = \"^([a-z]+)\", \
         serializers = [{{ name = \"kind\" }}] }}]\n\
         [channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.main]\ntype = \"nats\"\nchannel = \"main\"\nsubject = \"out.%{{kind}}\"\n\
         timeout = \"60s\"\n[sinks.main.server]\nurls = [\"tls://{}\"]\nuser = \"u\"\n\
         password = \"p\"\ntls = {{ ca = \"{at}/ca.pem\" }}\nheartbeat = \"2s\"\n",
        wire.address,
    );
    agent(dir, "writer", &components)
}

fn messages_of_the_sink_are_there_once(dir: &Path, server: &mut Server) {
    const LINES: usize = 4000;
    const COMMITTED: &str = "aqueduct_sink_committed_events_total";
    server.client().make("OUT", "out", &json!({ "duplicate_window": 100_000_000_000_u64 }));
    let (wire, listen) = (Wire::new(server.address), free_address());
    let mut agent = writer(dir, &wire, listen);
    agent.start();
    let connect = || wait::until("the port to be open", LIMIT, || TcpStream::connect(listen).ok());
    let mut stream = connect();
    let lines = |range: std::ops::Range<usize>| -> String {
        range.map(|line| format!("line {line}\n")).collect()
    };
    let say = |stream: &mut TcpStream, text: &str| {
        stream.write_all(text.as_bytes()).expect("the agent reads");
    };
    say(&mut stream, &lines(0..100));
    wait_until(&agent, COMMITTED, 100);
    agent.until_logged("`duplicate_window` of the stream is too short", LIMIT);

    // Acknowledgements are dropped: messages in the stream count as undelivered, and are resent.
    wire.mute();
    say(&mut stream, &lines(100..200));
    wait::until("the stream to have it", LIMIT, || {
        (server.client().last("OUT") == 200).then_some(())
    });
    assert_eq!(sum(&agent, COMMITTED), 100.0, "nothing is delivered that is not acknowledged");
    wire.cut();
    wait_until(&agent, COMMITTED, 200);
    assert_eq!(server.client().last("OUT"), 200, "the stream knows the batch again");
    assert!(sum(&agent, "aqueduct_nats_known_messages_total") > 0.0);

    // Two events cannot be messages; then server and agent are killed while they are busy.
    say(&mut stream, &format!("9 has no kind\nlarge {}\n", "x".repeat(PAYLOAD_MAX)));
    say(&mut stream, &lines(200..LINES / 2));
    wait_until(&agent, COMMITTED, LINES / 4);
    server.kill();
    say(&mut stream, &lines(LINES / 2..LINES));
    wait_until(&agent, "aqueduct_source_events_total", LINES + 2);
    agent.kill();
    server.revive();
    agent.start();
    wait::until("all to be in the stream", LIMIT, || {
        let left = agent.metrics()?.value("aqueduct_channel_events{channel=\"main\"}")?;
        (left == 0.0 && server.client().last("OUT") >= LINES).then_some(())
    });
    agent.stop(LIMIT);
    let all = server.client().all("OUT");
    assert!(all.iter().all(|(subject, _)| subject == "out.line"));
    let found = counted(all.into_iter().map(|(_, body)| body));
    assert_eq!((found.len(), repeats(&found)), (LINES, 0), "each line is there once");
    let mut letters = letters(&dir.join("writer"), &["invalid_address", "too_large"]);
    letters.iter_mut().for_each(|body| body.truncate(7));
    letters.sort_unstable();
    assert_eq!(letters, ["9 has n", "large x"]);
}
