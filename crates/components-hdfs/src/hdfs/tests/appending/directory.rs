//! Each committed file is in a table without a catalog server once, whatever fails.
//!
//! The versions of the table are read as Iceberg's readers do it: from the hint, and then the
//! versions after it.

use std::sync::Arc;
use std::time::Duration;

use iceberg::metadata::Table;
use pipeline::Sink;
use storage::FileSystem;
use storage::faults::{Fault, Faulty};
use storage::memory::Memory;
use storage::objects::Objects;
use tokio::time::sleep;

use super::{MINUTE, compare_table, of, settings, start_with};
use crate::hdfs::HdfsSink;
use crate::hdfs::append::Reach;
use crate::hdfs::tests::harness::{Collector, at_rest, drive};

const METADATA: &str = "/w/logs/web/metadata";

fn start(collector: &Collector, store: Arc<dyn FileSystem>) -> HdfsSink {
    let (url, path) = ("file:///w/logs/web".to_owned(), "/w/logs/web".to_owned());
    start_with(collector, store, Reach::Directory { url, path })
}

/// Returns the table, and its number of versions.
fn table(store: &Memory) -> (Table, u64) {
    let files = store.files();
    let hint = String::from_utf8(files[&format!("{METADATA}/version-hint.text")].to_vec()).unwrap();
    let version = |number: u64| files.get(&format!("{METADATA}/v{number}.metadata.json"));
    let newest = (hint.parse().unwrap()..).take_while(|it| version(*it).is_some()).last();
    let newest = newest.expect("the hint names a version");
    assert!((1..=newest).all(|it| version(it).is_some()), "no version is missing");
    let all = files.keys().filter(|path| path.ends_with(".metadata.json")).count();
    assert_eq!(newest, all as u64, "no version is skipped");
    (Table::from_metadata(version(newest).unwrap()).unwrap(), newest)
}

/// Compares the table with the visible files; returns their number.
#[track_caller]
fn compare(store: &Memory, case: &str) -> usize {
    compare_table(table(store).0, store, case)
}

#[tokio::test(start_paused = true)]
async fn every_file_is_in_the_table_once_after_a_fault_at_any_call_of_the_store() {
    for fault in [Fault::DiesAfter, Fault::AnswerLost, Fault::Refused] {
        for at in 0.. {
            let (store, case) = (Memory::new(), format!("{fault:?} at call {at}"));
            let faulty = Arc::new(Faulty::new(Arc::new(store.clone()), fault.clone(), at));
            let [one, two] = [(); 2].map(|()| Collector::new(settings()));
            let mut sink = start(&one, faulty.clone());
            if drive(&mut sink, &[of(0, "shop"), of(1, "pay")]).await {
                sleep(MINUTE).await;
            }
            let was_hit = faulty.calls() > at;
            drop(sink);
            // Another collector continues.
            let mut sink = start(&two, Arc::new(store.clone()));
            assert!(
                drive(&mut sink, &[of(0, "shop"), of(1, "pay"), of(2, "shop")]).await,
                "{case}"
            );
            sleep(5 * MINUTE).await;
            at_rest(&sink).await;
            compare(&store, &case);
            if !was_hit {
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn collectors_append_to_one_table_at_the_same_time() {
    for milliseconds in 0..24 {
        let store = Memory::new();
        let latencies = [7, milliseconds].map(Duration::from_millis);
        let stores = latencies.map(|it| store.with_latency(it));
        let collectors = [Collector::new(settings()), Collector::new(settings())];
        let mut sinks = [0, 1].map(|at| start(&collectors[at], Arc::new(stores[at].clone())));
        let [one, two] = &mut sinks;
        let first = [of(0, "shop"), of(1, "pay")];
        let second = [of(2, "shop"), of(3, "pay")];
        let driven = tokio::join!(drive(one, &first), drive(two, &second));
        assert_eq!(driven, (true, true));
        sleep(5 * MINUTE).await;
        compare(&store, &format!("a latency of {milliseconds} ms"));
        for sink in &sinks {
            at_rest(sink).await;
            assert_eq!(sink.status().unwrap().read().trouble, None);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn object_stores_have_such_tables_too() {
    let store = Memory::new();
    let objects = Arc::new(Objects::over(Arc::new(store.clone())));
    let collector = Collector::new(settings());
    let mut sink = start(&collector, objects);
    for round in 0..3 {
        assert!(drive(&mut sink, &[of(round, "shop")]).await);
        sleep(MINUTE).await;
    }
    sleep(5 * MINUTE).await;
    assert_eq!(compare(&store, "objects"), 3);
}
