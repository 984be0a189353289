//! Three brokers, each of which may fail.

use std::path::Path;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};

use super::{Kafka, LIMIT};
use crate::{http, wait};

/// A cluster of three brokers: a topic with three replicas survives the loss of any broker.
#[derive(Debug)]
pub struct Cluster(Vec<Kafka>);

impl Cluster {
    /// Starts them with all of their files in `dir`, and waits until they answer.
    ///
    /// # Panics
    ///
    /// Same as [`Kafka::start`].
    pub fn start(dir: &Path) -> Self {
        let places = [(); 3].map(|()| (http::free_address(), http::free_address()));
        let voters = (1..).zip(&places).map(|(node, (_, at))| format!("{node}@{at}"));
        let voters = voters.collect::<Vec<_>>().join(",");
        let start = |node: usize| {
            let more = format!(
                "node.id={}\ncontroller.quorum.voters={voters}\n\
                 offsets.topic.replication.factor=3\n\
                 transaction.state.log.replication.factor=3\ntransaction.state.log.min.isr=2\n\
                 broker.session.timeout.ms=3000\nbroker.heartbeat.interval.ms=500\n",
                node + 1
            );
            Kafka::made(dir.join(format!("kafka-{node}")), places[node], &more, &[], &[])
        };
        // A single node has no quorum, and does not answer.
        let started = std::thread::scope(|scope| {
            let nodes: Vec<_> = (0..3).map(|node| scope.spawn(move || start(node))).collect();
            nodes.into_iter().map(|node| node.join().expect("a broker starts")).collect()
        });
        Self(started)
    }

    /// Returns `host:port` of each, as a TOML list.
    pub fn brokers(&self) -> String {
        let each: Vec<String> = self.0.iter().map(|it| format!("\"{}\"", it.address())).collect();
        format!("[{}]", each.join(", "))
    }

    /// Kills the leader of the topic's first partition with -9, runs `meanwhile`, and restarts it;
    /// waits until each replica has the whole topic.
    ///
    /// # Panics
    ///
    /// When the topic has no leader, or fewer than three in-sync replicas, after a timeout.
    pub fn lose_leader_of(&mut self, topic: &str, meanwhile: impl FnOnce()) {
        let leader = self.until_in_sync(topic);
        let node = &mut self.0[leader as usize - 1];
        node.kill();
        meanwhile();
        node.revive();
        self.until_in_sync(topic);
    }

    /// Returns the leader of the first partition, when all replicas are in sync.
    fn until_in_sync(&self, topic: &str) -> i32 {
        let mut config = self.0[0].client();
        let all: Vec<String> = self.0.iter().map(Kafka::address).collect();
        config.set("bootstrap.servers", all.join(",")).set("group.id", "looks");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        wait::until(&format!("three replicas of {topic} in sync"), LIMIT, || {
            let found = consumer.fetch_metadata(Some(topic), Duration::from_secs(5)).ok()?;
            let partition = found.topics().first()?.partitions().first()?;
            (partition.leader() > 0 && partition.isr().len() == 3).then(|| partition.leader())
        })
    }
}
