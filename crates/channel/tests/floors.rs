//! What an agent may declare empty: below the lowest epoch of which some channel holds a batch.
//!
//! Method: durable channels in real directories, opened again and again; the board of an agent that
//! has them is asked.

#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

use std::sync::Arc;

use aqueduct_channel::durable::Config;
use pipeline::testkit::build;
use pipeline::{Batch, BuildContext, Channel, Epoch, FloorBoard, Identity, IntervalSet, Sequence};
use serde_json::json;
use tempfile::TempDir;

/// The channel `name` in its next life.
async fn open(dir: &TempDir, name: &str) -> Arc<dyn Channel> {
    let cx = BuildContext::alone(name, &dir.path().join(name), env::real());
    let channel: Arc<dyn Channel> = build::<Config>(&json!({}), &cx).unwrap().into();
    channel.open().await.unwrap();
    channel.register(&[Arc::from("all")]).await.unwrap();
    channel
}

async fn put(channel: &dyn Channel, batch: Batch) {
    let mut put = channel.begin_put(batch.size()).await.unwrap();
    put.put(batch);
    put.commit().await.unwrap();
}

/// Every batch that is ready is committed.
async fn commit_one(channel: &dyn Channel) {
    let mut take = channel.begin_take("all");
    let ticket = take.take().await.unwrap().ticket;
    take.commit(&IntervalSet::from(ticket..ticket + 1));
}

fn board(channels: &[&Arc<dyn Channel>]) -> FloorBoard {
    let board = FloorBoard::default();
    board.know_channels(channels.iter().copied());
    board
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_is_declared_empty_once_each_of_its_batches_is_committed() {
    let dir = TempDir::new().unwrap();
    let first = open(&dir, "main").await;
    let (origin, life) = first.birthplace().unwrap();
    put(&*first, Batch::of(["a"])).await;
    assert_eq!(board(&[&first]).declarable().of(origin), life);
    first.close().await.unwrap();
    drop(first);

    let second = open(&dir, "main").await;
    let (same, next) = second.birthplace().unwrap();
    assert!(same == origin && next.starts() == life.starts() + 1, "{next:?} after {life:?}");
    assert_eq!(board(&[&second]).declarable().of(origin), life, "a batch of it is not committed");
    commit_one(&*second).await;
    let board = board(&[&second]);
    assert_eq!(board.declarable().of(origin), next);
    board.forget_early();
    assert!(board.declarable().is_empty(), "stored is not committed");
    second.close().await.unwrap();
}

/// A batch that was moved aside keeps its identity: another channel of the agent may hold it.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_channel_of_the_agent_holds_is_not_declared() {
    let dir = TempDir::new().unwrap();
    let (main, aside) = (open(&dir, "main").await, open(&dir, "aside").await);
    let (origin, life) = main.birthplace().unwrap();
    let mut moved = Batch::of(["letter"]);
    let epoch = Epoch(life.0 - 1);
    moved.identity = Some(Identity { origin, epoch, sequence: Sequence(4) });
    put(&*aside, moved).await;
    let board = board(&[&main, &aside]);
    assert_eq!(board.declarable().of(origin), epoch);
    commit_one(&*aside).await;
    assert_eq!(board.declarable().of(origin), life);
}
