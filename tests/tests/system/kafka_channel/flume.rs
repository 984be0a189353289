//! From Flume with a backlog in its Kafka channel to an agent with the same configuration.

use std::fs;
use std::path::Path;
use std::time::Instant;

use aqueduct_tests::agent::{Agent, program};
use aqueduct_tests::flume::{Flume, java_with};
use aqueduct_tests::kafka::Kafka;
use aqueduct_tests::reconcile::compare;
use aqueduct_tests::site::read_below;
use aqueduct_tests::wait;

use super::{PATIENCE, STOP};

/// Lines of the log: more than Flume delivers before it is stopped.
const LINES: usize = 60_000;
/// When to stop Flume.
const DELIVERED: usize = 3_000;

/// Configures `taildir`, a Kafka channel, and `file_roll`.
fn properties(dir: &Path, broker: &str) -> String {
    let at = dir.display();
    format!(
        "a.sources = in\na.channels = c\na.sinks = out\n\
         a.sources.in.type = TAILDIR\na.sources.in.channels = c\n\
         a.sources.in.positionFile = {at}/positions.json\n\
         a.sources.in.filegroups = all\na.sources.in.filegroups.all = {at}/in.log\n\
         a.channels.c.type = org.apache.flume.channel.kafka.KafkaChannel\n\
         a.channels.c.kafka.bootstrap.servers = {broker}\na.channels.c.kafka.topic = buffer\n\
         a.channels.c.kafka.consumer.group.id = sinks\n\
         a.channels.c.kafka.consumer.auto.offset.reset = earliest\n\
         a.sinks.out.type = file_roll\na.sinks.out.channel = c\n\
         a.sinks.out.sink.directory = {at}/files\na.sinks.out.sink.rollInterval = 0\n"
    )
}

/// Flume is stopped in the middle: lines are in its files, in its topic, and not read yet. The
/// agent gets the rest of both, from the group's offsets and the position file.
pub(crate) fn the_backlog_of_flume_is_taken_over() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, began) = (folder.path(), Instant::now());
    fs::create_dir(dir.join("files")).expect("the test's own folder");
    let lines: String = (0..LINES).map(|line| format!("a line of a log, {line}\n")).collect();
    fs::write(dir.join("in.log"), &lines).expect("a log is written");
    let kafka = Kafka::start(dir);
    let text = properties(dir, &kafka.address());
    let java = java_with("flume-kafka-1.11.0", include_str!("flume.xml"), dir);
    let flume = Flume::start_by(java, "a", &text, dir);
    let stored = || read_below(&dir.join("files"));
    let count = |text: &[u8]| text.iter().filter(|byte| **byte == b'\n').count();
    wait::until("lines of Flume", PATIENCE, || (count(&stored()) >= DELIVERED).then_some(()));
    flume.stop();
    let by_flume = count(&stored());
    assert!(by_flume < LINES, "Flume had nothing left");

    let (file, data) = (dir.join("a.properties"), dir.join("data"));
    let mut convert = program("aqueduct");
    convert.arg("convert").arg(file).arg("--data-dir").arg(data);
    let converted = convert.output().expect("aqueduct runs");
    assert_eq!(converted.status.code(), Some(0), "{converted:?}");
    let text = String::from_utf8(converted.stdout).expect("a configuration");
    let wanted = ["create_with_replicas = 1\n", "[channels.c]\n", "[sources.c-topic]"];
    assert!(wanted.iter().all(|it| text.contains(it)), "{text}");
    let mut agent = Agent::configured("aqueduct-collector", dir, "agent", &text);
    agent.start();
    wait::until("all lines", PATIENCE, || (count(&stored()) >= LINES).then_some(()));
    agent.stop(STOP);
    let found = compare(lines.as_bytes(), &stored());
    assert_eq!(found.missing + found.foreign, 0, "{found}");
    // Events that Flume had passed to its sink but not committed.
    assert!(found.repeated <= 1_000, "{found}");
    eprintln!("{by_flume} lines by Flume, {found}, {:?}", began.elapsed());
}
