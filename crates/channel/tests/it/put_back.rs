//! Goal: what had left a channel for the dead letters comes back to the consumer that lacks it, and
//! to no other, also when it is put back twice or the process dies in between.
//! Method: channels on a real disk, closed and opened between the steps.

use std::path::Path;
use std::sync::Arc;

use aqueduct_channel::durable::{Config, IndexKind, PutBack};
use pipeline::{
    Batch, BuildContext, Channel, Component, Epoch, Identity, IntervalSet, KeySet, Origin,
    Sequence, Taken,
};

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

async fn open(directory: &Path) -> Box<dyn Channel> {
    let channel = config().build(&cx(directory)).unwrap();
    channel.open().await.unwrap();
    channel.register(&["one".into(), "other".into()]).await.unwrap();
    channel
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

/// A channel of two consumers: batches 0 and 1 are done with, 2 waits for both.
async fn used(directory: &Path) {
    let channel = open(directory).await;
    for sequence in 0..2 {
        put(&*channel, batch(sequence)).await;
    }
    for consumer in ["one", "other"] {
        assert_eq!(drain(&*channel, consumer).await, [0, 1]);
    }
    put(&*channel, batch(2)).await;
    channel.close().await.unwrap();
}

async fn put_back(directory: &Path, consumer: &str, sequences: &[u64]) -> Vec<bool> {
    let keys: KeySet = sequences.iter().map(|sequence| key(*sequence)).collect();
    let back = PutBack::open(config(), &cx(directory), consumer, &keys).await.unwrap();
    let mut put = Vec::new();
    for sequence in sequences {
        put.push(back.put(batch(*sequence)).await.unwrap());
    }
    back.close().await.unwrap();
    put
}

#[tokio::test]
async fn a_batch_comes_back_under_its_identity_to_the_one_consumer_that_lacks_it() {
    let folder = tempfile::tempdir().unwrap();
    used(folder.path()).await;
    assert_eq!(put_back(folder.path(), "one", &[1, 7]).await, [true, true]);
    let channel = open(folder.path()).await;
    assert_eq!(channel.settled(Origin([3; 16]), Epoch(1)), IntervalSet::from(0..1));
    assert_eq!(drain(&*channel, "other").await, [2]);
    assert_eq!(drain(&*channel, "one").await, [2, 1, 7]);
    assert_eq!(channel.status().events, 0);
    let settled = channel.settled(Origin([3; 16]), Epoch(1));
    assert_eq!(settled, [0, 1, 2, 7].into_iter().collect());
    channel.close().await.unwrap();
    let again = open(folder.path()).await;
    assert_eq!(drain(&*again, "one").await, Vec::<u64>::new());
    again.close().await.unwrap();
}

#[tokio::test]
async fn what_waits_already_is_not_put_back_a_second_time() {
    let folder = tempfile::tempdir().unwrap();
    used(folder.path()).await;
    assert_eq!(put_back(folder.path(), "one", &[1]).await, [true]);
    assert_eq!(put_back(folder.path(), "one", &[1, 2]).await, [false, false]);
    let channel: Arc<dyn Channel> = Arc::from(open(folder.path()).await);
    assert_eq!(drain(&*channel, "one").await, [2, 1]);
    channel.close().await.unwrap();
}

#[tokio::test]
async fn a_consumer_that_the_channel_does_not_know_is_named() {
    let folder = tempfile::tempdir().unwrap();
    used(folder.path()).await;
    let refused = PutBack::open(config(), &cx(folder.path()), "third", &KeySet::default()).await;
    let message = refused.err().unwrap().to_string();
    assert!(message.contains("`third`") && message.contains("\"one\", \"other\""), "{message}");
}
