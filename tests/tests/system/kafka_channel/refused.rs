//! Topics and permissions that would lose events: they are rejected on opening; a permission lost
//! later is reported, and the agent waits.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Instant;

use aqueduct_tests::agent::{Agent, program};
use aqueduct_tests::certificates;
use aqueduct_tests::http::free_address;
use aqueduct_tests::kafka::Kafka;
use aqueduct_tests::kafka::rights::{LOOKED_AT, Rule};
use aqueduct_tests::process::Process;
use aqueduct_tests::reconcile::compare;

use super::{PATIENCE, STOP, stored, until_stored};

/// Required settings of a channel's topics.
const LOG: [(&str, &str); 3] =
    [("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1")];
const STATE: [(&str, &str); 1] = [("cleanup.policy", "compact")];

/// Returns an agent between `in.log` and files, on the topic `topic`; `client` contains its broker
/// settings.
fn config(dir: &Path, name: &str, topic: &str, client: &str) -> String {
    let at = dir.display();
    format!(
        "[agent]\ndata_dir = \"{at}/{name}\"\n\
         [sources.in]\ntype = \"tail_dir\"\npaths = [\"{at}/in.log\"]\nchannels = [\"main\"]\n\
         [channels.main]\ntype = \"kafka\"\ntopic = \"{topic}\"\ntimeout = \"10s\"\n{client}\n\
         [sinks.store]\ntype = \"hdfs\"\nurl = \"file://{at}/store/%Y\"\nchannel = \"main\"\n\
         roll = {{ age_max = \"1s\", idle_max = \"1s\" }}\n"
    )
}

/// Starts an agent that must exit, with all of these texts.
fn is_refused(dir: &Path, topic: &str, client: &str, said: &[&str]) {
    let name = format!("refused-{topic}");
    let (file, log) = (dir.join(format!("{name}.toml")), dir.join(format!("{name}.out")));
    let text = config(dir, &name, topic, client);
    fs::write(&file, text).expect("the test's own folder");
    let _before = fs::remove_file(&log);
    let mut agent = program("aqueduct-collector");
    agent.args(["--admin", &free_address().to_string(), "--config"]).arg(file);
    let mut agent = Process::start("aqueduct-collector", agent, &log);
    let status = agent.wait(PATIENCE);
    let output = agent.output();
    assert!(!status.success(), "it runs, and {said:?}");
    let lacks = said.iter().find(|it| !output.contains(**it));
    assert!(lacks.is_none(), "{lacks:?} is not said: {output}");
}

fn add(dir: &Path, line: &str) {
    let log = fs::OpenOptions::new().create(true).append(true).open(dir.join("in.log"));
    std::io::Write::write_all(&mut log.expect("a log"), line.as_bytes()).expect("a log");
}

/// All in parallel, because none of them keeps running.
fn wrong_topics(dir: &Path, kafka: &Kafka, open: &str) {
    let all = |changed: (&'static str, &'static str)| {
        LOG.map(|one| if one.0 == changed.0 { changed } else { one })
    };
    for (topic, partitions, settings) in [
        ("two", 2, LOG),
        ("compacted", 1, all(("cleanup.policy", "compact"))),
        ("short", 1, all(("retention.ms", "60000"))),
        ("small", 1, all(("retention.bytes", "1000000"))),
        ("alone", 1, LOG),
    ] {
        kafka.make_topic(topic, partitions, &settings);
    }
    let altered = "--add-config";
    let three = format!("{open}\ncreate_with_replicas = 3");
    let cases: [(&str, &str, &[&str]); 7] = [
        ("two", open, &["`two` (`topic`) has 2 partitions", "another topic with 1 partition"]),
        ("compacted", open, &["`compacted` (`topic`) has `cleanup.policy=compact`", altered]),
        ("short", open, &["`short` (`topic`) has `retention.ms=60000`", altered]),
        ("small", open, &["`small` (`topic`) has `retention.bytes=1000000`", altered]),
        (
            "none",
            open,
            &["`none` (`topic`) does not exist", "--partitions 1", "create_with_replicas"],
        ),
        (
            "alone",
            open,
            &["`alone-state` (`state_topic`) does not exist", "cleanup.policy=compact"],
        ),
        ("three", &three, &["with 3 replicas", "create_with_replicas"]),
    ];
    thread::scope(|scope| {
        for (topic, client, said) in cases {
            scope.spawn(move || is_refused(dir, topic, client, said));
        }
    });
}

/// The permissions needed for opening, in order.
const RIGHTS: [(&str, &str, &str); 8] = [
    ("topic", "buffer", "Read"),
    ("topic", "buffer", "DescribeConfigs"),
    ("topic", "buffer-state", "Read"),
    ("topic", "buffer-state", "DescribeConfigs"),
    ("topic", "buffer", "Delete"),
    ("transactional id", "aqueduct-channel-buffer", "Write"),
    ("topic", "buffer", "Write"),
    ("topic", "buffer-state", "Write"),
];

/// Each missing permission is reported; with all of them the agent runs. If one is revoked and
/// restored at run time, this costs only time; recreated topics are rejected.
pub(crate) fn each_is_refused_and_mended() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, began) = (folder.path(), Instant::now());
    certificates::make(dir);
    let (kafka, secured) = Kafka::start_secured_with(dir, dir, LOOKED_AT);
    let (open, at) = (kafka.address(), dir.display());
    wrong_topics(dir, &kafka, &format!("brokers = [\"{open}\"]"));

    let client = format!(
        "brokers = [\"{secured}\"]\nproperties = {{ \"security.protocol\" = \"sasl_ssl\", \
         \"sasl.mechanism\" = \"SCRAM-SHA-512\", \"sasl.username\" = \"agent\", \
         \"ssl.ca.location\" = \"{at}/ca.pem\", \"ssl.key.location\" = \"{at}/client.key\", \
         \"ssl.certificate.location\" = \"{at}/client.pem\" }}\n\
         secret_properties = {{ \"sasl.password\" = \"secret\" }}"
    );
    let made = || {
        kafka.make_topic("buffer", 1, &LOG);
        kafka.make_topic("buffer-state", 1, &STATE);
    };
    made();
    for (on, name, operation) in RIGHTS {
        let named = format!("the brokers deny {operation} on `{name}`");
        is_refused(dir, "buffer", &client, &[&named, "--add --allow-principal"]);
        Rule { on, name, operation, allows: true }.add(&open);
    }
    let text = config(dir, "agent", "buffer", &client);
    let mut agent = Agent::configured("aqueduct-collector", dir, "agent", &text);
    add(dir, "one\n");
    agent.start();
    until_stored(dir, 4);
    let forbidden = Rule { on: "topic", name: "buffer", operation: "Write", allows: false };
    forbidden.add(&open);
    add(dir, "two\n");
    agent.until_logged("the brokers deny Write on `buffer`", PATIENCE);
    forbidden.remove(&open);
    until_stored(dir, 8);
    let found = compare(b"one\ntwo\n", &stored(dir));
    assert!(found.is_none(), "{found}");

    kafka.delete_topics(&["buffer", "buffer-state"]);
    made();
    add(dir, "three\n");
    agent.until_logged("the Kafka topic of this channel was deleted", PATIENCE);
    agent.kill();
    agent.start();
    until_stored(dir, 8 + 14);
    agent.stop(STOP);
    eprintln!("{:?}", began.elapsed());
}
