//! Goal: events wait in the channel while the server's disk is full, and are stored once when space
//! is free again; events acknowledged earlier are stored.
//!
//! Method: a real Kafka and a real Solr, each with all of its files on a small memory disk, which
//! another file fills to the last block while lines arrive. Kafka then exits by itself, Solr keeps
//! running; both are restarted after the file is deleted. NATS, RabbitMQ, Artemis and OpenSearch
//! stop accepting events before their disk is full; their own tests cover that.
//!
//! Lane: connector
//! Needs: java mvn mount
//! Root: yes
//! Weight: 0
//! Limit: 10m
//! Paths: crates/components-kafka crates/components-search crates/channel

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::chain::{BATCH, Chain};
use aqueduct_tests::kafka::Kafka;
use aqueduct_tests::mounted::Mounted;
use aqueduct_tests::solr::Solr;

/// Size of a disk.
const DISK: u64 = 256 << 20;
/// How long a disk stays full afterwards.
const FULL: Duration = Duration::from_secs(2);

/// Sends lines, fills the disk, sends more lines until the server has failed, and frees the space.
fn fill_and_make_room(chain: &mut Chain, disk: &Mounted, until_failed: impl FnOnce(&mut Chain)) {
    chain.write(50 * BATCH);
    chain.until_delivered();
    let ballast = disk.fill().expect("a full disk");
    until_failed(chain);
    thread::sleep(FULL);
    fs::remove_file(ballast).expect("the file that is in the way");
}

#[test]
#[ignore = "needs the programs, Java, Maven and root: tests/run"]
fn lines_wait_while_the_disk_of_kafka_is_full_and_are_in_their_topic_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, began) = (folder.path(), Instant::now());
    let disk = Mounted::in_memory(DISK, &dir.join("disk")).expect("a small disk");
    let mut kafka = Kafka::start(disk.directory());
    let broker = kafka.address();
    let sink = format!(
        "type = \"kafka\"\nbrokers = [\"{broker}\"]\ntopic = \"lines\"\ntimeout = \"5s\"\n\
         exactly_once = true"
    );
    let source = format!(
        "type = \"kafka\"\nbrokers = [\"{broker}\"]\ntopics = [\"lines\"]\ngroup = \"all\""
    );
    let mut chain = Chain::start(dir, "kafka", &sink, Some(&source));
    fill_and_make_room(&mut chain, &disk, |chain| {
        chain.write(50 * BATCH);
        kafka.until_ended();
    });
    kafka.revive();
    let repeats = chain.repeats(Chain::stored);
    eprintln!("Kafka: {repeats} repeats; {:?}", began.elapsed());
    assert_eq!(repeats, 0, "a batch that goes again is known");
}

#[test]
#[ignore = "needs the programs, Java, Maven and root: tests/run"]
fn lines_wait_while_the_disk_of_solr_is_full_and_are_one_document_each() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, began) = (folder.path(), Instant::now());
    let disk = Mounted::in_memory(DISK, &dir.join("disk")).expect("a small disk");
    let mut solr = Solr::start(disk.directory());
    solr.create();
    let sink = format!(
        "type = \"solr\"\ncollection = \"lines\"\nurls = [\"http://{}/solr\"]\n\
         message_field = \"line_s\"\ncommit_within = \"1s\"",
        solr.address()
    );
    let mut chain = Chain::start(dir, "solr", &sink, None);
    fill_and_make_room(&mut chain, &disk, Chain::until_refused);
    solr.kill();
    solr.revive();
    let repeats = chain.repeats(|_| solr.lines());
    eprintln!("Solr: {repeats} repeats; {:?}", began.elapsed());
    assert_eq!(repeats, 0, "a document that goes again replaces itself");
}
