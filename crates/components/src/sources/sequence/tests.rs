//! Numbers without gap or repetition in each channel, across failures, kills and restarts.

use std::path::Path;

use kit::testkit::channels::Channels;
use kit::testkit::narrow::Narrow;
use pipeline::BuildContext;
use pipeline::testkit::{build, position_context};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;

fn source(settings: &Value) -> Box<dyn Source> {
    build::<Config>(settings, &BuildContext::alone("in", Path::new("unused"), env::real())).unwrap()
}

/// Runs the source until both channels have `events` events, then kills it.
async fn run_until(settings: &Value, channels: &Arc<Channels>, events: usize) {
    let mut source = source(settings);
    let cx = position_context(channels.clone(), CancellationToken::new());
    let running = tokio::spawn(async move {
        source.open(&cx).await?;
        source.run(cx).await
    });
    channels.wait_for_events(events).await;
    running.abort();
    let _ = running.await;
}

fn numbers(channels: &Channels, channel: usize) -> Vec<String> {
    channels.events(channel).into_iter().map(|event| event.body).collect()
}

#[tokio::test]
async fn numbers_have_no_gap_or_repeat_after_kills_and_failures() {
    let channels = Arc::new(Channels::new(2));
    let settings = json!({ "count": 1000, "batch_events": 7 });
    channels.refuse(1, 1);
    run_until(&settings, &channels, 300).await;
    channels.refuse(0, 2);
    run_until(&settings, &channels, 700).await;
    run_until(&settings, &channels, 1000).await;
    let expected: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
    assert_eq!(numbers(&channels, 0), expected);
    assert_eq!(numbers(&channels, 1), expected);
}

#[tokio::test]
async fn bodies_have_the_size_asked_for() {
    let channels = Arc::new(Channels::new(1));
    run_until(&json!({ "count": 11, "size": "2B" }), &channels, 11).await;
    let all = numbers(&channels, 0);
    assert_eq!((all[0].as_str(), all[9].as_str(), all[10].as_str()), ("0.", "9.", "10"));
}

#[tokio::test]
async fn batches_are_cut_to_what_the_next_agents_take() {
    let channels = Arc::new(Channels::new(1));
    run_until(&json!({ "count": 500, "size": "100B" }), &channels, 500).await;
    assert!(channels.agree(4 << 10) > 40_000);
    run_until(&json!({ "count": 1000, "size": "100B" }), &channels, 1000).await;
    let largest = channels.agree(0);
    assert!((1_000..=4 << 10).contains(&largest), "{largest}");
}

#[tokio::test(start_paused = true)]
async fn no_more_events_a_second_than_allowed() {
    let channels = Arc::new(Channels::new(1));
    let started = Instant::now();
    let settings = json!({ "count": 100, "batch_events": 10, "rate": 50 });
    run_until(&settings, &channels, 100).await;
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(1_800), "the last batch goes after 1.8 s, not {took:?}");
}

#[tokio::test]
async fn a_source_that_made_all_waits_to_be_stopped() {
    let channels = Arc::new(Channels::new(1));
    let stop = CancellationToken::new();
    let cx = position_context(channels.clone(), stop.clone());
    let mut source = source(&json!({ "count": 3 }));
    let running = tokio::spawn(async move {
        source.open(&cx).await?;
        source.run(cx).await
    });
    channels.wait_for_events(3).await;
    assert!(!running.is_finished());
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_batch_that_waits_for_room_at_a_stop_is_stored_to_its_end() {
    let channels = Arc::new(Channels::new(1));
    let narrow = Arc::new(Narrow::new(channels.clone(), 0));
    let stop = CancellationToken::new();
    let cx = position_context(narrow.clone(), stop.clone());
    let mut source = source(&json!({ "batch_events": 10 }));
    source.open(&cx).await.unwrap();
    let running = tokio::spawn(async move { source.run(cx).await });
    narrow.wait_for_waiting(1).await;
    stop.cancel();
    tokio::task::yield_now().await;
    narrow.give(1);
    running.await.unwrap().unwrap();
    assert_eq!(numbers(&channels, 0).len(), 10);
}

#[test]
fn a_setting_that_cannot_be_is_refused_by_name() {
    let cx = BuildContext::alone("in", Path::new("unused"), env::real());
    for (settings, path) in [
        (json!({ "batch_events": 0 }), "batch_events"),
        (json!({ "rate": 0 }), "rate"),
        (json!({ "size": "1MiB", "batch_events": 100 }), "size"),
    ] {
        assert_eq!(build::<Config>(&settings, &cx).err().unwrap().path, path);
    }
}
