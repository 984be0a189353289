//! Goal: an agent whose sinks store nothing says so to its senders within a stated time, takes
//! batches meanwhile, and says when it is over; a sender with another way to go gives back what it
//! has there. Method: sink and source over a network in memory on paused time.

use ::peers::NextHop;
use tokio::time::Instant;

use super::net::{Side, Wire};
use super::*;

#[tokio::test(start_paused = true)]
async fn what_an_agent_cannot_store_is_given_back_in_time_if_another_one_can() {
    let env = Wire::new(0, 0, Side::There).env();
    let memory = Memory::new();
    let source = start_source(&env, memory.clone(), "127.0.0.1:4141", json!({}));
    let mut sink = open_sink(&env, "127.0.0.1:4141", json!({})).await;
    let hop = sink.extensions().find::<NextHop>().unwrap();
    write(&mut *sink, 0..5).await;
    let mut verdicts = Verdicts::default();
    verdicts.until(&mut *sink, |v| v.stored == set(0..5)).await;
    let began = Instant::now();
    memory.outlet.fails(&"group".into(), "the store refuses".into(), began);
    assert!(hop.unable_otherwise(false).await);
    assert!((15..=17).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    // No other agent is able: this one goes on taking batches, and nothing is given back.
    write(&mut *sink, 5..8).await;
    verdicts.until(&mut *sink, |v| v.stored == set(0..8)).await;
    let nothing = tokio::time::timeout(Duration::from_secs(100), sink.settled()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    hop.set_others_able(true);
    verdicts.until(&mut *sink, |v| v.again == set(0..8)).await;
    assert_eq!(verdicts.failures, Vec::<String>::new());
    memory.outlet.works("group");
    assert!(!hop.unable_otherwise(true).await);
    write(&mut *sink, 0..8).await;
    memory.commit_all();
    let mut verdicts = Verdicts::default();
    verdicts.until(&mut *sink, |v| v.delivered == set(0..8)).await;
    sink.close().await;
    source.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_stored_before_is_given_back_20_s_after_the_store_began_to_fail() {
    let env = Wire::new(0, 0, Side::There).env();
    let memory = Memory::new();
    let source = start_source(&env, memory.clone(), "127.0.0.1:4141", json!({}));
    let mut sink = open_sink(&env, "127.0.0.1:4141", json!({})).await;
    sink.extensions().find::<NextHop>().unwrap().set_others_able(true);
    write(&mut *sink, 0..5).await;
    let mut verdicts = Verdicts::default();
    verdicts.until(&mut *sink, |v| v.stored == set(0..5)).await;
    let began = Instant::now();
    memory.outlet.fails(&"group".into(), "the store refuses".into(), began);
    // Full as well: what was put waits there.
    memory.room.forget_permits(usize::MAX);
    write(&mut *sink, 5..7).await;
    let early = tokio::time::timeout(Duration::from_secs(14), sink.settled()).await;
    assert!(early.is_err(), "{early:?}");
    verdicts.until(&mut *sink, |v| v.again == set(0..7)).await;
    assert!((19..=22).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    // A new connection hears of it before it is welcome.
    within(async { while sink.open().await.is_err() {} }).await;
    assert!(sink.extensions().find::<NextHop>().unwrap().is_unable());
    sink.close().await;
    source.stop().await;
}
