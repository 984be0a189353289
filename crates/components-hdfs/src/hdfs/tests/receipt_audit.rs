//! Recomputed receipts show planted, removed and changed files.

use storage::memory::Memory;
use tokio::time::sleep;

use super::harness::{Collector, at_rest, drive};
use super::receipts::{A, B, HOUR, MINUTE, named, reached, sent, settings};

fn copy(store: &Memory) -> Memory {
    let copy = Memory::new();
    store.files().iter().for_each(|(path, content)| copy.put(path, content));
    copy
}

#[tokio::test(start_paused = true)]
async fn planted_and_changed_files_are_findings() {
    let store = Memory::new();
    let collector = Collector::with_clock(settings());
    let (mut sink, board) = collector.sink_and_progress(&store);
    sink.keeping.compact_after = 1_000;
    assert!(drive(&mut sink, &[sent(A, 0), sent(B, 0)]).await);
    assert_eq!(collector.audit(&store).await, (0, vec![]));
    sleep(62 * MINUTE).await;
    board.observe([A, B].into_iter().flat_map(|origin| reached(origin, 62)));
    sleep(2 * MINUTE).await;
    assert!(drive(&mut sink, &[sent(A, 1)]).await);
    sleep(2 * MINUTE).await;
    at_rest(&sink).await;
    assert_eq!(collector.audit(&store).await, (1, vec![]));

    let report = collector.report(&store, HOUR).await;
    let (receipt, late) = (report.receipt.unwrap(), report.late[0].clone());
    let covered = receipt.files[0].clone();
    let path = |name: &str| format!("/logs/{HOUR}/{name}");
    let found = async |store: &Memory| collector.audit(store).await.1.join("\n");
    let old = covered.replace("-store-", "x-store-");
    let (stem, _) = covered.split_once("-store-").unwrap();
    let new = format!("{stem}-store-99-0.log");
    for (planted, problem) in [
        ("foreign.csv", "is not a file of this sink"),
        (&*old, "its ledger entry is older"),
        (&*new, "its entry is not in the ledger"),
    ] {
        let store = copy(&store);
        store.put(&path(planted), b"x");
        let text = found(&store).await;
        assert!(text.contains(planted) && text.contains(problem), "{planted}: {text}");
    }
    let record = named(&store, "_late-").remove(0);
    for (removed, problem) in [
        (path(&covered), "is missing"),
        (path(&late), "is missing"),
        (record.clone(), "came after the receipt, and its record _late-"),
    ] {
        let store = copy(&store);
        assert!(store.remove(&removed));
        assert!(found(&store).await.contains(problem), "{removed}");
    }
    let change = |path: &str, from: &str, to: &str| {
        let store = copy(&store);
        let text = String::from_utf8(store.files()[path].to_vec()).unwrap();
        assert!(text.contains(from), "{text}");
        store.put(path, text.replacen(from, to, 1).as_bytes());
        store
    };
    let count = r#""events": 2"#;
    let changed = change(&path("_receipt.json"), count, r#""events": 3"#);
    let text = found(&changed).await;
    assert!(text.contains("was changed") && text.contains("counts 3 events"), "{text}");
    let changed = change(&record, r#""events": 1"#, r#""events": 4"#);
    assert!(found(&changed).await.contains("is recorded with 4 events, but the ledger 1"));
    let changed = change(&record, "format", "former");
    assert!(found(&changed).await.contains("cannot be read"));
}
