//! The source reports a time only when every file that was there is in every channel.

use super::*;

/// Polls without a report, at the interval of the rig.
const PAUSE: Duration = Duration::from_millis(100);

fn now() -> i64 {
    i64::try_from(pipeline::env::unix_millis(std::time::SystemTime::now())).unwrap()
}

/// Runs the source for a while; returns its report.
fn reported_in_a_while(rig: &Rig) -> Option<i64> {
    let ends = std::time::Instant::now() + PAUSE;
    rig.run_until(|_| std::time::Instant::now() > ends);
    rig.channels.reached()
}

#[test]
fn an_empty_directory_and_one_with_stored_files_report_the_time() {
    for tracking in ["rename", "position"] {
        let rig = Rig::new(&json!({ "tracking_policy": tracking }));
        rig.put("a.log", b"1");
        let started = now();
        rig.run_until(|rig| rig.channels.reached().is_some_and(|at| at >= started));
        assert_eq!(rig.bodies(1), ["1"], "{tracking}");
    }
}

#[test]
fn files_that_wait_hold_the_time_back() {
    let rig = Rig::new(&json!({ "settle": "1h" }));
    rig.put("a.log", b"1");
    assert_eq!(reported_in_a_while(&rig), None, "it may still change");
    let rig = rig.with(&json!({}));
    rig.channels.refuse(1, 1_000_000);
    assert_eq!(reported_in_a_while(&rig), None, "a channel is full");
    rig.channels.refuse(1, 0);
    rig.run_until(|rig| rig.channels.reached().is_some());
    assert_eq!(rig.bodies(1), ["1"]);
}
