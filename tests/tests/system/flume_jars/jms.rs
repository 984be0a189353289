//! Flume's JMS source with the directory of a broker in a file (JNDI), a real ActiveMQ Artemis, and
//! the JMS client of Qpid. No message is lost while the virtual machine and the agent are killed,
//! and only messages of an open session are stored again.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use aqueduct_tests::flume::jars_of;
use aqueduct_tests::process::tail;
use aqueduct_tests::reconcile::compare;
use aqueduct_tests::site::read_below;
use aqueduct_tests::{seed, wait};
use rand::prelude::*;

use super::{LIMIT, Place, kill_one};
use crate::amqp::artemis::Artemis;
use crate::plugins::{plugins, wait_until_ended};

/// Flume's source and a JMS client.
const POM: &str = include_str!("jms.pom.xml");

/// Rounds with a kill, messages of a round, and messages of a transaction of the source.
const ROUNDS: usize = 8;
const MESSAGES: usize = 300;
const OF_SESSION: usize = 25;

fn properties(at: &Path) -> String {
    let at = at.display();
    format!(
        "a.sources = j\na.channels = c\na.sinks = k\na.sources.j.type = jms\n\
         a.sources.j.channels = c\na.sources.j.batchSize = {OF_SESSION}\n\
         a.sources.j.initialContextFactory = org.apache.qpid.jms.jndi.JmsInitialContextFactory\n\
         a.sources.j.providerURL = file://{at}/jndi.properties\n\
         a.sources.j.connectionFactory = orders\na.sources.j.destinationName = inbox\n\
         a.sources.j.destinationType = QUEUE\na.sources.j.destinationLocator = JNDI\n\
         a.channels.c.type = file\na.sinks.k.type = file_roll\na.sinks.k.channel = c\n\
         a.sinks.k.sink.directory = {at}/out\n"
    )
}

#[test]
#[ignore = "needs the programs, Java and Maven: tests/run"]
fn messages_of_a_broker_arrive_by_the_jms_source_of_flume() {
    let mut rng = seed::rng("flume_jars");
    let place = Place::new();
    let dir = place.dir();
    fs::create_dir(dir.join("out")).expect("the test's own folder");
    let broker = Artemis::start(dir);
    let directory = format!("connectionfactory.orders = {}\nqueue.inbox = ORDERS\n", broker.url());
    fs::write(dir.join("jndi.properties"), directory).expect("the test's own folder");
    let client = jars_of("flume-jms-1.11.0", POM);
    let class_path = format!("{}:{}", client.display(), place.class_path());
    // Without the option, Flume 1.11 accepts only names that begin with `java:`.
    let option = "-DJndiAllowedProtocols=java,file";
    let mut agent = place.agent_with(&properties(dir), &class_path, &[option]);
    agent.start();
    let (mut sent, mut kills) = (String::new(), 0);
    for round in 0..ROUNDS {
        let (from, end) = (round * MESSAGES, (round + 1) * MESSAGES);
        broker.run_jms("send", &["queue", "ORDERS", "m", &from.to_string(), &end.to_string()]);
        (from..end).for_each(|n| sent += &format!("m-{n}\n"));
        thread::sleep(Duration::from_millis(rng.random_range(0..1000)));
        kills += usize::from(kill_one(round, &mut agent, &mut rng));
    }
    wait::until("all messages", LIMIT, || {
        let found = compare(sent.as_bytes(), &read_below(&dir.join("out")));
        (found.missing == 0).then_some(())
    });
    let left = plugins(agent.process().pid());
    agent.stop(LIMIT);
    wait_until_ended(&left);
    let found = compare(sent.as_bytes(), &read_below(&dir.join("out")));
    println!("{found}; {kills} kills of the virtual machine, {} of the agent", ROUNDS / 4);
    let output = agent.output();
    assert!(kills >= ROUNDS / 2, "{kills} kills\n{}", tail(&output));
    assert!(found.missing + found.foreign == 0, "{found}\n{}", tail(&output));
    assert!(found.repeated <= OF_SESSION * ROUNDS, "{found}\n{}", tail(&output));
}
