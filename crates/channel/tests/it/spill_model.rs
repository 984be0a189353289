//! A spill channel under power cuts: no batch is lost permanently, and between crashes none is
//! lost, repeated or out of order.
//!
//! Method: random puts, takes, commits and power cuts on a simulated disk. The source numbers its
//! batches and uses the number as its position. After a crash it resumes after the channel's
//! position, like a source that reads a file. It rereads the batches that were in memory: each must
//! come out once more, and all batches before the position must be stored or committed.

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::common::*;
use aqueduct_channel::spill;
use aqueduct_channel::testkit::{SimDisk, world};
use bytes::Bytes;
use pipeline::testkit::build;
use pipeline::{
    Batch, BuildContext, Channel, IntervalSet, SourcePosition, TakeTransaction, Ticket,
};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::json;

#[derive(Debug, Clone)]
enum Operation {
    Put(usize),
    Take,
    Commit(usize),
    Rollback(usize),
    Wait,
    Crash,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => (1usize..20_000).prop_map(Operation::Put),
        6 => Just(Operation::Take),
        4 => any::<usize>().prop_map(Operation::Commit),
        1 => any::<usize>().prop_map(Operation::Rollback),
        1 => Just(Operation::Wait),
        1 => Just(Operation::Crash),
    ]
}

struct Driver {
    disk: SimDisk,
    lives: u64,
    channel: Box<dyn Channel>,
    take: Box<dyn TakeTransaction>,
    /// The next number that the source reads.
    next: u64,
    /// Batches that this life of the channel has to hand out, oldest first.
    ready: VecDeque<u64>,
    held: Vec<(Ticket, u64)>,
    /// Batches that were ever committed: they may be delivered again after a crash.
    committed: BTreeSet<u64>,
}

async fn opened(disk: &SimDisk, life: u64) -> Box<dyn Channel> {
    let cx = BuildContext::alone("main", Path::new("/data/main"), world(disk, life));
    let settings = json!({
        "memory": "32KiB", "disk": { "capacity": "1MiB", "segment_bytes": "64KiB", "index": "none" }
    });
    let channel = build::<spill::Config>(&settings, &cx).expect("the settings are right");
    channel.open().await.expect("it opens on whatever a crash left");
    channel.register(&[Arc::from("sink")]).await.expect("the disk works");
    channel
}

impl Driver {
    async fn new(seed: u64) -> Self {
        let disk = SimDisk::new(seed);
        let channel = opened(&disk, seed).await;
        let take = channel.begin_take("sink");
        let (ready, held, committed) = Default::default();
        Self { disk, lives: seed, channel, take, next: 0, ready, held, committed }
    }

    async fn put(&mut self, bytes: usize) {
        let number = self.next;
        let mut batch = Batch::of([format!("{number} {}", "s".repeat(bytes))]);
        let (key, value) = (Bytes::from_static(b"file"), Some(Bytes::from(number.to_string())));
        batch.envelope.positions.push(SourcePosition {
            source: "in".into(),
            key,
            value,
            after: None,
        });
        let begun = tokio::time::timeout(PATIENCE, self.channel.begin_put(batch.size())).await;
        let Ok(put) = begun else { return };
        let mut put = put.expect("the channel is open");
        put.put(batch);
        put.commit().await.expect("the disk works");
        self.next += 1;
        self.ready.push_back(number);
    }

    async fn take(&mut self) -> bool {
        let Some(taken) = next(&mut *self.take).await else {
            assert!(self.ready.is_empty(), "{:?} were not given", self.ready);
            return false;
        };
        let text = body(&taken);
        let number = text.split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
        assert_eq!(self.ready.pop_front(), Some(number), "the oldest one comes first");
        self.held.push((taken.ticket, number));
        true
    }

    fn commit(&mut self, n: usize) {
        if self.held.is_empty() {
            return;
        }
        let (ticket, number) = self.held.remove(n % self.held.len());
        self.take.commit(&IntervalSet::from(ticket..ticket + 1));
        self.committed.insert(number);
    }

    fn rollback(&mut self, n: usize) {
        if self.held.is_empty() {
            return;
        }
        let (ticket, number) = self.held.remove(n % self.held.len());
        self.take.rollback(&IntervalSet::from(ticket..ticket + 1));
        let at = self.ready.partition_point(|ready| *ready < number);
        self.ready.insert(at, number);
    }

    async fn crash(&mut self) {
        self.disk.crash();
        self.lives += 1;
        self.channel = opened(&self.disk, self.lives).await;
        self.take = self.channel.begin_take("sink");
        self.held.clear();
        let positions = self.channel.positions("in");
        let number = |value: &Bytes| String::from_utf8_lossy(value).parse::<u64>().ok();
        let position = positions.first().and_then(|(_, value)| number(value));
        let behind = position.map_or(0, |position| position + 1);
        assert!(behind <= self.next, "the position is of the future");
        // The source resumes after its position. Everything before it must still be stored, unless
        // it was committed. Batches on disk come out too, in order, and then once more.
        let on_disk = self.drained().await;
        assert!(on_disk.windows(2).all(|pair| pair[0] < pair[1]), "out of order: {on_disk:?}");
        for number in 0..behind {
            let there = on_disk.contains(&number) || self.committed.contains(&number);
            assert!(there, "{number} is lost, and the position says {position:?}");
        }
        self.committed.extend(on_disk);
        self.ready.clear();
        self.next = behind;
    }

    /// Takes and commits all batches.
    async fn drained(&mut self) -> Vec<u64> {
        let mut numbers = Vec::new();
        while let Some(taken) = next(&mut *self.take).await {
            let text = body(&taken);
            numbers.push(text.split(' ').next().and_then(|n| n.parse().ok()).expect("a number"));
            self.take.commit(&IntervalSet::from(taken.ticket..taken.ticket + 1));
        }
        settle().await;
        numbers
    }
}

async fn run(seed: u64, operations: &[Operation]) {
    let mut driver = Driver::new(seed).await;
    for operation in operations {
        match operation {
            Operation::Put(bytes) => driver.put(*bytes).await,
            Operation::Take => drop(driver.take().await),
            Operation::Commit(n) => driver.commit(*n),
            Operation::Rollback(n) => driver.rollback(*n),
            Operation::Wait => settle().await,
            Operation::Crash => driver.crash().await,
        }
    }
    while driver.take().await {
        driver.commit(0);
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "a campaign says how large it was")]
fn a_crash_loses_only_memory_that_is_read_again() {
    let life = (any::<u64>(), prop::collection::vec(operation(), 1..80));
    let done = AtomicU64::new(0);
    let result = TestRunner::default().run(&life, |(seed, operations)| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime of one thread");
        runtime.block_on(run(seed, &operations));
        done.fetch_add(operations.len() as u64, Ordering::Relaxed);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    println!("{} operations, 0 violations", done.into_inner());
}
