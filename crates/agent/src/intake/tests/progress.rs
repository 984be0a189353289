//! A source that has left its channels no longer holds their reports back, and one that cannot
//! report is named.

use pipeline::env::Moment;
use tokio::time::Instant;

use super::*;

#[tokio::test]
async fn a_source_that_left_does_not_hold_reports_and_a_silent_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let life = Life::begin(dir.path(), None).await;
    let intake = &life.intake;
    let fed = &intake.required[0];
    let channels = intake.required.iter().map(|fed| &fed.channel);
    fed.boards.floors.set_channels(channels, false);
    let (board, other) = (&fed.boards.progress, Arc::<str>::from("other"));
    let own = fed.channel.own_epoch().unwrap();
    board.expect(&other, Role::Reports);
    intake.expect_progress(Role::Reports);
    let after_a_report = |wall_ms| {
        let at = Instant::now();
        board.stored("other", Moment { wall_ms, at }, own, &fed.boards.floors);
        intake.report_progress();
        let known = board.reached().into_iter().find(|(origin, _)| *origin == own.0);
        known.map(|(_, reached)| (reached.before, reached.held_by.to_string()))
    };
    assert_eq!(after_a_report(10), None, "the other source has not reported");
    intake.expect_progress(Role::Silent);
    assert_eq!(after_a_report(11), Some((0, "in".to_owned())));
    intake.leave_progress(Some(intake));
    assert_eq!(after_a_report(12), Some((0, "in".to_owned())), "its successor feeds the same");
    intake.leave_progress(None);
    assert_eq!(after_a_report(13), Some((13, String::new())));
    life.end().await;
}
