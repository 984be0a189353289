//! The guarantees of every channel, as functions over any of them. `channel_conformance!` makes a
//! test of each.

#![expect(clippy::unwrap_used, reason = "a broken promise ends the test")]

use std::sync::Arc;
use std::time::Duration;

use pipeline::{
    Batch, BatchSize, Channel, ChannelError, Epoch, Identity, IntervalSet, KeySet, Origin,
    Sequence, TakeTransaction, Taken,
};
use tokio::time::timeout;

use super::{SharedLog, SimDisk, split_mix};

/// Creates a channel of about 1 MiB in a world. The suite knows nothing else about it.
pub type Suite<W> = fn(&W) -> Box<dyn Channel>;

/// The storage of a channel, such as a disk, which the next channel finds again.
pub trait World {
    /// An empty one, with the accidents of a seed.
    fn begin(seed: u64) -> Self;
}

impl World for SimDisk {
    fn begin(seed: u64) -> Self {
        Self::new(seed)
    }
}

impl World for SharedLog {
    fn begin(_seed: u64) -> Self {
        Self::default()
    }
}

mod consumers;
mod identities;

pub use consumers::{
    a_consumer_that_joins_among_puts_gets_all_from_then_on, a_take_of_a_consumer_that_left_ends,
    consumers_may_change, the_backlog_of_a_consumer_is_what_it_has_not_committed,
};
pub use identities::{
    a_dependent_position_is_stored_only_after_its_predecessor, a_known_identity_is_stored_once,
    a_put_that_asks_hears_the_name_of_its_batch, an_empty_batch_leaves_identity_and_position,
};

const SEED: u64 = 0x5eed;
const PATIENCE: Duration = Duration::from_secs(5);

/// An open channel with one consumer, `sink`.
async fn open<W: World>(suite: Suite<W>, world: &W) -> Box<dyn Channel> {
    open_for(suite, world, &["sink"]).await
}

async fn open_for<W: World>(suite: Suite<W>, world: &W, consumers: &[&str]) -> Box<dyn Channel> {
    let channel = suite(world);
    channel.open().await.unwrap();
    let names: Vec<Arc<str>> = consumers.iter().map(|name| Arc::from(*name)).collect();
    channel.register(&names).await.unwrap();
    channel
}

async fn put(channel: &dyn Channel, batch: Batch) -> Result<(), ChannelError> {
    let mut put = channel.begin_put(batch.size()).await?;
    put.put(batch);
    put.commit().await
}

async fn put_one(channel: &dyn Channel, body: &str) {
    put(channel, Batch::of([body])).await.unwrap();
}

async fn next(take: &mut dyn TakeTransaction) -> Taken {
    timeout(PATIENCE, take.take()).await.expect("a batch is ready").unwrap()
}

async fn next_body(take: &mut dyn TakeTransaction) -> String {
    body(&next(take).await)
}

fn body(taken: &Taken) -> String {
    let bodies: Vec<_> =
        taken.batch.iter().map(|e| String::from_utf8_lossy(e.body()).into_owned()).collect();
    bodies.join(",")
}

async fn nothing_ready(take: &mut dyn TakeTransaction) {
    assert!(timeout(PATIENCE, take.take()).await.is_err(), "nothing should be ready");
}

fn only(taken: &Taken) -> IntervalSet {
    IntervalSet::from(taken.ticket..taken.ticket + 1)
}

fn foreign(sequence: u64) -> Identity {
    Identity { origin: Origin([9; 16]), epoch: Epoch(3), sequence: Sequence(sequence) }
}

fn foreign_batch(sequence: u64, body: &str) -> Batch {
    let mut batch = Batch::of([body]);
    batch.envelope.identity = Some(foreign(sequence));
    batch
}

/// Batches come out in the order of the puts, with headers and an identity.
pub async fn batches_come_out_oldest_first<W: World>(suite: Suite<W>) {
    let channel = open(suite, &W::begin(SEED)).await;
    for body in ["first", "second"] {
        let mut batch = Batch::of([body, "more"]);
        batch.set_header("host", "web-1", pipeline::Existing::Keep);
        put(&*channel, batch).await.unwrap();
    }
    let mut take = channel.begin_take("sink");
    let first = next(&mut *take).await;
    assert_eq!(body(&first), "first,more");
    assert_eq!(first.batch.shared_header("host"), Some("web-1"));
    let second = next(&mut *take).await;
    assert_eq!(body(&second), "second,more");
    let (a, b) = (first.batch.envelope.identity.unwrap(), second.batch.envelope.identity.unwrap());
    assert_eq!((a.sequence, b.sequence), (Sequence(0), Sequence(1)));
    assert_eq!((a.origin, a.epoch), (b.origin, b.epoch));
}

/// A put that is dropped or rolled back leaves nothing and takes no room.
pub async fn a_put_without_commit_leaves_nothing<W: World>(suite: Suite<W>) {
    let channel = open(suite, &W::begin(SEED)).await;
    let size = BatchSize { events: 1, bytes: 200_000 };
    for _ in 0..20 {
        let mut dropped = channel.begin_put(size).await.unwrap();
        dropped.put(Batch::of(["dropped"]));
        drop(dropped);
        channel.begin_put(size).await.unwrap().rollback();
    }
    nothing_ready(&mut *channel.begin_take("sink")).await;
    assert_eq!(channel.status().events, 0);
}

/// All batches of one put appear together.
pub async fn a_put_of_many_batches_appears_whole<W: World>(suite: Suite<W>) {
    let channel = open(suite, &W::begin(SEED)).await;
    let mut put = channel.begin_put(BatchSize { events: 3, bytes: 300 }).await.unwrap();
    put.put(Batch::of(["a"]));
    put.put(Batch::default());
    put.put(Batch::of(["b", "c"]));
    let mut take = channel.begin_take("sink");
    nothing_ready(&mut *take).await;
    put.commit().await.unwrap();
    assert_eq!(
        (next_body(&mut *take).await, next_body(&mut *take).await),
        ("a".into(), "b,c".into())
    );
}

/// A rolled back batch, or one held by a dropped take, is handed out again before newer ones.
pub async fn returned_batches_come_first<W: World>(suite: Suite<W>) {
    let channel = open(suite, &W::begin(SEED)).await;
    for body in ["1", "2", "3"] {
        put_one(&*channel, body).await;
    }
    let mut take = channel.begin_take("sink");
    let first = next(&mut *take).await;
    let second = next(&mut *take).await;
    take.rollback(&only(&second));
    take.park(&only(&first));
    drop(take);
    let mut take = channel.begin_take("sink");
    for body in ["1", "2", "3"] {
        assert_eq!(next_body(&mut *take).await, body);
    }
}

/// A batch that the next hop has stored is kept without a deadline; only a rollback offers it
/// again.
pub async fn a_parked_batch_is_offered_again_only_when_it_is_given_back<W: World>(suite: Suite<W>) {
    let channel = open(suite, &W::begin(SEED)).await;
    for body in ["1", "2"] {
        put_one(&*channel, body).await;
    }
    let mut take = channel.begin_take("sink");
    let parked = next(&mut *take).await;
    take.park(&only(&parked));
    tokio::time::sleep(Duration::from_secs(30 * 24 * 3_600)).await;
    let mut other = channel.begin_take("sink");
    assert_eq!(next_body(&mut *other).await, "2");
    nothing_ready(&mut *other).await;
    assert_eq!(channel.status().events, 2, "it is still here");
    take.rollback(&only(&parked));
    assert_eq!(next_body(&mut *other).await, "1");
}

/// A committed batch is removed, in any order of commits; others stay.
pub async fn a_committed_batch_is_gone<W: World>(suite: Suite<W>) {
    let channel = open(suite, &W::begin(SEED)).await;
    for body in ["1", "2", "3"] {
        put_one(&*channel, body).await;
    }
    let mut take = channel.begin_take("sink");
    let taken = [next(&mut *take).await, next(&mut *take).await, next(&mut *take).await];
    assert_eq!(channel.status().unsettled_events, 3);
    take.commit(&only(&taken[2]));
    take.park(&only(&taken[0]));
    take.commit(&only(&taken[0]));
    assert_eq!((channel.status().events, channel.status().unsettled_events), (1, 1));
    drop(take);
    let mut take = channel.begin_take("sink");
    assert_eq!(next_body(&mut *take).await, "2");
    nothing_ready(&mut *take).await;
}

/// Each consumer gets each batch; takes of one consumer share them.
pub async fn each_consumer_gets_each_batch_once<W: World>(suite: Suite<W>) {
    let channel = open_for(suite, &W::begin(SEED), &["a", "b"]).await;
    let mut settled = channel.watch_settled();
    for body in ["1", "2"] {
        put_one(&*channel, body).await;
    }
    let (mut one, mut other) = (channel.begin_take("a"), channel.begin_take("a"));
    let first = next(&mut *one).await;
    assert_eq!((body(&first), next_body(&mut *other).await), ("1".into(), "2".into()));
    let mut b = channel.begin_take("b");
    let b_first = next(&mut *b).await;
    one.commit(&only(&first));
    let Identity { origin, epoch, .. } = first.batch.envelope.identity.unwrap();
    assert_eq!(channel.settled(origin, epoch), IntervalSet::EMPTY);
    assert!(settled.try_recv().is_err());
    b.commit(&only(&b_first));
    assert_eq!(channel.settled(origin, epoch), IntervalSet::from(0..1));
    let told: KeySet = [first.batch.envelope.identity.unwrap()].into_iter().collect();
    assert_eq!(*timeout(PATIENCE, settled.recv()).await.unwrap().unwrap(), told);
    assert_eq!(channel.stored(origin, epoch), IntervalSet::from(0..2));
}

/// A ticket that a take does not hold is ignored.
pub async fn a_ticket_of_another_take_is_passed_over<W: World>(suite: Suite<W>) {
    let channel = open(suite, &W::begin(SEED)).await;
    put_one(&*channel, "1").await;
    let (mut one, mut other) = (channel.begin_take("sink"), channel.begin_take("sink"));
    let taken = next(&mut *one).await;
    other.commit(&only(&taken));
    other.rollback(&only(&taken));
    nothing_ready(&mut *other).await;
    one.commit(&only(&taken));
    one.rollback(&only(&taken));
    nothing_ready(&mut *other).await;
    assert_eq!(channel.status().events, 0);
}

/// A full channel makes puts wait; commits make room; nothing is dropped.
pub async fn a_full_channel_makes_puts_wait<W: World>(suite: Suite<W>) {
    let channel = open(suite, &W::begin(SEED)).await;
    // Bytes that no channel can compress.
    let mut random = SEED;
    let byte = |_| char::from(b'!' + (split_mix(&mut random) % 90) as u8);
    let body: String = (0..50_000).map(byte).collect();
    let mut stored = 0;
    while timeout(PATIENCE, put(&*channel, Batch::of([&body]))).await.is_ok() {
        stored += 1;
        assert!(stored < 40, "it is never full");
    }
    assert!(stored >= 3, "only {stored} batches of 50 kB fit a channel of 1 MiB");
    assert!(channel.status().intake_stopped);
    let mut take = channel.begin_take("sink");
    let mut all = IntervalSet::EMPTY;
    for _ in 0..stored {
        all.insert(next(&mut *take).await.ticket);
    }
    take.commit(&all);
    timeout(PATIENCE, put(&*channel, Batch::of([&body]))).await.expect("there is room").unwrap();
    assert!(!channel.status().intake_stopped);
    assert_eq!(next(&mut *take).await.batch.body_bytes(), 50_000);
}

/// A put larger than the channel is refused, not waited for.
pub async fn a_put_that_never_fits_is_refused<W: World>(suite: Suite<W>) {
    let channel = open(suite, &W::begin(SEED)).await;
    let size = BatchSize { events: 1, bytes: 2 << 20 };
    let refused = channel.begin_put(size).await.err().unwrap();
    assert!(matches!(refused, ChannelError::TooLarge { .. }), "{refused}");
}

/// After close nothing works, and calls that wait end with an error.
pub async fn a_closed_channel_refuses<W: World>(suite: Suite<W>) {
    let channel: Arc<dyn Channel> = open(suite, &W::begin(SEED)).await.into();
    let waiting = {
        let channel = channel.clone();
        tokio::spawn(async move { channel.begin_take("sink").take().await.map(|_| ()) })
    };
    tokio::task::yield_now().await;
    channel.close().await.unwrap();
    let told = timeout(PATIENCE, waiting).await.expect("a put that waits is answered").unwrap();
    assert!(matches!(told, Err(ChannelError::Closed { .. })));
    let refused = put(&*channel, Batch::of(["late"])).await;
    assert!(matches!(refused, Err(ChannelError::Closed { .. })));
}

/// A take that is cancelled while it waits loses nothing.
pub async fn a_cancelled_take_loses_nothing<W: World>(suite: Suite<W>) {
    let channel = open(suite, &W::begin(SEED)).await;
    let mut take = channel.begin_take("sink");
    nothing_ready(&mut *take).await;
    put_one(&*channel, "kept").await;
    assert_eq!(next_body(&mut *take).await, "kept");
}

/// Makes a module of tests, one for each promise, for a [`Suite`].
#[macro_export]
macro_rules! channel_conformance {
    ($name:ident, $suite:expr) => {
        mod $name {
            $crate::channel_conformance!(@each $suite,
                batches_come_out_oldest_first
                a_put_without_commit_leaves_nothing
                a_put_of_many_batches_appears_whole
                returned_batches_come_first
                a_parked_batch_is_offered_again_only_when_it_is_given_back
                a_committed_batch_is_gone
                each_consumer_gets_each_batch_once
                a_ticket_of_another_take_is_passed_over
                a_known_identity_is_stored_once
                a_put_that_asks_hears_the_name_of_its_batch
                an_empty_batch_leaves_identity_and_position
                a_dependent_position_is_stored_only_after_its_predecessor
                a_full_channel_makes_puts_wait
                a_put_that_never_fits_is_refused
                a_closed_channel_refuses
                a_cancelled_take_loses_nothing
                consumers_may_change
                the_backlog_of_a_consumer_is_what_it_has_not_committed
                a_take_of_a_consumer_that_left_ends
                a_consumer_that_joins_among_puts_gets_all_from_then_on
            );
        }
    };
    (@each $suite:expr, $($promise:ident)+) => {
        $(
            #[tokio::test(start_paused = true)]
            async fn $promise() {
                $crate::testkit::conformance::$promise($suite).await;
            }
        )+
    };
}
