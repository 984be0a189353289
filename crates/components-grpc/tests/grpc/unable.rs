//! Goal: an agent whose sinks store nothing notifies its senders within a time limit, still accepts
//! batches, and notifies them of the end; a sender with an alternative returns the batches that it
//! sent there. Method: sink and source over an in-memory network on paused time.

use ::peers::NextHop;
use pipeline::{AgentLink, Outage};
use tokio::time::{Instant, sleep};

use super::net::{Side, Wire};
use super::*;

#[tokio::test(start_paused = true)]
async fn returns_unstorable_batches_in_time_if_another_agent_can_store() {
    let env = Wire::new(0, 0, Side::There).env();
    let memory = Memory::new();
    let source = start_source(&env, memory.clone(), "127.0.0.1:4141", json!({}));
    let mut sink = open_sink(&env, "127.0.0.1:4141", json!({})).await;
    let hop = sink.extensions().find::<NextHop>().unwrap();
    write(&mut *sink, 0..5).await;
    let mut verdicts = Verdicts::default();
    verdicts.until(&mut *sink, |v| v.stored == set(0..5)).await;
    let began = Instant::now();
    memory.outlet.set_failing(&"group".into(), "the store refuses".into(), began);
    let outage = hop.unable_changed(None).await.expect("an outage");
    assert_eq!((&*outage.cause, outage.since), ("the store refuses", began));
    assert_eq!(outage.agent.address.as_deref(), Some("127.0.0.1:4141"));
    assert!((15..=17).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    // No other agent can store events: the sender continues to use this one, and returns nothing.
    write(&mut *sink, 5..8).await;
    verdicts.until(&mut *sink, |v| v.stored == set(0..8)).await;
    let nothing = tokio::time::timeout(Duration::from_secs(100), sink.settled()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    hop.set_others_able(true);
    verdicts.until(&mut *sink, |v| v.again == set(0..8)).await;
    assert_eq!(verdicts.failures, Vec::<String>::new());
    // Another cause is reported; one that differs only in a number is not.
    memory.outlet.set_failing(&"group".into(), "try 1234567 refused".into(), Instant::now());
    let second = hop.unable_changed(Some(outage)).await.expect("an outage");
    assert_eq!((&*second.cause, second.since), ("try 1234567 refused", began));
    memory.outlet.set_failing(&"group".into(), "try 7654321 refused".into(), Instant::now());
    sleep(Duration::from_secs(10)).await;
    assert_eq!(hop.unable(), Some(second.clone()));
    // A relay passes on what the agent after it reports.
    let agent = AgentLink { address: Some("c:4141".into()), page: Some("http://c:1/".into()) };
    let further = Outage { since: began, cause: "disk full".into(), agent };
    memory.outlet.set_failing_downstream(&"group".into(), further.clone());
    assert_eq!(hop.unable_changed(Some(second)).await, Some(further.clone()));
    memory.outlet.set_working("group");
    assert_eq!(hop.unable_changed(Some(further)).await, None);
    write(&mut *sink, 0..8).await;
    memory.commit_all();
    let mut verdicts = Verdicts::default();
    verdicts.until(&mut *sink, |v| v.delivered == set(0..8)).await;
    sink.close().await;
    source.stop().await;
}

#[tokio::test(start_paused = true)]
async fn returns_earlier_stored_batches_20_s_after_the_store_fails() {
    let env = Wire::new(0, 0, Side::There).env();
    let memory = Memory::new();
    let source = start_source(&env, memory.clone(), "127.0.0.1:4141", json!({}));
    let mut sink = open_sink(&env, "127.0.0.1:4141", json!({})).await;
    sink.extensions().find::<NextHop>().unwrap().set_others_able(true);
    write(&mut *sink, 0..5).await;
    let mut verdicts = Verdicts::default();
    verdicts.until(&mut *sink, |v| v.stored == set(0..5)).await;
    let began = Instant::now();
    memory.outlet.set_failing(&"group".into(), "the store refuses".into(), began);
    // Its channels are full as well: the sent batches wait there.
    memory.room.forget_permits(usize::MAX);
    write(&mut *sink, 5..7).await;
    let early = tokio::time::timeout(Duration::from_secs(14), sink.settled()).await;
    assert!(early.is_err(), "{early:?}");
    verdicts.until(&mut *sink, |v| v.again == set(0..7)).await;
    assert!((19..=22).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    // A new connection gets the notice before Welcome.
    within(async { while sink.open().await.is_err() {} }).await;
    assert!(sink.extensions().find::<NextHop>().unwrap().is_unable());
    sink.close().await;
    source.stop().await;
}
