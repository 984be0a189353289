//! Many concurrent producers and several takers of two consumers lose nothing and repeat nothing.
//!
//! Method: a runtime of several threads, a real directory, and a tail so small that takes read the
//! disk. Each taker commits, returns or drops its batches, depending on their numbers; each
//! consumer must finally have committed every batch exactly once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aqueduct_channel::{durable, memory};
use pipeline::testkit::build;
use pipeline::{Batch, BuildContext, Channel, IntervalSet};
use serde_json::json;
use tokio::time::timeout;

const PRODUCERS: u32 = 6;
const PUTS: u32 = 80;
const PATIENCE: Duration = Duration::from_secs(2);

type Committed = Arc<Mutex<BTreeMap<String, u32>>>;

async fn produce(channel: Arc<dyn Channel>, producer: u32) {
    for n in 0..PUTS {
        let body = format!("{producer}.{n} {}", "t".repeat(((n * 7919) % 60_000) as usize));
        let batch = Batch::of([body]);
        let mut put = channel.begin_put(batch.size()).await.unwrap();
        put.put(batch);
        put.commit().await.unwrap();
    }
}

async fn consume(channel: Arc<dyn Channel>, consumer: &'static str, taker: u64, seen: Committed) {
    let mut random = taker;
    let mut take = channel.begin_take(consumer);
    while let Ok(taken) = timeout(PATIENCE, take.take()).await {
        let taken = taken.unwrap();
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let only = IntervalSet::from(taken.ticket..taken.ticket + 1);
        match (random >> 33) % 8 {
            0 => take.rollback(&only),
            1 => take = channel.begin_take(consumer),
            2 => tokio::task::yield_now().await,
            _ => {
                let body = taken.batch.iter().next().unwrap().body();
                let name = String::from_utf8_lossy(body).split(' ').next().unwrap().to_owned();
                *seen.lock().unwrap().entry(name).or_default() += 1;
                take.commit(&only);
            }
        }
    }
}

async fn all_at_once(channel: Arc<dyn Channel>) {
    channel.open().await.unwrap();
    channel.register(&[Arc::from("a"), Arc::from("b")]).await.unwrap();
    let mut tasks = Vec::new();
    let seen = ["a", "b"].map(|name| (name, Committed::default()));
    for (name, seen) in &seen {
        for taker in 0..3 {
            tasks.push(tokio::spawn(consume(channel.clone(), name, taker, seen.clone())));
        }
    }
    // A lone producer writes in place; then the others start during a write.
    let produce = |producer| tokio::spawn(produce(channel.clone(), producer));
    produce(0).await.unwrap();
    tasks.extend((1..PRODUCERS).map(produce));
    for task in tasks {
        task.await.unwrap();
    }
    // Batches that the ended takers still held are offered again: one more round gets them.
    for (name, seen) in &seen {
        consume_all(&*channel, name, seen).await;
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len() as u32, PRODUCERS * PUTS, "consumer {name}");
        assert!(seen.values().all(|count| *count == 1), "consumer {name}");
    }
    assert_eq!(channel.status().events, 0);
    channel.close().await.unwrap();
}

/// Takes until everything was seen, and then a little longer.
async fn consume_all(channel: &dyn Channel, consumer: &str, seen: &Committed) {
    let mut take = channel.begin_take(consumer);
    loop {
        let is_all = seen.lock().unwrap().len() as u32 == PRODUCERS * PUTS;
        let patience = if is_all { PATIENCE / 4 } else { PATIENCE * 10 };
        let Ok(taken) = timeout(patience, take.take()).await else { return };
        let taken = taken.unwrap();
        let body = taken.batch.iter().next().unwrap().body();
        let name = String::from_utf8_lossy(body).split(' ').next().unwrap().to_owned();
        *seen.lock().unwrap().entry(name).or_default() += 1;
        take.commit(&IntervalSet::from(taken.ticket..taken.ticket + 1));
    }
}

fn cx(dir: &tempfile::TempDir) -> BuildContext {
    BuildContext::alone("main", &dir.path().join("main"), env::real())
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_durable_channel_under_threads_loses_and_repeats_nothing() {
    let dir = directory();
    let settings =
        json!({ "capacity": "16MiB", "segment_bytes": "512KiB", "tail_memory": "100KiB" });
    all_at_once(build::<durable::Config>(&settings, &cx(&dir)).unwrap().into()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_memory_channel_under_threads_loses_and_repeats_nothing() {
    let dir = directory();
    let settings = json!({ "capacity": "1MiB" });
    all_at_once(build::<memory::Config>(&settings, &cx(&dir)).unwrap().into()).await;
}
