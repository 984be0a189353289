//! Goal: a batch that had left a channel for the dead letters comes back to the consumer that lacks
//! it, and to no other, also after a restart.
//! Method: channels on a real disk and in memory, in use; some are closed and opened again.

use std::path::Path;

use aqueduct_channel::durable::{Config, IndexKind};
use aqueduct_channel::memory;
use pipeline::testkit::build;
use pipeline::{
    Batch, BuildContext, Channel, Component, Epoch, Identity, IntervalSet, KeySet, Origin,
    Sequence, Taken,
};
use serde_json::json;

fn cx(directory: &Path) -> BuildContext {
    BuildContext::alone("main", directory, env::real())
}

fn config() -> Config {
    Config { index: IndexKind::None, ..Config::default() }
}

fn key(sequence: u64) -> Identity {
    Identity { origin: Origin([3; 16]), epoch: Epoch(1), sequence: Sequence(sequence) }
}

fn batch(sequence: u64) -> Batch {
    let mut batch = Batch::of([format!("batch {sequence}")]);
    batch.envelope.identity = Some(key(sequence));
    batch
}

async fn opened(channel: Box<dyn Channel>) -> Box<dyn Channel> {
    channel.open().await.unwrap();
    channel.register(&["one".into(), "other".into()]).await.unwrap();
    channel
}

async fn open(directory: &Path) -> Box<dyn Channel> {
    opened(config().build(&cx(directory)).unwrap()).await
}

async fn put(channel: &dyn Channel, batch: Batch) {
    let mut put = channel.begin_put(batch.size()).await.unwrap();
    put.put(batch);
    put.commit().await.unwrap();
}

/// Commits everything that waits for `consumer`; the sequences in their order.
async fn drain(channel: &dyn Channel, consumer: &str) -> Vec<u64> {
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
async fn use_it(channel: &dyn Channel) {
    for sequence in 0..2 {
        put(channel, batch(sequence)).await;
    }
    for consumer in ["one", "other"] {
        assert_eq!(drain(channel, consumer).await, [0, 1]);
    }
    put(channel, batch(2)).await;
}

fn keys(sequences: &[u64]) -> KeySet {
    sequences.iter().map(|sequence| key(*sequence)).collect()
}

async fn put_back(channel: &dyn Channel, consumer: &str, sequences: &[u64]) {
    for sequence in sequences {
        channel.put_back(batch(*sequence), consumer).await.unwrap();
    }
}

#[tokio::test]
async fn a_batch_comes_back_to_the_one_consumer_that_lacks_it() {
    let folder = tempfile::tempdir().unwrap();
    for channel in [
        open(&folder.path().join("durable")).await,
        opened(build::<memory::Config>(&json!({}), &cx(&folder.path().join("memory"))).unwrap())
            .await,
    ] {
        let channel = &*channel;
        use_it(channel).await;
        put_back(channel, "one", &[1, 7]).await;
        assert_eq!(channel.settled(Origin([3; 16]), Epoch(1)), IntervalSet::from(0..1));
        assert_eq!(drain(channel, "other").await, [2]);
        assert_eq!(drain(channel, "one").await, [2, 1, 7]);
        assert_eq!(channel.status().events, 0);
        let settled = channel.settled(Origin([3; 16]), Epoch(1));
        assert_eq!(settled, [0, 1, 2, 7].into_iter().collect());
        channel.close().await.unwrap();
    }
    let again = open(&folder.path().join("durable")).await;
    assert_eq!(drain(&*again, "one").await, Vec::<u64>::new());
    again.close().await.unwrap();
}

/// Batch 1 is put back for one consumer, and the channel is opened again: what the other one gets.
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

/// The commit for the other consumer is in the same write as the batch.
#[tokio::test]
async fn a_batch_that_was_put_back_waits_for_its_consumer_alone_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(got_by_the_other_consumer(folder.path()).await, [2, 3]);
}

#[tokio::test]
async fn batches_that_wait_for_a_consumer_are_found() {
    let folder = tempfile::tempdir().unwrap();
    for channel in [
        open(&folder.path().join("durable")).await,
        opened(build::<memory::Config>(&json!({}), &cx(&folder.path().join("memory"))).unwrap())
            .await,
    ] {
        let channel = &*channel;
        use_it(channel).await;
        let waiting = async |consumer| channel.waiting_for(consumer, &keys(&[0, 1, 2])).await;
        assert_eq!(waiting("one").await.unwrap(), keys(&[2]));
        put_back(channel, "one", &[1]).await;
        assert_eq!(waiting("one").await.unwrap(), keys(&[1, 2]));
        assert_eq!(waiting("other").await.unwrap(), keys(&[2]));
        // Committed in memory: on the disk it may be later.
        assert_eq!(drain(channel, "one").await, [2, 1]);
        assert_eq!(waiting("one").await.unwrap(), keys(&[]));
        channel.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_consumer_that_the_channel_does_not_know_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let channel = open(folder.path()).await;
    use_it(&*channel).await;
    let refused = channel.put_back(batch(1), "third").await;
    let message = refused.err().unwrap().to_string();
    assert!(message.contains("`third`; it has one, other"), "{message}");
    channel.close().await.unwrap();
}
