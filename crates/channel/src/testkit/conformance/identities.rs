//! The guarantees of a channel about identities and positions.

use bytes::Bytes;
use pipeline::{
    Batch, BatchSize, ChannelError, Epoch, GivenName, IntervalSet, Origin, SourcePosition,
};
use tokio::time::timeout;

use super::{
    PATIENCE, SEED, Suite, World, body, foreign, foreign_batch, next, next_body, nothing_ready,
    only, open, put,
};

/// An identity seen before is accepted and not stored again, also within one put.
pub async fn a_known_identity_is_stored_once<W: World>(suite: Suite<W>) {
    let channel = open(suite, &W::begin(SEED)).await;
    put(&*channel, foreign_batch(1, "once")).await.unwrap();
    put(&*channel, foreign_batch(1, "once")).await.unwrap();
    let mut twice = channel.begin_put(BatchSize { events: 2, bytes: 200 }).await.unwrap();
    twice.put(foreign_batch(2, "two"));
    twice.put(foreign_batch(2, "two"));
    twice.commit().await.unwrap();
    let mut take = channel.begin_take("sink");
    let taken = next(&mut *take).await;
    assert_eq!((body(&taken), taken.batch.envelope.identity), ("once".into(), Some(foreign(1))));
    take.commit(&only(&taken));
    put(&*channel, foreign_batch(1, "once")).await.unwrap();
    assert_eq!(next_body(&mut *take).await, "two");
    nothing_ready(&mut *take).await;
    assert_eq!(channel.stored(Origin([9; 16]), Epoch(3)), IntervalSet::from(1..3));
    assert_eq!(channel.settled(Origin([9; 16]), Epoch(3)), IntervalSet::from(1..2));
}

/// A put can ask for the name that its batch has at the take: the one that the channel assigns, or
/// the one that the batch had before. A dropped put gets no name.
pub async fn a_put_that_asks_hears_the_name_of_its_batch<W: World>(suite: Suite<W>) {
    let channel = open(suite, &W::begin(SEED)).await;
    let mut take = channel.begin_take("sink");
    for batch in [Batch::of(["born"]), Batch::of(["next"]), foreign_batch(1, "foreign")] {
        let name = GivenName::default();
        let mut put = channel.begin_put(batch.size()).await.unwrap();
        put.name_into(name.clone());
        put.put(batch);
        put.commit().await.unwrap();
        let taken = next(&mut *take).await;
        assert!(name.get().is_some());
        assert_eq!(name.get(), taken.batch.envelope.identity, "{}", body(&taken));
    }
    let name = GivenName::default();
    let mut dropped = channel.begin_put(BatchSize { events: 1, bytes: 100 }).await.unwrap();
    dropped.name_into(name.clone());
    dropped.put(Batch::of(["dropped"]));
    drop(dropped);
    assert_eq!(name.get(), None);
}

/// A batch without events is never taken and settled once it is stored; its positions count.
pub async fn an_empty_batch_leaves_identity_and_position<W: World>(suite: Suite<W>) {
    let channel = open(suite, &W::begin(SEED)).await;
    let mut settled = channel.watch_settled();
    let bytes = Bytes::from_static;
    let position = SourcePosition {
        source: "in".into(),
        key: bytes(b"k"),
        value: Some(bytes(b"7")),
        after: None,
    };
    let mut batch = Batch::default();
    batch.envelope.identity = Some(foreign(4));
    batch.envelope.positions.push(position.clone());
    put(&*channel, batch).await.unwrap();
    assert_eq!(channel.positions("in"), [(bytes(b"k"), bytes(b"7"))]);
    assert!(channel.settled(Origin([9; 16]), Epoch(3)).contains(4));
    let told = timeout(PATIENCE, settled.recv()).await.unwrap().unwrap();
    assert!(told.contains(foreign(4)));
    nothing_ready(&mut *channel.begin_take("sink")).await;
    let mut forget = Batch::default();
    forget.envelope.positions.push(SourcePosition { value: None, ..position });
    put(&*channel, forget).await.unwrap();
    assert_eq!(channel.positions("in"), []);
}

/// If a channel stores in turn, it rejects a batch whose position must follow another one while its
/// key does not have that value; also after a restart.
pub async fn a_dependent_position_is_stored_only_after_its_predecessor<W: World>(suite: Suite<W>) {
    let world = W::begin(SEED);
    let channel = open(suite, &world).await;
    if !channel.stores_in_turn() {
        return;
    }
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let batch = |value: &str, after: Option<&str>| {
        let mut batch = Batch::of([value]);
        let (value, after) = (Some(bytes(value)), after.map(bytes));
        batch.envelope.positions.push(SourcePosition {
            source: "in".into(),
            key: bytes("k"),
            value,
            after,
        });
        batch
    };
    let refused = |stored: Result<(), ChannelError>| {
        assert!(matches!(stored, Err(ChannelError::OutOfTurn { .. })), "{stored:?}");
    };
    refused(put(&*channel, batch("2", Some("1"))).await);
    put(&*channel, batch("1", None)).await.unwrap();
    refused(put(&*channel, batch("3", Some("2"))).await);
    // Both concurrently: the second one waits for no answer.
    let second = put(&*channel, batch("2", Some("1")));
    let third = put(&*channel, batch("3", Some("2")));
    let (second, third) = tokio::join!(second, third);
    assert!(second.is_ok() && third.is_ok(), "{second:?} {third:?}");
    refused(put(&*channel, batch("3", Some("2"))).await);
    assert_eq!(channel.positions("in"), [(bytes("k"), bytes("3"))]);
    let mut take = channel.begin_take("sink");
    for body in ["1", "2", "3"] {
        assert_eq!(next_body(&mut *take).await, body);
    }
    nothing_ready(&mut *take).await;
    drop(take);
    channel.close().await.unwrap();
    drop(channel);
    let channel = open(suite, &world).await;
    refused(put(&*channel, batch("5", Some("4"))).await);
    put(&*channel, batch("4", Some("3"))).await.unwrap();
}
