//! The ledger on a store that moves a directory into an existing one, as HDFS does behind HttpFS.
//! No directory is moved, because each one that races contains a name like its own.

use std::sync::Arc;
use std::time::Duration;

use aqueduct_ledger::Committed;
use futures::future::join_all;
use storage::FileSystem;
use storage::memory::Memory;
use tokio::time::sleep;

use crate::harness::{compacting, key, roll, whole};

const LEDGER: &str = "/logs/_aqueduct/store/ledger/";
const COLLECTORS: u8 = 4;
const ROUNDS: u64 = 5;

/// The directories below the ledger, each below its generation.
fn directories(store: &Memory) -> Vec<String> {
    let directories = store.directories();
    directories.iter().filter_map(|path| path.strip_prefix(LEDGER)).map(str::to_owned).collect()
}

/// The store as one client sees it: the calls of others take more time, or less, or the same.
fn seen_by(store: &Memory, number: u8, spread: u64) -> Arc<dyn FileSystem> {
    let latency = 20 + u64::from(number) * spread % 17;
    Arc::new(store.moving_into().with_latency(Duration::from_millis(latency)))
}

/// Returns a directory in the ledger or in a generation that no program creates there. It may
/// disappear soon, with its generation.
async fn moved_into_another(store: &Memory) -> String {
    let is_known = |path: &String| match path.split('/').collect::<Vec<_>>()[..] {
        [generation] => generation.starts_with('g'),
        [_, side, ..] => side.starts_with("next-"),
        [] => true,
    };
    loop {
        if let Some(junk) = directories(store).into_iter().find(|path| !is_known(path)) {
            return junk;
        }
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn concurrent_founders_and_compactors_never_nest_directories() {
    for spread in 0..17 {
        collectors_found_and_compact(spread).await;
    }
}

async fn collectors_found_and_compact(spread: u64) {
    let store = Memory::new();
    let opened = (0..COLLECTORS).map(|n| compacting(seen_by(&store, n, spread), n));
    let mut ledgers = join_all(opened).await;
    assert_eq!(directories(&store), ["g0"], "of many founders one wins");
    assert!(ledgers.iter().all(|ledger| ledger.identity() == ledgers[0].identity()));

    let rounds = ledgers.iter_mut().zip(0..COLLECTORS).map(async |(ledger, n)| {
        let fs = seen_by(&store, n, spread);
        for round in 0..ROUNDS {
            let batch = round * u64::from(COLLECTORS) + u64::from(n);
            let roll = roll(&*fs, n, batch..batch + 1).await;
            let committed = ledger.commit(roll, whole()).await.unwrap();
            assert!(matches!(committed, Committed::Published(_)), "{committed:?}");
            ledger.compact().await.unwrap();
        }
    });
    tokio::select! {
        _ = join_all(rounds) => {}
        junk = moved_into_another(&store) => panic!("{junk} was moved into another directory"),
    }

    let newest = ledgers.iter().map(|ledger| ledger.view().generation()).max().unwrap();
    assert!(newest >= ROUNDS, "{newest}");
    // Prepared entries of others are deleted with the generation before; none of them is in this
    // one.
    let below = format!("g{newest}/");
    let directories = directories(&store);
    assert!(directories.contains(&format!("g{newest}")), "{directories:?}");
    assert!(!directories.iter().any(|path| path.starts_with(&below)), "{directories:?}");
    let batches = ROUNDS * u64::from(COLLECTORS);
    let visible = store.files().into_keys().filter(|path| path.starts_with("/logs/day/")).count();
    assert_eq!(visible as u64, batches);
    let fresh = compacting(seen_by(&store, 9, spread), 9).await;
    assert!((0..batches).all(|n| fresh.view().is_settled(key(n))));
}
