//! The epochs that an agent may declare empty: those below the lowest epoch with a batch in some
//! channel.
//!
//! Method: durable channels in real directories are opened repeatedly; the board of their agent is
//! queried.

use std::sync::Arc;

use aqueduct_channel::durable::Config;
use peers::FloorBoard;
use pipeline::testkit::build;
use pipeline::{Batch, BuildContext, Channel, Epoch, Identity, IntervalSet, Sequence};
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
    board.set_channels(channels.iter().copied(), false);
    board
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_is_declared_empty_once_each_of_its_batches_is_committed() {
    let dir = TempDir::new().unwrap();
    let first = open(&dir, "main").await;
    let (origin, life) = first.own_epoch().unwrap();
    put(&*first, Batch::of(["a"])).await;
    assert_eq!(board(&[&first]).declarable().of(origin), life);
    first.close().await.unwrap();
    drop(first);

    let second = open(&dir, "main").await;
    let (same, next) = second.own_epoch().unwrap();
    assert!(same == origin && next.starts() == life.starts() + 1, "{next:?} after {life:?}");
    assert_eq!(board(&[&second]).declarable().of(origin), life, "a batch of it is not committed");
    commit_one(&*second).await;
    let board = board(&[&second]);
    assert_eq!(board.declarable().of(origin), next);
    board.disable_declarations();
    assert!(board.declarable().is_empty(), "stored is not committed");
    second.close().await.unwrap();
}

/// A batch that was moved aside keeps its identity: another channel of the agent may hold it.
#[tokio::test(flavor = "multi_thread")]
async fn does_not_declare_batches_of_another_channel() {
    let dir = TempDir::new().unwrap();
    let (main, aside) = (open(&dir, "main").await, open(&dir, "aside").await);
    let (origin, life) = main.own_epoch().unwrap();
    let mut moved = Batch::of(["letter"]);
    let epoch = Epoch(life.0 - 1);
    moved.envelope.identity = Some(Identity { origin, epoch, sequence: Sequence(4) });
    put(&*aside, moved).await;
    let board = board(&[&main, &aside]);
    assert_eq!(board.declarable().of(origin), epoch);
    commit_one(&*aside).await;
    assert_eq!(board.declarable().of(origin), life);
}

/// A copy of the directory has closed this life: batches that were not sent have another origin
/// from then on, also after the next start, which begins with that origin.
#[tokio::test(flavor = "multi_thread")]
async fn a_life_that_is_renamed_stays_so_and_the_next_one_has_the_new_origin() {
    let dir = TempDir::new().unwrap();
    let first = open(&dir, "main").await;
    let (origin, epoch) = first.own_epoch().unwrap();
    for line in ["a", "b", "c"] {
        put(&*first, Batch::of([line])).await;
    }
    let key = |sequence| Identity { origin, epoch, sequence: Sequence(sequence) };
    assert_eq!(first.renamed(key(1)), None);
    first.rename(&IntervalSet::from(0..1)).unwrap();
    let named = first.renamed(key(1)).unwrap();
    assert!(named.origin != origin && named == Identity { origin: named.origin, ..key(1) });
    assert_eq!(first.renamed(key(0)), None, "it was sent under its first name");
    // Batches that were sent were refused as well.
    first.rename(&IntervalSet::EMPTY).unwrap();
    assert_eq!(first.renamed(key(0)).unwrap().origin, named.origin);
    first.close().await.unwrap();
    drop(first);

    let second = open(&dir, "main").await;
    let (new, next) = second.own_epoch().unwrap();
    assert!(new == named.origin && next.starts() == epoch.starts() + 1);
    assert_eq!(second.renamed(key(2)).unwrap().origin, new);
    assert_eq!(board(&[&second]).declarable().of(new), epoch, "a batch of it is not committed");
    for _ in 0..3 {
        commit_one(&*second).await;
    }
    assert_eq!(board(&[&second]).declarable().of(new), next);
    second.close().await.unwrap();
}

/// Only a batch that was put once, and refused there, is known to exist nowhere else.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_was_put_twice_keeps_its_name() {
    let dir = TempDir::new().unwrap();
    let main = open(&dir, "main").await;
    let (origin, epoch) = main.own_epoch().unwrap();
    let key = |sequence| Identity { origin, epoch, sequence: Sequence(sequence) };
    let board = board(&[&main]);
    board.begin_lives([&main].into_iter());
    for sequence in [0, 1, 2, 0] {
        assert_eq!(board.offered(key(sequence)), key(sequence));
        board.put(key(sequence));
    }
    assert!(!board.renamed_as_closed(key(0)).unwrap(), "the other peer may have it");
    assert!(board.renamed_as_closed(key(1)).unwrap());
    let new = board.offered(key(1)).origin;
    assert_ne!(new, origin);
    assert_eq!(board.offered(key(0)).origin, origin);
    assert_eq!(board.offered(key(2)).origin, origin, "its answer is still to come");
    assert_eq!(board.offered(key(3)).origin, new, "it was never put");
    assert!(board.renamed_as_closed(key(2)).unwrap());
    assert_eq!(board.offered(key(2)).origin, new);
    // The fate of a batch of an earlier life is unknown.
    let older = Identity { epoch: Epoch(1), ..key(0) };
    assert!(!board.renamed_as_closed(older).unwrap());
    main.close().await.unwrap();
}
