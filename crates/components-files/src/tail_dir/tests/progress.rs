//! The source reports a time only when everything before it is in every channel.

use super::*;

/// Longer than many surveys.
const PAUSE: Duration = Duration::from_millis(200);

/// Waits for a report of this time, or a later one.
async fn until_reached(rig: &Rig, time: i64) {
    for _ in 0..2_000 {
        if rig.channels.reached().is_some_and(|reached| reached >= time) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("no time is reported");
}

fn now() -> i64 {
    i64::try_from(pipeline::env::unix_millis(std::time::SystemTime::now())).unwrap()
}

#[tokio::test]
async fn an_incomplete_line_holds_the_time_back() {
    let rig = Rig::new(&json!({}));
    rig.append("a.log", "1\nincom");
    let running = rig.start();
    rig.expect(&["1"]).await;
    tokio::time::sleep(PAUSE).await;
    assert_eq!(rig.channels.reached(), None);
    rig.append("a.log", "plete\n");
    // The time is that of the last survey, which may have been before.
    until_reached(&rig, 0).await;
    rig.expect(&["1", "incomplete"]).await;
    running.stop().await;
}

#[tokio::test]
async fn a_full_channel_and_an_unreadable_file_hold_the_time_back() {
    let rig = Rig::new(&json!({}));
    rig.append("a.log", "1\n");
    rig.channels.refuse(1, 1_000_000);
    symlink(rig.path("b.log"), rig.path("b.log")).unwrap();
    let running = rig.start();
    rig.channels.wait_for_refusal().await;
    tokio::time::sleep(PAUSE).await;
    assert_eq!(rig.channels.reached(), None);
    rig.channels.refuse(1, 0);
    rig.expect(&["1"]).await;
    tokio::time::sleep(PAUSE).await;
    assert_eq!(rig.channels.reached(), None, "the other file cannot be read");
    fs::remove_file(rig.path("b.log")).unwrap();
    until_reached(&rig, 0).await;
    running.stop().await;
}

#[tokio::test]
async fn an_idle_source_without_files_reports_the_time() {
    let rig = Rig::new(&json!({}));
    let started = now();
    let running = rig.start();
    until_reached(&rig, started).await;
    assert!(rig.channels.reached().is_some_and(|reached| reached <= now()));
    running.stop().await;
}
