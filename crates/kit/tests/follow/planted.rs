//! The bugs that are planted in the adapter are found, each by the test of its rule.

const BROKEN: &str = "broken rules";
const DIFFERENT: &str = "assertion `left == right` failed: channel";

#[test]
fn each_planted_bug_is_found_by_the_test_of_its_rule() {
    for (bug, test, found_by) in [
        (
            "follow_catches_up_everywhere",
            "catches_up_the_channel_that_a_kill_left_behind",
            DIFFERENT,
        ),
        (
            "follow_confirmed_before_stored",
            "stores_each_event_once_and_in_order_in_every_channel",
            BROKEN,
        ),
        ("follow_last_put_forgotten", "waits_for_the_last_put_before_it_opens_again", BROKEN),
        ("follow_partly_stored_is_stored", "retries_a_batch_in_the_channels_that_lack_it", BROKEN),
        ("follow_retried_everywhere", "retries_a_batch_in_the_channels_that_lack_it", DIFFERENT),
        ("follow_starts_at_latest", "catches_up_the_channel_that_a_kill_left_behind", DIFFERENT),
        ("follow_waits_after_stop", "stop_cancels_a_put_that_waits_for_room", "stopped after 5s"),
    ] {
        support::mutants::is_found(bug, test, found_by);
    }
}
