//! Epochs that their origin declared empty are forgotten, and count as delivered for ever.

use std::sync::Arc;

use aqueduct_ledger::Committed;
use pipeline::{Epoch, Floors, Origin};
use storage::FileSystem;
use storage::memory::Memory;

use crate::harness::{compacting, key, key_of, open, roll, roll_of, whole};

/// The epochs of the tests' only origin below `epoch` are empty.
fn below(epoch: u64) -> Floors {
    let mut floors = Floors::default();
    floors.raise(Origin([1; 16]), Epoch(epoch));
    floors
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_a_forgotten_batch_is_never_committed_again() {
    let store = Memory::new();
    let fs: Arc<dyn FileSystem> = Arc::new(store.clone());
    // It has read no later entry when it arrives with its copy.
    let mut zombie = open(fs.clone(), 1).await.unwrap();
    let late = roll_of(&*fs, 1, (0..2).map(|n| key_of(1, n)).chain([key_of(2, 0)])).await;

    let mut ledger = compacting(fs.clone(), 2).await;
    ledger.commit(roll(&*fs, 2, 0..2).await, whole()).await.unwrap();
    ledger.close_epochs(&below(2));
    ledger.compact().await.unwrap();
    assert!(ledger.view().settled().keys.is_empty(), "the intervals are forgotten");

    let gone = [key_of(1, 0), key_of(1, 1)];
    let committed = zombie.commit(late, whole()).await.unwrap();
    assert_eq!(committed, Committed::Overlap(gone.into_iter().collect()));
    assert!(gone.iter().all(|key| zombie.view().settled().is_closed(*key)));
    let all_late = zombie.commit(roll(&*fs, 1, 0..1).await, whole()).await.unwrap();
    assert_eq!(all_late, Committed::ByAnother);
}

#[tokio::test(start_paused = true)]
async fn compaction_keeps_unknown_floors_and_never_lowers_them() {
    let store = Memory::new();
    let fs: Arc<dyn FileSystem> = Arc::new(store.clone());
    let mut ledger = compacting(fs.clone(), 2).await;
    ledger.close_epochs(&below(3));
    ledger.close_epochs(&below(2));
    ledger.commit(roll(&*fs, 2, 0..2).await, whole()).await.unwrap();
    ledger.compact().await.unwrap();
    for n in 4..7 {
        let mut other = compacting(fs.clone(), n).await;
        let other_epoch = roll_of(&*fs, n, [key_of(3, u64::from(n))]).await;
        other.commit(other_epoch, whole()).await.unwrap();
        other.compact().await.unwrap();
        assert!(other.view().settled().is_closed(key_of(2, 77)));
        assert!(!other.view().is_settled(key_of(3, 77)));
    }
}

/// A declaration before its compaction is only a hint: the intervals still decide.
#[tokio::test(start_paused = true)]
async fn closes_no_epoch_before_its_ledger_entry() {
    let store = Memory::new();
    let fs: Arc<dyn FileSystem> = Arc::new(store.clone());
    let mut ledger = open(fs.clone(), 2).await.unwrap();
    ledger.close_epochs(&below(2));
    let committed = ledger.commit(roll(&*fs, 2, 0..2).await, whole()).await.unwrap();
    assert!(matches!(committed, Committed::Published(0)));
    assert!(ledger.view().is_settled(key(0)) && !ledger.view().settled().is_closed(key(0)));
}
