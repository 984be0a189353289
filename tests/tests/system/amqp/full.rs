//! A broker without enough disk space.

use std::time::Instant;

use aqueduct_tests::chain::Chain;

use super::artemis::Artemis;

#[test]
#[ignore = "needs the programs, Java and Maven: tests/run"]
fn lines_wait_while_the_disk_of_the_broker_is_full_and_none_is_lost() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, began) = (folder.path(), Instant::now());
    let mut broker = Artemis::start(dir);
    let reached = format!(
        "address = \"full\"\ndestination_type = \"queue\"\nbroker = {{ urls = [\"{}\"] }}",
        broker.url()
    );
    let sink = format!("type = \"amqp\"\ntimeout = \"3s\"\n{reached}");
    let source = format!("type = \"amqp\"\n{reached}");
    let mut chain = Chain::start(dir, "chain", &sink, Some(&source));
    chain.meet_full_server("no response to a request within 3s", |is_full| {
        broker.kill();
        broker.set_disk_max(if is_full { 1 } else { 100 });
        broker.revive();
    });
    let repeats = chain.repeats(Chain::stored);
    eprintln!("a full broker: {repeats} repeats, {:?}", began.elapsed());
}
