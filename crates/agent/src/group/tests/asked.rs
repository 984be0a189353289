//! A group answers queries about its state, whatever its sinks do.

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::*;
use crate::status::State;

async fn ask(bench: &Bench) -> GroupView {
    let (question, answer) = oneshot::channel();
    bench.questions.send(question).await.unwrap();
    answer.await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn delivered_refused_and_in_hand_add_up_to_taken() {
    let script = Arc::new(Script { collects: true, ..Script::default() });
    let bench = start(json!({}), std::slice::from_ref(&script)).await;
    bench.put_numbers(7).await;
    bench.put_batch(Batch::of(["bad", "good", "bad"])).await;
    sleep(Duration::from_secs(1)).await;
    let view = ask(&bench).await;
    assert_eq!((view.in_flight_batches, view.in_flight_events), (8, 10));
    assert_eq!((view.outflow.passed.events(), view.members[0].in_hand), (0, 8));
    assert_eq!((&view.state, &view.members[0].state), (&State::Running, &State::Running));
    bench.stop.cancel();
    // Staged batches are settled now; in the meantime it answers, or has ended.
    let channel = bench.channel.clone();
    bench.group.await.unwrap();
    assert_eq!(channel.status().events, 0);
}

#[tokio::test]
async fn events_that_left_are_counted_for_their_sink_and_the_dead_letters() {
    let script = Arc::new(Script::default());
    let bench = start(json!({}), std::slice::from_ref(&script)).await;
    bench.put_numbers(7).await;
    bench.put_batch(Batch::of(["bad", "good", "bad"])).await;
    bench.put_batch(Batch::of(["bad"])).await;
    bench.empty().await;
    let GroupView { outflow, in_flight_batches, members, .. } = ask(&bench).await;
    assert_eq!(outflow.delivered.total().events, 8);
    assert_eq!((outflow.dead_letter_events, outflow.by_member[0].events), (3, 8));
    assert_eq!((in_flight_batches, members[0].refused_events), (0, 3));
    assert_eq!(outflow.by_member[0].batches, 8, "a batch that was refused whole is not one");
    assert!(outflow.by_member[0].last.is_some());
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn failing_sink_shows_its_error_and_its_group_waits_for_a_working_one() {
    let script = Arc::new(Script { broken: Some(ErrorClass::Transient), ..Script::default() });
    let bench = start(json!({ "backoff_max": "30s" }), std::slice::from_ref(&script)).await;
    bench.put("x").await;
    sleep(Duration::from_secs(300)).await;
    let view = ask(&bench).await;
    let State::Waiting { waits_for, since_seconds_ago } = &view.state else {
        panic!("it waits: {view:?}")
    };
    assert!(waits_for.contains("scripted failure") && *since_seconds_ago > 200.0, "{view:?}");
    let State::Failing { since_seconds_ago, last_error, .. } = &view.members[0].state else {
        panic!("it fails: {view:?}")
    };
    assert!(last_error.contains("scripted failure") && *since_seconds_ago > 200.0, "{view:?}");
    // Between two pauses there is a moment in which it is tried.
    let ends = timeout(Duration::from_secs(60), async {
        loop {
            if let Some(ends) = ask(&bench).await.members[0].penalty_ends {
                return ends;
            }
            sleep(Duration::from_millis(10)).await;
        }
    });
    let ends = ends.await.expect("it is passed over for a while");
    assert!(ends - Instant::now() <= Duration::from_secs(30), "{ends:?}");
    bench.stop().await;
}
