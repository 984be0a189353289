//! Goal: the parts of a batch have separate names downstream of a relay's channels, the sender gets
//! answers with the original name, and a batch that another configuration or version has stored
//! with the other name is not stored again.
//!
//! Method: the channels of the parent tests, with sinks that lead to other agents or not. The
//! latter name no parts, like earlier versions.

use std::time::Duration;

use super::*;

/// Two sinks to one collector that does not run: nothing is sent.
const RELAY: &str = "type = \"grpc\"\naddress = \"127.0.0.1:1\"";
const NO_RELAY: &str = "type = \"discard\"";

fn names() -> [PartNames; 2] {
    ["a", "b"].map(PartNames::new)
}

fn is_stored(life: &Life, channel: usize, name: Identity) -> bool {
    let channel = &life.topology.channels[channel].channel;
    channel.stored(name.origin, name.epoch).contains(name.sequence.0)
}

/// Commits all batches of a channel.
async fn deliver(life: &Life, channel: usize) {
    let built = &life.topology.channels[channel];
    let mut take = built.channel.begin_take(&built.consumers[0]);
    let taken = take.take().await.unwrap();
    take.commit(&IntervalSet::from(taken.ticket..taken.ticket + 1));
}

#[tokio::test]
async fn parts_are_distinguished_and_the_sender_learns_of_its_batch() {
    let dir = tempfile::tempdir().unwrap();
    let life = Life::with_sinks(dir.path(), None, RELAY).await;
    let mut heard = life.intake.watch_committed();
    life.intake.accept(of_another_agent()).await.unwrap();
    for (channel, names) in names().iter().enumerate() {
        assert!(is_stored(&life, channel, names.of(NAME)));
        assert!(!is_stored(&life, channel, NAME), "the parts would meet under this name");
    }
    let known = || life.intake.known(NAME.origin, NAME.epoch);
    assert!(known().stored.contains(0) && known().committed.is_empty());
    assert_eq!(known().stored.count(), 1);
    assert!(life.intake.known(names()[0].of_origin(ORIGIN), NAME.epoch).stored.is_empty());
    let stop = CancellationToken::new();
    let agreeing = tokio::spawn(life.intake.clone().merge_committed(stop.clone()));
    deliver(&life, 0).await;
    let early = tokio::time::timeout(Duration::from_millis(300), hear(&mut heard)).await;
    assert!(early.is_err(), "the other part is not committed: {early:?}");
    deliver(&life, 1).await;
    let keys = tokio::time::timeout(Duration::from_secs(10), hear(&mut heard)).await.unwrap();
    assert!(keys.contains(NAME), "{keys:?}");
    assert!(known().committed.contains(0));
    stop.cancel();
    agreeing.await.unwrap();
}

/// No channel is followed before; the listener asks for earlier commits.
#[tokio::test]
async fn late_listener_learns_to_ask_and_then_of_each_batch() {
    let dir = tempfile::tempdir().unwrap();
    let life = Life::with_sinks(dir.path(), None, RELAY).await;
    let stop = CancellationToken::new();
    let agreeing = tokio::spawn(life.intake.clone().merge_committed(stop.clone()));
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mut heard = life.intake.watch_committed();
    let limit = Duration::from_secs(10);
    let first = tokio::time::timeout(limit, heard.recv()).await.unwrap().unwrap();
    assert!(first.is_empty(), "{first:?}");
    life.intake.accept(of_another_agent()).await.unwrap();
    deliver(&life, 0).await;
    deliver(&life, 1).await;
    let keys = tokio::time::timeout(limit, hear(&mut heard)).await.unwrap();
    assert!(keys.contains(NAME), "{keys:?}");
    stop.cancel();
    agreeing.await.unwrap();
}

/// Receives committed names; an empty set only means that the listener must ask.
async fn hear(heard: &mut broadcast::Receiver<Arc<KeySet>>) -> Arc<KeySet> {
    loop {
        let keys = heard.recv().await.unwrap();
        if !keys.is_empty() {
            return keys;
        }
    }
}

/// After an update, or a change of the configuration, with one channel that has its part and
/// another one that lacks it.
#[tokio::test]
async fn a_batch_that_is_stored_under_the_other_name_is_known_and_keeps_it() {
    for [before, after] in [[NO_RELAY, RELAY], [RELAY, NO_RELAY]] {
        let dir = tempfile::tempdir().unwrap();
        let life = Life::with_sinks(dir.path(), None, before).await;
        life.intake.accept_into(of_another_agent(), &[0]).await.unwrap();
        life.end().await;
        let life = Life::with_sinks(dir.path(), None, after).await;
        let known = |life: &Life| life.intake.known(NAME.origin, NAME.epoch).stored.contains(0);
        assert!(!known(&life), "the other part is missing");
        for _ in 0..2 {
            life.intake.accept(of_another_agent()).await.unwrap();
            assert!(known(&life));
        }
        let held = life.held().await;
        assert!(is_whole(&held), "{held:?}");
        let [a, b] = names().map(|names| names.of(NAME));
        let was_relay = before == RELAY;
        assert_eq!((is_stored(&life, 0, a), is_stored(&life, 0, NAME)), (was_relay, !was_relay));
        assert_eq!((is_stored(&life, 1, b), is_stored(&life, 1, NAME)), (!was_relay, was_relay));
    }
}

#[tokio::test]
async fn an_epoch_that_is_declared_empty_is_so_for_the_names_of_the_parts() {
    let dir = tempfile::tempdir().unwrap();
    let life = Life::with_sinks(dir.path(), None, RELAY).await;
    let mut floors = Floors::default();
    floors.raise(ORIGIN, Epoch(2 << 20));
    assert!(!life.intake.is_closed(NAME));
    life.intake.close_epochs(&floors);
    assert!(life.intake.is_closed(NAME));
    for (built, names) in life.topology.channels.iter().zip(names()) {
        let declared = built.boards.floors.declared();
        assert_eq!(declared.of(names.of_origin(ORIGIN)), Epoch(2 << 20));
        assert_eq!(declared.len(), 1, "no batch of the origin itself leaves by this channel");
    }
}
