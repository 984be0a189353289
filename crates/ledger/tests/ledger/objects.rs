//! The ledger in an object store: one object founds it, no generation is deleted, and a start that
//! was fenced by its successor commits nothing more.

use std::sync::Arc;

use aqueduct_ledger::{Committed, Entry, Kind, Known, Ledger, LedgerError, Roll};
use futures::future::join_all;
use storage::memory::Memory;
use storage::objects::Objects;
use storage::{FileSystem, FsError};

use crate::harness::{author, compacting, key, open, open_again, roll, whole};

fn on(store: &Memory) -> Arc<dyn FileSystem> {
    support::mutants::plant_by_environment();
    Arc::new(Objects::over(Arc::new(store.clone())))
}

#[tokio::test(start_paused = true)]
async fn of_many_founders_one_makes_the_ledger() {
    let store = Memory::new();
    let ledgers = join_all((1..9).map(|number| open(on(&store), number))).await;
    let ledgers: Vec<_> = ledgers.into_iter().map(Result::unwrap).collect();
    assert!(ledgers.iter().all(|ledger| ledger.identity() == ledgers[0].identity()));
    let kept: Vec<String> =
        store.files().into_keys().filter(|path| !path.contains("/stage/")).collect();
    assert_eq!(kept, ["/logs/_aqueduct/store/ledger/identity"]);
}

/// The collector would win an index if any were free.
#[tokio::test(start_paused = true)]
async fn a_collector_that_slept_through_generations_finds_every_index_taken() {
    let store = Memory::new();
    let fs = on(&store);
    let mut slept = open(fs.clone(), 1).await.unwrap();
    let mut other = compacting(fs.clone(), 2).await;
    for n in 0..3 {
        other.commit(roll(&*fs, 2, n..n + 1).await, whole()).await.unwrap();
        other.compact().await.unwrap();
    }
    assert_eq!(other.view().generation(), 3);
    // It continues reading in the first generation, and then reads all later ones.
    let repeated = slept.commit(roll(&*fs, 1, 0..2).await, whole()).await.unwrap();
    assert_eq!(repeated, Committed::Overlap([key(0)].into_iter().collect()));
    let repeated = slept.commit(roll(&*fs, 1, 1..2).await, whole()).await.unwrap();
    assert_eq!(repeated, Committed::ByAnother);
    let committed = slept.commit(roll(&*fs, 1, 3..5).await, whole()).await.unwrap();
    assert!(matches!(committed, Committed::Published(index) if index >= 6), "{committed:?}");
    assert_eq!(slept.view().generation(), 3);
    for generation in 0..3 {
        let entries = format!("/logs/_aqueduct/store/ledger/g{generation}/");
        assert!(store.files().keys().any(|path| path.starts_with(&entries)), "{entries}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_start_fences_one_that_left_files() {
    let store = Memory::new();
    let fs = on(&store);
    let mut before = open(fs.clone(), 1).await.unwrap();
    before.commit(roll(&*fs, 1, 0..2).await, whole()).await.unwrap();
    let quiet = open_again(fs.clone(), 1, Known::default()).await.unwrap();
    assert!(!quiet.view().is_fenced(author(1)), "it left nothing");
    drop(quiet);

    let late = roll(&*fs, 1, 2..3).await;
    let after = open_again(fs.clone(), 1, Known::default()).await.unwrap();
    assert!(after.view().is_fenced(author(1)));
    let error = before.commit(late, whole()).await.unwrap_err();
    assert!(matches!(error, LedgerError::Fenced | LedgerError::Store(_)), "{error}");
    let known = open(fs, 3).await.unwrap();
    assert!(known.view().is_settled(key(0)) && !known.view().is_settled(key(2)));
    assert!(!store.files().keys().any(|path| path.contains("/stage/")), "{:?}", store.files());
}

/// Writes the first entry of a commit of `roll`, as a request that arrives at any time.
async fn first_entry(
    store: &Memory,
    ledger: &Ledger,
    author_number: u8,
    roll: &Roll,
) -> Result<(), FsError> {
    let files = ledger.targets(roll, "0");
    let kind = Kind::Commit { keys: roll.keys.clone(), files };
    let (index, author) = (0, author(author_number));
    let entry = Entry { index, author, attempt: roll.token, kind };
    let path = format!("/logs/_aqueduct/store/ledger/g0/{index:020}");
    Objects::over(Arc::new(store.clone())).put_new(&path, entry.encode()).await
}

fn visible(store: &Memory) -> usize {
    store.files().keys().filter(|path| path.starts_with("/logs/day/")).count()
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_arrives_after_its_sink_was_closed_finds_its_files() {
    let store = Memory::new();
    let fs = on(&store);
    let mut left = open(fs.clone(), 1).await.unwrap();
    let late = roll(&*fs, 1, 0..2).await;
    left.leave().await.unwrap();
    first_entry(&store, &left, 1, &late).await.unwrap();
    let after = open_again(fs, 1, Known::default()).await.unwrap();
    assert!(after.view().is_settled(key(0)));
    assert_eq!(visible(&store), 1);
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_arrives_after_the_next_start_finds_its_index_taken() {
    let store = Memory::new();
    let fs = on(&store);
    let dead = open(fs.clone(), 1).await.unwrap();
    let late = roll(&*fs, 1, 0..2).await;
    let mut after = open_again(fs.clone(), 1, Known::default()).await.unwrap();
    let refused = first_entry(&store, &dead, 1, &late).await.unwrap_err();
    assert!(refused.is_already_exists(), "{refused:?}");
    after.commit(roll(&*fs, 1, 0..2).await, whole()).await.unwrap();
    assert_eq!(visible(&store), 1);
}
