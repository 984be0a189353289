//! Goal: with a free choice a batch is completely in one channel, or in none and rejected, whatever
//! is full, closed or fails. Batches go to the first channel of the order with room, wait only
//! while none has room, and return to an earlier one when it has room.
//!
//! Method: durable channels with a small capacity, on a disk and on a simulated one that fails
//! writes in the middle. A model knows the contents of each channel. After many random steps the
//! channels are closed, the power is cut, and the disk must have exactly the accepted batches that
//! were not taken.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use channel::testkit::{Refusing, SimDisk, SimEntropy, world};
use pipeline::env::Entropy;
use pipeline::{BatchSize, Classify, ErrorClass};
use tokio::time::timeout;

use super::*;
use crate::boards::Boards;
use crate::opened::Opened;

/// An agent whose source never resends, with a channel for each of these numbers of events.
fn settings(dir: &Path, selector: &str, capacities: &[u64], optional: &str) -> String {
    let names = ["a", "b", "c", "d"];
    let required = &names[..capacities.len()];
    let mut text = format!(
        "[agent]\ndata_dir = \"{}\"\n\
         [sources.in]\ntype = \"http\"\nlisten = \"127.0.0.1:0\"\nchannels = {required:?}\n\
         selector = {{ {selector} }}\n{optional}\n",
        dir.display(),
    );
    for (name, events) in names.iter().zip(capacities) {
        text.push_str(&format!(
            "[channels.{name}]\ntype = \"durable\"\ncapacity = \"16MiB\"\nindex = \"none\"\n\
             capacity_events = {events}\n\
             [sinks.to-{name}]\ntype = \"discard\"\nchannel = \"{name}\"\n"
        ));
    }
    text
}

const PRIORITY: &str = "type = \"priority\"";

async fn on_disk(dir: &Path, capacities: &[u64]) -> Life {
    Life::of(&settings(dir, PRIORITY, capacities, ""), dir, env::real(), |_| {}).await
}

fn events(life: &Life) -> Vec<u64> {
    life.topology.channels.iter().map(|built| built.channel.status().events).collect()
}

/// Lines without a position: a repetition is new.
fn fresh(range: Range<u64>) -> Batch {
    let mut batch = lines(range);
    batch.envelope.positions.clear();
    batch
}

/// Takes all batches out of a channel; returns their lines.
async fn deliver(life: &Life, channel: usize) -> Vec<String> {
    let built = &life.topology.channels[channel];
    let mut take = built.channel.begin_take(&built.consumers[0]);
    let (expected, mut bodies) = (built.channel.status().events, Vec::new());
    while (bodies.len() as u64) < expected {
        let taken = take.take().await.unwrap();
        let text = |body: &[u8]| String::from_utf8(body.to_vec()).unwrap();
        bodies.extend(taken.batch.iter().map(|event| text(event.body())));
        take.commit(&IntervalSet::from(taken.ticket..taken.ticket + 1));
    }
    while built.channel.status().events > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    bodies
}

#[tokio::test]
async fn batches_skip_a_full_channel_until_it_has_room() {
    let dir = tempfile::tempdir().unwrap();
    let life = on_disk(dir.path(), &[100, 50]).await;
    let steps = [(40, [40, 0]), (40, [80, 0]), (40, [80, 40]), (15, [95, 40]), (8, [95, 48])];
    let mut next = 0;
    for (count, expected) in steps {
        life.intake.accept(fresh(next..next + count)).await.unwrap();
        next += count;
        assert_eq!(events(&life), expected);
    }
    // No channel has room now: the first one that gets room has the batch.
    for (channel, expected) in [(1, [95, 30]), (0, [30, 30])] {
        let (intake, batch) = (life.intake.clone(), fresh(next..next + 30));
        next += 30;
        let waiting = tokio::spawn(async move { intake.accept(batch).await });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!waiting.is_finished() && life.intake.waits_for().is_some());
        deliver(&life, channel).await;
        waiting.await.unwrap().unwrap();
        assert_eq!((events(&life), life.intake.waits_for()), (expected.to_vec(), None));
    }
    life.intake.accept(fresh(next..next + 1)).await.unwrap();
    assert_eq!(events(&life), [31, 30], "back to the first one");
}

#[tokio::test]
async fn a_channel_that_is_closed_not_open_or_too_small_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let life = on_disk(dir.path(), &[10, 100, 100]).await;
    life.intake.accept(fresh(0..20)).await.unwrap();
    assert_eq!(events(&life), [0, 20, 0], "the first one can never take it");
    let error = life.intake.accept(fresh(20..500)).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Poison, "no channel ever can");
    life.topology.channel("b").close().await.unwrap();
    life.intake.accept(fresh(20..40)).await.unwrap();
    assert_eq!(life.topology.channel("c").status().events, 20);
    life.topology.channel("a").close().await.unwrap();
    life.topology.channel("c").close().await.unwrap();
    let error = life.intake.accept(fresh(40..60)).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Transient, "a closed one may open again");

    let dir = tempfile::tempdir().unwrap();
    let text = settings(dir.path(), PRIORITY, &[100, 100], "");
    let opened = Opened::default();
    let not_open = |topology: &mut Topology| {
        let boards = Boards { opened: opened.clone(), ..Boards::default() };
        topology.channels[0].boards = boards;
    };
    let life = Life::of(&text, dir.path(), env::real(), not_open).await;
    timeout(Duration::from_secs(5), life.intake.opened()).await.expect("one channel is enough");
    life.intake.accept(fresh(0..10)).await.unwrap();
    assert_eq!(events(&life), [0, 10]);
    opened.open_with(0, Default::default());
    life.intake.accept(fresh(10..20)).await.unwrap();
    assert_eq!(events(&life), [10, 10]);
}

#[tokio::test]
async fn room_is_reserved_in_one_channel_and_waiting_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let life = on_disk(dir.path(), &[100, 100]).await;
    let size = |events| BatchSize { events, bytes: 4_096 };
    let first = life.intake.reserve(size(80)).await.unwrap();
    let second = life.intake.reserve(size(80)).await.unwrap();
    let short = Duration::from_millis(50);
    assert!(timeout(short, life.intake.reserve(size(80))).await.is_err(), "both are full");
    assert_eq!(life.intake.waits_for(), None, "what has given up waits no more");
    drop(first);
    life.intake.accept(fresh(0..80)).await.unwrap();
    assert_eq!(events(&life), [80, 0], "the room of the first one is free again");
    second.commit(fresh(80..160)).await.unwrap();
    assert_eq!(events(&life), [80, 80]);
    let third = life.intake.reserve(size(10)).await.unwrap();
    third.commit(Batch::of(Vec::<String>::new())).await.unwrap();
    assert_eq!(events(&life), [80, 80], "no events, no put");
    assert_eq!(life.intake.flow().accepted.total().events, 160);
}

#[tokio::test]
async fn optional_channels_get_every_batch_wherever_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let look = "optional_channels = [\"look\"]\n\
                [channels.look]\ntype = \"memory\"\n\
                [sinks.to-look]\ntype = \"discard\"\nchannel = \"look\"";
    let text = settings(dir.path(), PRIORITY, &[20, 100], look);
    let life = Life::of(&text, dir.path(), env::real(), |_| {}).await;
    for start in [0, 20, 40] {
        life.intake.accept(fresh(start..start + 20)).await.unwrap();
    }
    let held = |name| life.topology.channel(name).status().events;
    assert_eq!((held("a"), held("b"), held("look")), (20, 40, 60));
}

/// Simulated channels, on a disk that outlives them.
struct Simulated {
    disk: SimDisk,
    selector: &'static str,
    seed: u64,
}

const CAPACITIES: [u64; 3] = [60, 40, 80];

impl Simulated {
    async fn life(&self) -> Life {
        let dir = Path::new("/agent");
        let text = settings(dir, self.selector, &CAPACITIES, "");
        Life::of(&text, dir, world(&self.disk, self.seed), |_| {}).await
    }
}

#[tokio::test(start_paused = true)]
async fn failed_write_leaves_the_batch_only_in_the_next_channel() {
    let place = Simulated { disk: SimDisk::new(1), selector: PRIORITY, seed: 1 };
    let life = place.life().await;
    place.disk.fail_writes(1);
    life.intake.accept(fresh(0..10)).await.unwrap();
    assert_eq!(events(&life), [0, 10, 0]);
    assert_eq!(life.topology.built("a").boards.inflow.failures(), 10);
    life.intake.accept(fresh(10..20)).await.unwrap();
    assert_eq!(events(&life), [10, 10, 0], "the next batch tries the first one again");
    life.end().await;
    place.disk.crash();
    let held = place.life().await.held().await;
    let text = |range: Range<u64>| range.map(|n| format!("line {n:04}")).collect::<Vec<_>>();
    assert_eq!(held, [text(10..20), text(0..10), vec![]], "what failed did not come back");
}

/// A batch whose write has failed may be stored: it must not go elsewhere before that is known.
#[tokio::test(start_paused = true)]
async fn a_dead_disk_holds_back_the_batch_that_it_has_and_no_later_one() {
    let place = Simulated { disk: SimDisk::new(2), selector: PRIORITY, seed: 2 };
    let (dir, refuse) = (Path::new("/agent"), Arc::new(AtomicBool::new(false)));
    let (sim, below) = (world(&place.disk, 2), dir.join("channels/a"));
    let disk = sim.disk.clone();
    let disk = Refusing { disk, below, refuse: refuse.clone(), hold: Arc::default() };
    let text = settings(dir, PRIORITY, &CAPACITIES, "");
    let life = Life::of(&text, dir, Env { disk: Arc::new(disk), ..sim }, |_| {}).await;
    refuse.store(true, Ordering::SeqCst);
    let intake = life.intake.clone();
    let doubtful = tokio::spawn(async move { intake.accept(fresh(0..10)).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    for start in [10, 20] {
        timeout(Duration::from_millis(100), life.intake.accept(fresh(start..start + 10)))
            .await
            .expect("the next channel takes it at once")
            .unwrap();
    }
    assert!(!doubtful.is_finished());
    assert_eq!(events(&life), [0, 20, 0]);
    refuse.store(false, Ordering::SeqCst);
    doubtful.await.unwrap().unwrap();
    assert_eq!(events(&life), [0, 30, 0], "it is known now that the first one has nothing of it");
    life.intake.accept(fresh(30..40)).await.unwrap();
    assert_eq!(events(&life), [10, 30, 0]);
    life.end().await;
    place.disk.crash();
    let held = place.life().await.held().await;
    let text = |range: Range<u64>| range.map(|n| format!("line {n:04}")).collect::<Vec<_>>();
    assert_eq!(held, [text(30..40), text(0..30), vec![]]);
}

/// A disk without answers blocks the writing thread, so the time here is real.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_channel_whose_disk_does_not_answer_is_passed_over_until_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let (real, hold) = (env::real(), Arc::new(AtomicBool::new(false)));
    let (disk, below) = (real.disk.clone(), dir.path().join("channels/a"));
    let disk = Refusing { disk, below, refuse: Arc::default(), hold: hold.clone() };
    let text = settings(dir.path(), PRIORITY, &[100, 100], "");
    let life = Life::of(&text, dir.path(), Env { disk: Arc::new(disk), ..real }, |_| {}).await;
    hold.store(true, Ordering::SeqCst);
    let intake = life.intake.clone();
    let waiting = tokio::spawn(async move { intake.accept(fresh(0..10)).await });
    let first = &life.topology.built("a").boards.inflow;
    while !first.is_stuck(Instant::now()) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let intake = life.intake.clone();
    let later = tokio::spawn(async move { intake.accept(fresh(10..20)).await });
    let later = timeout(Duration::from_secs(10), later).await;
    let second = life.topology.channel("b").status().events;
    hold.store(false, Ordering::SeqCst);
    later.expect("the next channel takes it").unwrap().unwrap();
    assert_eq!(second, 10);
    waiting.await.unwrap().unwrap();
    life.intake.accept(fresh(20..30)).await.unwrap();
    assert_eq!(events(&life), [20, 10], "it answers again");
}

/// The contents of the channels, by accepted and delivered batches.
#[derive(Default)]
struct Model {
    accepted: BTreeSet<String>,
    delivered: BTreeSet<String>,
    next: u64,
}

impl Model {
    /// Sends a batch, like a source that waits a moment for room, and checks where it was stored.
    async fn give(&mut self, life: &Life, count: u64, in_order: bool, may_fail: bool) {
        let before = events(life);
        let fits = |at: &usize| before[*at] + count <= CAPACITIES[*at];
        let fitting: Vec<usize> = (0..CAPACITIES.len()).filter(fits).collect();
        let batch = fresh(self.next..self.next + count);
        let text = |body: &[u8]| String::from_utf8(body.to_vec()).unwrap();
        let bodies: Vec<String> = batch.iter().map(|event| text(event.body())).collect();
        self.next += count;
        let room = timeout(Duration::from_millis(20), life.intake.reserve(batch.size())).await;
        let stored = match room {
            Err(_) => {
                assert!(fitting.is_empty(), "{before:?} has room for {count}");
                return assert_eq!(events(life), before);
            }
            Ok(room) => room.unwrap().commit(batch).await,
        };
        let after = events(life);
        let grown: Vec<u64> = after.iter().zip(&before).map(|(now, then)| now - then).collect();
        let places: Vec<usize> = (0..grown.len()).filter(|at| grown[*at] > 0).collect();
        if let Err(error) = stored {
            assert!(may_fail && places.is_empty(), "{error}: {before:?} {after:?}");
            return;
        }
        assert_eq!((places.len(), grown.iter().sum::<u64>()), (1, count), "{before:?} {after:?}");
        assert!(fitting.contains(&places[0]));
        if in_order && !may_fail {
            assert_eq!(places[0], fitting[0], "the first one that could take it");
        }
        self.accepted.extend(bodies);
    }
}

#[tokio::test(start_paused = true)]
async fn each_line_is_in_one_channel_once_with_full_or_failing_ones_and_a_crash() {
    let policies = [
        PRIORITY,
        "type = \"load_balancing\", policy = \"round_robin\"",
        "type = \"load_balancing\", policy = \"random\"",
    ];
    let (mut waits, mut failures) = (0, 0);
    for (policy, seed) in policies.into_iter().flat_map(|it| (0..12).map(move |seed| (it, seed))) {
        let place = Simulated { disk: SimDisk::new(seed), selector: policy, seed };
        let (life, mut model) = (place.life().await, Model::default());
        let random = SimEntropy::new(seed ^ 0x5eed);
        for _ in 0..60 {
            let drawn = random.next_u64();
            let (what, which) = (drawn % 8, (drawn >> 8) as usize % CAPACITIES.len());
            let may_fail = what == 0;
            if what == 1 {
                model.delivered.extend(deliver(&life, which).await);
                continue;
            }
            // Fails the write of the first channel that is tried, or also the record of that
            // failure.
            place.disk.fail_writes(if may_fail { 1 + which as u32 } else { 0 });
            let before = model.accepted.len();
            model.give(&life, 1 + (drawn >> 16) % 30, policy == PRIORITY, may_fail).await;
            place.disk.fail_writes(0);
            let is_in = model.accepted.len() > before;
            waits += u64::from(!is_in && !may_fail);
            failures += u64::from(is_in && may_fail);
        }
        life.end().await;
        place.disk.crash();
        let held = place.life().await.held().await;
        let all: Vec<String> = held.into_iter().flatten().collect();
        let once: BTreeSet<String> = all.iter().cloned().collect();
        assert_eq!(all.len(), once.len(), "{policy}, seed {seed}: a line is there twice");
        let expected: BTreeSet<String> =
            model.accepted.difference(&model.delivered).cloned().collect();
        assert!(once == expected, "{policy}, seed {seed}: {once:?} is not {expected:?}");
    }
    assert!(waits > 50 && failures > 50, "{waits} waited, {failures} spilled after a failure");
}
