//! A channel with two consumers, and batches that are replayed for one of them.

use std::path::Path;

use aqueduct_channel::durable::{Config, IndexKind};
use pipeline::{
    Batch, BuildContext, Channel, Component, Epoch, Identity, IntervalSet, KeySet, Origin,
    Sequence, Taken,
};

pub(crate) fn cx(directory: &Path) -> BuildContext {
    BuildContext::alone("main", directory, env::real())
}

fn config() -> Config {
    Config { index: IndexKind::None, ..Config::default() }
}

pub(crate) fn key(sequence: u64) -> Identity {
    Identity { origin: Origin([3; 16]), epoch: Epoch(1), sequence: Sequence(sequence) }
}

pub(crate) fn batch(sequence: u64) -> Batch {
    let mut batch = Batch::of([format!("batch {sequence}")]);
    batch.envelope.identity = Some(key(sequence));
    batch
}

pub(crate) async fn opened(channel: Box<dyn Channel>) -> Box<dyn Channel> {
    channel.open().await.unwrap();
    channel.register(&["one".into(), "other".into()]).await.unwrap();
    channel
}

pub(crate) async fn open(directory: &Path) -> Box<dyn Channel> {
    opened(config().build(&cx(directory)).unwrap()).await
}

pub(crate) async fn put(channel: &dyn Channel, batch: Batch) {
    let mut put = channel.begin_put(batch.size()).await.unwrap();
    put.put(batch);
    put.commit().await.unwrap();
}

/// Commits everything that waits for `consumer`; the sequences in their order.
pub(crate) async fn drain(channel: &dyn Channel, consumer: &str) -> Vec<u64> {
    let mut take = channel.begin_take(consumer);
    let mut taken = Vec::new();
    let patience = std::time::Duration::from_millis(300);
    while let Ok(next) = tokio::time::timeout(patience, take.take()).await {
        let Taken { ticket, batch } = next.unwrap();
        taken.push(batch.envelope.identity.unwrap().sequence.0);
        take.commit(&IntervalSet::from(ticket..ticket + 1));
    }
    taken
}

/// In a channel of two consumers batches 0 and 1 are committed, and 2 waits for both.
pub(crate) async fn use_it(channel: &dyn Channel) {
    for sequence in 0..2 {
        put(channel, batch(sequence)).await;
    }
    for consumer in ["one", "other"] {
        assert_eq!(drain(channel, consumer).await, [0, 1]);
    }
    put(channel, batch(2)).await;
}

pub(crate) fn keys(sequences: &[u64]) -> KeySet {
    sequences.iter().map(|sequence| key(*sequence)).collect()
}

pub(crate) async fn put_back(channel: &dyn Channel, consumer: &str, sequences: &[u64]) {
    for sequence in sequences {
        channel.replay(batch(*sequence), consumer).await.unwrap();
    }
}

/// Replays batch 1 for one consumer, reopens the channel, and returns the batches of the other
/// consumer.
pub(crate) async fn got_by_the_other_consumer(directory: &Path) -> Vec<u64> {
    let channel = open(directory).await;
    use_it(&*channel).await;
    put_back(&*channel, "one", &[1]).await;
    put(&*channel, batch(3)).await;
    channel.close().await.unwrap();
    let channel = open(directory).await;
    let other = drain(&*channel, "other").await;
    assert_eq!(drain(&*channel, "one").await, [2, 1, 3]);
    channel.close().await.unwrap();
    other
}
