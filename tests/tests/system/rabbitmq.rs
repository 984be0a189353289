//! Goal: messages from RabbitMQ applications are stored, and messages of the sink arrive, while
//! agent, broker and connection are killed. Nothing is lost, and a kill of the agent or a cut
//! duplicates at most unacknowledged messages. A killed broker forgets acknowledgements: its
//! duplicates are counted. Messages that cannot be events, and events without a bound queue, are
//! where an operator looks for them.
//!
//! Method: a real RabbitMQ of Debian with its queues on disk, and Python applications
//! (`rabbitmq/client.py`). Kills and cuts happen after a number of events. A wire between agent and
//! broker can be cut, and can drop confirmations.
//!
//! ```text
//!   application ─► queue ─► wire ─► rabbitmq source ─► durable ─► hdfs sink, `file://`
//!   netcat ─► durable ─► rabbitmq sink ─► wire ─► exchange ─► queue ─► application
//! ```
//!
//! Lane: connector
//! Needs: rabbitmq-server epmd openssl python3
//! Weight: 0
//! Limit: 10m
//! Paths: crates/components-rabbitmq deploy/rabbitmq

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::Agent;
use aqueduct_tests::http::free_address;
use aqueduct_tests::store::{bodies, events, repeats};
use aqueduct_tests::wait;
use aqueduct_tests::wire::Wire;
use serde_json::Value;

mod broker;
mod cuts;
mod full;

use broker::Broker;

/// Timeout of a step.
const LIMIT: Duration = Duration::from_secs(60);
/// Messages that the broker sends before acknowledgements.
const PREFETCH: usize = 50;
/// Messages per run of the agent.
const MESSAGES: usize = 2000;

/// Returns a collector with these components, and a data directory of its name.
fn agent(dir: &Path, name: &str, components: &str) -> Agent {
    let text = format!("[agent]\ndata_dir = \"{}/{name}\"\n{components}", dir.display());
    Agent::configured("aqueduct-collector", dir, name, &text)
}

/// Configures a source of the queue `name`, whose events are stored in the folder of this name, one
/// per line with headers.
fn source(dir: &Path, name: &str, broker: SocketAddr, settings: &str) -> String {
    let at = dir.join(format!("store-{name}"));
    fs::create_dir_all(&at).expect("the test's own folder");
    format!(
        "[sources.{name}]\ntype = \"rabbitmq\"\nchannels = [\"{name}\"]\nqueue = \"{name}\"\n\
         broker = {{ urls = [\"amqp://{broker}\"], heartbeat = \"2s\" }}\n{settings}\n\
         [channels.{name}]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.{name}]\ntype = \"hdfs\"\nurl = \"file://{}\"\nencoder = \"json\"\n\
         channel = \"{name}\"\nroll = {{ age_max = \"500ms\", idle_max = \"500ms\" }}\n",
        at.display(),
    )
}

/// Returns the store of a source.
fn store(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("store-{name}"))
}

/// Waits until this many different bodies are stored, and queue and channel are empty.
fn settled(
    dir: &Path,
    name: &str,
    count: usize,
    broker: &Broker,
    agent: &Agent,
) -> BTreeMap<String, usize> {
    wait::until(&format!("{count} messages of {name} in the store"), LIMIT, || {
        thread::sleep(Duration::from_millis(100));
        (bodies(&store(dir, name)).len() >= count).then_some(())
    });
    wait::until("the rest to be stored", LIMIT, || {
        let left = agent.metrics()?.sum("aqueduct_channel_events")?;
        (broker.run(&["count", name]) == "0\n" && left == 0.0).then_some(())
    });
    bodies(&store(dir, name))
}

fn wait_until_taken(agent: &Agent, events: usize) {
    wait::until(&format!("{events} events of a life"), LIMIT, || {
        let taken = agent.metrics()?.sum("aqueduct_source_events_total")?;
        (taken >= events as f64).then_some(())
    });
}

#[test]
#[ignore = "needs the programs, RabbitMQ, Python and openssl: tests/run"]
fn messages_survive_kills_and_refusals_name_the_remedy() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, began) = (folder.path(), Instant::now());
    let mut broker = Broker::start(dir);
    broker.run(&["setup"]);
    let ready = began.elapsed();
    messages_of_a_queue_are_stored(dir, &mut broker);
    let stored = began.elapsed();
    refusals_say_what_helps(dir, &broker);
    let refused = began.elapsed();
    messages_of_the_sink_arrive(dir, &mut broker);
    eprintln!(
        "the broker was ready after {ready:?}, the source after {stored:?}, what is refused after \
         {refused:?}, the sink after {:?}",
        began.elapsed()
    );
}

fn messages_of_a_queue_are_stored(dir: &Path, broker: &mut Broker) {
    let wire = Wire::new(broker.address);
    let settings = format!("prefetch = {PREFETCH}");
    let mut agent = agent(dir, "reader", &source(dir, "orders", wire.address, &settings));
    let count = MESSAGES.to_string();
    for life in 0..4 {
        let name = format!("a{life}");
        broker.run(&["send", "orders", &name, "0", &count]);
        agent.start();
        wait_until_taken(&agent, PREFETCH * 2);
        match life {
            3 => wire.cut(),
            _ => agent.kill(),
        }
    }
    let found = settled(dir, "orders", 4 * MESSAGES, broker, &agent);
    let by_agent = repeats(&found);
    assert!(by_agent <= 4 * PREFETCH, "{by_agent} repeats of three kills and a cut");
    let marked = agent.metrics().and_then(|it| it.sum("aqueduct_source_anomalies_total"));

    // The broker is killed while it delivers.
    agent.stop(LIMIT);
    broker.run(&["send", "orders", "b", "0", &count]);
    agent.start();
    wait_until_taken(&agent, PREFETCH * 2);
    broker.kill();
    broker.revive();
    let found = settled(dir, "orders", 5 * MESSAGES, broker, &agent);
    assert_eq!(found.len(), 5 * MESSAGES, "no message of another kind");
    agent.stop(LIMIT);
    eprintln!(
        "{} messages stored; repeats: {by_agent} of three kills of the agent and a cut, {} of one \
         of the broker; {marked:?} marked after the cut",
        found.len(),
        repeats(&found) - by_agent
    );
}

/// Kinds of messages, missing and deleted queues, and messages that cannot be events.
fn refusals_say_what_helps(dir: &Path, broker: &Broker) {
    let all = "properties = [\"message_id\", \"correlation_id\", \"timestamp\", \
               \"content_type\", \"content_encoding\", \"type\", \"reply_to\", \"priority\", \
               \"user_id\", \"app_id\", \"exchange\", \"routing_key\", \"redelivered\"]\n\
               message_max = \"1KiB\"\nunusable = \"reject\"";
    let made = "declare = { queue_type = \"quorum\", arguments = { x-max-length = 100 }, \
                bindings = [{ exchange = \"logs\", routing_key = \"news.#\" }] }";
    let components =
        [("kinds", all), ("held", "message_max = \"1KiB\""), ("late", ""), ("made", made)]
            .map(|(name, settings)| source(dir, name, broker.address, settings));
    broker.run(&["kinds", "kinds"]);
    broker.run(&["large", "kinds", "2000"]);
    broker.run(&["send", "held", "before", "0", "3"]);
    broker.run(&["large", "held", "2000"]);
    let mut agent = agent(dir, "kinds", &components.concat());
    agent.start();
    let began = Instant::now();

    let store = |name: &str| store(dir, name);
    let has = |name: &str, count| (events(&store(name)).len() == count).then_some(());
    wait::until("the events of the queue", LIMIT, || has("kinds", 2));
    let found = events(&store("kinds"));
    let event = found.iter().find(|it| it["body"] == "Zürich");
    let headers = &event.unwrap_or_else(|| panic!("no Zürich in {found:?}"))["headers"];
    for (name, value) in [
        ("site", "straße"),
        ("flag", "true"),
        ("long", "1099511627776"),
        ("decimal", "3.14"),
        ("at", "1700000000000"),
        ("bytes", "a\\xff"),
        ("list", r#"[{"count":3,"queue":"a"}]"#),
        ("rabbitmq.message_id", "id-1"),
        ("rabbitmq.correlation_id", "correlated"),
        ("rabbitmq.timestamp", "1700000000000"),
        ("rabbitmq.content_type", "text/plain"),
        ("rabbitmq.type", "kind"),
        ("rabbitmq.reply_to", "answers"),
        ("rabbitmq.priority", "3"),
        ("rabbitmq.user_id", "guest"),
        ("rabbitmq.app_id", "shop"),
        ("rabbitmq.exchange", ""),
        ("rabbitmq.routing_key", "kinds"),
    ] {
        assert_eq!(headers[name], value, "{name} of {headers}");
    }
    assert!(headers.get("nothing").is_none() && headers.get("rabbitmq.redelivered").is_none());
    let letter = broker.run(&["receive", "letters", "1"]);
    assert!(letter.contains("LLL") && letter.contains("x-death"), "{letter}");

    // Messages before the rejected one are stored; it stays in its queue.
    agent.until_logged("2000 bytes, over `message_max` (1024", LIMIT);
    assert_eq!(
        bodies(&store("held")).keys().collect::<Vec<_>>(),
        ["before-0", "before-1", "before-2"]
    );
    agent.until_logged("rejects queue `late`: NOT_FOUND", LIMIT);
    broker.run(&["declare", "late"]);
    broker.run(&["publish", "", "late", "at last"]);
    // The source has created its queue.
    broker.run(&["publish", "logs", "news.a", "first"]);
    wait::until("the first news", LIMIT, || has("made", 1));
    broker.run(&["delete", "made"]);
    agent.until_logged("the broker cancelled the consumer of queue `made`", LIMIT);
    wait::until("the queue to be there again", LIMIT, || {
        let sent = broker.client(&["publish", "logs", "news.b", "second"]).output();
        sent.expect("Python runs").status.success().then_some(())
    });
    wait::until("the second news", LIMIT, || has("made", 2));
    wait::until("the late message", LIMIT, || has("late", 1));
    // Either side ends a connection that is silent for two heartbeats.
    thread::sleep(Duration::from_secs(5).saturating_sub(began.elapsed()));
    assert_eq!(agent.output().matches("connected source=kinds").count(), 1);
    agent.stop(LIMIT);
    assert_eq!(broker.run(&["count", "held"]), "1\n");
}

/// Returns the client's output for a queue.
fn received(broker: &Broker, queue: &str, count: usize) -> Vec<Value> {
    let text = broker.run(&["receive", queue, &count.to_string()]);
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Returns an agent whose lines go to the exchange `out` over TLS, once with the right name of the
/// broker.
fn writer(dir: &Path, wire: &Wire, listen: SocketAddr) -> Agent {
    let at = dir.display();
    let sink = |name: &str, tls: &str| {
        format!(
            "[channels.{name}]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
             [sinks.{name}]\ntype = \"rabbitmq\"\nchannel = \"{name}\"\nexchange = \"out\"\n\
             routing_key = \"%{{kind}}.%{{rabbitmq.content_type}}\"\ntimeout = \"60s\"\n\
             [sinks.{name}.broker]\nurls = [\"amqps://{}\"]\n\
             tls = {{ ca = \"{at}/ca.pem\"{tls} }}\n",
            wire.address,
        )
    };
    let components = format!(
        "[sources.in]\ntype = \"netcat\"\nlisten = \"{listen}\"\nchannels = [\"main\", \"wrong\"]\n\
         batch_events = 100\n\
         interceptors = [{{ type = \"static\", headers = {{ site = \"Zürich\", \
         CC = \"line.copy\", BCC = \"line.copy\", \"x-death\" = \"[]\", \
         \"rabbitmq.content_type\" = \"text\" }} }}, \
         {{ type = \"regex_extractor\", regex = \"^reply (.+)\", \
         serializers = [{{ name = \"rabbitmq.reply_to\" }}] }}, \
         {{ type = \"regex_extractor\", regex = \"^([a-z]+)\", \
         serializers = [{{ name = \"kind\" }}] }}]\n{}{}",
        // The wire is at 127.0.0.1, but the certificate is for the host `broker`.
        sink("main", ", server_name = \"broker\""),
        sink("wrong", ""),
    );
    agent(dir, "writer", &components)
}

fn messages_of_the_sink_arrive(dir: &Path, broker: &mut Broker) {
    const LINES: usize = 4000;
    let (wire, listen) = (Wire::new(broker.tls), free_address());
    let mut agent = writer(dir, &wire, listen);
    agent.start();
    let stream = wait::until("the port to be open", LIMIT, || TcpStream::connect(listen).ok());
    let mut stream = stream;
    let mut say = |text: &str| stream.write_all(text.as_bytes()).expect("the agent reads");
    let lines = |range: std::ops::Range<usize>| -> String {
        range.map(|line| format!("line {line}\n")).collect()
    };
    let committed = |agent: &Agent| -> f64 {
        let metrics = agent.metrics();
        metrics.and_then(|it| it.sum("aqueduct_sink_committed_events_total")).unwrap_or_default()
    };
    let wait_until_committed = |agent: &Agent, count: usize| {
        wait::until(&format!("{count} events to be confirmed"), LIMIT, || {
            (committed(agent) >= count as f64).then_some(())
        });
    };
    let queued = |broker: &Broker| -> usize {
        broker.run(&["count", "out"]).trim().parse().expect("a number")
    };
    say(&lines(0..100));
    wait_until_committed(&agent, 100);
    assert_eq!(committed(&agent), 100.0, "the sink with the wrong name delivers nothing");

    // Confirmations are dropped: messages in the queue count as undelivered, and are resent.
    wire.mute();
    say(&lines(100..200));
    wait::until("the messages to be in the queue", LIMIT, || (queued(broker) > 100).then_some(()));
    assert_eq!(committed(&agent), 100.0, "nothing is delivered that is not confirmed");
    wire.cut();
    wait_until_committed(&agent, 200);
    assert!(queued(broker) > 200, "the batch is there twice");

    // Some have no bound queue, the broker rejects one, and it is killed while it accepts messages.
    say("stray 1\n");
    say("reply amq.rabbitmq.reply-to\n");
    say(&lines(200..LINES / 2));
    wait_until_committed(&agent, LINES / 4);
    broker.kill();
    say(&lines(LINES / 2..LINES));
    broker.revive();
    wait::until("all to be confirmed but two letters", LIMIT, || {
        let letters = agent.metrics()?.sum("aqueduct_dead_letter_events_total")?;
        (letters == 2.0 && committed(&agent) >= LINES as f64).then_some(())
    });
    agent.until_logged("the certificate of the other side is not for `127.0.0.1`", LIMIT);
    let found = received(broker, "out", LINES);
    let mut ids = BTreeMap::<&str, BTreeSet<&str>>::new();
    for message in &found {
        let text = |name: &str| message[name].as_str().unwrap_or_else(|| panic!("{message}"));
        ids.entry(text("body")).or_default().insert(text("id"));
        // 2 means persistent.
        assert_eq!((&message["mode"], text("type"), text("key")), (&2.into(), "text", "line.text"));
        assert_eq!(message["headers"]["site"], "Zürich");
        for of_broker in ["CC", "BCC", "x-death"] {
            assert!(message["headers"].get(of_broker).is_none(), "{message}");
        }
    }
    let expected: BTreeSet<String> = (0..LINES).map(|line| format!("line {line}")).collect();
    let missing = expected.iter().filter(|line| !ids.contains_key(line.as_str())).count();
    assert_eq!((missing, ids.len()), (0, LINES));
    let others = ids.values().filter(|ids| ids.len() > 1).count();
    assert_eq!(others, 0, "a repeat has the id of its first");
    eprintln!(
        "{LINES} lines in the queue, {} repeats of one cut and one kill of the broker",
        found.len() - LINES
    );
    agent.stop(LIMIT);
}
