//! A broker without enough disk space.

use std::time::Instant;

use aqueduct_tests::chain::Chain;

use super::broker::Broker;

#[test]
#[ignore = "needs the programs, RabbitMQ, Python and openssl: tests/run"]
fn lines_wait_while_the_disk_of_the_broker_is_full_and_none_is_lost() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, began) = (folder.path(), Instant::now());
    let mut broker = Broker::start(dir);
    broker.run(&["declare", "full"]);
    let reached = format!("broker = {{ urls = [\"amqp://{}\"] }}", broker.address);
    let sink = format!(
        "type = \"rabbitmq\"\nexchange = \"\"\nrouting_key = \"full\"\ntimeout = \"3s\"\n{reached}"
    );
    let source = format!("type = \"rabbitmq\"\nqueue = \"full\"\n{reached}");
    let mut chain = Chain::start(dir, "chain", &sink, Some(&source));
    chain.meet_full_server("is low on memory or disk space", |is_full| {
        broker.kill();
        broker.set_disk_free(if is_full { "100000GB" } else { "1MB" });
        broker.revive();
    });
    let repeats = chain.repeats(Chain::stored);
    eprintln!("a full broker: {repeats} repeats, {:?}", began.elapsed());
}
