//! Runs operations on a channel and on a model of it at the same time.

mod model;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_channel::durable;
use aqueduct_channel::testkit::{SimDisk, world};
use bytes::Bytes;
use pipeline::testkit::build;
use pipeline::{
    Batch, BatchSize, BuildContext, Channel, ChannelError, Epoch, Identity, IntervalSet, Origin,
    Sequence, SourcePosition, TakeTransaction,
};
use serde_json::json;
use tokio::time::timeout;

use crate::common::{KEYS, key_line, put_keys};
use model::{Model, PutBatch};

/// An operation on a channel.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    /// One transaction; for each batch its events and, perhaps, a foreign identity.
    Put {
        batches: Vec<(u32, Option<u64>)>,
        bytes: usize,
    },
    Take(usize),
    Commit(usize, usize),
    Rollback(usize, usize),
    DropTake(usize),
    /// Takes and commits all that is ready.
    Drain(usize),
    /// Time passes: commits are written.
    Wait,
    Reopen,
    Crash,
    /// The power fails in the middle of the n-th change from now.
    PowerFailsAt(u64),
    /// So many writes fail, and nothing else.
    WritesFail(u32),
}

pub(crate) const CONSUMERS: [&str; 2] = ["a", "b"];
const PATIENCE: Duration = Duration::from_millis(50);
const FOREIGN: Origin = Origin([9; 16]);

struct Driver {
    disk: SimDisk,
    tail: bool,
    sealed: bool,
    lives: u64,
    keys: u32,
    channel: Option<Box<dyn Channel>>,
    takes: [Option<Box<dyn TakeTransaction>>; 2],
    model: Model,
}

pub(crate) fn run(seed: u64, tail: bool, sealed: bool, operations: &[Operation]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime of one thread");
    runtime.block_on(async {
        let disk = SimDisk::new(seed);
        let takes = [None, None];
        let model = Model::default();
        let (lives, keys, channel) = (seed, 0, None);
        let mut driver = Driver { disk, tail, sealed, lives, keys, channel, takes, model };
        driver.open().await;
        for operation in operations {
            driver.step(operation).await;
        }
        driver.crash().await;
        for consumer in 0..CONSUMERS.len() {
            driver.drain(consumer).await;
        }
        driver.model.all_gone();
        assert_eq!(driver.channel().status().events, 0, "all is committed");
        driver.reopen().await;
        assert_eq!(driver.channel().status().events, 0, "all stays committed after a clean end");
    });
}

fn foreign(sequence: u64) -> Identity {
    Identity { origin: FOREIGN, epoch: Epoch(1), sequence: Sequence(sequence) }
}

impl Driver {
    fn channel(&self) -> &dyn Channel {
        self.channel.as_deref().expect("the channel is open")
    }

    async fn open(&mut self) {
        self.lives += 1;
        let cx =
            BuildContext::alone("main", Path::new("/data/main"), world(&self.disk, self.lives));
        let tail = if self.tail { "64KiB" } else { "0B" };
        let mut settings = json!({
            "capacity": "1MiB", "segment_bytes": "64KiB", "index": "none", "tail_memory": tail
        });
        if self.sealed {
            // A few lives have a new key each.
            self.keys = (self.keys + 1).min(4);
            let keys: String = (1..=self.keys).map(|id| key_line(id, id as u8)).collect();
            put_keys(&self.disk, &keys);
            settings["encryption"] = json!({ "key_file": KEYS });
        }
        let channel = build::<durable::Config>(&settings, &cx).expect("the settings are right");
        channel.open().await.expect("the channel opens on whatever a crash left");
        let names = CONSUMERS.map(Arc::from);
        channel.register(&names).await.expect("the disk works");
        let position = channel.positions("in").first().map(|(_, value)| number(value));
        self.model.reopened(position);
        self.channel = Some(channel);
        self.check();
    }

    /// Compares everything that can be compared at any time.
    fn check(&self) {
        let stored = self.channel().stored(FOREIGN, Epoch(1));
        assert_eq!(stored, self.model.foreign_stored(), "identities stored");
        let settled = self.channel().settled(FOREIGN, Epoch(1));
        assert_eq!(settled.difference(&stored), IntervalSet::EMPTY, "settled is stored");
        let (surely, perhaps) = self.model.foreign_settled();
        assert_eq!(surely.difference(&settled), IntervalSet::EMPTY, "settled what was committed");
        assert_eq!(settled.difference(&perhaps), IntervalSet::EMPTY, "settled only what was");
        let (least, most) = self.model.events();
        let events = self.channel().status().events;
        assert!((least..=most).contains(&events), "{events} events, not {least} to {most}");
    }

    async fn step(&mut self, operation: &Operation) {
        match operation {
            Operation::Put { batches, bytes } => self.put(batches, *bytes).await,
            Operation::Take(consumer) => {
                self.take(*consumer).await;
            }
            Operation::Commit(consumer, n) => {
                if let Some(ticket) = self.model.held(*consumer, *n) {
                    self.taker(*consumer).commit(&IntervalSet::from(ticket..ticket + 1));
                    self.model.commit(*consumer, ticket);
                }
            }
            Operation::Rollback(consumer, n) => {
                if let Some(ticket) = self.model.held(*consumer, *n) {
                    self.taker(*consumer).rollback(&IntervalSet::from(ticket..ticket + 1));
                    self.model.rollback(*consumer, ticket);
                }
            }
            Operation::DropTake(consumer) => {
                self.takes[*consumer] = None;
                self.model.drop_take(*consumer);
            }
            Operation::Drain(consumer) => self.drain(*consumer).await,
            Operation::Wait => tokio::time::sleep(PATIENCE).await,
            Operation::Reopen => self.reopen().await,
            Operation::Crash => self.crash().await,
            Operation::PowerFailsAt(n) => {
                self.disk.fail_power_at(*n);
                for bytes in [10, 9_000, 70_000, 20] {
                    self.put(&[(1, None)], bytes).await;
                }
                self.crash().await;
            }
            Operation::WritesFail(n) => {
                self.disk.fail_writes(*n);
                let (events, bytes) = (2, 100);
                let answer = self.put_raw(&[(events, None)], bytes).await;
                // Only commits may have been written before, and met the failure instead.
                self.model.put_answered(answer == Some(true));
                self.disk.fail_writes(0);
            }
        }
        self.check();
    }

    fn taker(&mut self, consumer: usize) -> &mut dyn TakeTransaction {
        let channel = self.channel.as_deref().expect("the channel is open");
        let take = &mut self.takes[consumer];
        take.get_or_insert_with(|| channel.begin_take(CONSUMERS[consumer])).as_mut()
    }

    async fn put(&mut self, batches: &[(u32, Option<u64>)], bytes: usize) {
        match self.put_raw(batches, bytes).await {
            Some(true) => self.model.put_answered(true),
            Some(false) => self.model.put_open(),
            None => {}
        }
    }

    /// Puts a transaction; `None` if there was no room for it.
    async fn put_raw(&mut self, batches: &[(u32, Option<u64>)], bytes: usize) -> Option<bool> {
        let size = BatchSize { events: 9, bytes: bytes as u64 * 3 };
        let begun = timeout(PATIENCE, self.channel().begin_put(size)).await.ok()?;
        let mut put = begun.expect("the channel is open");
        let number = self.model.next_put();
        let mut described = Vec::new();
        for (at, (events, identity)) in batches.iter().enumerate() {
            let name = format!("{number}.{at}");
            let body = format!("{name} {}", "x".repeat(bytes / 3));
            let mut batch = Batch::of((0..*events).map(|_| &body));
            batch.envelope.identity = identity.map(foreign);
            batch.envelope.positions.push(SourcePosition {
                source: "in".into(),
                key: Bytes::from_static(b"file"),
                value: Some(Bytes::from(number.to_string())),
                after: None,
            });
            put.put(batch);
            described.push(PutBatch { name, events: *events, foreign: *identity });
        }
        self.model.putting(described);
        // A put that meets the end of the disk is never answered.
        Some(matches!(timeout(PATIENCE * 100, put.commit()).await, Ok(Ok(()))))
    }

    /// Takes one batch; the model checks whether it may be this one.
    async fn take(&mut self, consumer: usize) -> Option<u64> {
        let taken = match timeout(PATIENCE, self.taker(consumer).take()).await {
            Err(_) => {
                self.model.nothing_ready(consumer);
                return None;
            }
            Ok(Err(error @ ChannelError::Closed { .. })) => panic!("{error}"),
            Ok(taken) => taken.expect("the disk works"),
        };
        let body = taken.batch.iter().next().expect("a taken batch has events").body();
        let name = String::from_utf8_lossy(body).split(' ').next().unwrap_or("").to_owned();
        let events = taken.batch.len() as u32;
        self.model.took(consumer, taken.ticket, &name, events, taken.batch.envelope.identity);
        Some(taken.ticket)
    }

    async fn drain(&mut self, consumer: usize) {
        self.takes[consumer] = None;
        self.model.drop_take(consumer);
        while let Some(ticket) = self.take(consumer).await {
            self.taker(consumer).commit(&IntervalSet::from(ticket..ticket + 1));
            self.model.commit(consumer, ticket);
        }
    }

    async fn reopen(&mut self) {
        self.takes = [None, None];
        self.channel().close().await.expect("the disk works");
        self.channel = None;
        self.model.closed();
        self.open().await;
    }

    async fn crash(&mut self) {
        self.disk.crash();
        self.takes = [None, None];
        self.channel = None;
        self.model.crashed();
        self.open().await;
    }
}

fn number(value: &Bytes) -> u64 {
    String::from_utf8_lossy(value).parse().expect("positions are numbers")
}
