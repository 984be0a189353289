//! A flush settles the batches of the sinks of a group, and the group continues.

use super::*;

fn collecting(pace: Option<Duration>) -> Arc<Script> {
    Arc::new(Script { collects: true, pace, ..Script::default() })
}

#[tokio::test(start_paused = true)]
async fn a_flush_settles_every_batch_and_later_ones_are_collected_again() {
    let script = collecting(None);
    let bench = start(json!({}), std::slice::from_ref(&script)).await;
    let first = bench.put_numbers(3).await;
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!(sorted(&script), [""; 0], "nothing asked for it");
    bench.flush.notify_one();
    bench.empty().await;
    assert_eq!(sorted(&script), first);
    bench.put("later").await;
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!(sorted(&script), first);
    assert_eq!(*locked(&script.closed), 0, "the sink stays open");
    bench.stop().await;
    assert_eq!(sorted(&script).len(), 4);
}

/// The sink needs a second for a batch: when the flush is asked for, it writes the first batch, two
/// wait in its queue, and the group has taken the fourth.
#[tokio::test(start_paused = true)]
async fn batches_that_wait_for_a_sink_are_part_of_its_flush() {
    let script = collecting(Some(Duration::from_secs(1)));
    let bench = start(json!({}), std::slice::from_ref(&script)).await;
    bench.put_numbers(4).await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(bench.channel.backlog("group").ready, 0);
    bench.flush.notify_one();
    bench.empty().await;
    assert_eq!(*locked(&script.most), 4, "one flush settles all of them");
    bench.stop().await;
}
