//! Goal: a batch that went from a channel to the dead letters returns only to the consumer that
//! lacks it, also after a restart. Method: channels on a real disk and in memory, in use; some are
//! closed and reopened.

mod shared;

use std::path::Path;

use aqueduct_channel::memory;
use pipeline::testkit::build;
use pipeline::{Channel, Epoch, IntervalSet, Origin};
use serde_json::json;

use shared::*;

/// A durable channel in the folder `durable`, and one in memory.
async fn both(folder: &Path) -> [Box<dyn Channel>; 2] {
    let memory = build::<memory::Config>(&json!({}), &cx(&folder.join("memory"))).unwrap();
    [open(&folder.join("durable")).await, opened(memory).await]
}

#[tokio::test]
async fn a_batch_comes_back_to_the_one_consumer_that_lacks_it() {
    let folder = tempfile::tempdir().unwrap();
    for channel in both(folder.path()).await {
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

/// The commit for the other consumer is in the same write as the batch.
#[tokio::test]
async fn a_batch_that_was_put_back_waits_for_its_consumer_alone_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(got_by_the_other_consumer(folder.path()).await, [2, 3]);
}

#[tokio::test]
async fn batches_that_wait_for_a_consumer_are_found() {
    let folder = tempfile::tempdir().unwrap();
    for channel in both(folder.path()).await {
        let channel = &*channel;
        use_it(channel).await;
        let waiting = async |consumer| channel.uncommitted(consumer, &keys(&[0, 1, 2])).await;
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
    let refused = channel.replay(batch(1), "third").await;
    let message = refused.err().unwrap().to_string();
    assert!(message.contains("`third`, only one, other"), "{message}");
    channel.close().await.unwrap();
}
