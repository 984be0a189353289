//! Tests of the ledger announcement to upstream agents.

use peers::LedgerBoard;
use pipeline::Sink;
use serde_json::json;
use storage::FileSystem;
use storage::memory::Memory;

use super::faults::settings;
use super::harness::{Collector, at_rest, drive, numbered};

/// Returns identity and entry count of the announced ledger, if any.
fn named(board: &LedgerBoard) -> Option<(String, u64)> {
    let all = board.all();
    assert!(all.len() <= 1, "{all:?}");
    all.first().map(|one| (one.identity.to_string(), one.entries))
}

#[tokio::test(start_paused = true)]
async fn names_the_ledger_only_while_it_is_accepted() {
    let store = Memory::new();
    let one = Collector::new(settings());
    let (mut sink, board) = one.sink_and_ledgers(&store);
    assert_eq!(named(&board), None);
    sink.open().await.unwrap();
    let (identity, entries) = named(&board).unwrap();
    assert!(drive(&mut sink, &numbered(2)).await);
    at_rest(&sink).await;
    let grown = named(&board).unwrap();
    assert_eq!(grown.0, identity);
    assert!(grown.1 > entries, "{grown:?}");
    sink.close().await;
    assert_eq!(named(&board), None, "a sink that is closed stores by none");

    // With an empty data directory, the sink accepts the existing ledger.
    let (mut fresh, of_fresh) = Collector::new(settings()).sink_and_ledgers(&store);
    fresh.open().await.unwrap();
    let known = named(&of_fresh).unwrap();
    assert_eq!(known.0, identity);
    assert!(known.1 >= grown.1, "{known:?}");
    fresh.close().await;

    store.delete("/logs/_aqueduct").await.unwrap();
    assert!(sink.open().await.is_err());
    assert_eq!(named(&board), None, "none while an operator has to decide");
    sink.close().await;
    let operator = one.operator(std::sync::Arc::new(store.clone()));
    operator.rebuild().await.unwrap();
    sink.open().await.unwrap();
    let rebuilt = board.all().remove(0);
    assert_ne!(rebuilt.identity.to_string(), identity);
    let follows: Vec<_> = rebuilt.follows.iter().map(ToString::to_string).collect();
    assert_eq!(follows, [identity], "an agent that remembers the one before goes on with it");
    sink.close().await;
}

/// Without exactly-once, there is no ledger to announce.
#[tokio::test(start_paused = true)]
async fn a_sink_that_promises_less_names_none() {
    let mut settings = settings();
    settings["guarantee"] = json!("at_least_once");
    let (mut sink, board) = Collector::new(settings).sink_and_ledgers(&Memory::new());
    sink.open().await.unwrap();
    assert_eq!(named(&board), None);
    sink.close().await;
}
