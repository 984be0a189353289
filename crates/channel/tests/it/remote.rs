//! Whatever happens to writes, agents and owners: acknowledged batches of a channel over a log are
//! stored once, under one identity, and rejected batches are not stored.
//!
//! Method: random operations on the real channel over a log in memory. Writes are refused, arrive
//! late or lose their answers; agents die between two calls, or continue while another one opens
//! the channel. The model is a list of puts with their answers. Each run ends with the death of the
//! agent and a drain by the next one. The bugs in `support::mutants` that are named below are
//! planted in separate processes, and this test must fail with each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_channel::remote::{Limits, Remote};
use aqueduct_channel::testkit::{Accident, SharedLog, SimDisk, world};
use bytes::Bytes;
use pipeline::{
    Batch, BatchSize, BuildContext, Channel, ChannelError, Epoch, Identity, IntervalSet, Origin,
    Sequence, SourcePosition, TakeTransaction,
};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_millis(50);
const FOREIGN: Origin = Origin([9; 16]);

/// An operation.
#[derive(Debug, Clone)]
enum Operation {
    /// A batch of this many bytes, perhaps with a foreign identity.
    Put(usize, Option<u64>),
    Take,
    /// Commits or returns one of the held batches.
    Commit(usize),
    Rollback(usize),
    Drain,
    /// Time passes: commits are written.
    Wait,
    Close,
    Die,
    /// Another agent opens the channel; the first one continues and puts.
    Steal,
    Write(Accident),
    Fail(u32),
}

fn operation() -> impl Strategy<Value = Operation> {
    let accident = prop_oneof![
        Just(Accident::None),
        Just(Accident::Refused),
        Just(Accident::AnswerLost),
        prop::bool::ANY.prop_map(|lands| Accident::NoAnswer { lands }),
    ];
    prop_oneof![
        9 => (1usize..60_000, prop::option::of(0u64..12))
            .prop_map(|(bytes, foreign)| Operation::Put(bytes, foreign)),
        5 => Just(Operation::Take),
        4 => any::<usize>().prop_map(Operation::Commit),
        2 => any::<usize>().prop_map(Operation::Rollback),
        2 => Just(Operation::Drain),
        1 => Just(Operation::Wait),
        1 => Just(Operation::Close),
        1 => Just(Operation::Die),
        1 => Just(Operation::Steal),
        5 => accident.prop_map(Operation::Write),
        1 => (1u32..4).prop_map(Operation::Fail),
    ]
}

/// The answer to a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Yes,
    No,
    /// No answer: the batch may be stored.
    Nothing,
}

#[derive(Default)]
struct Model {
    /// Of each body, in the order of the puts.
    said: BTreeMap<u64, (Said, Option<u64>)>,
    /// The identity under which a body was seen.
    seen: BTreeMap<u64, Identity>,
    /// Bodies that are committed, and whether that outlives a death.
    committed: BTreeSet<u64>,
}

impl Model {
    fn delivered(&mut self, body: u64, identity: Identity) {
        let (said, foreign) = self.said[&body];
        assert_ne!(said, Said::No, "body {body} comes although its put was refused");
        assert!(!self.committed.contains(&body), "body {body} comes again without a death");
        if let Some(foreign) = foreign {
            assert_eq!(identity, self::foreign(foreign), "body {body}");
        }
        let first = *self.seen.entry(body).or_insert(identity);
        assert_eq!(first, identity, "body {body} comes under another identity");
        let same = self.seen.iter().find(|(other, key)| **other != body && **key == identity);
        assert_eq!(same, None, "body {body} has the identity of another one");
    }

    fn all_came(&self) {
        let keys: BTreeSet<Identity> = self.seen.values().copied().collect();
        for (body, (said, foreign)) in &self.said {
            let came = match foreign {
                Some(foreign) => keys.contains(&self::foreign(*foreign)),
                None => self.seen.contains_key(body),
            };
            assert!(came || *said != Said::Yes, "body {body} was acknowledged and is lost");
        }
    }
}

fn foreign(sequence: u64) -> Identity {
    Identity { origin: FOREIGN, epoch: Epoch(1), sequence: Sequence(sequence) }
}

struct Driver {
    log: SharedLog,
    lives: u64,
    bodies: u64,
    channel: Box<dyn Channel>,
    take: Box<dyn TakeTransaction>,
    held: Vec<(u64, u64)>,
    model: Model,
}

async fn open(log: &SharedLog, seed: u64) -> Box<dyn Channel> {
    loop {
        let env = world(&SimDisk::new(seed), seed);
        let cx = BuildContext::alone("main", Path::new("/data/main"), env);
        let limits =
            Limits { capacity_bytes: 1 << 20, capacity_events: u64::MAX, tail_bytes: 100 << 10 };
        let way = log.clone();
        let channel = Remote::new(&cx, limits, Arc::new(move || way.way()));
        // If it is refused, or fails, the next start does it.
        if channel.open().await.is_ok() && channel.register(&[Arc::from("a")]).await.is_ok() {
            return Box::new(channel);
        }
    }
}

impl Driver {
    async fn new(seed: u64) -> Self {
        let log = SharedLog::default();
        let channel = open(&log, seed).await;
        let take = channel.begin_take("a");
        let (held, model) = (Vec::new(), Model::default());
        Self { log, lives: seed, bodies: 0, channel, take, held, model }
    }

    /// Opens the channel with the next agent.
    async fn reopen(&mut self) -> Box<dyn Channel> {
        self.lives += 1;
        self.held.clear();
        let next = open(&self.log, self.lives).await;
        self.take = next.begin_take("a");
        let stands = next.positions("in").first().map_or(0, |(_, value)| number(value));
        let sure = |(said, _): &(Said, _)| *said == Said::Yes;
        let least = self.model.said.iter().filter(|(_, put)| sure(put)).map(|(body, _)| *body);
        assert!(stands >= least.max().unwrap_or(0), "a position is lost");
        let is_known = stands == 0 || self.model.said[&stands].0 != Said::No;
        assert!(is_known, "the position of a refused put is there");
        std::mem::replace(&mut self.channel, next)
    }

    async fn put(&mut self, bytes: usize, foreign: Option<u64>) {
        self.bodies += 1;
        let body = self.bodies;
        let batch = batch(body, bytes, foreign);
        let Ok(begun) = timeout(PATIENCE, self.channel.begin_put(batch.size())).await else {
            return; // it is full
        };
        let Ok(mut put) = begun else { return };
        put.put(batch);
        let said = match put.commit().await {
            Ok(()) => Said::Yes,
            Err(ChannelError::Closed { .. }) => Said::Nothing,
            Err(_) => Said::No,
        };
        self.model.said.insert(body, (said, foreign));
    }

    async fn take(&mut self) -> bool {
        let Ok(taken) = timeout(PATIENCE, self.take.take()).await else { return false };
        let taken = taken.unwrap();
        let text = taken.batch.iter().next().unwrap().body().to_vec();
        let body = number(&text[..20]);
        self.model.delivered(body, taken.batch.envelope.identity.unwrap());
        self.held.push((taken.ticket, body));
        true
    }

    fn commit(&mut self, nth: usize) {
        if self.held.is_empty() {
            return;
        }
        let (ticket, body) = self.held.remove(nth % self.held.len());
        self.take.commit(&IntervalSet::from(ticket..ticket + 1));
        self.model.committed.insert(body);
    }

    async fn drain(&mut self) {
        while self.take().await {}
        while !self.held.is_empty() {
            self.commit(0);
        }
    }

    async fn step(&mut self, operation: &Operation) {
        match *operation {
            Operation::Put(bytes, foreign) => self.put(bytes, foreign).await,
            Operation::Take => drop(self.take().await),
            Operation::Commit(nth) => self.commit(nth),
            Operation::Rollback(nth) if !self.held.is_empty() => {
                let (ticket, _) = self.held.remove(nth % self.held.len());
                self.take.rollback(&IntervalSet::from(ticket..ticket + 1));
            }
            Operation::Rollback(_) => {}
            Operation::Drain => self.drain().await,
            Operation::Wait => tokio::time::sleep(Duration::from_secs(30)).await,
            Operation::Close => {
                if self.channel.close().await.is_err() {
                    self.model.committed.clear();
                }
                drop(self.reopen().await);
            }
            Operation::Die => {
                self.model.committed.clear();
                drop(self.reopen().await);
            }
            Operation::Steal => {
                self.model.committed.clear();
                let late = self.reopen().await;
                for body in [1, 2] {
                    let batch = batch(u64::MAX - body, 10, None);
                    let begun = timeout(PATIENCE, late.begin_put(batch.size())).await;
                    let Ok(Ok(mut put)) = begun else { continue };
                    put.put(batch);
                    let said = put.commit().await;
                    let is_closed = matches!(said, Err(ChannelError::Closed { .. }));
                    // The refusal of a write does not depend on its owner.
                    assert!(said.is_err(), "an owner that was shut out has stored something");
                    assert!(is_closed || body == 1, "an owner that was shut out goes on: {said:?}");
                }
            }
            Operation::Write(accident) => self.log.next_write(accident),
            Operation::Fail(calls) => self.log.fail(calls),
        }
    }
}

fn number(text: &[u8]) -> u64 {
    std::str::from_utf8(text).unwrap().trim().parse().unwrap()
}

fn batch(body: u64, bytes: usize, foreign: Option<u64>) -> Batch {
    let mut batch = Batch::of([format!("{body:<20}{}", "x".repeat(bytes))]);
    batch.envelope.identity = foreign.map(self::foreign);
    let value = Some(Bytes::from(body.to_string()));
    let key = Bytes::from_static(b"k");
    batch.envelope.positions.push(SourcePosition { source: "in".into(), key, value, after: None });
    batch
}

fn run(seed: u64, operations: &[Operation]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut driver = Driver::new(seed).await;
        for operation in operations {
            driver.step(operation).await;
        }
        driver.log.recover();
        driver.model.committed.clear();
        drop(driver.reopen().await);
        driver.drain().await;
        driver.model.all_came();
        assert_eq!(driver.channel.status().events, 0, "all is committed");
        driver.channel.close().await.unwrap();
        assert_eq!(driver.log.frames(), 0, "what every consumer has is released");
        drop(driver.reopen().await);
        assert!(!driver.take().await, "all stays committed after a clean end");
    });
}

#[cfg(feature = "mutants")]
const PLANTED: &str = "AQUEDUCT_PLANTED";

#[test]
fn acknowledged_puts_exist_once_and_refused_ones_do_not() {
    #[cfg(feature = "mutants")]
    if let Ok(name) = std::env::var(PLANTED) {
        support::mutants::plant(&name).unwrap();
    }
    let operations = prop::collection::vec(operation(), 1..80);
    let mut runner = TestRunner::default();
    let result = runner.run(&(any::<u64>(), operations), |(seed, operations)| {
        run(seed % (1 << 32), &operations);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}

/// A log that suddenly is empty may accept writes. The channel lacks its batches, and sources are
/// at their old positions, so the channel must not continue. An unanswered write stays in the new
/// log, which has to be emptied once more then.
#[tokio::test(start_paused = true)]
async fn stops_on_a_recreated_log_and_the_next_start_is_empty() {
    for accident in [Accident::None, Accident::AnswerLost, Accident::NoAnswer { lands: false }] {
        let mut driver = Driver::new(7).await;
        driver.put(10, None).await;
        driver.log.make_anew();
        driver.log.next_write(Accident::Refused);
        driver.put(10, None).await;
        driver.log.next_write(accident);
        driver.put(10, None).await;
        let said: Vec<Said> = driver.model.said.values().map(|(said, _)| *said).collect();
        assert_eq!(said, [Said::Yes, Said::No, Said::Nothing], "{accident:?}");
        let size = BatchSize { events: 1, bytes: 100 };
        let ended = driver.channel.begin_put(size).await.map(drop);
        assert!(matches!(ended, Err(ChannelError::Closed { .. })), "{ended:?}");
        if accident != Accident::AnswerLost {
            let next = open(&driver.log, 8).await;
            assert!(next.positions("in").is_empty() && next.status().events == 0, "{accident:?}");
        }
    }
}

#[cfg(feature = "mutants")]
#[test]
fn each_planted_bug_is_found() {
    for bug in [
        "remote_unknown_is_nothing",
        "remote_stores_again",
        "remote_owner_not_looked_at",
        "remote_released_too_early",
        "remote_epoch_stays",
    ] {
        let test = "remote::acknowledged_puts_exist_once_and_refused_ones_do_not";
        let mut search = std::process::Command::new(std::env::current_exe().unwrap());
        search.args(["--exact", test]).env(PLANTED, bug).env("PROPTEST_MAX_SHRINK_ITERS", "0");
        let output = search.env("PROPTEST_CASES", "2000").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("running 1 test\n") && !output.status.success(), "{bug}: {said}");
    }
}
