//! Events that can never be delivered go to the dead letters, and no other event waits for them.

use pipeline::{Epoch, Identity, Origin, Sequence};

use super::*;
use crate::dead_letters::Label;

fn numbered(sequence: u64, bodies: &[&str]) -> Batch {
    let mut batch = Batch::of(bodies);
    let (origin, epoch) = (Origin([5; 16]), Epoch(2));
    batch.envelope.identity = Some(Identity { origin, epoch, sequence: Sequence(sequence) });
    batch
}

/// The letters in a directory, oldest first, as a next life finds them.
async fn found(bench: &Bench) -> Vec<(Label, Vec<String>)> {
    bench.dead_letters.close().await.unwrap();
    let cx = dead_letters::context(bench.directory.path(), &env::real());
    let channel = dead_letters::settings().build(&cx).unwrap();
    channel.open().await.unwrap();
    channel.register(&[dead_letters::OPERATOR.into()]).await.unwrap();
    let mut found = Vec::new();
    let each = |label, events: Batch| found.push((label, bodies(&events)));
    dead_letters::letters(&*channel, each).await.unwrap();
    channel.close().await.unwrap();
    found
}

#[tokio::test]
async fn undeliverable_events_become_letters_and_the_rest_is_delivered() {
    let script = Arc::new(Script::default());
    let bench = start(json!({}), std::slice::from_ref(&script)).await;
    for (sequence, bodies) in
        [&["a", "b"][..], &["bad 1", "c", "bad 2"], &["bad 3"], &["d"]].iter().enumerate()
    {
        bench.put_batch(numbered(sequence as u64, bodies)).await;
    }
    bench.empty().await;
    assert_eq!(sorted(&script), ["a", "b", "c", "d"]);
    let text = bench.metrics.text();
    assert!(text.contains("aqueduct_sink_refused_events_total{sink=\"sink-0\"} 3"), "{text}");
    let counted = "dead_letter_events_total{sink=\"sink-0\",reason=\"bad_event\"} 3";
    assert!(text.contains(counted), "{text}");
    assert_eq!(bench.dead_letters.batches(), 2);
    assert_eq!(bench.dead_letters.lowest(Origin([5; 16])), Some(Epoch(2)));
    assert_eq!(bench.dead_letters.lowest(Origin([6; 16])), None);
    let found = found(&bench).await;
    let shown: Vec<_> = found
        .iter()
        .map(|(label, bodies)| (label.whole, label.identity.unwrap().sequence.0, bodies.join(",")))
        .collect();
    assert_eq!(shown, [(false, 1, "bad 1,bad 2".into()), (true, 2, "bad 3".into())]);
    let Label { channel, group, sink, reason, detail, .. } = &found[0].0;
    let from = [channel, group, sink, reason, detail].map(String::as_str);
    assert_eq!(from, ["test", "group", "sink-0", "bad_event", "it is bad"]);
    bench.stop().await;
}

/// As after a crash between the letter and the commit of its batch.
#[tokio::test]
async fn a_batch_that_is_refused_again_makes_no_second_letter() {
    let script = Arc::new(Script::default());
    let bench = start(json!({}), std::slice::from_ref(&script)).await;
    let letter = |bodies: &[&str]| Letter {
        ticket: 0,
        events: numbered(7, bodies),
        whole: false,
        reason: "bad_event",
        detail: "before the crash".into(),
    };
    let from = dead_letters::Sender { channel: "test", group: "group", sink: "sink-0" };
    bench.dead_letters.store(&letter(&["bad 1"]), from).await.unwrap();
    bench.put_batch(numbered(7, &["bad 1", "fine"])).await;
    bench.empty().await;
    assert_eq!(found(&bench).await.len(), 1);

    // Other events of the same batch are another letter: the shared identity must not lose any.
    let next_life = DeadLetters::new(
        dead_letters::Config::default(),
        bench.directory.path(),
        &env::real(),
        &Metrics::default(),
    );
    next_life.open_existing().await.unwrap();
    next_life.store(&letter(&["bad 1"]), from).await.unwrap();
    assert_eq!(next_life.opened().unwrap().status().events, 1);
    next_life.store(&letter(&["bad 2"]), from).await.unwrap();
    assert_eq!(next_life.opened().unwrap().status().events, 2);
    next_life.close().await.unwrap();
    bench.stop().await;
}

#[tokio::test]
async fn full_dead_letters_hold_up_their_own_batches_and_no_others() {
    let script = Arc::new(Script::default());
    let settings = |capacity: &str| {
        dead_letters::Config::read(&Settings::from_json(&json!({ "capacity": capacity })))
    };
    let refused = settings("7MiB").unwrap_err();
    assert_eq!(refused.path, "capacity", "{refused}");
    let settings = settings("8MiB").unwrap();
    let bench = start_with(json!({}), std::slice::from_ref(&script), settings).await;
    let large = format!("bad {}", "x".repeat(60_000));
    let mut put = 0;
    while !bench.dead_letters.opened().is_some_and(|letters| letters.status().intake_stopped) {
        bench.put_batch(numbered(put, &[&large])).await;
        put += 1;
        assert!(put < 1000, "the letters fill up");
        sleep(Duration::from_millis(1)).await;
    }
    bench.put("good").await;
    while sorted(&script).is_empty() {
        sleep(Duration::from_millis(5)).await;
    }
    assert!(bench.channel.status().events > 0, "what found no room among the letters stays");
    assert!(bench.dead_letters.wait_for_room(), "what waits behind it is not taken for dead");
    bench.group.abort();
}
