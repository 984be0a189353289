//! Rules that only two concurrent threads could break, tested one step at a time.

#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pipeline::units::ByteSize;
use pipeline::{Batch, BatchSize, BuildContext, IntervalSet, PutTransaction, TakeTransaction};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::durable::commit::put::Put;
use crate::durable::commit::request::Request;
use crate::durable::core::Core;
use crate::durable::recovery::opening::Opening;
use crate::durable::{Config, IndexKind};
use crate::testkit::{SimDisk, world};
use crate::transactions::{Take, Tickets};

const CONSUMER: &str = "sink";

const CAPACITY: u64 = 1 << 20;
const SEGMENT: u64 = 64 << 10;

fn opened(disk: &SimDisk) -> Arc<Core> {
    let (capacity, segment_bytes) = (ByteSize(CAPACITY), ByteSize(SEGMENT));
    opened_as(disk, Config { capacity, segment_bytes, ..Config::default() })
}

fn opened_as(disk: &SimDisk, config: Config) -> Arc<Core> {
    let cx = BuildContext::alone("main", Path::new("/data/main"), world(disk, 1));
    let config = Config { index: IndexKind::None, pool: 1, ..config };
    Opening { config, cx, dirty: Arc::new(Notify::new()) }.run().unwrap()
}

async fn register(core: &Arc<Core>) {
    let (reply, answer) = tokio::sync::oneshot::channel();
    core.submit(Request::Register { names: vec![Arc::from(CONSUMER)], reply }, false);
    answer.await.unwrap().unwrap();
}

async fn filled(disk: &SimDisk) -> Arc<Core> {
    let core = opened(disk);
    register(&core).await;
    for _ in 0..6 {
        let mut put = Box::new(Put::new(core.clone(), Default::default()));
        put.put(Batch::of(["c".repeat(20_000)]));
        put.commit().await.unwrap();
    }
    core
}

#[tokio::test]
async fn a_segment_stays_until_the_commits_of_its_batches_are_on_the_disk() {
    let core = filled(&SimDisk::new(1)).await;
    let before = core.state().tickets.segments.len();
    assert!(before >= 3, "only {before} segments");
    while core.state().tickets.in_flight.take(CONSUMER).is_some() {}
    core.commit(&Arc::from(CONSUMER), &IntervalSet::from(0..6));
    core.release(&mut core.state(), true);
    assert_eq!(
        core.state().tickets.segments.len(),
        before,
        "released before the commit is written"
    );
    core.state().unwritten.flush = true;
    core.lead_until_idle();
    assert_eq!(core.state().tickets.segments.len(), 1);
}

/// Puts events of this size if there is room; returns whether there was.
async fn put(core: &Arc<Core>, bytes: usize) -> Option<bool> {
    let batch = Batch::of(["c".repeat(bytes)]);
    let size = BatchSize { events: 1, bytes: batch.encoded_len() as u64 };
    let fits = core.state().reserve(size, &core.limits);
    if !fits {
        return None;
    }
    let mut put = Box::new(Put::new(core.clone(), size));
    put.put(batch);
    Some(put.commit().await.is_ok())
}

/// Checks that the directory without the idle files has the size that the channel reports, and
/// stays within its limit.
fn is_bounded(core: &Core, disk: &SimDisk) {
    let said = core.status().bytes;
    assert!(said <= CAPACITY, "{said} bytes are in the channel");
    let segments = disk.files().into_iter().filter(|(path, _)| path.ends_with("seg"));
    let there: u64 = segments.map(|(_, len)| len).sum();
    let idle = 2 * SEGMENT + core.files.reserve_bytes(CAPACITY);
    assert!(there <= CAPACITY + idle, "{there} bytes are on the disk, of which {said} are said");
}

#[tokio::test]
async fn a_channel_keeps_to_its_capacity_however_often_the_power_fails() {
    let disk = SimDisk::new(1);
    let (mut stored, mut full_lives) = (6, 0);
    drop(filled(&disk).await);
    for life in 0..200 {
        disk.crash();
        let core = opened(&disk);
        // Some lives put nothing, some a little, some all that fits.
        let mut left = [0, 1, 100][life % 3];
        while left > 0 {
            match put(&core, 3_000).await {
                Some(true) => stored += 1,
                Some(false) => panic!("the disk is well"),
                None => break,
            }
            left -= 1;
        }
        full_lives += u32::from(left > 0);
        is_bounded(&core, &disk);
    }
    assert!(full_lives > 50, "it was full in {full_lives} lives only");
    disk.crash();
    assert_eq!(opened(&disk).status().events, stored);
}

/// Puts one group of this many small puts, if there is room; returns how many were stored.
async fn put_together(core: &Arc<Core>, puts: usize) -> usize {
    let batch = Batch::of(["c".repeat(100)]);
    let size = BatchSize { events: 1, bytes: batch.encoded_len() as u64 };
    assert!(core.state().hand_off.claim(), "none leads before all of them wait");
    let begun = (0..puts).map_while(|_| {
        core.state().reserve(size, &core.limits).then(|| {
            let mut put = Box::new(Put::new(core.clone(), size));
            put.concurrent();
            put.put(batch.clone());
            tokio::spawn(put.commit())
        })
    });
    let begun: Vec<_> = begun.collect();
    for _ in 0..2 {
        tokio::task::yield_now().await;
    }
    core.lead_until_idle();
    let stored = begun.len();
    for commit in begun {
        commit.await.unwrap().unwrap();
    }
    stored
}

#[tokio::test]
async fn a_channel_keeps_to_its_capacity_whatever_is_written_in_one_go() {
    let disk = SimDisk::new(1);
    drop(filled(&disk).await);
    for _ in 0..5 {
        disk.crash();
        let core = opened(&disk);
        while put_together(&core, 60).await == 60 {
            is_bounded(&core, &disk);
        }
        is_bounded(&core, &disk);
        let rooms: Vec<u64> = core.state().tickets.segments.iter().map(|s| s.record.room).collect();
        assert!(rooms.iter().all(|room| *room <= SEGMENT), "{rooms:?}: no group needs more");
    }
}

#[tokio::test]
async fn a_channel_keeps_to_its_capacity_however_often_writes_fail() {
    let disk = SimDisk::new(1);
    let core = filled(&disk).await;
    while put(&core, 3_000).await == Some(true) {}
    let mut held = Vec::new();
    while let Some(ticket) = core.state().tickets.in_flight.take(CONSUMER) {
        held.push(ticket);
    }
    assert!(held.len() > 100, "only {} batches fill it", held.len());
    // All but the oldest are committed, one by one; the oldest one keeps all later ones from being
    // freed in order.
    for ticket in &held[1..] {
        disk.fail_writes(1);
        core.commit(&Arc::from(CONSUMER), &IntervalSet::from(*ticket..ticket + 1));
        for _ in 0..2 {
            core.state().unwritten.flush = true;
            core.lead_until_idle();
            is_bounded(&core, &disk);
        }
    }
    assert!(core.status().bytes < CAPACITY / 2, "what is done with is freed");
    drop(core);
    disk.crash();
    let core = opened(&disk);
    let in_flight = &core.state().tickets.in_flight;
    assert!(!in_flight.all_acked(0, 1) && in_flight.all_acked(1, held.len() as u64));
}

#[tokio::test]
async fn whether_a_consumer_dozes_or_sleeps_it_gets_the_one_batch_that_comes() {
    let core = filled(&SimDisk::new(1)).await;
    let mut take = Take::new(core.clone(), Arc::from(CONSUMER));
    for ticket in 0..6 {
        assert_eq!(take.take().await.unwrap().ticket, ticket);
    }
    // From before it polls until long after it has fallen asleep.
    for (ticket, micros) in (6..).zip([0, 300, 900, 1_000, 1_100, 2_000, 2_500, 20_000]) {
        let putting = async {
            sleep(Duration::from_micros(micros)).await;
            assert_eq!(put(&core, 100).await, Some(true));
        };
        let taking = timeout(Duration::from_secs(20), take.take());
        let (taken, ()) = tokio::join!(taking, putting);
        let taken = taken.expect("nothing else is put that could wake it").unwrap();
        assert_eq!(taken.ticket, ticket);
        take.commit(&IntervalSet::from(ticket..ticket + 1));
    }
}

/// Returns how long a consumer takes for a backlog of 40 MiB.
async fn drained_in(core: &Arc<Core>) -> Duration {
    let mut take = Take::new(core.clone(), Arc::from(CONSUMER));
    let began = Instant::now();
    for ticket in 0..160 {
        assert_eq!(take.take().await.unwrap().ticket, ticket);
        take.commit(&IntervalSet::from(ticket..ticket + 1));
    }
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn throttles_the_drain_during_puts_unless_a_put_waits_for_room() {
    const ROOM: u64 = 64 << 20;
    for (puts, is_full, millis) in
        [(true, false, 120..160), (false, false, 0..1), (true, true, 0..1)]
    {
        let (capacity, tail_memory) = (ByteSize(ROOM), ByteSize(64 << 10));
        let config = Config { capacity, tail_memory, ..Config::default() };
        let core = opened_as(&SimDisk::new(1), config);
        register(&core).await;
        for _ in 0..160 {
            assert_eq!(put(&core, 256 << 10).await, Some(true));
        }
        // 32 MiB of the whole credit are left.
        sleep(Duration::from_secs(20)).await;
        core.state().reads.throttle.taken(Instant::now(), 480 << 20);
        if is_full {
            let all = BatchSize { events: 1, bytes: ROOM };
            assert!(!core.state().reserve(all, &core.limits));
        }
        let putting = async {
            if !puts {
                std::future::pending::<()>().await;
            }
            loop {
                let mut put = Box::new(Put::new(core.clone(), Default::default()));
                put.put(Batch::of(["c"]));
                put.commit().await.unwrap();
                sleep(Duration::from_millis(10)).await;
            }
        };
        let took = tokio::select! {
            biased;
            () = putting => unreachable!("it does not end"),
            took = drained_in(&core) => took,
        };
        let took_millis = took.as_millis();
        assert!(millis.contains(&took_millis), "{took:?}; puts: {puts}, full: {is_full}");
    }
}
