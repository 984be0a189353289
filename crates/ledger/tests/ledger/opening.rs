//! A ledger is created once, read to its end, and rejected when it is incomplete.

use std::sync::Arc;
use std::time::Duration;

use aqueduct_ledger::{Committed, LedgerError};
use futures::FutureExt;
use pipeline::{Classify, ErrorClass};
use storage::FileSystem;
use storage::faults::{Fault, Faulty};
use storage::memory::Memory;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::harness::{key, open, open_again, put, roll, whole};

#[tokio::test(start_paused = true)]
async fn of_many_founders_all_open_the_same_ledger() {
    let store = Memory::new();
    let fs: Arc<dyn FileSystem> = Arc::new(store.clone());
    let (first, second) = tokio::join!(open(fs.clone(), 1), open(fs.clone(), 2));
    let (mut first, mut second) = (first.unwrap(), second.unwrap());
    let committed = first.commit(roll(&*fs, 1, 0..2).await, whole()).await.unwrap();
    assert_eq!(committed, Committed::Published(0));
    let committed = second.commit(roll(&*fs, 2, 2..4).await, whole()).await.unwrap();
    assert_eq!(committed, Committed::Published(1));
    let expected = ["/logs/day/host-1-store-0-0.log", "/logs/day/host-2-store-1-0.log"];
    let files = store.files();
    assert!(expected.iter().all(|path| files.contains_key(*path)), "{files:?}");
}

#[tokio::test(start_paused = true)]
async fn a_roll_that_another_has_committed_in_part_is_not_published() {
    let store = Memory::new();
    let fs: Arc<dyn FileSystem> = Arc::new(store.clone());
    let (mut first, mut second) =
        (open(fs.clone(), 1).await.unwrap(), open(fs.clone(), 2).await.unwrap());
    first.commit(roll(&*fs, 1, 0..3).await, whole()).await.unwrap();
    let overlap = second.commit(roll(&*fs, 2, 2..5).await, whole()).await.unwrap();
    assert_eq!(overlap, Committed::Overlap([key(2)].into_iter().collect()));
    let elsewhere = second.commit(roll(&*fs, 2, 1..3).await, whole()).await.unwrap();
    assert_eq!(elsewhere, Committed::ByAnother);
    assert!(!store.files().keys().any(|path| path.contains("/stage/")), "both are cleared away");
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_lost_its_generation_is_refused_and_never_made_anew() {
    let store = Memory::new();
    let fs: Arc<dyn FileSystem> = Arc::new(store.clone());
    open(fs.clone(), 1).await.unwrap();
    fs.delete("/logs/_aqueduct/store/ledger/g0").await.unwrap();
    let error = open(fs.clone(), 2).await.err().unwrap();
    assert!(matches!(error, LedgerError::NoGeneration { .. }), "{error}");
    assert_eq!(error.class(), ErrorClass::Blocked);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_entry_is_refused() {
    let store = Memory::new();
    let fs: Arc<dyn FileSystem> = Arc::new(store.clone());
    open(fs.clone(), 1).await.unwrap();
    put(&*fs, "/logs/_aqueduct/store/ledger/g0/00000000000000000000", "AQLEDGER").await;
    let error = open(fs, 2).await.err().unwrap();
    assert!(matches!(error, LedgerError::Entry { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_committed_file_never_replaces_a_foreign_one() {
    let store = Memory::new();
    let fs: Arc<dyn FileSystem> = Arc::new(store.clone());
    let mut ledger = open(fs.clone(), 1).await.unwrap();
    fs.mkdirs("/logs/day").await.unwrap();
    let taken = "/logs/day/host-1-store-0-0.log";
    put(&*fs, taken, "foreign").await;
    let error = ledger.commit(roll(&*fs, 1, 0..1).await, whole()).await.unwrap_err();
    assert!(matches!(error, LedgerError::Occupied { .. }), "{error}");
    assert_eq!(fs.read(taken).await.unwrap(), "foreign");

    fs.delete(taken).await.unwrap();
    open(fs.clone(), 3).await.unwrap();
    assert_eq!(fs.read(taken).await.unwrap(), "line\n", "any later opening publishes it");
}

#[tokio::test(start_paused = true)]
async fn an_entry_wins_only_after_its_files_are_closed() {
    let store = Memory::new();
    let fs: Arc<dyn FileSystem> = Arc::new(store.clone());
    let mut ledger = open(fs.clone(), 1).await.unwrap();
    let roll = roll(&*fs, 1, 0..1).await;
    let (close, closed) = oneshot::channel();
    let committing = tokio::spawn(async move {
        ledger.commit(roll, closed.map(|closed| closed.unwrap())).await.unwrap()
    });
    sleep(Duration::from_secs(20)).await;
    let names = |part: &str| store.files().keys().filter(|path| path.contains(part)).count();
    assert_eq!((names(".entry"), names("/ledger/g"), names("/day/")), (1, 0, 0));
    close.send(Ok(())).unwrap();
    assert_eq!(committing.await.unwrap(), Committed::Published(0));
    assert_eq!((names(".entry"), names("/ledger/g"), names("/day/")), (0, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn files_that_are_not_whole_are_never_committed() {
    let store = Memory::new();
    let fs: Arc<dyn FileSystem> = Arc::new(store.clone());
    let mut ledger = open(fs.clone(), 1).await.unwrap();
    let cut_short = async {
        sleep(Duration::from_secs(1)).await;
        Err(LedgerError::Length { path: "staged".into(), actual: 4, expected: 5 })
    };
    let error = ledger.commit(roll(&*fs, 1, 0..1).await, cut_short).await.unwrap_err();
    assert!(matches!(error, LedgerError::Length { .. }), "{error}");
    open(fs.clone(), 1).await.unwrap();
    let ledger = open(fs.clone(), 2).await.unwrap();
    assert_eq!(ledger.view().next(), 0);
    assert!(!store.files().keys().any(|path| path.contains("/day/")));
}

/// The next opening knows every commit of one author, whichever call of its opening fails.
#[tokio::test(start_paused = true)]
async fn an_opening_that_failed_can_be_done_again() {
    let store = Memory::new();
    let fs: Arc<dyn FileSystem> = Arc::new(store.clone());
    let mut first = open(fs.clone(), 1).await.unwrap();
    for n in 0..5 {
        first.commit(roll(&*fs, 1, n..n + 1).await, whole()).await.unwrap();
    }
    for at in 0.. {
        let faulty = Arc::new(Faulty::new(fs.clone(), Fault::AnswerLost, at));
        let failed = open(faulty.clone(), 2).await.is_err();
        let ledger = open(fs.clone(), 2).await.unwrap();
        assert_eq!(ledger.view().settled().keys, (0..5).map(key).collect());
        if faulty.calls() <= at {
            assert!(!failed && at > 8, "an opening has as many calls as it had");
            return;
        }
    }
}

/// The answer to one commit is lost and the commit is given up; another one continues with the same
/// ledger, and then the store is reopened. Whichever call was lost, the files of the first one
/// become visible if it had won.
#[tokio::test(start_paused = true)]
async fn publishes_the_entry_of_an_abandoned_commit() {
    let mut won_unheard = 0;
    for at in 0.. {
        let store = Memory::new();
        let fs: Arc<dyn FileSystem> = Arc::new(store.clone());
        let (given_up, next) = (roll(&*fs, 1, 0..1).await, roll(&*fs, 1, 1..2).await);
        let faulty = Arc::new(Faulty::new(fs.clone(), Fault::AnswerLost, at));
        let Ok(mut ledger) = open(faulty.clone(), 1).await else { continue };
        let before_the_next_look = Duration::from_millis(150);
        let done = timeout(before_the_next_look, ledger.commit(given_up, whole())).await;
        drop(ledger.commit(next, whole()).await);
        won_unheard += usize::from(done.is_err() && ledger.view().is_settled(key(0)));

        let ledger = open_again(fs, 1, ledger.into_known()).await.unwrap();
        let visible = store.files().keys().filter(|path| path.contains("/day/")).count();
        assert_eq!(visible as u64, ledger.view().totals().files, "with call {at} unanswered");
        if faulty.calls() <= at {
            assert!(won_unheard > 0, "no commit was given up after it had won");
            return;
        }
    }
}
