//! Each committed file is in a table of a metastore once, whatever fails.

use std::sync::Arc;

use iceberg::metadata::Table;
use pipeline::Sink;
use storage::FileSystem;
use storage::faults::{Fault, Faulty};
use storage::memory::Memory;
use tokio::time::sleep;

use super::{
    MINUTE, append_at_the_same_time, compare_table, of, settings, start_with, write_in_turn,
};
use crate::hdfs::HdfsSink;
use crate::hdfs::append::Reach;
use crate::hdfs::tests::harness::{Collector, at_rest, drive};
use crate::hive::model::{Fate, Model};

const FATES: [Fate; 4] = [Fate::Fine, Fate::Silent, Fate::Lost, Fate::Late];

fn start(collector: &Collector, store: Arc<dyn FileSystem>, model: &Model) -> HdfsSink {
    start_with(collector, store, Reach::Metastore(model.entry()))
}

/// Compares the table with the visible files; returns their number.
#[track_caller]
fn compare(model: &Model, store: &Memory, case: &str) -> usize {
    let location = model.parameter("metadata_location").expect("the table exists");
    let content = store.file(location.strip_prefix("file://").unwrap()).expect("its version");
    compare_table(Table::from_metadata(&content).unwrap(), store, case)
}

#[tokio::test(start_paused = true)]
async fn every_file_is_in_the_table_once_whatever_answers_are_lost() {
    for case in 0..128_usize {
        let (store, model) = (Memory::new(), Model::default());
        let fates = (0..3).map(|digit| FATES[case % 64 / 4_usize.pow(digit) % 4]);
        model.with(|state| {
            state.is_old = case >= 64;
            // Before each of them, the first commit of the table.
            state.script.extend([Fate::Fine].into_iter().chain(fates));
        });
        let sinks = write_in_turn(|it| start(it, Arc::new(store.clone()), &model)).await;
        assert_eq!(compare(&model, &store, &format!("case {case}")), 4);
        for sink in &sinks {
            assert_eq!(sink.status().unwrap().read().trouble, None, "case {case}");
        }
        assert_eq!(model.with(|state| state.locks.len()), 0, "case {case}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_file_is_in_the_table_once_after_a_fault_at_any_call_of_the_store() {
    for fault in [Fault::DiesAfter, Fault::AnswerLost, Fault::Refused] {
        for at in 0.. {
            let (store, case) = (Memory::new(), format!("{fault:?} at call {at}"));
            let model = Model::default();
            let faulty = Arc::new(Faulty::new(Arc::new(store.clone()), fault.clone(), at));
            let [one, two] = [(); 2].map(|()| Collector::new(settings()));
            let mut sink = start(&one, faulty.clone(), &model);
            if drive(&mut sink, &[of(0, "shop"), of(1, "pay")]).await {
                sleep(MINUTE).await;
            }
            let was_hit = faulty.calls() > at;
            drop(sink);
            // Another collector continues.
            let mut sink = start(&two, Arc::new(store.clone()), &model);
            let batches = [of(0, "shop"), of(1, "pay"), of(2, "shop")];
            assert!(drive(&mut sink, &batches).await, "{case}");
            sleep(5 * MINUTE).await;
            at_rest(&sink).await;
            compare(&model, &store, &case);
            if !was_hit {
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn collectors_append_to_one_table_at_the_same_time() {
    append_at_the_same_time(start, compare).await;
}

#[tokio::test(start_paused = true)]
async fn lock_of_a_dead_writer_is_shown_and_delays_only_the_table() {
    let (store, model) = (Memory::new(), Model::default());
    let collector = Collector::new(settings());
    let mut sink = start(&collector, Arc::new(store.clone()), &model);
    assert!(drive(&mut sink, &[of(0, "shop")]).await);
    sleep(MINUTE).await;
    model.with(|state| state.lock_foreign());
    assert!(drive(&mut sink, &[of(1, "shop")]).await, "events are delivered");
    sleep(3 * MINUTE).await;
    let trouble = sink.status().unwrap().read().trouble.expect("it is shown");
    assert!(trouble.contains("locked by lock 1 of etl@worker-3 (spark)"), "{trouble}");
    model.with(|state| state.unlock_foreign());
    sleep(5 * MINUTE).await;
    assert_eq!(compare(&model, &store, "unlocked"), 2);
    assert_eq!(sink.status().unwrap().read().trouble, None);
}
