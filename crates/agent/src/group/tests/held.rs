//! Batches that a sink holds back: others pass them, also while the sink is on trial.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_held_back_holds_up_no_other_and_stays_in_the_channel() {
    let script = Script { open_failures: Mutex::new(1), proves: true, ..Script::default() };
    let script = Arc::new(script);
    let bench = start(json!({}), std::slice::from_ref(&script)).await;
    bench.put("held").await;
    let bodies = bench.put_numbers(20).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(sorted(&script), bodies);
    let began = Instant::now();
    let channel = bench.stop().await;
    assert!(began.elapsed() < Duration::from_secs(1), "its word is not waited for");
    assert_eq!(channel.status().events, 1);
    let taken = channel.begin_take("group").take().await.unwrap();
    assert_eq!(super::bodies(&taken.batch), ["held"]);
}
