//! Goal: [`Consumed`] keeps the invariants of `kit::consume` with every [`Consume`], whatever its
//! broker, its channels and its agent do.
//!
//! Method: a protocol with a broker in memory, which checks each acknowledgement, rejection and
//! return against what the channels have, and channels that fail as scripted, under paused time. A
//! runner opens the source again after each failure, as the agent does.
//!
//! ```text
//!   Broker ─► Queue (Consume) ─► Consumed ─► Channels
//!      └──── is it stored there? ────────────────┘
//! ```

mod broker;
mod channels;
#[cfg(feature = "mutants")]
mod planted;
mod random;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kit::consume::Consumed;
use metrics::{Metrics, SourceReason};
use pipeline::testkit::position_context;
use pipeline::{BuildContext, ErrorClass, Source, SourceError};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use broker::{Broker, Fault, Policy, Queue, UNUSABLE};
use channels::{Channels, Outcome};

const ROUND_MAX: usize = 10;

/// The longest time that a test waits for a state, in paused time.
const LIMIT: Duration = Duration::from_secs(600);

/// A source that runs until it is stopped.
struct Run {
    broker: Arc<Broker>,
    channels: Arc<Channels>,
    metrics: Metrics,
    stop: CancellationToken,
    running: JoinHandle<Option<SourceError>>,
}

impl Run {
    fn start(channels: Channels, policy: Policy) -> Self {
        Self::with(channels, policy, false)
    }

    fn with(channels: Channels, policy: Policy, has_positions: bool) -> Self {
        support::mutants::plant_by_environment();
        let channels = Arc::new(channels);
        let broker = Broker::new(channels.clone());
        let cx = BuildContext::alone("in", Path::new("unused"), env::real());
        let queue = Queue { broker: broker.clone(), policy, round_max: ROUND_MAX, has_positions };
        let mut source = Consumed::new(&cx, queue);
        let stop = CancellationToken::new();
        let context = position_context(channels.clone(), stop.clone());
        let running = tokio::spawn(async move {
            loop {
                let ended = match source.open(&context).await {
                    Ok(()) => source.run(context.clone()).await,
                    Err(error) => Err(error),
                };
                match ended {
                    Ok(()) => return None,
                    Err(error) if error.class == ErrorClass::Fatal => return Some(error),
                    Err(error) if context.stop.is_cancelled() => return Some(error),
                    Err(_) => sleep(Duration::from_millis(100)).await,
                }
            }
        });
        Self { broker, channels, metrics: cx.metrics, stop, running }
    }

    /// Waits for a state. No rule may be broken before it.
    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let reached = async {
            while !is_so(self) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let is_reached = timeout(LIMIT, reached).await.is_ok();
        assert_eq!(self.broker.broken(), Vec::<String>::new(), "broken rules");
        assert!(is_reached, "not reached: {what}");
    }

    async fn until_done(&self) {
        self.until("every message is acknowledged or rejected", |it| it.broker.is_done()).await;
    }

    fn counted(&self, reason: &'static str) -> u64 {
        let label = SourceReason { source: "in".into(), reason };
        self.metrics.source_anomalies.get_or_create(&label).get()
    }

    /// Stops the source; its error and the duration of the stop.
    async fn stop(self) -> (Option<SourceError>, Duration) {
        let began = Instant::now();
        self.stop.cancel();
        let ended =
            timeout(LIMIT, self.running).await.expect("the source stops").expect("no panic");
        assert_eq!(self.broker.broken(), Vec::<String>::new(), "broken rules");
        (ended, began.elapsed())
    }
}

fn bodies(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("m{number:04}")).collect()
}

#[tokio::test(start_paused = true)]
async fn stores_each_message_once_and_in_order_in_every_channel() {
    let run = Run::start(Channels::with(2, Duration::from_millis(5), u64::MAX), Policy::Hold);
    run.broker.publish(bodies(1000));
    run.until_done().await;
    for channel in 0..2 {
        assert_eq!(run.channels.bodies(channel), bodies(1000));
    }
    let (broker, (ended, _)) = (run.broker.clone(), run.stop().await);
    assert!(ended.is_none());
    assert_eq!((broker.closed(), broker.released()), (1, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn receives_unacknowledged_messages_again_after_a_kill() {
    for fault in [
        Fault::DiesBeforeAcknowledgement,
        Fault::DiesAfterAcknowledgement,
        Fault::DiesAtDelivery,
        Fault::Refuses,
    ] {
        let run = Run::start(Channels::with(2, Duration::from_millis(5), u64::MAX), Policy::Hold);
        run.broker.publish(bodies(5));
        run.until_done().await;
        run.broker.fail(fault);
        if fault == Fault::Refuses {
            run.broker.cut();
        }
        run.broker.publish(["next"]);
        run.until_done().await;
        let repeated = u64::from(fault == Fault::DiesBeforeAcknowledgement);
        assert_eq!(run.counted("message_repeated"), repeated, "{fault:?}");
        assert_eq!(run.channels.bodies(0).len() as u64, 6 + repeated, "{fault:?}");
        run.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn holds_at_most_two_rounds_and_a_message_while_a_channel_is_full() {
    let run = Run::start(Channels::new(2), Policy::Hold);
    run.channels.set_full(1, true);
    run.broker.publish(bodies(100));
    sleep(Duration::from_secs(60)).await;
    assert_eq!((run.broker.acknowledged(), run.channels.bodies(0).len()), (0, 0));
    assert!((ROUND_MAX..=2 * ROUND_MAX + 1).contains(&run.broker.unanswered_max()));
    // A connection that ends in the meantime is noticed, and nothing is stored twice.
    run.broker.cut();
    sleep(Duration::from_secs(1)).await;
    run.channels.set_full(1, false);
    run.until_done().await;
    assert_eq!(run.channels.bodies(0), bodies(100));
    assert_eq!(run.channels.bodies(1), bodies(100));
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn retries_a_round_in_the_channels_that_lack_it() {
    for failing in [0, 1] {
        let run = Run::start(Channels::new(3), Policy::Hold);
        run.channels.script(failing, &[Outcome::Fails; 4]);
        run.channels.script(2, &[Outcome::Fails; 2]);
        run.broker.publish(bodies(50));
        run.until_done().await;
        for channel in 0..3 {
            assert_eq!(run.channels.bodies(channel), bodies(50), "channel {channel}");
        }
        assert_eq!(run.counted("message_repeated"), 0, "nothing is received again");
        run.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn asks_the_channels_what_they_lack_where_positions_tell() {
    let run = Run::with(Channels::new(2), Policy::Hold, true);
    run.channels.script(1, &[Outcome::Loses, Outcome::Stores, Outcome::Fails, Outcome::Loses]);
    run.broker.publish(bodies(50));
    run.until_done().await;
    assert_eq!(run.channels.bodies(0), bodies(50));
    assert_eq!(run.channels.bodies(1), bodies(50));
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn returns_a_round_that_no_channel_stored() {
    let run = Run::start(Channels::new(2), Policy::Hold);
    run.channels.script(0, &[Outcome::Fails]);
    run.channels.script(1, &[Outcome::Fails]);
    run.broker.publish(bodies(5));
    run.until_done().await;
    assert_eq!(run.channels.bodies(0), bodies(5));
    assert!(run.broker.released().contains(&bodies(1)[0]));
    assert!(run.counted("message_repeated") > 0);
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn fails_permanently_where_a_channel_does() {
    for broken in [vec![0], vec![1], vec![0, 1]] {
        let run = Run::start(Channels::new(2), Policy::Hold);
        broken.iter().for_each(|channel| run.channels.script(*channel, &[Outcome::Breaks]));
        run.broker.publish(bodies(5));
        let error = timeout(LIMIT, run.running).await.unwrap().unwrap().unwrap();
        assert_eq!((error.class, run.broker.acknowledged()), (ErrorClass::Fatal, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn stop_returns_a_round_that_waits_for_room() {
    let run = Run::start(Channels::new(2), Policy::Hold);
    run.channels.set_full(0, true);
    run.broker.publish(bodies(30));
    sleep(Duration::from_secs(1)).await;
    let (broker, channels) = (run.broker.clone(), run.channels.clone());
    let (ended, lasted) = run.stop().await;
    assert!(ended.is_none() && lasted < Duration::from_secs(1), "{lasted:?}");
    assert_eq!((broker.closed(), broker.acknowledged()), (1, 0));
    // One was put as soon as it arrived; the others filled a round, and one waited for the next.
    assert_eq!(broker.released(), bodies(ROUND_MAX + 2));
    channels.set_full(0, false);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(channels.bodies(1), Vec::<String>::new(), "nothing is stored after the stop");
}

#[tokio::test(start_paused = true)]
async fn stop_waits_for_a_put_that_has_begun_and_acknowledges_it() {
    let run = Run::start(Channels::with(2, Duration::from_secs(1), u64::MAX), Policy::Hold);
    run.broker.publish(bodies(5));
    sleep(Duration::from_millis(500)).await;
    let (broker, channels) = (run.broker.clone(), run.channels.clone());
    let (ended, _) = run.stop().await;
    let stored = channels.bodies(0).len();
    assert!(ended.is_none() && stored > 0);
    assert_eq!((broker.acknowledged(), broker.released().len()), (stored, 5 - stored));
    assert_eq!(broker.closed(), 1);
}

#[tokio::test(start_paused = true)]
async fn stop_returns_a_round_that_only_some_channels_have() {
    let run = Run::start(Channels::new(2), Policy::Hold);
    run.channels.script(1, &[Outcome::Fails; 10_000]);
    run.broker.publish(bodies(5));
    sleep(Duration::from_secs(60)).await;
    let (broker, channels) = (run.broker.clone(), run.channels.clone());
    let (ended, lasted) = run.stop().await;
    assert!(ended.is_none() && lasted < Duration::from_secs(10), "{lasted:?}");
    assert_eq!((broker.acknowledged(), broker.released().len()), (0, 5));
    assert!(!channels.bodies(0).is_empty() && channels.bodies(1).is_empty());
}

#[tokio::test(start_paused = true)]
async fn stop_does_not_wait_for_a_broker_that_hangs() {
    let run = Run::start(Channels::new(1), Policy::Hold);
    run.broker.fail(Fault::Hangs);
    run.broker.publish(bodies(5));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(run.broker.acknowledged(), 0);
    let (ended, lasted) = run.stop().await;
    assert!(lasted < Duration::from_secs(10), "{lasted:?}");
    assert!(ended.unwrap().to_string().contains("did not answer"));
}

#[tokio::test(start_paused = true)]
async fn rejects_a_message_that_cannot_become_an_event() {
    let run = Run::start(Channels::with(2, Duration::from_millis(5), u64::MAX), Policy::Reject);
    run.broker.publish(["a", UNUSABLE, "b", "c"]);
    run.until_done().await;
    assert_eq!(run.channels.bodies(1), ["a", "b", "c"]);
    assert_eq!(run.broker.rejected(), [UNUSABLE]);
    assert_eq!((run.counted("message_rejected"), run.broker.acknowledged()), (1, 3));
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn stops_in_front_of_a_held_message_after_everything_before_it() {
    let run = Run::start(Channels::with(2, Duration::from_millis(5), u64::MAX), Policy::Hold);
    run.broker.publish(["a", "b", "c", UNUSABLE, "d"]);
    sleep(Duration::from_secs(10)).await;
    run.until("the messages before it are acknowledged", |it| it.broker.acknowledged() == 3).await;
    assert_eq!(run.channels.bodies(1), ["a", "b", "c"]);
    let released = run.broker.released();
    assert!(released.len() > 1 && released.iter().all(|it| it == UNUSABLE), "{released:?}");
    assert_eq!(run.counted("message_rejected"), 0);
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn finds_the_message_that_the_channels_refuse() {
    for policy in [Policy::Reject, Policy::Hold] {
        let channels = Channels::with(2, Duration::from_millis(5), 500);
        let large = "x".repeat(600);
        let run = Run::start(channels, policy);
        run.channels.set_full(0, true);
        run.broker.publish(["a", "b", &large, "c", "d"]);
        sleep(Duration::from_secs(1)).await;
        run.channels.set_full(0, false);
        if policy == Policy::Reject {
            run.until_done().await;
            assert_eq!(run.channels.bodies(0), ["a", "b", "c", "d"]);
            assert_eq!(run.broker.rejected(), [large]);
        } else {
            sleep(Duration::from_secs(60)).await;
            assert_eq!(run.channels.bodies(0), ["a", "b"]);
            assert_eq!(run.broker.acknowledged(), 2);
        }
        run.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn stores_messages_one_by_one_where_a_round_is_too_large() {
    let run = Run::start(Channels::with(1, Duration::from_millis(5), 150), Policy::Reject);
    let bodies: Vec<String> = (0..40).map(|number| format!("{number:020}")).collect();
    run.broker.publish(bodies.clone());
    run.until_done().await;
    assert_eq!(run.channels.bodies(0), bodies);
    run.stop().await;
}
