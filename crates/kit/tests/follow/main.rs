//! Goal: [`Followed`] keeps the invariants of `kit::follow` with every [`Follow`], whatever its
//! peer, its channels and its agent do.
//!
//! Method: a protocol with a log in memory, which checks each confirmation against what the
//! channels have, and channels that fail as scripted, under paused time. A runner opens the source
//! again after each failure, as the agent does. A kill drops the source; the next one has only what
//! the channels have stored.
//!
//! ```text
//!   Log ─► Reader (Follow) ─► Followed ─► Channels
//!    └──── is it stored there? ──────────────┘
//! ```
//!
//! [`Follow`]: kit::follow::Follow

#[path = "../consume/channels.rs"]
mod channels;
mod log;
#[cfg(feature = "mutants")]
mod planted;
mod random;
mod run;

use std::time::Duration;

use kit::follow::CatchUp;
use pipeline::ErrorClass;
use tokio::time::{sleep, timeout};

use channels::{Channels, Outcome};
use log::Fault;
use run::{BATCH_MAX, LIMIT, Run};

fn bodies(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("e{number:04}")).collect()
}

fn slow(channels: usize, millis: u64) -> Channels {
    Channels::with(channels, Duration::from_millis(millis), u64::MAX)
}

#[tokio::test(start_paused = true)]
async fn stores_each_event_once_and_in_order_in_every_channel() {
    let run = Run::start(slow(2, 5));
    run.log.append(bodies(1000));
    run.until_done().await;
    run.is_exact(2);
    let log = run.log.clone();
    assert!(run.stop().await.0.is_none());
    assert_eq!(log.links(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn continues_at_the_stored_position_when_the_peer_fails() {
    for fault in [Fault::DiesAtRead, Fault::DiesAfterRead, Fault::Refuses] {
        let run = Run::start(slow(2, 5));
        run.log.append(bodies(25));
        run.until_done().await;
        run.log.fail(fault);
        run.log.append(["next"]);
        let run = if fault == Fault::Refuses { run.restart().await } else { run };
        run.until_done().await;
        run.is_exact(2);
        run.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn waits_for_the_last_put_before_it_opens_again() {
    let run = Run::start(slow(2, 1000));
    run.log.fail(Fault::DiesAfterRead);
    run.log.append(bodies(5));
    run.until_done().await;
    run.is_exact(2);
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn catches_up_the_channel_that_a_kill_left_behind() {
    for behind in [0, 1] {
        let run = Run::start(Channels::new(2));
        run.log.append(bodies(25));
        run.until_done().await;
        run.channels.script(behind, &[Outcome::Fails; 3]);
        run.log.append(["a", "b", "c"]);
        run.until("one channel has it", |it| it.channels.bodies(1 - behind).len() == 28).await;
        let run = run.restart().await;
        run.log.append(["d"]);
        run.until_done().await;
        run.is_exact(2);
        run.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn catches_up_over_kills_in_the_middle() {
    let run = Run::start(Channels::new(3));
    run.log.append(bodies(100));
    run.until_done().await;
    let mut run = run.restart_after(|channels| channels.clear(1)).await;
    while run.channels.bodies(1).len() < 100 {
        sleep(Duration::from_millis(1)).await;
        run.channels.script(1, &[Outcome::Stores, Outcome::Loses, Outcome::Fails]);
        run = run.restart().await;
    }
    run.log.append(["last"]);
    run.until_done().await;
    run.is_exact(3);
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn stops_if_the_channel_with_the_latest_position_goes_while_another_catches_up() {
    let run = Run::start(slow(3, 5));
    run.log.append(bodies(100));
    run.until_done().await;
    let run = run.restart_after(|channels| channels.clear(1)).await;
    run.until("the first events are there", |it| !it.channels.bodies(1).is_empty()).await;
    let cleared = |channels: &Channels| [0, 2].map(|it| channels.clear(it));
    let run = run.restart_after(|channels| _ = cleared(channels)).await;
    let stored = run.channels.bodies(1);
    assert!(stored.len() < 100, "it was still catching up");
    sleep(Duration::from_secs(60)).await;
    assert!(run.error().starts_with("Blocked: required channel 1 "), "{}", run.error());
    assert_eq!([0, 1, 2].map(|it| run.channels.bodies(it)), [vec![], stored, vec![]]);
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn repeats_events_where_the_peer_cannot_be_exact() {
    for behind in [0, 1] {
        let run = Run::with(Channels::new(2), CatchUp::Repeat, Duration::ZERO);
        run.log.append(bodies(5));
        run.until_done().await;
        run.channels.script(behind, &[Outcome::Fails; 3]);
        run.log.append(["a"]);
        run.until("one channel has it", |it| it.channels.bodies(1 - behind).len() == 6).await;
        let run = run.restart().await;
        run.log.append(["b"]);
        run.until_done().await;
        assert_eq!(run.channels.bodies(behind), run.log.bodies());
        let (mut ahead, expected) = (run.channels.bodies(1 - behind), run.log.bodies());
        ahead.dedup();
        assert_eq!(ahead, expected);
        run.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn new_channel_gets_all_events_or_starts_with_the_others() {
    for (catch_up, events) in [(CatchUp::Exact, 26), (CatchUp::Repeat, 1)] {
        let run = Run::with(Channels::new(2), catch_up, Duration::ZERO);
        run.log.append(bodies(25));
        run.until_done().await;
        let run = run.restart_after(|channels| channels.clear(1)).await;
        run.log.append(["next"]);
        run.until("the new channel has it", |it| it.channels.bodies(1).len() == events).await;
        run.until("the other one, too", |it| it.channels.bodies(0).len() == 26).await;
        assert_eq!(run.channels.bodies(0), run.log.bodies());
        run.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn retries_a_batch_in_the_channels_that_lack_it() {
    for failing in [0, 1] {
        let run = Run::start(Channels::new(3));
        run.channels.script(failing, &[Outcome::Fails; 4]);
        run.channels.script(2, &[Outcome::Fails; 2]);
        run.log.append(bodies(50));
        run.until_done().await;
        run.is_exact(3);
        assert_eq!(run.log.links(), (1, 0), "nothing is read again");
        run.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn asks_the_channels_what_they_lack_when_an_answer_is_lost() {
    let run = Run::start(Channels::new(2));
    run.channels.script(1, &[Outcome::Loses, Outcome::Stores, Outcome::Fails, Outcome::Loses]);
    run.log.append(bodies(50));
    run.until_done().await;
    (0..2).for_each(|channel| run.channels.script(channel, &[Outcome::Loses]));
    run.log.append(["a"]);
    run.until_done().await;
    run.channels.script(0, &[Outcome::Loses]);
    run.channels.script(1, &[Outcome::Fails]);
    run.log.append(["b"]);
    run.until_done().await;
    run.is_exact(2);
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn holds_at_most_two_batches_while_a_channel_is_full() {
    let run = Run::start(Channels::new(2));
    run.channels.set_full(1, true);
    run.log.append(bodies(100));
    sleep(Duration::from_secs(60)).await;
    assert!(run.channels.bodies(0).is_empty());
    assert_eq!(run.log.held_max(), 2 * BATCH_MAX);
    run.channels.set_full(1, false);
    run.until_done().await;
    run.is_exact(2);
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn stop_cancels_a_put_that_waits_for_room() {
    let run = Run::start(Channels::new(2));
    run.channels.set_full(0, true);
    run.log.append(bodies(30));
    sleep(Duration::from_secs(1)).await;
    let (log, channels) = (run.log.clone(), run.channels.clone());
    let (ended, lasted) = run.stop().await;
    assert!(ended.is_none() && lasted < Duration::from_secs(1), "stopped after {lasted:?}");
    assert_eq!(log.links(), (1, 1));
    channels.set_full(0, false);
    sleep(Duration::from_secs(60)).await;
    assert!(channels.bodies(1).is_empty(), "nothing is stored after the stop");
}

#[tokio::test(start_paused = true)]
async fn stop_waits_for_a_put_that_has_begun() {
    let run = Run::start(slow(2, 1000));
    run.log.append(bodies(30));
    sleep(Duration::from_millis(500)).await;
    let channels = run.channels.clone();
    let (ended, _) = run.stop().await;
    assert!(ended.is_none());
    assert_eq!(channels.bodies(1), bodies(BATCH_MAX));
}

#[tokio::test(start_paused = true)]
async fn stop_stores_read_events_if_there_is_room_in_time() {
    for (room_after, stored) in [(1, 2 * BATCH_MAX), (10, 0)] {
        let run = Run::with(Channels::new(2), CatchUp::Repeat, Duration::from_secs(2));
        run.channels.set_full(0, true);
        run.log.append(bodies(100));
        sleep(Duration::from_secs(1)).await;
        let channels = run.channels.clone();
        let making_room = tokio::spawn(async move {
            sleep(Duration::from_secs(room_after)).await;
            channels.set_full(0, false);
        });
        let channels = run.channels.clone();
        let (ended, lasted) = run.stop().await;
        assert!(ended.is_none() && lasted <= Duration::from_secs(2), "{lasted:?}");
        making_room.await.unwrap();
        sleep(Duration::from_secs(60)).await;
        assert_eq!(channels.bodies(1), bodies(stored));
    }
}

#[tokio::test(start_paused = true)]
async fn stop_does_not_wait_for_a_peer_that_hangs() {
    let run = Run::start(Channels::new(1));
    run.log.fail(Fault::Hangs);
    run.log.append(bodies(30));
    sleep(Duration::from_secs(60)).await;
    let (ended, lasted) = run.stop().await;
    assert!(ended.is_none() && lasted < Duration::from_secs(1), "{lasted:?}");
}

#[tokio::test(start_paused = true)]
async fn blocks_at_a_batch_that_a_channel_refuses() {
    let run = Run::start(Channels::with(2, Duration::from_millis(5), 500));
    run.log.append(bodies(2));
    run.until_done().await;
    run.log.append(["x".repeat(600)]);
    sleep(Duration::from_secs(1)).await;
    run.log.append(["y"]);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(run.channels.bodies(1), bodies(2), "no event overtakes it");
    let error = run.error();
    assert!(error.starts_with("Blocked: a channel rejected a batch of"), "{error}");
    run.channels.set_limit(10_000);
    run.until_done().await;
    run.is_exact(2);
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn fails_permanently_where_a_channel_does() {
    for broken in [vec![0], vec![1], vec![0, 1]] {
        let run = Run::start(Channels::new(2));
        broken.iter().for_each(|channel| run.channels.script(*channel, &[Outcome::Breaks]));
        run.log.append(bodies(5));
        let error = timeout(LIMIT, run.running).await.unwrap().unwrap().unwrap();
        assert_eq!(error.class, ErrorClass::Fatal);
        assert!(!run.log.is_confirmed());
    }
}

#[tokio::test(start_paused = true)]
async fn reports_a_position_that_belongs_to_another_log() {
    let run = Run::start(Channels::new(2));
    run.log.append(bodies(5));
    run.until_done().await;
    run.log.replace();
    let run = run.restart().await;
    run.log.append(["next"]);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(run.error(), "Blocked: the position belongs to another log");
    assert_eq!(run.channels.bodies(0), bodies(5));
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn rejects_several_channels_where_one_is_needed() {
    let run = Run::with(Channels::new(2), CatchUp::OneChannel, Duration::ZERO);
    let error = timeout(LIMIT, run.running).await.unwrap().unwrap().unwrap();
    assert_eq!(error.class, ErrorClass::Fatal);
    assert!(error.message.contains("`log` needs exactly one required channel"), "{error}");
}
